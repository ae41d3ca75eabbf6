//! What the product tests share.

pub mod cloudflare;
pub mod docker;
pub mod until;
