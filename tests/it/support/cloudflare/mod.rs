//! A stand-in for the Cloudflare API: a real HTTP server on a free port, in a thread of its own.
//!
//! Every request is checked against `tests/contracts/cloudflare-openapi.json` and `cloudflare-additions.json`; what breaks it is recorded and
//! fails the test ([`CloudflareStandIn::assert_no_violations`], also called on drop). Behind that it keeps the
//! real semantics: see `tunnels`, `dns`, `access`, `apps` and `service_tokens`; `edge` says what a visitor meets. Faults, latency and a second writer are switched on by tests.
//!
//! It uses nothing of `lightship`, so benches and `examples/cloudflare_standin.rs` include it by `#[path]`;
//! [`control`] lets another process switch faults and read the log.

#![allow(dead_code, unused_imports, reason = "each of the programs that include this uses a part of it")]

mod access;
mod answer;
mod apps;
mod contract;
mod control;
mod dns;
mod edge;
mod faults;
mod operations;
mod ops;
mod server;
mod service_tokens;
mod state;
mod tunnels;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

pub use access::{Access, Group, Policy};
pub use apps::{App, Link};
pub use edge::{Behind, Edge};
pub use faults::{Fault, Trouble};
pub use ops::Op;
pub use server::Call;
use server::Shared;
pub use state::{Moment, Record, State};

/// The account the stand-in knows.
pub const ACCOUNT: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f9";
/// The token it accepts.
pub const TOKEN: &str = "stand-in-token-0123456789abcdef0123456789";
/// The zone it starts with.
pub const ZONE: &str = "example.com";

/// The one Super Administrator that the account starts with.
pub const OWNER: &str = "owner@example.com";
/// The name of the team that it starts with.
pub const TEAM: &str = "stand-in";

/// A running stand-in; ends with its owner.
pub struct CloudflareStandIn {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: actix_web::dev::ServerHandle,
}

