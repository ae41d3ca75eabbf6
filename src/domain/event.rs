//! Decisions, as they are written down for good. No event holds a secret.
//!
//! A stream has one owner: `keys` and `agent/<id>` belong to the registrar, `agent/<id>/commands` to that
//! agent's dispatcher, `agent/<id>/routes` to its container mirror, `agent/<id>/presence` to its shard,
//! `agent/<id>/updates` to its update coordinator, `tunnel/<id>` and `account/<id>` to the Cloudflare account, `admin`,
//! `access`, `rules`, `notifications` and `token/<id>` to the registrar.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::access::Group;
use super::command::{CommandKind, Outcome};
use super::drift::DriftState;
use super::id::{
    AccountId, AgentId, ApprovalId, CommandId, ContainerId, GroupId, KeyId, RequestId, SecretId,
    ServiceTokenId, TargetId, TokenId, TunnelId, ZoneId,
};
use super::machine::OtherMachine;
use super::manual_rule::ManualRule;
use super::notify::Target;
use super::order::{Endorsement, PublicKey};
use super::owned::OwnedKind;
use super::role::Role;
use super::route::{Release, RouteKey, Service};
use super::token::TokenEvent;
use super::update::{ApprovalMode, Decision, FailedImage, Kind, PlanId, RunId, RunOutcome};

/// Name of a stream of events.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stream(pub String);

impl Stream {
    /// Agent keys.
    pub fn keys() -> Self {
        Self("keys".into())
    }

    /// Administrators and settings.
    pub fn admin() -> Self {
        Self("admin".into())
    }

    /// Who an agent is and which tunnel it has.
    pub fn agent(id: &AgentId) -> Self {
        Self(format!("agent/{id}"))
    }

    /// An agent's commands.
    pub fn commands(id: &AgentId) -> Self {
        Self(format!("agent/{id}/commands"))
    }

    /// An agent's routes.
    pub fn routes(id: &AgentId) -> Self {
        Self(format!("agent/{id}/routes"))
    }

    /// What people decided about an agent's updates.
    pub fn updates(id: &AgentId) -> Self {
        Self(format!("agent/{id}/updates"))
    }

    /// When an agent went and came back.
    pub fn presence(id: &AgentId) -> Self {
        Self(format!("agent/{id}/presence"))
    }

    /// What a person decided about a tunnel, and what was given up of it.
    pub fn tunnel(id: &TunnelId) -> Self {
        Self(format!("tunnel/{id}"))
    }

    /// What others changed of ours in an account, what became ours there, and what a person said yes to.
    pub fn account(id: &AccountId) -> Self {
        Self(format!("account/{id}"))
    }

    /// Who may reach what is published.
    pub fn access() -> Self {
        Self("access".into())
    }

    /// Rules that people make.
    pub fn rules() -> Self {
        Self("rules".into())
    }

    /// Where people are told what happened.
    pub fn notifications() -> Self {
        Self("notifications".into())
    }

    /// What became of a registration token.
    pub fn token(id: &TokenId) -> Self {
        Self(format!("token/{id}"))
    }
}

/// A stream of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentStream {
    /// [`Stream::agent`].
    Standing,
    /// [`Stream::commands`].
    Commands,
    /// [`Stream::routes`].
    Routes,
}

