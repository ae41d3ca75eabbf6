//! What a caller asks to be written together, and the answer.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::access::{AccessApplicationRow, AccessPolicyRow};
use super::cloudflare::{
    AppliedRule, CallBudgetRow, DnsRecordRow, RouteStatusRow, TunnelConnectorsRow, TunnelStatusRow,
};
use super::containers::ContainerProblem;
use super::drifts::DriftRow;
use super::error::DbError;
use super::events::Recorded;
use super::notifications::{MessageRow, TargetStateRow};
use super::plans::HostPlanRow;
use super::refresh_tokens::RefreshTokenRow;
use super::runs::RunRow;
use super::sessions::SessionRow;
use super::tunnels::OwnedTunnelRow;
use super::update_logs::UpdateLogRow;
use crate::domain::container::Container;
use crate::domain::delivery::Dialect;
use crate::domain::event::{Event, Stream};
use crate::domain::host::Host;
use crate::domain::id::{
    AccountId, AgentId, ContainerId, KeyId, RequestId, SecretId, TargetId, TunnelId, ZoneId,
};
use crate::domain::notify::{Known, Notice, Topic};
use crate::domain::owned::OwnedKind;
use crate::domain::route::{RouteKey, Service};
use crate::domain::tunnel::TunnelReport;
use crate::domain::update::{Change, Changes, Checked, Kind, PlanId};

/// Events and rows that are written together or not at all.
///
/// Events come first, in order, then rows, in order.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What has to be true of agents still; if it is not, nothing is written.
    pub assumes: Vec<Assumption>,
    /// Events for one or more streams.
    pub appends: Vec<Append>,
    /// Rows that are not derived from events.
    pub rows: Vec<RowChange>,
    /// Who decided: an administrator's name, `agent:<id>` or `system`.
    pub by: String,
    /// When, by the master's clock.
    pub at: DateTime<Utc>,
}

impl Batch {
    /// An empty batch of `by` at `at`.
    pub fn new(by: impl Into<String>, at: DateTime<Utc>) -> Self {
        Self { assumes: Vec::new(), appends: Vec::new(), rows: Vec::new(), by: by.into(), at }
    }

    /// Writes nothing if this is not true any more.
    #[must_use]
    pub fn assume(mut self, assumption: Assumption) -> Self {
        self.assumes.push(assumption);
        self
    }

    /// Adds events for `stream`.
    #[must_use]
    pub fn append<E: Into<Event>>(mut self, stream: Stream, expected: Expected, events: Vec<E>) -> Self {
        let events = events.into_iter().map(Into::into).collect();
        self.appends.push(Append { stream, expected, events });
        self
    }

    /// Adds a row.
    #[must_use]
    pub fn row(mut self, change: RowChange) -> Self {
        self.rows.push(change);
        self
    }
}

/// What a writer took for true of an agent while it decided. It decided before the transaction began, and meanwhile
/// a person may have removed the agent or given it another tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assumption {
    /// Nobody decided about the agent since its own stream ended at this version.
    StandsAt {
        /// Which agent.
        agent_id: AgentId,
        /// Version of its stream; anything else is a conflict.
        version: u64,
    },
    /// The key still opens something.
    KeyOpens {
        /// Which key.
        key_id: KeyId,
    },
    /// The agent is on the list, wherever it stands.
    IsListed {
        /// Which agent.
        agent_id: AgentId,
    },
}

/// Events for one stream.
#[derive(Debug, Clone)]
pub struct Append {
    /// Which stream.
    pub stream: Stream,
    /// Where the writer believes it to end.
    pub expected: Expected,
    /// What is added, in order. At most 64 KiB of JSON each.
    pub events: Vec<Event>,
}

/// Where a stream is expected to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// At this version; 0 is a stream without events. Anything else is a conflict.
    Version(u64),
    /// Wherever it ends: the events do not depend on earlier ones.
    Head,
}

/// Who says how a route stands. Both have one row for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaidBy {
    /// Who publishes it.
    Publisher,
    /// Who decides for its agent: that another one has it.
    Mirror,
}

