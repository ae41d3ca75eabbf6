//! The Cloudflare client against the stand-in: every call, every way to fail.

mod access;
mod edge;
mod failures;
mod standin_access;
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

/// A policy for one person.
fn policy(name: &str) -> Value {
    json!({ "name": name, "decision": "allow", "include": [{ "email": { "email": "me@example.com" } }] })
}

/// An application that links these policies.
fn app(domain: &str, policies: &[&str]) -> Value {
    let links =
        policies.iter().zip(1..).map(|(id, precedence)| json!({ "id": id, "precedence": precedence }));
    json!({
        "type": "self_hosted",
        "name": domain,
        "domain": domain,
        "policies": links.collect::<Vec<_>>(),
    })
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