impl Stream {
    /// Says which of the streams of `id` it is; none if it is another one.
    pub fn topic(&self, id: &AgentId) -> Option<AgentStream> {
        match self.0.strip_prefix("agent/")?.strip_prefix(id.as_str())? {
            "" => Some(AgentStream::Standing),
            "/commands" => Some(AgentStream::Commands),
            "/routes" => Some(AgentStream::Routes),
            _ => None,
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A decision, by what it is about. In the database it is its topic's event, whose tag is the event's type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "an event is written at once and not kept")]
pub enum Event {
    /// Agent keys.
    Key(KeyEvent),
    /// Who an agent is, where it stands and whether it is heard.
    Agent(AgentEvent),
    /// An agent's commands.
    Command(CommandEvent),
    /// An agent's routes.
    Route(RouteEvent),
    /// An agent's updates.
    Update(UpdateEvent),
    /// Tunnels and what is in them.
    Tunnel(TunnelEvent),
    /// Administrators and settings.
    Admin(AdminEvent),
    /// Registration tokens.
    Token(TokenEvent),
    /// Who may reach what is published.
    Access(AccessEvent),
    /// Rules that people make.
    Rule(RuleEvent),
    /// Where people are told what happened.
    Notify(NotifyEvent),
    /// What is ours at Cloudflare.
    Owned(OwnedEvent),
}

/// Decisions about agent keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum KeyEvent {
    /// A key was made; `sha256` is the hex digest of 32 random bytes in base64url.
    #[serde(rename = "key_generated")]
    Generated { key_id: KeyId, owner: String, sha256: String, rolled_from: Option<KeyId> },
    /// Agents that use the key may claim these hostnames only; none: any.
    #[serde(rename = "key_limited")]
    Limited { key_id: KeyId, hostname_patterns: Vec<String> },
    /// So many agents may be enrolled with the key.
    #[serde(rename = "key_seated")]
    Seated { key_id: KeyId, seats: u32 },
    /// A key no longer opens anything.
    #[serde(rename = "key_revoked")]
    Revoked { key_id: KeyId },
    /// A revoked key was dropped from the list.
    #[serde(rename = "key_deleted")]
    Deleted { key_id: KeyId },
}

/// Decisions about who an agent is and where it stands, and whether it is heard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AgentEvent {
    /// An agent was heard for the first time; it waits for a person.
    #[serde(rename = "agent_registered")]
    Registered {
        agent_id: AgentId,
        key_id: KeyId,
        display_name: String,
        version: Option<String>,
        key_owner: String,
        /// True if the key is another agent's, which is heard from elsewhere: a second host has it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shares_key: bool,
    },
    /// An agent came with another version or another name of its own.
    #[serde(rename = "agent_updated")]
    Updated { agent_id: AgentId, display_name: String, version: Option<String> },
    /// A person named the agent; its own name no longer counts.
    #[serde(rename = "agent_renamed")]
    Renamed { agent_id: AgentId, display_name: String },
    /// An agent may claim these hostnames only, whatever its key permits; none: any.
    #[serde(rename = "agent_limited")]
    Limited { agent_id: AgentId, hostname_patterns: Vec<String> },
    /// An agent may publish, though it has no tunnel yet: without a Cloudflare token its routes are planned.
    #[serde(rename = "agent_approved")]
    Approved { agent_id: AgentId },
    /// An agent got a tunnel; its routes may be published.
    #[serde(rename = "agent_enrolled")]
    Enrolled {
        agent_id: AgentId,
        account_id: AccountId,
        tunnel_id: TunnelId,
        tunnel_name: String,
        secret_id: SecretId,
        /// Ids of the connectors that served the tunnel already; none if Cloudflare did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connectors: Option<Vec<String>>,
    },
    /// The names of an agent that was just enrolled stay in the tunnel that it had until the new one's connector is seen.
    #[serde(rename = "agent_moving")]
    Moving { agent_id: AgentId, from: TunnelId, to: TunnelId },
    /// That connector was seen, or a person did not want to wait: the names move.
    #[serde(rename = "agent_moved")]
    Moved { agent_id: AgentId, from: TunnelId, to: TunnelId },
    /// An agent's key was revoked: it is not heard until it has a new one.
    #[serde(rename = "agent_revoked")]
    Revoked { agent_id: AgentId, key_id: KeyId },
    /// An agent got another key.
    #[serde(rename = "agent_key_rolled")]
    KeyRolled { agent_id: AgentId, key_id: KeyId },
    /// An agent no longer uses a key that others use too.
    #[serde(rename = "agent_left_key")]
    LeftKey { agent_id: AgentId, key_id: KeyId },
    /// Somebody came with what renewed the agent's access before it was replaced: it has a copy, so nothing that came from
    /// it opens anything any more.
    #[serde(rename = "agent_credential_reused")]
    CredentialReused { agent_id: AgentId },
    /// An agent that a person said yes to reports from another machine than before: it waits for a person again, and what
    /// it published stays as it is.
    #[serde(rename = "agent_machine_changed")]
    MachineChanged {
        agent_id: AgentId,
        #[serde(flatten)]
        seen: OtherMachine,
    },
    /// An agent was taken off the list; routes and tunnel go with it.
    #[serde(rename = "agent_removed")]
    Removed { agent_id: AgentId },
    /// Nothing was heard from an agent for the time-out.
    #[serde(rename = "agent_offline")]
    Offline { agent_id: AgentId, last_seen: DateTime<Utc> },
    /// It is heard again.
    #[serde(rename = "agent_back")]
    Back { agent_id: AgentId },
}

