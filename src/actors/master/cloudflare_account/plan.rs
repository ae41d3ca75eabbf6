//! What would be done at Cloudflare, and what was done: for `lightship plan`, `lightship apply` and the page.
//!
//! A plan is made from the database alone: nothing is asked and nothing is changed.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use super::picture::{Snapshot, leads_to};
use crate::db::{Db, DbError, agents, cloudflare, routes, tunnels};
use crate::domain::agent::AgentStatus;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::ingress::IngressRule;
use crate::domain::publish::{HELD, PublicState, PublishSettings, TunnelState, held_back};
use crate::domain::route::{Route, RouteKey, RouteState};
use crate::domain::wanted::{KnownZones, Wanted};

/// Stands where the name of a tunnel will be.
const NO_TUNNEL_YET: &str = "(a new one)";
/// Tunnels read at a time.
const PAGE: u64 = 500;

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

/// Returns what is due. `connected` says whether anybody carries it out; `zones` are those last read.
pub async fn plan(
    db: &Db,
    settings: &PublishSettings,
    zones: KnownZones<'_>,
    connected: bool,
) -> Result<Plan, DbError> {
    let mut plan = Plan { connected, ..Plan::default() };
    let with_records = cloudflare::names_with_records(db).await?;
    let mut after = None;
    loop {
        let tunnels = tunnels::list_tunnels(db, after.as_ref(), PAGE).await?;
        after = tunnels.last().filter(|_| tunnels.len() as u64 == PAGE).map(|last| last.id.clone());
        for snap in Snapshot::read_many(db, tunnels).await? {
            let wanted = snap.wanted(zones, settings);
            add_tunnel(&mut plan, &snap, &wanted, &with_records);
        }
        if after.is_none() {
            break;
        }
    }
    let agents = agents::load_agents(db).await?.into_iter();
    let without = agents.filter(|agent| agent.status == AgentStatus::Enrolled && agent.tunnel_id.is_none());
    let without: Vec<AgentId> = without.map(|agent| agent.id).collect();
    let mut routes = routes::routes_of_agents(db, &without).await?;
    for agent in &without {
        add_without_tunnel(&mut plan, &routes.remove(agent).unwrap_or_default(), settings);
    }
    Ok(plan)
}

/// Routes of an agent that gets its tunnel once there is a token: what they will come to.
fn add_without_tunnel(plan: &mut Plan, routes: &[Route], settings: &PublishSettings) {
    for route in routes.iter().filter(|route| route.state == RouteState::Active) {
        let key = &route.spec.key;
        if let Some(reason) = held_back(&route.spec, settings) {
            plan.blocked.push(BlockedChange {
                agent_id: Some(route.agent_id.clone()),
                hostname: key.hostname.clone(),
                path: key.path.clone(),
                reason,
            });
            continue;
        }
        let due = |kind, path: &str, detail: String| PlannedChange {
            kind,
            agent_id: Some(route.agent_id.clone()),
            tunnel_name: NO_TUNNEL_YET.into(),
            hostname: key.hostname.clone(),
            path: path.to_owned(),
            detail,
        };
        plan.changes.push(due(ChangeKind::AddRule, &key.path, format!("to {}", route.spec.service)));
        plan.changes.push(due(ChangeKind::CreateDns, "", "CNAME to the tunnel".into()));
    }
}

fn add_tunnel(plan: &mut Plan, snap: &Snapshot, wanted: &Wanted, with_records: &HashSet<String>) {
    plan.held.extend(snap.routes.iter().filter_map(held));
    let is_waiting = snap.status.as_ref().is_some_and(|row| row.state == TunnelState::Waiting.as_str());
    if is_waiting && snap.tunnel.confirmed_by.is_none() {
        plan.waiting.push(waiting(snap));
    }
    for (key, reason) in &wanted.refused {
        plan.blocked.push(blocked(snap, key, reason.clone()));
    }
    let is_blocked = |key: &RouteKey| snap.state(key) == Some(PublicState::Blocked);
    for service in wanted.services.iter().filter(|service| is_blocked(&service.key)) {
        let reason = snap.row(&service.key).and_then(|row| row.reason.clone()).unwrap_or_default();
        plan.blocked.push(blocked(snap, &service.key, reason));
    }
    let before = plan.changes.len();
    add_rules(plan, snap, wanted);
    add_records(plan, snap, wanted, with_records);
    add_failed(plan, snap, wanted, before);
}

