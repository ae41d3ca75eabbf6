//! What would be done at Cloudflare, and what was done: for `lightship plan`, `lightship apply` and the page.
//!
//! A plan is made from the database alone: nothing is asked and nothing is changed.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;

use super::applications::AskedApplication;
use super::drifts::waiting_words;
use super::picture::{Snapshot, leads_to};
use super::policies::{is_settled, linked_policies, unused};
use super::protection::needs;
use crate::db::{Db, DbError, access, agents, cloudflare, routes, tunnels};
use crate::domain::access::{Account, WantedApplication, asks_for_owner, policy_in_words};
use crate::domain::agent::AgentStatus;
use crate::domain::difference::in_words;
use crate::domain::drift::DriftState;
use crate::domain::id::{AgentId, PolicyId, TunnelId};
use crate::domain::ingress::IngressRule;
use crate::domain::owned::OwnedKind;
use crate::domain::path::kept_path;
use crate::domain::publish::{ChangeMode, HELD, PublicState, PublishSettings, TunnelState, held_back};
use crate::domain::route::{Route, RouteKey, RouteState, Service};
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
    /// A policy of Access is made.
    CreatePolicy,
    /// A policy of ours lets others in or keeps others out.
    ChangePolicy,
    /// A policy of ours goes.
    DeletePolicy,
    /// An application of Access is made.
    CreateApplication,
    /// An application of ours behaves differently.
    ChangeApplication,
    /// An application of ours goes.
    DeleteApplication,
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
    /// What it is called among its kind.
    pub name: String,
    /// The rest, in words: a service, a record's content, whom a policy lets in.
    pub detail: String,
    /// Why.
    pub reason: String,
}

/// Something of ours that others changed or deleted, and that is not put right yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drifted {
    /// What it is.
    pub kind: OwnedKind,
    /// What it is called among its kind.
    pub name: String,
    /// Name of the tunnel it concerns.
    pub tunnel_name: String,
    /// True if it stays so until a person has it put right.
    pub waits: bool,
    /// What happened, and what is to be done about it.
    pub reason: String,
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
    /// What others changed.
    pub drift: Vec<Drifted>,
    /// True if changes wait for a person, by setting.
    pub review: bool,
}

impl Plan {
    /// True if there is nothing to do and nothing to confirm.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
            && self.waiting.is_empty()
            && self.held.is_empty()
            && self.failed.is_empty()
            && self.drift.is_empty()
    }
}

/// What a plan has to know of Access.
#[derive(Clone, Copy, Default)]
pub struct KnownAccess<'a> {
    /// Who can be let in; none if nobody could be asked.
    pub people: Option<Account<'a>>,
    /// What the names of our policies end with.
    pub mark: &'a str,
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
    access: KnownAccess<'_>,
    connected: bool,
) -> Result<Plan, DbError> {
    let review = settings.changes == ChangeMode::Review;
    let mut plan = Plan { connected, review, ..Plan::default() };
    // What is asked for, reviewed or not, against what is there.
    let asked = PublishSettings { changes: ChangeMode::Automatic, ..settings.clone() };
    let with_records = cloudflare::names_with_records(db).await?;
    let mut after = None;
    loop {
        let tunnels = tunnels::list_tunnels(db, after.as_ref(), PAGE).await?;
        after = tunnels.last().filter(|_| tunnels.len() as u64 == PAGE).map(|last| last.id.clone());
        for snap in Snapshot::read_many(db, tunnels, &asked).await? {
            let wanted = snap.wanted(zones, settings);
            add_tunnel(&mut plan, &snap, &wanted, access, &with_records);
        }
        if after.is_none() {
            break;
        }
    }
    add_unused_policies(&mut plan, db, access.mark).await?;
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
            name: format!("{}{path}", key.hostname),
            detail,
            reason: asked_by_container(&route.container_name),
        };
        if route.spec.access.has_own_application() {
            plan.changes.push(due(ChangeKind::CreateApplication, &key.path, route.spec.access.in_words()));
        }
        plan.changes.push(due(ChangeKind::AddRule, &key.path, format!("to {}", route.spec.service)));
        plan.changes.push(due(ChangeKind::CreateDns, "", "CNAME to the tunnel".into()));
    }
}

fn asked_by_container(name: &str) -> String {
    format!("container `{name}` asks for it")
}

