//! What the product tests share.

pub mod cloudflare;
pub mod docker;
pub mod host_agent;
pub mod master;
pub mod until;
