//! The tests' stand-in for Cloudflare as a process of its own, for measurements and shell scripts.
//!
//! Prints one line of JSON with its address, account, token and zone, and serves until its standard input
//! ends. `POST /__/latency {"millis":150}`, `GET /__/calls` and others steer it.

#[path = "../tests/it/support/cloudflare/mod.rs"]
mod cloudflare;

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let standin = cloudflare::CloudflareStandIn::start();
    standin.warm();
    let line = serde_json::json!({
        "base_url": standin.base_url(),
        "account_id": cloudflare::ACCOUNT,
        "api_token": cloudflare::TOKEN,
        "zone": cloudflare::ZONE,
        "zone_id": standin.zone_id(cloudflare::ZONE),
    });
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()?;
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}
