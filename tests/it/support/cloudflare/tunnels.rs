//! Tunnels: names are unique until deleted, a configuration is replaced whole and counts up, a tunnel with
//! live connections cannot be deleted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::answer::{Outcome, Refusal};
use super::state::{LONG_AGO, Moment, State, Tunnel};

impl State {
    pub fn create_tunnel(&mut self, name: &str, config_src: &str) -> Result<String, Refusal> {
        if name.is_empty() {
            return Err(Refusal::new(400, 1003, "tunnel name cannot be empty"));
        }
        if self.tunnels.iter().any(|tunnel| tunnel.name == name && !tunnel.is_deleted) {
            return Err(Refusal::new(409, 1013, "You already have a tunnel with this name."));
        }
        let id = self.uuid();
        self.tunnels.push(Tunnel {
            id: id.clone(),
            name: name.to_owned(),
            config_src: config_src.to_owned(),
            is_deleted: false,
            secret: STANDARD.encode(format!("secret of {id:.28}")),
            version: 0,
            config: Value::Null,
            clients: Vec::new(),
        });
        Ok(id)
    }

    pub(super) fn delete_tunnel(&mut self, account: &str, id: &str) -> Outcome {
        let tunnel = self.live_tunnel(id)?;
        if tunnel.live_connections() > 0 {
            let message = "Cannot delete tunnel because it has active connections";
            return Err(Refusal::new(400, 1022, message));
        }
        tunnel.is_deleted = true;
        Ok(tunnel.to_json(account))
    }

    /// The name filter finds parts of names: who asks has to compare.
    pub(super) fn list_tunnels(
        &self,
        account: &str,
        name: Option<&str>,
        is_deleted: Option<bool>,
    ) -> Vec<Value> {
        self.tunnels
            .iter()
            .filter(|tunnel| name.is_none_or(|part| tunnel.name.contains(part)))
            .filter(|tunnel| is_deleted.is_none_or(|deleted| tunnel.is_deleted == deleted))
            .map(|tunnel| tunnel.to_json(account))
            .collect()
    }

    pub(super) fn put_config(&mut self, account: &str, id: &str, body: &Value) -> Outcome {
        let config = &body["config"];
        check_ingress(config)?;
        self.live_tunnel(id)?;
        self.let_others_write(id, Moment::BeforePut);
        let tunnel = self.live_tunnel(id)?;
        if tunnel.config_src == "cloudflare" {
            tunnel.write(config.clone());
        }
        let answer = tunnel.config_json(account);
        self.let_others_write(id, Moment::AfterPut);
        Ok(answer)
    }

    fn let_others_write(&mut self, id: &str, now: Moment) {
        while let Some((_, rule)) = self.second_writers.pop_front_if(|(moment, _)| *moment == now) {
            if let Ok(tunnel) = self.live_tunnel(id) {
                let mut config = tunnel.config.clone();
                add_rule(&mut config, rule);
                tunnel.write(config);
            }
        }
    }

    /// A tunnel that is not deleted.
    pub(super) fn live_tunnel(&mut self, id: &str) -> Result<&mut Tunnel, Refusal> {
        self.tunnel_mut(id).and_then(|tunnel| {
            if tunnel.is_deleted { Err(Refusal::new(404, 1003, "Tunnel is deleted")) } else { Ok(tunnel) }
        })
    }
}

impl Tunnel {
    /// Replaces the configuration; returns the new version.
    pub fn write(&mut self, config: Value) -> i64 {
        self.config = config;
        self.version += 1;
        self.version
    }

    pub fn connect(&mut self, client_id: &str, config_version: i64) {
        self.clients.retain(|client| client["id"] != client_id);
        let connection = json!({
            "id": format!("{client_id}-0"),
            "client_id": client_id,
            "client_version": "2026.8.2",
            "colo_name": "fra01",
            "is_pending_reconnect": false,
            "opened_at": LONG_AGO,
            "origin_ip": "203.0.113.7",
            "uuid": format!("{client_id}-0"),
        });
        self.clients.push(json!({
            "id": client_id,
            "arch": "linux_amd64",
            "version": "2026.8.2",
            "run_at": LONG_AGO,
            "config_version": config_version,
            "features": ["serialized_headers"],
            "conns": [connection],
        }));
    }