/// A row that is not derived from events. Unchanged rows cost nothing.
#[derive(Debug, Clone)]
pub enum RowChange {
    /// Seals a secret and stores it.
    PutSecret { id: SecretId, purpose: String, plain: SecretString },
    /// Forgets a secret.
    DeleteSecret { id: SecretId },
    /// Signs a browser in; of one administrator only the newest sessions are kept.
    OpenSession(SessionRow),
    /// Signs it out.
    EndSession { id: String },
    /// Stores what renews an agent's access.
    PutRefreshToken(RefreshTokenRow),
    /// Forgets it.
    DeleteRefreshToken { id: String },
    /// Stores what an agent says of a command, in the place of an older word.
    PutUpdateLog(UpdateLogRow),
    /// Notes when agents were last heard; an earlier time than the stored one is ignored.
    TouchAgents(Vec<(AgentId, DateTime<Utc>)>),
    /// Notes from where an agent speaks; `problem` is shown, such as two hosts on one key.
    PutAgentPeer {
        agent_id: AgentId,
        hostname: Option<String>,
        peer: Option<String>,
        problem: Option<String>,
    },
    /// Notes what an agent speaks since it registered.
    PutAgentDialect { agent_id: AgentId, dialect: Dialect },
    /// Stores a container and replaces its label problems.
    PutContainer { agent_id: AgentId, container: Container, problems: Vec<ContainerProblem> },
    /// Forgets a container and its problems.
    DeleteContainer { agent_id: AgentId, container_id: ContainerId },
    /// Makes these the agent's only containers.
    ReplaceContainers { agent_id: AgentId, containers: Vec<(Container, Vec<ContainerProblem>)> },
    /// Stores how the agent sees its tunnel.
    PutTunnelObserved { agent_id: AgentId, report: TunnelReport },
    /// Writes what differs of one kind of a host's updates.
    PutUpdates { agent_id: AgentId, kind: Kind, changes: Vec<Change> },
    /// Stores how a scanner came out.
    PutScan { agent_id: AgentId, checked: Checked },
    /// Stores the machine behind an agent.
    PutHost { agent_id: AgentId, host: Box<Host> },
    /// Stores what would be changed, by its hash.
    PutPlan(Changes),
    /// Stores what a host was asked to work out, and its answer.
    PutHostPlan(Box<HostPlanRow>),
    /// Forgets it.
    DeleteHostPlan { agent_id: AgentId, request_id: RequestId },
    /// Forgets what would be changed, unless somebody worked it out again since.
    DeletePlan { id: PlanId, made_before: DateTime<Utc> },
    /// Stores how a run is.
    PutRun(Box<RunRow>),
    /// Forgets what was observed of a removed agent, but for its dialect: containers, problems, tunnel, route states,
    /// updates, machine, last time, what renews its access, what it said of commands, what was said yes to of its routes.
    ForgetAgent { agent_id: AgentId },
    /// Makes these the tunnel's only rules that are ours.
    PutAppliedRules { tunnel_id: TunnelId, rules: Vec<AppliedRule> },
    /// Stores a DNS record that is ours.
    PutDnsRecord(DnsRecordRow),
    /// Forgets a DNS record.
    DeleteDnsRecord { zone_id: ZoneId, name: String },
    /// Stores a tunnel that is ours, or is being made.
    PutOwnedTunnel(OwnedTunnelRow),
    /// Forgets it.
    DeleteOwnedTunnel { account_id: AccountId, name: String },
    /// Stores what others changed of a thing of ours.
    PutDrift(DriftRow),
    /// Forgets it.
    DeleteDrift { account_id: AccountId, kind: OwnedKind, name: String },
    /// Makes these the only routes of the agent that a person said yes to.
    PutReviewedRoutes { agent_id: AgentId, services: Vec<Service> },
    /// Stores a policy of Access that is ours.
    PutAccessPolicy(AccessPolicyRow),
    /// Forgets it.
    DeleteAccessPolicy { account_id: AccountId, name: String },
    /// Stores an application of Access that is ours.
    PutAccessApplication(AccessApplicationRow),
    /// Forgets it.
    DeleteAccessApplication { account_id: AccountId, domain: String },
    /// Stores what Cloudflare made of a route.
    PutRouteStatus(RouteStatusRow),
    /// Forgets what this one said of it. What others said meanwhile stays.
    DeleteRouteStatus { agent_id: Option<AgentId>, key: RouteKey, said_by: SaidBy },
    /// Stores what Cloudflare made of a tunnel.
    PutTunnelStatus(TunnelStatusRow),
    /// Forgets it, and who served the tunnel.
    DeleteTunnelStatus { tunnel_id: TunnelId },
    /// Stores who serves a tunnel, as Cloudflare lists it.
    PutTunnelConnectors(TunnelConnectorsRow),
    /// Stores how many calls an account may still make.
    PutCallBudget(CallBudgetRow),
    /// Stores how far the record was followed to tell people.
    PutNotificationPlace { seq: u64 },
    /// Stores that something is the case.
    PutCondition(Known),
    /// Stores that it is no more.
    DeleteCondition { topic: Topic, subject: String },
    /// Forgets how far the record was followed and what is the case: nobody is to be told.
    StopTelling,
    /// Stores what waits to be told, if there is such a target.
    PutNotice { target_id: TargetId, notice: Notice },
    /// Forgets it.
    DeleteNotice { target_id: TargetId, topic: Topic, subject: String },
    /// Stores a message, if there is such a target.
    PutMessage(Box<MessageRow>),
    /// Forgets it.
    DeleteMessage { id: String },
    /// Stores how a target is, if there is one; how many things were left out for it stays.
    PutTargetState(TargetStateRow),
    /// Stores how many things were left out for a target since its last message.
    SetLeftOut { target_id: TargetId, left_out: u32 },
    /// Has a target be tried at once.
    RetryTarget { target_id: TargetId },
    /// Forgets what waits for a target, what was sent to it and how it is.
    ForgetTarget { target_id: TargetId },
}

