//! Calls about tunnels and their configuration.

use std::collections::BTreeMap;

use reqwest::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::call::Call;
use super::error::CfError;
use super::transport::Cloudflare;
use crate::domain::id::TunnelId;

const PER_PAGE: usize = 100;

/// A tunnel as Cloudflare lists it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Tunnel {
    /// Its id.
    pub id: TunnelId,
    /// Its name; unique among the tunnels that are not deleted.
    pub name: String,
    /// `inactive`, `degraded`, `healthy` or `down`.
    #[serde(default)]
    pub status: Option<String>,
    #[serde(default)]
    config_src: Option<String>,
    #[serde(default)]
    remote_config: Option<bool>,
    #[serde(default)]
    deleted_at: Option<String>,
}

impl Tunnel {
    /// True if the connector reads a file on its host and ignores what we would write.
    pub fn is_local(&self) -> bool {
        match &self.config_src {
            Some(source) => source == "local",
            None => self.remote_config == Some(false),
        }
    }

    /// True if it is deleted; Cloudflare keeps such tunnels in its lists.
    pub fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }
}

/// The configuration of a tunnel.
#[derive(Debug, Clone, PartialEq)]
pub struct TunnelConfig {
    /// Grows by one with every write; 0 before the first.
    pub version: i64,
    /// The configuration itself; null before the first write.
    pub config: Value,
    /// `cloudflare` or `local`.
    pub source: Option<String>,
}

impl TunnelConfig {
    /// True if it is said to come from a file on the connector's host.
    pub fn is_local(&self) -> bool {
        self.source.as_deref() == Some("local")
    }
}

/// A running `cloudflared` that serves a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connector {
    /// Its id; new with every start.
    pub id: String,
    /// Version of `cloudflared`.
    pub version: Option<String>,
    /// Version of the configuration it has in force.
    pub config_version: Option<i64>,
    /// When it started, RFC 3339.
    pub run_at: Option<String>,
    /// Live connections to the edge; those that only linger are not counted.
    pub connections: usize,
    /// Those by the data centre that they lead to; of some it may not be said.
    pub places: BTreeMap<String, usize>,
}

/// Most characters of a name or a version that is kept; longer ones are none.
const MAX_WORD: usize = 64;
/// Most connections of one connector whose data centres are told apart; it opens four.
const MAX_PLACES: usize = 64;

#[derive(Deserialize)]
struct ConfigAnswer {
    version: Option<i64>,
    #[serde(default)]
    config: Value,
    source: Option<String>,
}

#[derive(Deserialize)]
struct ConnectorAnswer {
    id: Option<String>,
    version: Option<String>,
    config_version: Option<i64>,
    run_at: Option<String>,
    conns: Option<Vec<ConnectionAnswer>>,
}

#[derive(Deserialize)]
struct ConnectionAnswer {
    is_pending_reconnect: Option<bool>,
    colo_name: Option<String>,
}

impl Cloudflare {
    /// Returns the undeleted tunnel of exactly this name.
    pub async fn find_tunnel(&self, name: &str) -> Result<Option<Tunnel>, CfError> {
        let call = || {
            Call::get("find tunnel", &["accounts", self.account().as_str(), "cfd_tunnel"])
                .query("name", name)
                .query("is_deleted", "false")
        };
        // The filter may match parts of names, so the names are compared here.
        let tunnels = self.list::<Tunnel>(call, PER_PAGE).await?;
        Ok(tunnels.into_iter().find(|tunnel| tunnel.name == name && !tunnel.is_deleted()))
    }

    /// Makes a tunnel that takes its configuration from Cloudflare.
    pub async fn create_tunnel(&self, name: &str) -> Result<Tunnel, CfError> {
        let call =
            Call::new("create tunnel", Method::POST, &["accounts", self.account().as_str(), "cfd_tunnel"])
                .body(json!({ "name": name, "config_src": "cloudflare" }));
        self.call(call).await?.required("create tunnel")
    }

