//! Lightship: publishes labelled containers through Cloudflare tunnels and keeps hosts up to date.
//!
//! `docs/architecture.md` holds the picture, the layers and three walkthroughs.

pub mod actors;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod cloudflare;
pub mod config;
pub mod db;
pub mod docker;
pub mod domain;
pub mod http_client;
pub mod io;
pub mod notify;
pub mod process;
pub mod protocol;
pub mod registry;
pub mod state_dir;
pub mod telemetry;
pub mod updates;
pub mod uplink;
pub mod web;
