//! What Cloudflare holds.

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::access::Access;
use super::answer::Refusal;

/// The stand-in keeps no time: every object is of this age.
pub(super) const LONG_AGO: &str = "2026-01-01T00:00:00Z";

/// Everything behind the API.
#[derive(Debug, Default)]
pub struct State {
    pub zones: Vec<Zone>,
    pub tunnels: Vec<Tunnel>,
    pub records: Vec<Record>,
    pub access: Access,
    /// Rights that the token lacks, by the beginning of their names.
    pub taken_rights: Vec<String>,
    /// How many changes a batch of records may hold; 200, as without a paid plan, unless set.
    pub batch_limit: Option<usize>,
    /// Who writes a configuration around our next PUTs, and what.
    pub second_writers: VecDeque<(Moment, Value)>,
    /// Names of zones that are there and not in the list, as for a token that is limited to one zone.
    pub hidden_zones: Vec<String>,
    /// The `name` filter of record lists finds parts of names too.
    pub has_loose_name_filter: bool,
    /// Records are answered in the script of their zone, and not in Punycode.
    pub answers_in_script: bool,
    /// Who is in the account.
    pub members: Vec<Value>,
    /// The team's address; none if there is no organization.
    pub auth_domain: Option<String>,
    /// `/user/tokens/verify` refuses, as it does for tokens that an account owns.
    pub has_account_token: bool,
    ids: u64,
}

/// When a second writer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After our GET, before our PUT: lost, and visible as a gap in versions.
    BeforePut,
    /// Right after our PUT took effect, before its answer is on the way.
    AfterPut,
}

#[derive(Debug, Clone)]
pub struct Zone {
    pub id: String,
    pub name: String,
}

#[derive(Debug, Clone)]
pub struct Tunnel {
    pub id: String,
    pub name: String,
    pub config_src: String,
    pub is_deleted: bool,
    pub secret: String,
    pub version: i64,
    pub config: Value,
    /// Connectors, as `GET …/connections` lists them.
    pub clients: Vec<Value>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub id: String,
    pub zone_id: String,
    pub kind: String,
    pub name: String,
    pub content: String,
    pub comment: Option<String>,
    pub proxied: bool,
    pub ttl: u64,
    /// What Cloudflare notes of it, such as that nobody can change it.
    pub meta: Value,
}

impl State {
    pub fn add_zone(&mut self, name: &str) -> String {
        let id = self.hex_id();
        self.zones.push(Zone { id: id.clone(), name: name.to_owned() });
        id
    }

    pub fn tunnel(&self, id: &str) -> Result<&Tunnel, Refusal> {
        self.tunnels.iter().find(|tunnel| tunnel.id == id).ok_or_else(no_tunnel)
    }

    pub fn tunnel_mut(&mut self, id: &str) -> Result<&mut Tunnel, Refusal> {
        self.tunnels.iter_mut().find(|tunnel| tunnel.id == id).ok_or_else(no_tunnel)
    }

    pub(super) fn hex_id(&mut self) -> String {
        self.ids += 1;
        format!("{:032x}", 0xf00d_0000_0000_u64 + self.ids)
    }

    pub(super) fn uuid(&mut self) -> String {
        self.ids += 1;
        format!("7e570000-0000-4000-8000-{:012x}", self.ids)
    }
}

impl Zone {
    pub(super) fn to_json(&self, account: &str) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "status": "active",
            "type": "full",
            "paused": false,
            "account": { "id": account, "name": "Stand-in" },
            "owner": { "id": null, "name": null, "type": "user" },
            "plan": { "id": null, "name": "Free Website" },
            "meta": {},
            "name_servers": ["a.ns.example.net", "b.ns.example.net"],
            "development_mode": 0,
            "created_on": LONG_AGO,
            "modified_on": LONG_AGO,
        })
    }
}

fn no_tunnel() -> Refusal {
    Refusal::new(404, 1003, "Tunnel not found")
}