    /// Returns a tunnel; a deleted one too.
    pub async fn get_tunnel(&self, id: &TunnelId) -> Result<Tunnel, CfError> {
        let call = Call::get("get tunnel", &self.tunnel_path(id, &[]));
        self.call(call).await?.required("get tunnel")
    }

    /// Returns the secret that lets a connector serve the tunnel.
    pub async fn tunnel_token(&self, id: &TunnelId) -> Result<SecretString, CfError> {
        let call = Call::get("get tunnel token", &self.tunnel_path(id, &["token"]));
        let token: String = self.call(call).await?.required("get tunnel token")?;
        if token.len() < 50 {
            let reason = "the token is too short".into();
            return Err(CfError::Malformed { call: "get tunnel token", reason });
        }
        Ok(token.into())
    }

    /// Returns the configuration in force.
    pub async fn get_config(&self, id: &TunnelId) -> Result<TunnelConfig, CfError> {
        let name = "get tunnel configuration";
        let call = Call::get(name, &self.tunnel_path(id, &["configurations"]));
        let answer: ConfigAnswer = self.call(call).await?.required(name)?;
        let missing = |what| CfError::Malformed { call: name, reason: format!("the {what} is missing") };
        let ConfigAnswer { version, config, source } = answer;
        let read = TunnelConfig { version: version.unwrap_or(0), config, source };
        // Nobody writes to a local one, so it matters little what is kept of it.
        if !read.is_local() && version.is_none() {
            return Err(missing("version"));
        }
        // Only a tunnel that nobody ever wrote to has none: taken for an empty one it would lose what it holds.
        if !read.is_local() && read.version > 0 && read.config.is_null() {
            return Err(missing("configuration"));
        }
        Ok(read)
    }

    /// Replaces the whole configuration and returns its version.
    pub async fn put_config(&self, id: &TunnelId, config: Value) -> Result<i64, CfError> {
        let name = "put tunnel configuration";
        let call = Call::new(name, Method::PUT, &self.tunnel_path(id, &["configurations"]))
            .body(json!({ "config": config }));
        let answer: ConfigAnswer = self.call(call).await?.required(name)?;
        let missing = || CfError::Malformed { call: name, reason: "the version is missing".into() };
        answer.version.ok_or_else(missing)
    }

    /// Returns the connectors that serve the tunnel.
    pub async fn connections(&self, id: &TunnelId) -> Result<Vec<Connector>, CfError> {
        let call = Call::get("list connectors", &self.tunnel_path(id, &["connections"]));
        let answer: Vec<ConnectorAnswer> = self.call(call).await?.result.unwrap_or_default();
        Ok(answer.into_iter().filter_map(ConnectorAnswer::into_connector).collect())
    }

    /// Deletes a tunnel. Cloudflare refuses that while connectors are attached (code 1022).
    pub async fn delete_tunnel(&self, id: &TunnelId) -> Result<(), CfError> {
        let call = Call::new("delete tunnel", Method::DELETE, &self.tunnel_path(id, &[]));
        self.call::<Value>(call).await.map(drop)
    }

    fn tunnel_path<'a>(&'a self, id: &'a TunnelId, rest: &[&'a str]) -> Vec<&'a str> {
        [&["accounts", self.account().as_str(), "cfd_tunnel", id.as_str()], rest].concat()
    }
}

fn word(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.len() <= MAX_WORD)
}

impl ConnectorAnswer {
    fn into_connector(self) -> Option<Connector> {
        let is_live = |connection: &ConnectionAnswer| connection.is_pending_reconnect != Some(true);
        let live: Vec<_> = self.conns.unwrap_or_default().into_iter().filter(is_live).collect();
        let connections = live.len();
        let mut places = BTreeMap::new();
        for place in live.into_iter().take(MAX_PLACES).filter_map(|connection| word(connection.colo_name)) {
            *places.entry(place).or_default() += 1;
        }
        Some(Connector {
            id: self.id?,
            version: word(self.version),
            config_version: self.config_version,
            run_at: word(self.run_at),
            connections,
            places,
        })
    }
}
