//! The Cloudflare client against the stand-in: every call, every way to fail.

mod failures;
mod tunnels;
mod zones_and_records;

use lightship::cloudflare::{Cloudflare, NewDnsRecord};
use lightship::domain::id::{AccountId, TunnelId, ZoneId};
use lightship::io::{Io, IoRuntime};
use serde_json::{Value, json};

use crate::support::cloudflare::{ACCOUNT, CloudflareStandIn, TOKEN, ZONE};

struct Setup {
    standin: CloudflareStandIn,
    client: Cloudflare,
    runtime: IoRuntime,
}

impl Setup {
    fn start() -> Self {
        let (standin, runtime) = (CloudflareStandIn::start(), IoRuntime::start().unwrap());
        let client = client(&standin.base_url(), TOKEN, runtime.io());
        Self { standin, client, runtime }
    }

    fn zone(&self) -> ZoneId {
        ZoneId::new(self.standin.zone_id(ZONE))
    }

    fn tunnel(&self, name: &str) -> TunnelId {
        TunnelId::new(self.standin.add_tunnel(name, "cloudflare"))
    }
}

fn client(base_url: &str, token: &str, io: Io) -> Cloudflare {
    rustls::crypto::ring::default_provider().install_default().ok();
    Cloudflare::new(base_url, AccountId::new(ACCOUNT), token.to_owned().into(), io).unwrap()
}

fn record(name: &str, content: &str) -> NewDnsRecord {
    NewDnsRecord { name: name.into(), content: content.into(), comment: "ours".into() }
}

fn config(hostname: &str) -> Value {
    json!({ "ingress": [{ "hostname": hostname, "service": "http://app:80" }, { "service": "http_status:404" }] })
}
