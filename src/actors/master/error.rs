//! What can go wrong when the master is asked for something, once, for pages, API and command line.

use crate::domain::id::{AgentId, ApprovalId, CommandId, GroupId, KeyId, ServiceTokenId, TunnelId, UpdateId};
use crate::domain::route::RouteKey;
use crate::domain::text::{repeated, some_of};
use crate::domain::update::RunId;

/// Why the master did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum MasterError {
    /// No such agent (404).
    // Whatever was taken for an id is not repeated: it may be a key.
    #[error("no agent has this id; `lightship agents` lists them")]
    AgentNotFound(AgentId),
    /// The key belongs to another agent, or the agent to another key (403).
    #[error("the key does not belong to this agent; one key is one agent, so generate another key")]
    KeyMismatch,
    /// The key opens nothing any more (401).
    #[error("the agent key is unknown or was revoked")]
    KeyRevoked,
    /// The registration or refresh token is unknown, used up, over or taken back (401).
    #[error("the token is invalid or has expired")]
    TokenRefused,
    /// No such registration token (404).
    #[error("no registration token is known under what was given; the list of tokens has their ids")]
    TokenNotFound,
    /// The agent cannot be told this (409).
    #[error("`{agent}` cannot be told to look for updates: {reason}")]
    CannotScan {
        /// Who, in words.
        agent: String,
        /// Why.
        reason: &'static str,
    },
    /// The agent cannot be asked for the log of its connector (409).
    #[error("`{agent}` cannot be asked for the log of its connector: {reason}")]
    CannotTellLog {
        /// Who, in words.
        agent: String,
        /// Why.
        reason: &'static str,
    },
    /// The agent cannot be told to ask more often (409).
    #[error("`{agent}` cannot be told how often to check in: {reason}")]
    CannotHurry {
        /// Who, in words.
        agent: String,
        /// Why.
        reason: &'static str,
    },
    /// The agent cannot be asked what it would change, or told to change it (409).
    #[error("`{agent}` cannot be asked: {reason}")]
    CannotPlan {
        /// Who, in words.
        agent: String,
        /// Why.
        reason: &'static str,
    },
    /// No such update (404).
    #[error("no update `{}` is known; `lightship updates list --state any` lists all", repeated(.0.as_str()))]
    UpdateNotFound(UpdateId),
    /// No such question to hosts, or nobody answered it with such a plan (404).
    #[error("{0}; ask anew what would change (`lightship updates plan`)")]
    PlanNotFound(String),
    /// No such run (404).
    #[error(
        "no run `{}` is known of the host `{}`; `lightship runs` lists those that are, and one that was begun on the host \
         itself is told within minutes", repeated(.run), repeated(.agent.as_str())
    )]
    RunNotFound {
        /// On whose host.
        agent: AgentId,
        /// What it was called.
        run: String,
    },
    /// Nothing of it can be stopped any more (409).
    #[error("the run `{0}` is at its end already; `lightship runs show` shows how it came out")]
    RunEnded(RunId),
    /// No such image is held (404).
    #[error("no image with this digest is held; the list of held images has those that are")]
    ImageNotHeld,
    /// No such yes (404).
    #[error("no approval `{}` is known; `lightship updates approvals --all` lists them", repeated(.0.as_str()))]
    ApprovalNotFound(ApprovalId),
    /// The host would change something else, and the yes passes such hosts over (409).
    #[error("this host worked out another plan, and is passed over")]
    PassedOver,
    /// One person's yes is enough for it (409).
    #[error("this yes needs no second one: its hosts were told when it was given")]
    NoSecondNeeded,
    /// A yes cannot be given or taken back as things stand (409).
    #[error("{0}")]
    CannotApprove(String),
    /// No such key (404).
    #[error("no agent key is known {0}")]
    KeyNotFound(String),
    /// Only revoked keys can be deleted (400).
    #[error("agent key `{0}` is still in use; revoke it first")]
    KeyInUse(KeyId),
    /// Every seat of the key is taken (409).
    #[error(
        "`{agent}` came with the key of {owner}, which has no seat left; allow it one more (`lightship keys seats \
         {key_id} NUMBER`), or give `{agent}` a key of its own (roll its key)"
    )]
    NoSeat {
        /// Who has none, in words.
        agent: String,
        /// Which key.
        key_id: KeyId,
        /// Whose key it is, in words.
        owner: String,
    },
    /// More hosts came with the key than a person could want to look at (403).
    #[error("too many hosts came with key `{0}` and wait for a person; give each host a key of its own")]
    KeyCrowded(KeyId),
    /// The native session is over (409): the agent registers again.
    #[error("the session is not open; register again")]
    SessionUnknown,
    /// No such command of this agent (404).
    #[error("command `{0}` is not known")]
    CommandNotFound(CommandId),
    /// The tunnel serves another agent (409).
    #[error("the tunnel belongs to agent `{by}`; choose another name")]
    TunnelTaken {
        /// Who has it.
        by: AgentId,
    },
    /// The tunnel is configured by a file on its host, not by the API (409).
    #[error(
        "tunnel `{0}` is configured locally on its host; choose another name or make it remotely managed"
    )]
    TunnelIsLocal(String),
    /// The tunnel holds what others made, and no person agreed yet (409).
    #[error("{0}")]
    TunnelWaits(String),
    /// Nothing can be done at Cloudflare (409).
    #[error("no Cloudflare API token is set; set `CF_API_TOKEN` and `CF_ACCOUNT_ID`")]
    NoCloudflareToken,
    /// Cloudflare refused or did not answer, in its own words (502).
    #[error("{0}")]
    Cloudflare(String),
    /// The agent has no tunnel yet (400).
    #[error("agent `{0}` is not enrolled; enrol it with a tunnel name first")]
    NotEnrolled(AgentId),
    /// The tunnel is not this agent's (403).
    #[error("the tunnel does not belong to this agent")]
    NotYourTunnel,
    /// The agent's key was revoked (409).
    #[error("agent `{0}` was revoked; it has to register with a new key first")]
    AgentRevoked(AgentId),
    /// Set-up was done before (409).
    #[error("there is an administrator already; sign in, or use `lightship admin reset-password`")]
    AlreadySetUp,
    /// No such administrator (404).
    #[error("administrator `{0}` is not known")]
    AdminNotFound(String),
    /// No such group of Access (404).
    #[error("no access group has this id; `lightship access groups` lists them")]
    GroupNotFound,
    /// A group that is always there (409).
    #[error("the group `{0}` is built in and stays as it is; make one of your own under another id")]
    GroupBuiltIn(GroupId),
    /// Routes ask for the group (409).
    #[error(
        "the group `{id}` protects {}; give their containers another group, or remove it with its routes closed \
         (`--close-routes`, `?close_routes=true`): nobody reaches them then",
        some_of(routes)
    )]
    GroupInUse {
        /// Which group.
        id: GroupId,
        /// The routes.
        routes: Vec<String>,
    },
    /// No such service token, or several (404).
    #[error("{0}")]
    ServiceTokenNotFound(String),
    /// A service token has the name already (409).
    #[error(
        "there is a service token `{}` already ({id}); choose another name, give that one another secret \
         (`lightship access tokens rotate`), or revoke it first",
        repeated(name)
    )]
    TokenNameTaken {
        /// Its name.
        name: String,
        /// Its id.
        id: ServiceTokenId,
    },
    /// Groups name the service token (409).
    #[error(
        "the service token `{}` is named by {} {}; take it out there first",
        repeated(name),
        if groups.len() == 1 { "group" } else { "groups" },
        some_of(&groups.iter().map(ToString::to_string).collect::<Vec<_>>())
    )]
    ServiceTokenInUse {
        /// What it is called.
        name: String,
        /// The groups.
        groups: Vec<GroupId>,
    },
    /// The Cloudflare account has as many of something as it may have (409).
    #[error("{0}")]
    AccountFull(String),
    /// No such target of notifications (404).
    #[error("no target has this id; `lightship notify` lists them")]
    TargetNotFound,
    /// The target did not take the message (502).
    #[error("the message did not arrive at {}: {reason}", repeated(name))]
    TargetFailed {
        /// What people call the target.
        name: String,
        /// What happened, in words that hold no secret.
        reason: String,
    },
    /// No such rule of a person (404).
    #[error("no rule of a person has this hostname and path; `lightship rules` lists them")]
    RuleNotFound,
    /// No such tunnel (404).
    #[error("no tunnel is called `{}`, and none has that id; correct it, or have it made", repeated(.0))]
    TunnelNotFound(String),
    /// An agent has the hostname (409).
    #[error(
        "`{hostname}` belongs to {}, which publishes it for {}; remove it there, or take it over: \
         `--take-over`, or `\"take_over\": true`",
        .by.name,
        .by.containers
    )]
    HostnameHeld {
        /// The name.
        hostname: String,
        /// Who has it.
        by: Box<HostnameHolder>,
    },
    /// Other rules of the hostname are in another tunnel (409).
    #[error(
        "the other rules of `{hostname}` are in tunnel `{tunnel}`, and one name leads to one tunnel; put this one there too, or \
         take them all over: `--take-over`, or `\"take_over\": true`"
    )]
    RuleElsewhere {
        /// The name.
        hostname: String,
        /// One of those rules.
        route: RouteKey,
        /// Its tunnel.
        tunnel_id: TunnelId,
        /// What that is called.
        tunnel: String,
    },
    /// A record that somebody else made leads the hostname to the tunnel that it is to leave (409).
    #[error(
        "`{}` leads to its tunnel by a DNS record that somebody else made, a CNAME to `{target}`; it is never changed here, so \
         nobody would get to the other tunnel; remove that record at Cloudflare, wait until the next comparison \
         has made one here in its place, and repeat this",
        .route.hostname
    )]
    RecordOfOthers {
        /// One of the routes that are to move.
        route: RouteKey,
        /// Where they are now.
        tunnel_id: TunnelId,
        /// Where the record leads.
        target: String,
    },
    /// No account was set for this registry (404).
    #[error("no login is set for this registry; the list of logins has those that are")]
    LoginNotFound,
    /// The question makes no sense as it was put (400).
    #[error("{0}")]
    Invalid(String),
    /// More than one agent may have, or than one decision may say (400).
    #[error("{0}")]
    TooMuch(String),
    /// Too much to do, or the part that does it is restarting (503 with `Retry-After`).
    #[error("the master is busy; try again in a few seconds")]
    Busy,
    /// The disk of the database is full (503 with `Retry-After`).
    #[error(
        "no space is left for the master's database; free some on its host, nothing that was answered with success is lost"
    )]
    StorageFull,
    /// The database failed (500).
    #[error("the database could not be read or written")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whose a hostname is that a person wants to make a rule for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostnameHolder {
    /// The agent.
    pub agent_id: AgentId,
    /// The agent, in words.
    pub name: String,
    /// Its containers behind the name, in words.
    pub containers: String,
    /// One of its routes.
    pub route: RouteKey,
    /// Its tunnel, if it has one.
    pub tunnel_id: Option<TunnelId>,
}