impl CloudflareStandIn {
    /// Starts with one account of one owner, the zone [`ZONE`] and nothing else.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        {
            let mut state = shared.state();
            state.add_zone(ZONE);
            state.set_members(&[(OWNER, "accepted", true)]);
            state.auth_domain = Some(format!("{TEAM}.cloudflareaccess.com"));
        }
        let (address, server) = server::spawn(Arc::clone(&shared));
        Self { shared, address, server }
    }

    /// Reads all of the contract now, so that the first calls of a measurement do not pay for it.
    pub fn warm(&self) {
        contract::Contract::get().warm();
    }

    /// What to set as `CF_API_BASE_URL`.
    pub fn base_url(&self) -> String {
        format!("http://{}/client/v4", self.address)
    }

    /// What Cloudflare holds; keep the guard short.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }

    /// Adds a zone and returns its id.
    pub fn add_zone(&self, name: &str) -> String {
        self.state().add_zone(name)
    }

    /// Returns the id of a zone.
    pub fn zone_id(&self, name: &str) -> String {
        self.state().zones.iter().find(|zone| zone.name == name).expect("a known zone").id.clone()
    }

    /// Adds a tunnel (`config_src` is `cloudflare` or `local`) and returns its id.
    pub fn add_tunnel(&self, name: &str, config_src: &str) -> String {
        self.state().create_tunnel(name, config_src).expect("a free name")
    }

    /// Writes a configuration as somebody else would; returns its version.
    pub fn write_config(&self, tunnel: &str, config: Value) -> i64 {
        self.state().tunnel_mut(tunnel).expect("a known tunnel").write(config)
    }

    /// Returns version and configuration of a tunnel.
    pub fn config(&self, tunnel: &str) -> (i64, Value) {
        let state = self.state();
        let tunnel = state.tunnel(tunnel).expect("a known tunnel");
        (tunnel.version, tunnel.config.clone())
    }

    /// Returns the hostnames of a tunnel's rules, in order, without the catch-all.
    pub fn hostnames(&self, tunnel: &str) -> Vec<String> {
        let (_, config) = self.config(tunnel);
        let rules = config["ingress"].as_array().cloned().unwrap_or_default();
        rules.iter().filter_map(|rule| rule["hostname"].as_str().map(str::to_owned)).collect()
    }

    /// Adds a record as somebody else would; returns its id.
    pub fn add_record(&self, zone: &str, kind: &str, name: &str, content: &str) -> String {
        let body = json!({ "type": kind, "name": name, "content": content, "ttl": 1, "proxied": true });
        let zone = self.zone_id(zone);
        self.state().create_record(&zone, &body).expect("a record that fits").id
    }

    /// Returns the records of one name.
    pub fn records(&self, name: &str) -> Vec<Record> {
        self.state().records.iter().filter(|record| record.name == name).cloned().collect()
    }

    /// Adds a way to sign in (`kind` is `onetimepin`, `google`, ...) and returns its id.
    pub fn add_identity_provider(&self, name: &str, kind: &str) -> String {
        self.state().add_identity_provider(name, kind)
    }

    /// Adds a service token and returns its id.
    pub fn add_service_token(&self, name: &str) -> String {
        self.state().add_service_token(name)
    }

    /// Lets a service token run out.
    pub fn expire_service_token(&self, id: &str) {
        self.state().expire_service_token(id);
    }

    /// Returns the service tokens of a name, as lists have them.
    pub fn service_tokens(&self, name: &str) -> Vec<Value> {
        self.state().access.service_tokens.iter().filter(|token| token["name"] == name).cloned().collect()
    }

    /// The secrets that service tokens have or had: nobody may see them but who asked for them.
    pub fn service_secrets(&self) -> Vec<String> {
        self.state().access.service_secrets.iter().map(|(_, secret)| secret.clone()).collect()
    }

    /// The secret that a service token is good with now; none if this one was rotated away, or nobody got one.
    pub fn secret_of(&self, id: &str) -> Option<String> {
        let state = self.state();
        let secrets = state.access.service_secrets.iter().rev();
        secrets.filter(|(token, _)| token == id).map(|(_, secret)| secret.clone()).next()
    }

    /// Puts these in the place of the members of the account: address, status, and whether they are Super Administrators.
    pub fn set_members(&self, members: &[(&str, &str, bool)]) {
        self.state().set_members(members);
    }

    /// Changes the team's address; none: there is no organization.
    pub fn set_auth_domain(&self, domain: Option<&str>) {
        self.state().auth_domain = domain.map(str::to_owned);
    }

    /// Adds a reusable policy as somebody else would; returns its id.
    pub fn add_policy(&self, body: Value) -> String {
        let made = self.state().create_policy(&body).expect("a policy that fits");
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Adds an application as somebody else would; returns its id.
    pub fn add_app(&self, body: Value) -> String {
        let made = self.state().create_app(&body).expect("an application that fits");
        made["id"].as_str().expect("an id").to_owned()
    }

    /// What somebody meets who asks for this, right now.
    pub fn edge(&self, hostname: &str, path: &str) -> Edge {
        self.state().edge(hostname, path)
    }

    /// Has `check` look at what Cloudflare holds after every call that changed something, before its answer goes out.
    /// What it complains about counts as a violation.
    pub fn on_change(&self, check: impl Fn(&State) -> Result<(), String> + Send + 'static) {
        self.shared.watchers().push(Box::new(check));
    }

    /// Takes rights away from the token: all that begin with `right`, as the contract names them.
    pub fn take_right(&self, right: &str) {
        self.state().taken_rights.push(right.to_owned());
    }

    /// Gives the token all its rights back.
    pub fn give_rights_back(&self) {
        self.state().taken_rights.clear();
    }

    /// Attaches a connector to a tunnel, as a `cloudflared` that has applied `config_version`.
    pub fn connect(&self, tunnel: &str, client_id: &str, config_version: i64) {
        self.state().tunnel_mut(tunnel).expect("a known tunnel").connect(client_id, config_version);
    }

    /// Detaches a connector.
    pub fn disconnect(&self, tunnel: &str, client_id: &str) {
        let mut state = self.state();
        state.tunnel_mut(tunnel).expect("a known tunnel").clients.retain(|client| client["id"] != client_id);
    }

    /// Lets somebody else write `rule` into the configuration around our next PUT.
    pub fn second_writer(&self, moment: Moment, rule: Value) {
        self.state().second_writers.push_back((moment, rule));
    }

    /// Makes calls fail.
    pub fn inject(&self, fault: Fault) {
        self.shared.faults().push(fault);
    }

    /// How many calls are still to fail.
    pub fn failures_left(&self) -> usize {
        self.shared.faults().iter().map(|fault| fault.left).sum()
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.faults().clear();
    }

    /// Makes every call take this long.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.set_latency(latency);
    }

    /// Returns every call so far.
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls().clone()
    }

    /// Returns the calls of one kind.
    pub fn calls_of(&self, op: Op) -> Vec<Call> {
        self.shared.calls().iter().filter(|call| call.op == Some(op)).cloned().collect()
    }

    /// What broke the contract so far.
    pub fn violations(&self) -> Vec<String> {
        self.shared.violations().clone()
    }

    /// Returns and forgets what broke the contract, for tests that break it on purpose.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.violations())
    }

    /// Fails the test if a request (or an answer of ours) broke the contract.
    pub fn assert_no_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "calls outside the contract: {violations:#?}");
    }

    /// Waits until `condition` holds for what Cloudflare has; fails after 20 seconds.
    pub async fn until(&self, what: &str, condition: impl Fn(&State) -> bool) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !condition(&self.state()) {
            assert!(std::time::Instant::now() < deadline, "not reached: {what}; calls {:#?}", self.calls());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for CloudflareStandIn {
    fn drop(&mut self) {
        // The order to stop is sent by the call itself; nobody needs to wait for its end.
        drop(self.server.stop(false));
        if !std::thread::panicking() {
            self.assert_no_violations();
        }
    }
}

/// Locks without caring whether a test panicked while it held the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
