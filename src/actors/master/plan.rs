//! What would be done at Cloudflare, and what was done: for `lightship plan`, `lightship apply` and the page.

use serde::Serialize;

use crate::domain::id::{AgentId, TunnelId};

/// One call's worth of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A rule is added to a tunnel.
    AddRule,
    /// A rule of ours points elsewhere.
    ChangeRule,
    /// A rule of ours goes.
    RemoveRule,
    /// A DNS record is made.
    CreateDns,
    /// A DNS record of ours points elsewhere.
    ChangeDns,
    /// A DNS record of ours goes.
    DeleteDns,
}

/// A change that is due.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedChange {
    /// What happens.
    pub kind: ChangeKind,
    /// Whose route it is, if anybody's.
    pub agent_id: Option<AgentId>,
    /// Name of the tunnel it concerns.
    pub tunnel_name: String,
    /// Public name.
    pub hostname: String,
    /// Path, empty for all.
    pub path: String,
    /// The rest, in words: a service, a record's content.
    pub detail: String,
}

/// A tunnel that holds somebody else's rules and waits for a person, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WaitingTunnel {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Its name.
    pub tunnel_name: String,
    /// Whose it is.
    pub agent_id: Option<AgentId>,
    /// What was found in it, in words; nothing of it is touched.
    pub foreign: Vec<String>,
}

/// A route that is not as it should be, or a removal that is held, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockedChange {
    /// Whose route it is.
    pub agent_id: Option<AgentId>,
    /// Public name.
    pub hostname: String,
    /// Path, empty for all.
    pub path: String,
    /// Why, and what to do about it.
    pub reason: String,
}

/// What would be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// False without a Cloudflare token: nothing of it is carried out.
    pub connected: bool,
    /// What is due, in order.
    pub changes: Vec<PlannedChange>,
    /// Tunnels that wait for a person.
    pub waiting: Vec<WaitingTunnel>,
    /// Routes that are blocked.
    pub blocked: Vec<BlockedChange>,
    /// What Cloudflare refused or did not answer for, in its words; it is tried again by itself.
    pub failed: Vec<BlockedChange>,
    /// Removals that the guard holds until a person confirms.
    pub held: Vec<BlockedChange>,
}

impl Plan {
    /// True if there is nothing to do and nothing to confirm.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.waiting.is_empty() && self.held.is_empty() && self.failed.is_empty()
    }
}

/// What was done by an `apply`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ApplyReport {
    /// True if every call was made before the time was up; else it goes on by itself.
    pub finished: bool,
    /// What was due when it was ordered.
    pub planned: Vec<PlannedChange>,
    /// Tunnels that a person confirmed by it.
    pub confirmed_tunnels: Vec<TunnelId>,
    /// Routes whose removal a person confirmed by it.
    pub released_routes: usize,
    /// Routes that are blocked, and why.
    pub blocked: Vec<BlockedChange>,
    /// What Cloudflare refused or did not answer for, in its words; it is tried again by itself.
    pub failed: Vec<BlockedChange>,
}