/// What becomes of an agent's commands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum CommandEvent {
    /// A command waits for its agent.
    #[serde(rename = "command_queued")]
    Queued { agent_id: AgentId, command_id: CommandId, command: CommandKind, expires_at: DateTime<Utc> },
    /// A command was handed over; written before the answer was sent.
    #[serde(rename = "command_delivered")]
    Delivered { agent_id: AgentId, command_id: CommandId, attempt: u32, lease_until: DateTime<Utc> },
    /// The agent has it.
    #[serde(rename = "command_acknowledged")]
    Acknowledged { agent_id: AgentId, command_id: CommandId },
    /// The agent is at it, and told how far it is: it is left alone for longer.
    #[serde(rename = "command_renewed")]
    Renewed { agent_id: AgentId, command_id: CommandId, lease_until: DateTime<Utc> },
    /// It goes back to the queue: nobody confirmed it in time.
    #[serde(rename = "command_requeued")]
    Requeued { agent_id: AgentId, command_id: CommandId },
    /// The wall clock leapt, and its life moves with it.
    #[serde(rename = "command_postponed")]
    Postponed { agent_id: AgentId, command_id: CommandId, expires_at: DateTime<Utc> },
    /// It came to its end.
    #[serde(rename = "command_finished")]
    Finished { agent_id: AgentId, command_id: CommandId, outcome: Outcome },
    /// It was not done in time, or nobody ever confirmed it.
    #[serde(rename = "command_expired")]
    Expired { agent_id: AgentId, command_id: CommandId },
}

/// What becomes of an agent's routes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RouteEvent {
    /// A container's labels claimed a route, and nobody else held it.
    #[serde(rename = "route_claimed")]
    Claimed { agent_id: AgentId, container_id: ContainerId, container_name: String, service: Service },
    /// Its labels ask for something else now, or another container carries it.
    #[serde(rename = "route_changed")]
    Changed { agent_id: AgentId, container_id: ContainerId, container_name: String, service: Service },
    /// Its container is gone; the grace period runs. `explained` if the Engine said itself that the container ended,
    /// and it was not only missing from a list.
    #[serde(rename = "route_lost")]
    Lost {
        agent_id: AgentId,
        route: RouteKey,
        due_at: DateTime<Utc>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        explained: bool,
    },
    /// Its container is back.
    #[serde(rename = "route_restored")]
    Restored { agent_id: AgentId, route: RouteKey, container_id: ContainerId },
    /// Too much would go at once: it stays until a person confirms.
    #[serde(rename = "route_held")]
    Held { agent_id: AgentId, route: RouteKey },
    /// It is withdrawn; the name is free for others.
    #[serde(rename = "route_released")]
    Released {
        agent_id: AgentId,
        route: RouteKey,
        #[serde(default, skip_serializing_if = "Release::is_unexplained")]
        why: Release,
    },
}

