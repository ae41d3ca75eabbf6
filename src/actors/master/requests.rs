//! What the master is asked and what it answers, for pages, API and command line.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::Serialize;

use crate::domain::command::Command;
pub use crate::domain::delivery::Dialect;
use crate::domain::id::{AgentId, ApprovalId, CommandId, KeyId, RequestId, TokenId, TunnelId};
use crate::domain::order::SignedOrder;
use crate::domain::report::{Report, Reports};
use crate::domain::token::TokenWish;
use crate::domain::update::{ApprovalMode, PlanId, Term};

/// What an agent says of itself when it registers.
#[derive(Debug, Clone)]
pub struct RegisterInput {
    /// The id it had before, if it kept it.
    pub agent_id: Option<AgentId>,
    /// The name it gives itself.
    pub display_name: Option<String>,
    /// The name of its machine: a name to show if it gives itself none, and what tells two hosts apart.
    pub hostname: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Where it connects from.
    pub peer: IpAddr,
    /// True if it asked for the native dialect.
    pub native: bool,
}

impl RegisterInput {
    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        if self.native { Dialect::Native } else { Dialect::V2 }
    }
}

/// The answer to a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// True if the agent is new (201).
    pub created: bool,
    /// Its id, from now on.
    pub agent_id: AgentId,
    /// Its native session, if it asked for one.
    pub session: Option<String>,
}

/// What an agent reports, in one request.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// A DockFlare event: one thing, without a number.
    Plain(Vec<Report>),
    /// A native batch.
    Batch(Reports),
}

impl From<Vec<Report>> for Incoming {
    fn from(items: Vec<Report>) -> Self {
        Self::Plain(items)
    }
}

impl From<Reports> for Incoming {
    fn from(batch: Reports) -> Self {
        Self::Batch(batch)
    }
}

/// A new key. The raw key is shown once, in the answer that creates it.
#[derive(Debug)]
pub struct NewKey {
    /// Its id: what everything else calls it.
    pub key_id: KeyId,
    /// The key itself.
    pub raw: SecretString,
    /// Who it was made for.
    pub owner: String,
    /// Hostnames that its agent may claim; none: any.
    pub hostname_patterns: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a host is given that registered with a registration token.
#[derive(Debug)]
pub struct Joined {
    /// Its id, from now on.
    pub agent_id: AgentId,
    /// Its key.
    pub key_id: KeyId,
    /// True if the agent is new.
    pub created: bool,
    /// The key itself, for an agent of ours. Shown once, in the answer.
    pub key: Option<SecretString>,
    /// What renews the access of a RedFlag agent. Shown once, in the answer.
    pub refresh_token: Option<SecretString>,
    /// Its native session, if it is one of ours.
    pub session: Option<String>,
}

/// Access that was renewed.
#[derive(Debug)]
pub struct Renewed {
    /// The key that the access is for.
    pub key_id: KeyId,
    /// The next refresh token, for a client that can take one. Shown once, in the answer.
    pub refresh_token: Option<SecretString>,
}

/// A new registration token. The text is shown once, in the answer that creates it.
#[derive(Debug)]
pub struct NewToken {
    /// Its id: what everything else calls it.
    pub token_id: TokenId,
    /// The token itself.
    pub raw: SecretString,
    /// What it was made for.
    pub wish: TokenWish,
    /// When it ends.
    pub expires_at: DateTime<Utc>,
}

/// Names a key.
#[derive(Debug, Clone)]
pub enum KeyRef {
    /// By its id.
    Id(KeyId),
    /// By the key itself.
    Raw(SecretString),
}

/// A key that another program made, and that is known here now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenKey {
    /// Its id.
    pub key_id: KeyId,
    /// False if it was known before.
    pub is_new: bool,
}

/// A key that was revoked or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyDropped {
    /// Which key.
    pub key_id: KeyId,
    /// Who it was made for.
    pub owner: String,
    /// Agents that are not heard any more because of it.
    pub affected_agents: Vec<AgentId>,
}

/// The answer to an enrolment.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// The tunnel the agent has now.
    pub tunnel_id: TunnelId,
    /// Its name.
    pub tunnel_name: String,
    /// The command that starts it.
    pub command: Command,
    /// False if the agent had this tunnel already and the command was queued before.
    pub created: bool,
}

/// What went with a removed agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RemovedAgent {
    /// How many routes were withdrawn.
    pub rules_removed: usize,
    /// The command that stops its tunnel, if it had one; its key works until that is fetched, at most a while.
    pub stop_command: Option<CommandId>,
    /// Its tunnel.
    pub tunnel: Option<LeftTunnel>,
}

/// A tunnel whose agent was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftTunnel {
    /// Its name.
    pub name: String,
    /// True if we made it: then it is deleted once no connector is connected. Any other is kept.
    pub is_to_go: bool,
}

/// A command on its way to its agent.
#[derive(Debug, Clone)]
pub struct DeliveredCommand {
    /// The command, as it is recorded.
    pub command: Command,
    /// The token of the tunnel it concerns; goes to the agent that owns the tunnel, and nowhere else.
    pub token: Option<SecretString>,
    /// The order that it carries to a host.
    pub order: Option<SignedOrder>,
}

/// A yes to a plan of a host.
#[derive(Debug, Clone)]
pub struct Yes {
    /// Its name; one yes to many hosts has one name.
    pub approval: ApprovalId,
    /// The question that the plan answers.
    pub request: RequestId,
    /// The plan.
    pub plan: PlanId,
    /// How far it goes.
    pub mode: ApprovalMode,
    /// When it counts.
    pub term: Term,
    /// Who gives it.
    pub by: String,
    /// From where; none over the socket of the master's own host.
    pub from: Option<String>,
}

/// How long a yes counts, how far it goes, and when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long.
    pub lifetime: Duration,
    /// How far.
    pub mode: ApprovalMode,
    /// When hosts are told, and not before; none: at once.
    pub not_before: Option<DateTime<Utc>>,
}

impl From<Duration> for Terms {
    fn from(lifetime: Duration) -> Self {
        Self { lifetime, mode: ApprovalMode::Exact, not_before: None }
    }
}

/// What a person decides about a plan.
#[derive(Debug, Clone)]
pub enum Approval {
    /// Yes.
    Give(Yes),
    /// A second person's yes.
    Second { approval: ApprovalId, by: String },
    /// It is taken back.
    Withdraw { approval: ApprovalId, by: String },
    /// What was to come of the answer to this command at a later time is taken back.
    CallOff { command: CommandId, by: String },
}