/// A batch that is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The new version of each stream, in the order of the appends.
    pub versions: Vec<(Stream, u64)>,
    /// Global number of the newest event when this batch was done.
    pub last_seq: u64,
    /// Its events, as they were recorded.
    pub recorded: Vec<Recorded>,
}

/// Why a batch was not written, or is not known to be. A refused one left nothing and harms no neighbour.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// Somebody else wrote to the stream: read again, decide again.
    #[error("stream `{stream}` is at version {actual}, not at {expected}; read it again and decide again")]
    VersionConflict {
        /// Which stream.
        stream: Stream,
        /// What the writer believed.
        expected: u64,
        /// What is true.
        actual: u64,
    },
    /// The agent was removed: nothing more is written for it.
    #[error("agent `{agent_id}` is not on the list; nothing is written for it until it registers again")]
    NotListed {
        /// Which agent.
        agent_id: AgentId,
    },
    /// The key was revoked: nobody comes in with it any more.
    #[error("key `{key_id}` was revoked; nothing is written for who came with it")]
    KeyRevoked {
        /// The key.
        key_id: KeyId,
    },
    /// Another agent holds the hostname.
    #[error("hostname `{hostname}` is held by agent `{by}`; it is free again when that agent gives it up")]
    Claimed {
        /// The hostname.
        hostname: String,
        /// Who holds it.
        by: AgentId,
    },
    /// A rule that a person made has the hostname.
    #[error(
        "hostname `{hostname}` has a rule that a person made, in tunnel `{tunnel_id}`; it is free again when that goes"
    )]
    ClaimedByRule {
        /// The hostname.
        hostname: String,
        /// Where the rule is.
        tunnel_id: TunnelId,
    },
    /// Another agent uses the key.
    #[error("key `{key_id}` belongs to agent `{by}`; make another key for this one")]
    KeyTaken {
        /// The key.
        key_id: KeyId,
        /// Whose it is.
        by: AgentId,
    },
    /// Another agent has the tunnel.
    #[error("tunnel `{tunnel_id}` belongs to agent `{by}`; choose another name")]
    TunnelTaken {
        /// The tunnel.
        tunnel_id: TunnelId,
        /// Whose it is.
        by: AgentId,
    },
    /// An event is larger than 64 KiB.
    #[error("event `{kind}` for `{stream}` has {size_bytes} bytes; at most 65536 are stored")]
    TooLarge {
        /// Which stream.
        stream: Stream,
        /// Type of the event.
        kind: String,
        /// Its size.
        size_bytes: usize,
    },
    /// The engine's last word is missing: all of the batch is written, or nothing. Read again before deciding again.
    #[error(
        "the database did not confirm the commit ({reason}), so it is written whole or not at all; read again"
    )]
    Unknown {
        /// What came instead of the confirmation.
        reason: String,
    },
    /// The database failed; nothing was written.
    #[error(transparent)]
    Db(#[from] DbError),
}