fn add_tunnel(
    plan: &mut Plan,
    snap: &Snapshot,
    wanted: &Wanted,
    access: KnownAccess<'_>,
    with_records: &HashSet<String>,
) {
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
    add_protection(plan, snap, wanted, access);
    add_rules(plan, snap, wanted);
    add_records(plan, snap, wanted, with_records);
    for row in snap.applications_to_remove() {
        let (hostname, path) = split_domain(&row.domain);
        let detail = application_in_words(&row.body, snap);
        plan.changes.push(change(snap, ChangeKind::DeleteApplication, hostname, path, detail));
    }
    add_drift(plan, snap);
    add_failed(plan, snap, wanted, before);
}

fn add_drift(plan: &mut Plan, snap: &Snapshot) {
    // What is somebody else's by now is in the way of its route, and told there.
    let open = snap.drifts.of_tunnel(&snap.tunnel.id).filter(|row| row.state != DriftState::Lost);
    let found = open.map(|row| {
        let waits = row.state == DriftState::Waits;
        Drifted {
            kind: row.drift.kind,
            name: row.drift.name.clone(),
            tunnel_name: snap.tunnel.name.clone(),
            waits,
            reason: if waits { waiting_words(&row.drift) } else { row.drift.sentence() },
        }
    });
    plan.drift.extend(found);
}

/// What is put in place before the routes are made reachable.
fn add_protection(plan: &mut Plan, snap: &Snapshot, wanted: &Wanted, access: KnownAccess<'_>) {
    let Some(people) = access.people else {
        let asked = wanted.services.iter().filter(|service| service.access.has_own_application());
        asked.for_each(|service| add_asked_application(plan, snap, wanted, &service.key));
        return;
    };
    for (key, need) in needs(&snap.groups, wanted, &people, access.mark) {
        match need {
            Ok(need) => {
                if let Some(application) = need.application() {
                    add_policies(plan, snap, &key, application);
                    add_application(plan, snap, &key, application);
                }
            }
            // Nobody had to be asked yet who can be let in; the next pass asks.
            Err(_) if people.idps.is_none() || (people.owner.is_none() && asks_owner(snap, wanted, &key)) => {
                add_asked_application(plan, snap, wanted, &key);
            }
            Err(reason) if snap.state(&key) != Some(PublicState::Blocked) => {
                plan.blocked.push(blocked(snap, &key, reason));
            }
            Err(_) => {}
        }
    }
}

fn asks_owner(snap: &Snapshot, wanted: &Wanted, key: &RouteKey) -> bool {
    let mut services = wanted.services.iter();
    services.any(|service| service.key == *key && asks_for_owner(&service.access, &snap.groups))
}

/// An application of which nothing more can be said than its route asks for.
fn add_asked_application(plan: &mut Plan, snap: &Snapshot, wanted: &Wanted, key: &RouteKey) {
    let is_blocked = snap.state(key) == Some(PublicState::Blocked);
    if is_blocked || snap.applications.iter().any(|row| row.domain == key.to_string()) {
        return;
    }
    let service = wanted.services.iter().find(|service| service.key == *key);
    let detail = service.map(|service| service.access.in_words()).unwrap_or_default();
    plan.changes.push(change(snap, ChangeKind::CreateApplication, &key.hostname, &key.path, detail));
}

fn add_policies(plan: &mut Plan, snap: &Snapshot, key: &RouteKey, application: &WantedApplication) {
    for policy in &application.policies {
        let is_planned = |change: &PlannedChange| {
            matches!(change.kind, ChangeKind::CreatePolicy | ChangeKind::ChangePolicy)
                && change.name == policy.name
        };
        let row = snap.policies.get(&policy.name);
        if is_settled(row, policy, None) || plan.changes.iter().any(is_planned) {
            continue;
        }
        let now = policy_in_words(&policy.body);
        let (kind, detail) = match row.filter(|row| row.policy_id.is_some()) {
            Some(row) if row.body != policy.body => {
                (ChangeKind::ChangePolicy, format!("it {}, and then {now}", policy_in_words(&row.body)))
            }
            // Its end is not known: it is looked at again.
            Some(_) => (ChangeKind::ChangePolicy, format!("it {now}")),
            None => (ChangeKind::CreatePolicy, format!("it {now}")),
        };
        let reason = format!("`{key}` asks for it");
        let due = change(snap, kind, &key.hostname, &key.path, detail);
        plan.changes.push(PlannedChange { name: policy.name.clone(), reason, ..due });
    }
}

