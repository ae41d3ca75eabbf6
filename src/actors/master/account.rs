//! The way to the only caller of Cloudflare, if there is an account at all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::SecretString;

use super::error::MasterError;
use super::plan::{ApplyReport, Plan};
use crate::domain::connector::Connector;
use crate::domain::id::{AccountId, AgentId, TunnelId};

/// A tunnel that is there, with what it takes to run it.
#[derive(Debug, Clone)]
pub struct ProvidedTunnel {
    /// Its account.
    pub account_id: AccountId,
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Its name.
    pub name: String,
    /// True if it was not there before.
    pub is_made: bool,
    /// What a connector needs to run it.
    pub token: SecretString,
    /// Ids of the connectors that serve it already; none if Cloudflare did not say.
    pub connectors: Option<Vec<String>>,
}

/// Publishes what the database says.
#[async_trait]
pub trait Account: Send + Sync {
    /// False if nothing can be published because no token is set.
    fn is_connected(&self) -> bool {
        true
    }

    /// What Cloudflare said when it last refused the token; none if it takes it.
    fn refusal(&self) -> Option<String> {
        None
    }

    /// Something may have changed: compare with what is published. Never waits.
    fn wake(&self);

    /// The same, for the tunnel of one agent.
    fn wake_agent(&self, _agent: &AgentId) {
        self.wake();
    }

    /// The same, for one tunnel; also when its agent left it, and nothing is wanted in it any more.
    fn wake_tunnel(&self, _tunnel: &TunnelId) {
        self.wake();
    }

    /// The agent's tunnel does not connect: somebody may have deleted it, so it is compared soon, and no more often than
    /// every few minutes. Never waits.
    fn compare_agent(&self, _agent: &AgentId) {}

    /// The agent's word leaves open whether its tunnel serves: Cloudflare is asked soon. Never waits.
    fn look_at_connectors(&self, _agent: &AgentId) {}

    /// Finds a tunnel by its exact name or makes it.
    async fn provide_tunnel(&self, name: &str, max: Duration) -> Result<ProvidedTunnel, MasterError>;

    /// False if Cloudflare says that the tunnel is not there any more. A single read; changes nothing.
    async fn has_tunnel(&self, _tunnel: &TunnelId, _max: Duration) -> Result<bool, MasterError> {
        Ok(true)
    }

    /// Says what would be done.
    async fn plan(&self) -> Result<Plan, MasterError>;

    /// Confirms tunnels that wait for a person, and returns when everything is done, or after `max`.
    async fn apply(&self, by: &str, max: Duration) -> Result<ApplyReport, MasterError>;

    /// Writes an agent's wanted rules to its tunnel now; returns the version of the configuration.
    async fn put_agent_rules(&self, agent: &AgentId, tunnel: &TunnelId) -> Result<i64, MasterError>;

    /// Returns the connectors of a tunnel. A check that can wait: it is limited to the part of the budget that is for the
    /// background.
    async fn connectors(&self, tunnel: &TunnelId) -> Result<Vec<Connector>, MasterError>;
}

/// How actors hold it.
pub type SharedAccount = Arc<dyn Account>;