/// What is not done because Cloudflare refused or does not answer: routes, and removals among the changes from
/// `first` on.
fn add_failed(plan: &mut Plan, snap: &Snapshot, wanted: &Wanted, first: usize) {
    let has_failed = |key: &RouteKey| snap.state(key) == Some(PublicState::Failed);
    let mut failed: Vec<BlockedChange> = Vec::new();
    for service in wanted.services.iter().filter(|service| has_failed(&service.key)) {
        let said = snap.row(&service.key).and_then(|row| row.answer.as_ref().or(row.reason.as_ref()));
        failed.push(blocked(snap, &service.key, said.cloned().unwrap_or_default()));
    }
    if let Some(row) = snap.status.as_ref().filter(|row| row.state == TunnelState::Failed.as_str()) {
        let said = row.answer.as_ref().or(row.reason.as_ref()).cloned().unwrap_or_default();
        let is_removal =
            |change: &&PlannedChange| matches!(change.kind, ChangeKind::RemoveRule | ChangeKind::DeleteDns);
        for change in plan.changes[first..].iter().filter(is_removal) {
            if failed.iter().all(|one| one.hostname != change.hostname) {
                let key = RouteKey { hostname: change.hostname.clone(), path: change.path.clone() };
                failed.push(blocked(snap, &key, said.clone()));
            }
        }
    }
    plan.failed.extend(failed);
}

fn add_rules(plan: &mut Plan, snap: &Snapshot, wanted: &Wanted) {
    let change = |kind, rule: &IngressRule, detail: String| {
        change(snap, kind, &rule.hostname, rule.path.as_deref().unwrap_or_default(), detail)
    };
    let rules: Vec<IngressRule> = wanted
        .services
        .iter()
        .filter(|service| snap.state(&service.key) != Some(PublicState::Blocked))
        .map(IngressRule::new)
        .collect();
    for rule in &rules {
        match snap.applied.iter().find(|applied| applied.id() == rule.id()) {
            None => plan.changes.push(change(ChangeKind::AddRule, rule, format!("to {}", rule.service))),
            Some(applied) if applied.as_wanted() != *rule => {
                let detail = format!("from {} to {}", applied.service, rule.service);
                plan.changes.push(change(ChangeKind::ChangeRule, rule, detail));
            }
            Some(_) => {}
        }
    }
    // A tunnel that is local for now keeps our rules until they count again.
    let local = wanted.services.iter().filter(|_| snap.is_local()).map(IngressRule::new);
    let stays: BTreeSet<_> = rules.iter().map(IngressRule::id).chain(local.map(|rule| rule.id())).collect();
    let gone = snap.applied.iter().filter(|rule| !stays.contains(&rule.id()) && !snap.is_guard(wanted, rule));
    plan.changes
        .extend(gone.map(|rule| change(ChangeKind::RemoveRule, rule, format!("to {}", rule.service))));
}

fn add_records(plan: &mut Plan, snap: &Snapshot, wanted: &Wanted, with_records: &HashSet<String>) {
    let target = crate::domain::dns::tunnel_target(&snap.tunnel.id);
    for name in wanted.names.keys() {
        let mut states =
            wanted.services.iter().filter(|s| s.key.hostname == *name).map(|s| snap.state(&s.key));
        let kind = match snap.record(name) {
            _ if snap.has_settled_name(wanted, name) => continue,
            Some(row) if row.record_id.is_some() && !leads_to(row, &snap.tunnel.id) => ChangeKind::ChangeDns,
            None if states.all(|state| state == Some(PublicState::Blocked)) => continue,
            // It leads to the tunnel that its agent had before.
            None if with_records.contains(name) => ChangeKind::ChangeDns,
            _ => ChangeKind::CreateDns,
        };
        plan.changes.push(change(snap, kind, name, "", format!("CNAME to {target}")));
    }
    for record in snap.records_to_remove(wanted) {
        let detail = format!("CNAME to {}", record.content);
        plan.changes.push(change(snap, ChangeKind::DeleteDns, &record.name, "", detail));
    }
}

fn change(snap: &Snapshot, kind: ChangeKind, hostname: &str, path: &str, detail: String) -> PlannedChange {
    PlannedChange {
        kind,
        agent_id: snap.agent_with(hostname).cloned(),
        tunnel_name: snap.tunnel.name.clone(),
        hostname: hostname.to_owned(),
        path: path.to_owned(),
        detail,
    }
}

fn waiting(snap: &Snapshot) -> WaitingTunnel {
    let foreign = snap.status.as_ref().and_then(|row| row.foreign_rules.as_array());
    let words = foreign.into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned));
    WaitingTunnel {
        tunnel_id: snap.tunnel.id.clone(),
        tunnel_name: snap.tunnel.name.clone(),
        agent_id: snap.tunnel.agent_id.clone(),
        foreign: words.collect(),
    }
}

fn blocked(snap: &Snapshot, key: &RouteKey, reason: String) -> BlockedChange {
    BlockedChange {
        agent_id: snap.agent_with(&key.hostname).cloned(),
        hostname: key.hostname.clone(),
        path: key.path.clone(),
        reason,
    }
}

fn held(route: &Route) -> Option<BlockedChange> {
    match route.state {
        RouteState::PendingDeletion { held: true, .. } => Some(BlockedChange {
            agent_id: Some(route.agent_id.clone()),
            hostname: route.spec.key.hostname.clone(),
            path: route.spec.key.path.clone(),
            reason: HELD.into(),
        }),
        _ => None,
    }
}
