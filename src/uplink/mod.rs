//! The agent's client of its master: one trait, [`Uplink`], and its HTTP version, [`HttpUplink`].
//!
//! It knows addresses, time limits and sizes, and says what an answer means ([`Verdict`]). When to call, what to
//! send and what to do after a failure is the actors' business.

mod address;
mod error;
mod exchange;
mod http_uplink;
mod probe;

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;

use crate::domain::command::Outcome;
use crate::domain::id::{AgentId, CommandId, TunnelId};
use crate::domain::registry::{Answer, Ask};
use crate::domain::report::Reports;
use crate::domain::update::Kind;
use crate::protocol::command::AgentCommand;
use crate::protocol::v2::{RegisterRequest, Registered};
use crate::protocol::v3::{DeliveredCommand, PlanTold, RunTold};

pub use crate::http_client::AccessToken;
pub use address::{InvalidMasterUrl, MasterUrl};
pub use error::{UplinkError, Verdict};
pub use http_uplink::{HttpUplink, UplinkSettings};

/// What an agent asks of its master. Every call ends within a time limit of its own.
#[async_trait]
pub trait Uplink: Send + Sync + 'static {
    /// Introduces the agent.
    async fn register(&self, request: &RegisterRequest) -> Result<Registered, UplinkError>;

    /// Uses another key from now on: the one that the master made for an agent that came with a registration token.
    fn use_key(&self, key: &SecretString);

    /// Sends one event to a DockFlare Master.
    async fn send_event(&self, agent: &AgentId, event: Value) -> Result<(), UplinkError>;

    /// Fetches the queued commands of a DockFlare Master, which forgets them in the same moment.
    async fn fetch_commands(&self, agent: &AgentId) -> Result<Vec<AgentCommand>, UplinkError>;

    /// Sends a batch.
    async fn send_reports(&self, agent: &AgentId, batch: &Reports) -> Result<ReportsTaken, UplinkError>;

    /// Asks the master's desk what tags of images hold; as many answers as questions, of which there are at most 500.
    async fn ask_images(
        &self,
        agent: &AgentId,
        session: &str,
        asks: Vec<Ask>,
    ) -> Result<Vec<Answer>, UplinkError>;

    /// Waits up to `wait` for commands.
    async fn wait_for_commands(
        &self,
        agent: &AgentId,
        session: &str,
        wait: Duration,
    ) -> Result<CommandDelivery, UplinkError>;

    /// Says that a command arrived and is written down.
    async fn acknowledge(
        &self,
        agent: &AgentId,
        session: &str,
        command: &CommandId,
    ) -> Result<(), UplinkError>;

    /// Says how a command ended.
    async fn send_result(
        &self,
        agent: &AgentId,
        session: &str,
        command: &CommandId,
        outcome: &Outcome,
    ) -> Result<(), UplinkError>;

    /// Tells what the host worked out for a command.
    async fn send_plan(&self, agent: &AgentId, session: &str, plan: &PlanTold) -> Result<(), UplinkError>;

    /// Tells of a run that ended.
    async fn send_run(&self, agent: &AgentId, session: &str, run: &RunTold) -> Result<(), UplinkError>;

    /// Writes a tunnel's ingress rules through the master's Cloudflare routes, as `update_tunnel_config` asks.
    async fn put_ingress(&self, tunnel: &TunnelId, ingress: Value) -> Result<(), UplinkError>;
}

/// The answer to a batch of reports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportsTaken {
    /// The number the next batch starts with.
    pub next_seq: u64,
    /// Scanners whose findings the master does not have.
    pub wants: Vec<Kind>,
}

/// An answer to a native poll.
#[derive(Debug, Clone, Default)]
pub struct CommandDelivery {
    /// Oldest first; empty at the end of the wait.
    pub commands: Vec<DeliveredCommand>,
    /// What the master's clock showed, if it said so: expiry is master time.
    pub master_time: Option<DateTime<Utc>>,
}