/// Decisions about updates; what scans find is no decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum UpdateEvent {
    /// A person decided what is to become of a package or image of a host.
    #[serde(rename = "update_decided")]
    Decided {
        agent_id: AgentId,
        kind: Kind,
        name: String,
        #[serde(flatten)]
        decision: Decision,
    },
    /// That counts no more.
    #[serde(rename = "update_reconsidered")]
    Reconsidered { agent_id: AgentId, kind: Kind, name: String },
    /// A person said yes to what the host would change. `number` is the order's place among those for the host.
    #[serde(rename = "update_plan_approved")]
    PlanApproved {
        agent_id: AgentId,
        approval_id: ApprovalId,
        request_id: RequestId,
        plan_id: PlanId,
        number: u64,
        expires_at: DateTime<Utc>,
        /// The address that it came from; none over the socket of the master's own host.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        given_from: Option<String>,
        /// True if the yes of a second person is needed before the host is told.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        needs_second: bool,
        /// How far the yes goes.
        #[serde(default, skip_serializing_if = "ApprovalMode::is_exact")]
        mode: ApprovalMode,
        /// The plan that the person looked at, if the host's own is another one in its scope.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approved_plan: Option<PlanId>,
        /// The host is told at this time, and not before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<DateTime<Utc>>,
    },
    /// Everybody said yes who has to, and the time has not come yet.
    #[serde(rename = "update_plan_scheduled")]
    PlanScheduled { agent_id: AgentId, approval_id: ApprovalId },
    /// The plan no longer held on the host, and what it would change now is in the scope of the yes: that is ordered in its
    /// place, once. `command_id` carries it.
    #[serde(rename = "update_plan_reissued")]
    PlanReissued {
        agent_id: AgentId,
        approval_id: ApprovalId,
        plan_id: PlanId,
        number: u64,
        command_id: CommandId,
    },
    /// The host is told: with the first yes, with the second person's, or when the time came. `command_id` carries it.
    #[serde(rename = "update_plan_ordered")]
    PlanOrdered {
        agent_id: AgentId,
        approval_id: ApprovalId,
        command_id: CommandId,
        /// The order's place among those for the host, if others may have come between it and the first yes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        number: Option<u64>,
    },
    /// The yes counts no more, and nothing came of it: it was taken back, it is over, or the host refused.
    #[serde(rename = "update_plan_withdrawn")]
    PlanWithdrawn { agent_id: AgentId, approval_id: ApprovalId, reason: String },
    /// A run on the host ended. Without an approval it was begun on the host itself.
    #[serde(rename = "update_run_ended")]
    RunEnded {
        agent_id: AgentId,
        run_id: RunId,
        plan_id: PlanId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        approval_id: Option<ApprovalId>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undoes: Option<RunId>,
        /// Who said so, as the host tells it.
        begun_by: String,
        started_at: DateTime<Utc>,
        ended_at: DateTime<Utc>,
        #[serde(flatten)]
        outcome: RunOutcome,
    },
    /// An image failed on the host and was put back: it is held on all hosts until a person lets it go.
    #[serde(rename = "update_image_failed")]
    ImageFailed {
        agent_id: AgentId,
        run_id: RunId,
        #[serde(flatten)]
        image: FailedImage,
    },
}

/// Decisions about a tunnel and what is in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum TunnelEvent {
    /// A person agreed to what `foreign` rules were found in a tunnel; we may write to it.
    #[serde(rename = "tunnel_confirmed")]
    Confirmed { tunnel_id: TunnelId, by: String },
    /// A tunnel that no agent of ours has is known from now on: rules of people are in it.
    #[serde(rename = "tunnel_added")]
    Added { tunnel_id: TunnelId, account_id: AccountId, tunnel_name: String, secret_id: SecretId },
    /// The tunnel that an agent was enrolled with, or rules are in, was not there before: we made it.
    #[serde(rename = "tunnel_made")]
    Made { tunnel_id: TunnelId },
    /// A tunnel of our making was deleted: its agent is removed, and nobody is connected to it.
    #[serde(rename = "tunnel_deleted")]
    Deleted { tunnel_id: TunnelId },
    /// A DNS record of ours cannot be deleted, because its zone left the account: it is no longer counted as ours.
    #[serde(rename = "dns_record_forgotten")]
    RecordForgotten { tunnel_id: TunnelId, zone_id: ZoneId, name: String },
}

/// Decisions about administrators, settings, accounts at registries and the key that orders are signed with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AdminEvent {
    /// The first administrator, or another one.
    #[serde(rename = "admin_created")]
    Created {
        name: String,
        #[serde(default, skip_serializing_if = "Role::is_admin")]
        role: Role,
    },
    /// An administrator has another password; the hash is in table `secrets`.
    #[serde(rename = "admin_password_changed")]
    PasswordChanged { name: String },
    /// A setting was changed on the page or over the API.
    #[serde(rename = "setting_changed")]
    SettingChanged { key: String, value: serde_json::Value },
    /// The master has this account at a registry from now on; its password is in table `secrets`.
    #[serde(rename = "registry_login_set")]
    RegistryLoginSet { registry: String, account: String },
    /// It has none there any more.
    #[serde(rename = "registry_login_removed")]
    RegistryLoginRemoved { registry: String },
    /// An image that failed may be tried again.
    #[serde(rename = "image_let_go")]
    ImageLetGo { digest: String },
    /// Orders to hosts are signed with this key from now on; its secret half is in table `secrets`.
    #[serde(rename = "order_key_set")]
    OrderKeySet {
        key: PublicKey,
        /// The word of the key before it, by which hosts know that it follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        endorsed: Option<Endorsement>,
    },
}

