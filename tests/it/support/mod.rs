//! What the product tests share.

#![allow(dead_code, reason = "each of the test binaries that include this uses a part of it")]

pub mod cloudflare;
pub mod docker;
pub mod host_agent;
pub mod master;
pub mod ship;
pub mod until;