fn add_application(plan: &mut Plan, snap: &Snapshot, key: &RouteKey, wanted: &WantedApplication) {
    let row = snap.applications.iter().find(|row| row.domain == wanted.domain);
    let ids = wanted.policies.iter().map(|policy| snap.policies.get(&policy.name)?.policy_id.clone());
    let ids: Option<Vec<PolicyId>> = ids.collect();
    let asked = ids.map(|policies| AskedApplication { wanted: wanted.clone(), policies });
    let is_there = |asked: &AskedApplication| row.is_some_and(|row| asked.is_settled(row, &snap.tunnel.id));
    if asked.as_ref().is_some_and(is_there) {
        return;
    }
    let names: Vec<&str> = wanted.policies.iter().map(|policy| policy.name.as_str()).collect();
    let behind = format!("behind {}", names.join(", "));
    let (kind, detail) = match row.filter(|row| row.application_id.is_some()) {
        None => (ChangeKind::CreateApplication, behind),
        Some(row) => {
            let body = asked.map(|asked| asked.wanted.body(&asked.policies)).unwrap_or_default();
            let (Some(before), Some(after)) = (row.body.as_object(), body.as_object()) else {
                plan.changes.push(change(
                    snap,
                    ChangeKind::ChangeApplication,
                    &key.hostname,
                    &key.path,
                    behind,
                ));
                return;
            };
            let said = in_words(before, after).into_iter().filter(|said| !said.starts_with("policies: "));
            let links = (before.get("policies") != after.get("policies"))
                .then(|| format!("{} instead of {}", behind, application_in_words(&row.body, snap)));
            let said: Vec<String> = said.chain(links).collect();
            (ChangeKind::ChangeApplication, if said.is_empty() { behind } else { said.join("; ") })
        }
    };
    plan.changes.push(change(snap, kind, &key.hostname, &key.path, detail));
}

/// The policies that an application of ours was asked to have, by their names.
fn application_in_words(body: &serde_json::Value, snap: &Snapshot) -> String {
    let name = |id: String| {
        let known =
            snap.policies.values().find(|row| row.policy_id.as_ref().is_some_and(|own| own.as_str() == id));
        known.map_or(id, |row| row.name.clone())
    };
    let names: Vec<String> = linked_policies(body).into_iter().map(name).collect();
    format!("behind {}", names.join(", "))
}

fn split_domain(domain: &str) -> (&str, &str) {
    domain.find('/').map_or((domain, ""), |at| domain.split_at(at))
}

/// Policies that nothing needs any more once the applications of the plan are gone.
async fn add_unused_policies(plan: &mut Plan, db: &Db, mark: &str) -> Result<(), DbError> {
    let gone: HashSet<String> = plan
        .changes
        .iter()
        .filter(|change| change.kind == ChangeKind::DeleteApplication)
        .map(|change| change.name.clone())
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    let mut accounts = BTreeSet::new();
    for tunnel in tunnels::list_tunnels(db, None, PAGE).await? {
        accounts.insert(tunnel.account_id);
    }
    let groups = access::list_groups(db).await?;
    let is_mirror = |policy: &str| {
        groups.iter().any(|row| row.group.policy_names(mark).iter().any(|name| name == policy))
    };
    for account in accounts {
        let (policies, applications) =
            (access::policies_of(db, &account).await?, access::applications_of(db, &account).await?);
        let stays: Vec<_> = applications.iter().filter(|row| !gone.contains(&row.domain)).collect();
        for row in unused(policies.values(), &stays, is_mirror) {
            plan.changes.push(PlannedChange {
                kind: ChangeKind::DeletePolicy,
                agent_id: None,
                tunnel_name: String::new(),
                hostname: String::new(),
                path: String::new(),
                name: row.name.clone(),
                detail: policy_in_words(&row.body),
                reason: "nothing uses it any more".into(),
            });
        }
    }
    Ok(())
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
    let is_record = matches!(kind, ChangeKind::CreateDns | ChangeKind::ChangeDns | ChangeKind::DeleteDns);
    PlannedChange {
        kind,
        agent_id: snap.agent_with(hostname).cloned(),
        tunnel_name: snap.tunnel.name.clone(),
        hostname: hostname.to_owned(),
        path: path.to_owned(),
        name: format!("{hostname}{}", kept_path(path)),
        detail,
        reason: reason(snap, hostname, (!is_record).then(|| kept_path(path))),
    }
}

/// Who asks for a route, or for any of a name.
fn reason(snap: &Snapshot, hostname: &str, path: Option<String>) -> String {
    let is_it = |spec: &Service| {
        spec.key.hostname == hostname && path.as_ref().is_none_or(|path| spec.key.path == *path)
    };
    if snap.rules.iter().any(|rule| is_it(&rule.spec)) {
        return "a person made a rule for it".into();
    }
    let route = snap.routes.iter().find(|route| is_it(&route.spec));
    route.map_or_else(
        || "nothing asks for it any more".into(),
        |route| asked_by_container(&route.container_name),
    )
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
