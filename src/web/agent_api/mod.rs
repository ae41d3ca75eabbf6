//! What agents call: the DockFlare dialect and our own.

pub mod cloudflare_proxy;
mod intake;
pub mod redflag;
pub mod v2;
pub mod v3;
