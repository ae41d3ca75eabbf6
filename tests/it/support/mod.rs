//! What the product tests share.

#![allow(dead_code, reason = "each of the test binaries that include this uses a part of it")]

pub mod account;
pub mod asking;
pub mod cloudflare;
pub mod cloudflare_client;
pub mod database;
pub mod docker;
pub mod fake_registry;
pub mod fault_proxy;
pub mod host_agent;
pub mod inbox;
pub mod master;
pub mod postgres;
pub mod ship;
pub mod until;