/// Decisions about who may reach what is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum AccessEvent {
    /// The group is this from now on.
    #[serde(rename = "access_group_set")]
    GroupSet { group: Group },
    /// There is no such group any more.
    #[serde(rename = "access_group_removed")]
    GroupRemoved { group_id: GroupId },
    /// A service token was made at Cloudflare; its secret is nobody's here.
    #[serde(rename = "access_token_created")]
    TokenCreated { token_id: ServiceTokenId, name: String },
    /// It was given another secret.
    #[serde(rename = "access_token_rotated")]
    TokenRotated {
        token_id: ServiceTokenId,
        name: String,
        /// True if nobody heard whether it was.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_unconfirmed: bool,
    },
    /// It was deleted: programs that have it come in no more.
    #[serde(rename = "access_token_revoked")]
    TokenRevoked { token_id: ServiceTokenId, name: String },
}

/// Decisions about rules that people make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RuleEvent {
    /// The rule is this from now on.
    #[serde(rename = "rule_set")]
    Set {
        #[serde(flatten)]
        rule: Box<ManualRule>,
    },
    /// There is no such rule any more, or it is in another tunnel from now on.
    #[serde(rename = "rule_removed")]
    Removed { tunnel_id: TunnelId, route: RouteKey },
}

/// Decisions about where people are told what happened. What opens a target is in table `secrets`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum NotifyEvent {
    /// The target is this from now on.
    #[serde(rename = "notify_target_set")]
    TargetSet { target: Box<Target> },
    /// There is no such target any more.
    #[serde(rename = "notify_target_removed")]
    TargetRemoved { target_id: TargetId },
}

/// What others changed of ours at Cloudflare, what became ours there, and what a person said yes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum OwnedEvent {
    /// Somebody changed something of ours, or deleted it: `found` is what it is, `wanted` what it should be.
    #[serde(rename = "owned_drifted")]
    Drifted {
        account_id: AccountId,
        tunnel_id: TunnelId,
        kind: OwnedKind,
        name: String,
        wanted: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        found: Option<String>,
        /// Whether it is put right, or waits for a person.
        state: DriftState,
    },
    /// A person has what others changed in a tunnel put right.
    #[serde(rename = "owned_restored")]
    Restored { account_id: AccountId, tunnel_id: TunnelId, kind: OwnedKind, name: String },
    /// A person made something of others ours: it goes with its route.
    #[serde(rename = "owned_adopted")]
    Adopted {
        account_id: AccountId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tunnel_id: Option<TunnelId>,
        kind: OwnedKind,
        name: String,
        /// Its id at Cloudflare.
        id: String,
        /// What differs from then on.
        changes: Vec<String>,
    },
    /// A person said yes to what the labels on a host ask for; the routes that differ from what was published.
    #[serde(rename = "owned_reviewed")]
    Reviewed {
        account_id: AccountId,
        agent_id: AgentId,
        published: Vec<String>,
        changed: Vec<String>,
        withdrawn: Vec<String>,
    },
}

impl From<KeyEvent> for Event {
    fn from(event: KeyEvent) -> Self {
        Self::Key(event)
    }
}

impl From<AgentEvent> for Event {
    fn from(event: AgentEvent) -> Self {
        Self::Agent(event)
    }
}

impl From<CommandEvent> for Event {
    fn from(event: CommandEvent) -> Self {
        Self::Command(event)
    }
}

impl From<RouteEvent> for Event {
    fn from(event: RouteEvent) -> Self {
        Self::Route(event)
    }
}

impl From<UpdateEvent> for Event {
    fn from(event: UpdateEvent) -> Self {
        Self::Update(event)
    }
}

impl From<TunnelEvent> for Event {
    fn from(event: TunnelEvent) -> Self {
        Self::Tunnel(event)
    }
}

impl From<AdminEvent> for Event {
    fn from(event: AdminEvent) -> Self {
        Self::Admin(event)
    }
}

impl From<AccessEvent> for Event {
    fn from(event: AccessEvent) -> Self {
        Self::Access(event)
    }
}

impl From<RuleEvent> for Event {
    fn from(event: RuleEvent) -> Self {
        Self::Rule(event)
    }
}

impl From<NotifyEvent> for Event {
    fn from(event: NotifyEvent) -> Self {
        Self::Notify(event)
    }
}