    pub fn live_connections(&self) -> usize {
        let connections = self.clients.iter().filter_map(|client| client["conns"].as_array()).flatten();
        connections.filter(|connection| connection["is_pending_reconnect"] != true).count()
    }

    /// The secret that lets a connector serve the tunnel.
    pub fn token(&self, account: &str) -> String {
        STANDARD.encode(json!({ "a": account, "t": self.id, "s": self.secret }).to_string())
    }

    pub(super) fn config_json(&self, account: &str) -> Value {
        json!({
            "account_id": account,
            "tunnel_id": self.id,
            "version": self.version,
            "config": self.config,
            "source": self.config_src,
            "created_at": LONG_AGO,
        })
    }

    pub(super) fn to_json(&self, account: &str) -> Value {
        let connections: Vec<&Value> =
            self.clients.iter().filter_map(|client| client["conns"].as_array()).flatten().collect();
        let is_active = self.live_connections() > 0;
        json!({
            "id": self.id,
            "account_tag": account,
            "name": self.name,
            "config_src": self.config_src,
            "remote_config": self.config_src == "cloudflare",
            "status": if is_active { "healthy" } else { "inactive" },
            "conns_active_at": is_active.then_some(LONG_AGO),
            "conns_inactive_at": null,
            "connections": connections,
            "created_at": LONG_AGO,
            "deleted_at": self.is_deleted.then_some(LONG_AGO),
            "metadata": {},
            "tun_type": "cfd_tunnel",
        })
    }
}

/// The last rule must catch all, and no other may.
fn check_ingress(config: &Value) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::new(400, 1056, format!("Bad Configuration: {why}")));
    let rules = config["ingress"].as_array().cloned().unwrap_or_default();
    let Some((last, others)) = rules.split_last() else { return refuse("ingress is empty".into()) };
    if !catches_all(last) {
        return refuse(
            "The last ingress rule must match all URLs (i.e. it should not have a hostname or path filter)"
                .into(),
        );
    }
    if let Some(index) = others.iter().position(catches_all) {
        return refuse(format!("Rule #{} is matching all traffic, rules after it are never used", index + 1));
    }
    for rule in &rules {
        let hostname = rule["hostname"].as_str().unwrap_or_default();
        if hostname.rfind('*').is_some_and(|at| at > 0) || hostname.contains(':') {
            return refuse(format!("Hostname {hostname} is not valid"));
        }
        check_service(rule["service"].as_str().unwrap_or_default())?;
    }
    Ok(())
}

fn catches_all(rule: &Value) -> bool {
    let is_any_host = matches!(rule["hostname"].as_str(), None | Some("" | "*"));
    is_any_host && matches!(rule["path"].as_str(), None | Some(""))
}

fn check_service(service: &str) -> Result<(), Refusal> {
    const SCHEMES: [&str; 8] = ["http", "https", "tcp", "ssh", "rdp", "smb", "ws", "wss"];
    let is_named = ["hello_world", "bastion", "socks-proxy"].contains(&service)
        || ["unix:/", "unix+tls:/", "http_status:"].iter().any(|prefix| service.starts_with(prefix));
    let is_url = service.split_once("://").is_some_and(|(scheme, rest)| {
        SCHEMES.contains(&scheme) && !rest.is_empty() && !rest.trim_end_matches('/').contains('/')
    });
    if is_named || is_url {
        return Ok(());
    }
    Err(Refusal::new(400, 1056, format!("Bad Configuration: {service} is not a valid service")))
}

/// Puts `rule` in front of the catch-all.
fn add_rule(config: &mut Value, rule: Value) {
    if config["ingress"].as_array().is_none_or(Vec::is_empty) {
        config["ingress"] = json!([{ "service": "http_status:404" }]);
    }
    let rules = config["ingress"].as_array_mut().expect("set above");
    rules.insert(rules.len() - 1, rule);
}
