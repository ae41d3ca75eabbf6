//! What the product tests share.

pub mod cloudflare;