impl From<OwnedEvent> for Event {
    fn from(event: OwnedEvent) -> Self {
        Self::Owned(event)
    }
}

impl From<TokenEvent> for Event {
    fn from(event: TokenEvent) -> Self {
        Self::Token(event)
    }
}

impl<'de> Deserialize<'de> for Event {
    /// Reads the topic's event that the type belongs to: types begin with the word of their topic.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        let topic = kind.split('_').next().unwrap_or_default();
        let read = match topic {
            "key" => KeyEvent::deserialize(value).map(Self::Key),
            "agent" => AgentEvent::deserialize(value).map(Self::Agent),
            "command" => CommandEvent::deserialize(value).map(Self::Command),
            "route" => RouteEvent::deserialize(value).map(Self::Route),
            "update" => UpdateEvent::deserialize(value).map(Self::Update),
            "tunnel" | "dns" => TunnelEvent::deserialize(value).map(Self::Tunnel),
            "admin" | "setting" | "registry" | "order" | "image" => {
                AdminEvent::deserialize(value).map(Self::Admin)
            }
            "access" => AccessEvent::deserialize(value).map(Self::Access),
            "rule" => RuleEvent::deserialize(value).map(Self::Rule),
            "notify" => NotifyEvent::deserialize(value).map(Self::Notify),
            "owned" => OwnedEvent::deserialize(value).map(Self::Owned),
            "token" => TokenEvent::deserialize(value).map(Self::Token),
            _ => return Err(D::Error::custom(format!("`{kind}` is no type of event"))),
        };
        read.map_err(D::Error::custom)
    }
}

impl Event {
    /// Returns the agent that it is about, if it is about one.
    pub fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Agent(event) => Some(event.agent()),
            Self::Command(event) => Some(event.agent()),
            Self::Route(event) => Some(event.agent()),
            Self::Update(event) => Some(event.agent()),
            Self::Key(_)
            | Self::Tunnel(_)
            | Self::Admin(_)
            | Self::Token(_)
            | Self::Access(_)
            | Self::Rule(_)
            | Self::Notify(_) => None,
            Self::Owned(event) => match event {
                OwnedEvent::Reviewed { agent_id, .. } => Some(agent_id),
                OwnedEvent::Drifted { .. } | OwnedEvent::Restored { .. } | OwnedEvent::Adopted { .. } => None,
            },
        }
    }
}

impl AgentEvent {
    /// Returns whose it is.
    pub fn agent(&self) -> &AgentId {
        match self {
            Self::Registered { agent_id, .. }
            | Self::Updated { agent_id, .. }
            | Self::Renamed { agent_id, .. }
            | Self::Limited { agent_id, .. }
            | Self::Approved { agent_id, .. }
            | Self::Enrolled { agent_id, .. }
            | Self::Moving { agent_id, .. }
            | Self::Moved { agent_id, .. }
            | Self::Revoked { agent_id, .. }
            | Self::KeyRolled { agent_id, .. }
            | Self::LeftKey { agent_id, .. }
            | Self::CredentialReused { agent_id }
            | Self::MachineChanged { agent_id, .. }
            | Self::Removed { agent_id, .. }
            | Self::Offline { agent_id, .. }
            | Self::Back { agent_id, .. } => agent_id,
        }
    }
}

impl CommandEvent {
    /// Returns the command that it is about.
    pub fn command(&self) -> &CommandId {
        match self {
            Self::Queued { command_id, .. }
            | Self::Delivered { command_id, .. }
            | Self::Acknowledged { command_id, .. }
            | Self::Renewed { command_id, .. }
            | Self::Requeued { command_id, .. }
            | Self::Postponed { command_id, .. }
            | Self::Finished { command_id, .. }
            | Self::Expired { command_id, .. } => command_id,
        }
    }

    /// Returns whose it is.
    pub fn agent(&self) -> &AgentId {
        match self {
            Self::Queued { agent_id, .. }
            | Self::Delivered { agent_id, .. }
            | Self::Acknowledged { agent_id, .. }
            | Self::Renewed { agent_id, .. }
            | Self::Requeued { agent_id, .. }
            | Self::Postponed { agent_id, .. }
            | Self::Finished { agent_id, .. }
            | Self::Expired { agent_id, .. } => agent_id,
        }
    }
}