impl MasterError {
    /// Stable, documented identifier that clients may match on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AgentNotFound(_) => "agent_not_found",
            Self::KeyMismatch => "key_mismatch",
            Self::KeyRevoked => "key_revoked",
            Self::TokenRefused => "token_refused",
            Self::TokenNotFound => "token_not_found",
            Self::CannotScan { .. } => "cannot_scan",
            Self::CannotTellLog { .. } => "cannot_tell_log",
            Self::CannotHurry { .. } => "cannot_hurry",
            Self::CannotPlan { .. } => "cannot_plan",
            Self::UpdateNotFound(_) => "update_not_found",
            Self::PlanNotFound(_) => "plan_not_found",
            Self::RunNotFound { .. } => "run_not_found",
            Self::RunEnded(_) => "run_ended",
            Self::ApprovalNotFound(_) => "approval_not_found",
            Self::NoSecondNeeded => "no_second_needed",
            Self::PassedOver => "passed_over",
            Self::ImageNotHeld => "image_not_held",
            Self::CannotApprove(_) => "cannot_approve",
            Self::KeyNotFound(_) => "key_not_found",
            Self::KeyInUse(_) => "key_in_use",
            Self::NoSeat { .. } => "no_seat",
            Self::KeyCrowded(_) => "key_crowded",
            Self::SessionUnknown => "session_unknown",
            Self::CommandNotFound(_) => "command_not_found",
            Self::TunnelTaken { .. } => "tunnel_taken",
            Self::TunnelIsLocal(_) => "tunnel_is_local",
            Self::TunnelWaits(_) => "tunnel_waits",
            Self::NoCloudflareToken => "no_cloudflare_token",
            Self::Cloudflare(_) => "cloudflare_failed",
            Self::NotEnrolled(_) => "not_enrolled",
            Self::NotYourTunnel => "not_your_tunnel",
            Self::AgentRevoked(_) => "agent_revoked",
            Self::AlreadySetUp => "already_set_up",
            Self::AdminNotFound(_) => "admin_not_found",
            Self::GroupNotFound => "group_not_found",
            Self::GroupInUse { .. } => "group_in_use",
            Self::ServiceTokenNotFound(_) => "service_token_not_found",
            Self::TokenNameTaken { .. } => "service_token_exists",
            Self::ServiceTokenInUse { .. } => "service_token_in_use",
            Self::AccountFull(_) => "account_full",
            Self::TargetNotFound => "target_not_found",
            Self::TargetFailed { .. } => "target_failed",
            Self::RuleNotFound => "rule_not_found",
            Self::TunnelNotFound(_) => "tunnel_not_found",
            Self::HostnameHeld { .. } => "hostname_held",
            Self::RuleElsewhere { .. } => "rule_elsewhere",
            Self::RecordOfOthers { .. } => "record_of_others",
            Self::GroupBuiltIn(_) => "group_built_in",
            Self::LoginNotFound => "login_not_found",
            Self::Invalid(_) => "invalid",
            Self::TooMuch(_) => "too_much",
            Self::Busy => "busy",
            Self::StorageFull => "storage_full",
            Self::Database(_) => "database_failed",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Self::Invalid(_) | Self::TooMuch(_) | Self::NotEnrolled(_) | Self::KeyInUse(_) => 400,
            Self::KeyRevoked | Self::TokenRefused => 401,
            Self::KeyMismatch | Self::NotYourTunnel | Self::KeyCrowded(_) => 403,
            Self::AgentNotFound(_)
            | Self::KeyNotFound(_)
            | Self::TokenNotFound
            | Self::GroupNotFound
            | Self::ServiceTokenNotFound(_)
            | Self::RuleNotFound
            | Self::TargetNotFound
            | Self::TunnelNotFound(_)
            | Self::LoginNotFound
            | Self::UpdateNotFound(_)
            | Self::PlanNotFound(_)
            | Self::RunNotFound { .. }
            | Self::ApprovalNotFound(_)
            | Self::ImageNotHeld
            | Self::CommandNotFound(_)
            | Self::AdminNotFound(_) => 404,
            Self::SessionUnknown
            | Self::NoSeat { .. }
            | Self::CannotScan { .. }
            | Self::CannotTellLog { .. }
            | Self::CannotHurry { .. }
            | Self::CannotPlan { .. }
            | Self::CannotApprove(_)
            | Self::RunEnded(_)
            | Self::NoSecondNeeded
            | Self::PassedOver
            | Self::GroupInUse { .. }
            | Self::TokenNameTaken { .. }
            | Self::ServiceTokenInUse { .. }
            | Self::AccountFull(_)
            | Self::HostnameHeld { .. }
            | Self::RuleElsewhere { .. }
            | Self::RecordOfOthers { .. }
            | Self::GroupBuiltIn(_)
            | Self::TunnelTaken { .. }
            | Self::TunnelIsLocal(_)
            | Self::TunnelWaits(_)
            | Self::NoCloudflareToken
            | Self::AlreadySetUp
            | Self::AgentRevoked(_) => 409,
            Self::Database(_) => 500,
            Self::Cloudflare(_) | Self::TargetFailed { .. } => 502,
            Self::Busy | Self::StorageFull => 503,
        }
    }
}