impl RouteEvent {
    /// Returns the route that it is about.
    pub fn route(&self) -> &RouteKey {
        match self {
            Self::Claimed { service, .. } | Self::Changed { service, .. } => &service.key,
            Self::Lost { route, .. }
            | Self::Restored { route, .. }
            | Self::Held { route, .. }
            | Self::Released { route, .. } => route,
        }
    }

    /// Returns whose it is.
    pub fn agent(&self) -> &AgentId {
        match self {
            Self::Claimed { agent_id, .. }
            | Self::Changed { agent_id, .. }
            | Self::Lost { agent_id, .. }
            | Self::Restored { agent_id, .. }
            | Self::Held { agent_id, .. }
            | Self::Released { agent_id, .. } => agent_id,
        }
    }
}

impl RuleEvent {
    /// Returns the route that it is about.
    pub fn route(&self) -> &RouteKey {
        match self {
            Self::Set { rule } => &rule.spec.key,
            Self::Removed { route, .. } => route,
        }
    }

    /// Returns the tunnel that the rule is or was in.
    pub fn tunnel(&self) -> &TunnelId {
        match self {
            Self::Set { rule } => &rule.tunnel_id,
            Self::Removed { tunnel_id, .. } => tunnel_id,
        }
    }
}

impl UpdateEvent {
    /// Returns whose it is.
    pub fn agent(&self) -> &AgentId {
        match self {
            Self::Decided { agent_id, .. }
            | Self::Reconsidered { agent_id, .. }
            | Self::PlanApproved { agent_id, .. }
            | Self::PlanScheduled { agent_id, .. }
            | Self::PlanOrdered { agent_id, .. }
            | Self::PlanReissued { agent_id, .. }
            | Self::PlanWithdrawn { agent_id, .. }
            | Self::RunEnded { agent_id, .. }
            | Self::ImageFailed { agent_id, .. } => agent_id,
        }
    }
}

impl KeyEvent {
    /// Returns the key that it is about.
    pub fn key(&self) -> &KeyId {
        match self {
            Self::Generated { key_id, .. }
            | Self::Limited { key_id, .. }
            | Self::Seated { key_id, .. }
            | Self::Revoked { key_id, .. }
            | Self::Deleted { key_id, .. } => key_id,
        }
    }
}

/// The types of all events there are, as their readers list them to somebody who wrote another one.
pub fn all_types() -> std::collections::BTreeSet<String> {
    fn of<T: serde::de::DeserializeOwned + fmt::Debug>() -> Vec<String> {
        let read = serde_json::from_value::<T>(serde_json::json!({ "type": "" }));
        let error = read.err().map(|error| error.to_string()).unwrap_or_default();
        let listed = error.split_once("expected one of").or(error.split_once("expected"));
        let (_, listed) = listed.unwrap_or_default();
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
    let topics = [
        of::<KeyEvent>(),
        of::<AgentEvent>(),
        of::<CommandEvent>(),
        of::<RouteEvent>(),
        of::<UpdateEvent>(),
        of::<TunnelEvent>(),
        of::<AdminEvent>(),
        of::<TokenEvent>(),
        of::<AccessEvent>(),
        of::<RuleEvent>(),
        of::<NotifyEvent>(),
        of::<OwnedEvent>(),
    ];
    topics.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED: &str = include_str!("../../tests/fixtures/events.jsonl");

    #[test]
    fn every_type_of_event_is_in_the_file_of_stored_ones() {
        let types = STORED.lines().map(|stored| {
            let stored: Value = serde_json::from_str(stored).unwrap();
            stored["type"].as_str().unwrap().to_owned()
        });
        assert_eq!(types.collect::<std::collections::BTreeSet<_>>(), all_types());
    }

    #[test]
    fn a_type_that_nobody_knows_is_named() {
        for (kind, words) in [("route_bent", "route_bent"), ("moon_rose", "`moon_rose` is no type of event")]
        {
            let error = serde_json::from_value::<Event>(serde_json::json!({ "type": kind })).unwrap_err();
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn every_event_is_read_and_written_as_it_was_stored_from_the_beginning() {
        for stored in STORED.lines() {
            let event: Event =
                serde_json::from_str(stored).unwrap_or_else(|error| panic!("{error}: {stored}"));
            assert_eq!(serde_json::to_string(&event).unwrap(), stored);
        }
    }
}
