//! The outcome of a pass: what is said of each route and of the tunnel, the rows for it, and what the actor learns of it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::picture::{Found, Read, Snapshot, by_id};
use super::protection::RefusedNeeds;
use super::schedule::{Ending, Order};
use super::words::{
    Failure, LEADS_HERE_ALREADY, NameFailure, RefusedNames, RefusedRules, Said, Stop, foreign_words,
    why_it_waits,
};
use crate::db::cloudflare::{AppliedRule, RouteStatusRow, TunnelStatusRow};
use crate::db::{DbError, RowChange, SaidBy};
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::ingress::{CLOSED, IngressRule, RuleId};
use crate::domain::publish::{Cause, PublicState, TunnelState};
use crate::domain::review::{CHANGE_NOT_REVIEWED, Unreviewed};
use crate::domain::route::{RouteKey, Service};

/// Who wants a rule that a person made.
const A_PERSON: &str = "a rule that a person made";

/// What the actor learns of a pass.
#[derive(Debug)]
pub(super) struct Outcome {
    pub ending: Ending,
    /// Digest of what is wanted, if all of it was dealt with.
    pub digest: Option<u64>,
    /// True if Cloudflare was asked.
    pub has_looked: bool,
    /// True if the configuration was written.
    pub has_written: bool,
    /// Tunnels that names were led away from.
    pub took_from: Vec<TunnelId>,
    /// True if the tunnel is to be deleted once nobody is connected.
    pub is_to_go: bool,
    /// Version of the configuration, if known.
    pub version: Option<i64>,
    /// Why it did not come to its end.
    pub error: Option<Failure>,
    /// True if that was said before, or is nothing to tell.
    pub is_no_news: bool,
    /// Rules that Cloudflare does not take; none if nobody asked.
    pub refused: Option<RefusedRules>,
    /// Names that Cloudflare does not take; none if nobody asked.
    pub refused_names: Option<RefusedNames>,
    /// Protections that Cloudflare does not take; none if nobody asked.
    pub refused_needs: Option<RefusedNeeds>,
    /// True if a comparison found something to be put right: what is left of that is a change.
    pub has_damage: bool,
}

impl Outcome {
    /// We never had such a tunnel.
    pub fn nothing() -> Self {
        Self {
            ending: Ending::Done,
            digest: None,
            has_looked: false,
            has_written: false,
            took_from: Vec::new(),
            is_to_go: false,
            version: None,
            error: None,
            is_no_news: false,
            refused: None,
            refused_names: None,
            refused_needs: None,
            has_damage: false,
        }
    }

    /// A fault of ours, of which nothing could be written down either.
    pub fn broken() -> Self {
        Self { ending: Ending::Failed(None), error: Some(Stop::Internal.failure()), ..Self::nothing() }
    }

    /// What the pass turned out to be: a comparison that left damage is a change that is not done.
    pub fn order(&self, begun: Order) -> Order {
        let is_left = !matches!(self.ending, Ending::Done | Ending::Refused);
        if self.has_damage && is_left { Order::AGAIN } else { begun }
    }

    /// The database could not be read.
    pub fn unread(error: DbError) -> Self {
        Self { ending: Ending::Failed(None), error: Some(Stop::from(error).failure()), ..Self::nothing() }
    }
}

/// What is to be said, by what was read and found, of a pass that came to this `result`.
pub(super) struct Statement<'a> {
    pub read: &'a Read,
    pub found: &'a Found,
    pub result: &'a Result<(), Stop>,
}

/// The result as far as names and rules are concerned: one that failed leaves something to do, although the rest went
/// well.
pub(super) fn unless_something_failed(found: &Found) -> Result<(), Stop> {
    // One that is tried again soon counts more than one that only a person can heal.
    let soon = |failure: &&NameFailure| matches!(failure.ending, Ending::Failed(_));
    let failed = found.names.failed.values().chain(found.protection.failures());
    let by_name = |failure: &NameFailure| Stop::Name(failure.clone());
    let put_off = found.names.put_off.values().copied().chain(found.protection.put_off()).min();
    let put_off = put_off.map(Stop::PutOff);
    let refused = found.config.trial.refused().values().next();
    let refused = refused.map(|words| Stop::Name(NameFailure::of_rule(words)));
    let stop = failed.clone().find(soon).map(by_name).or(put_off);
    stop.or_else(|| failed.clone().next().map(by_name)).or(refused).map_or(Ok(()), Err)
}

impl Statement<'_> {
    /// What the actor learns.
    pub fn outcome(&self, order: Order) -> Outcome {
        let Self { read, found, result } = self;
        let before = read.snapshot.status.as_ref();
        let ending = result.as_ref().err().map_or(Ending::Done, Stop::ending);
        // Trying again makes no difference as long as the same is wanted.
        let is_settled = matches!(ending, Ending::Done | Ending::Refused);
        Outcome {
            ending,
            digest: (read.has_wanted && is_settled).then(|| read.digest()),
            has_looked: found.has_looked,
            has_written: found.config.has_written,
            took_from: found.names.took_from.iter().cloned().collect(),
            is_to_go: read.snapshot.tunnel.is_to_go(),
            version: found.config.version.or_else(|| before.and_then(|row| row.config_version)),
            error: result.as_ref().err().map(Stop::failure),
            is_no_news: result.as_ref().is_err_and(|stop| self.is_no_news(stop, order)),
            refused: found.has_looked.then(|| read.refused_rules(found)),
            refused_names: found.has_looked.then(|| found.names.refused()),
            refused_needs: found.has_looked.then(|| found.protection.refused().clone()),
            has_damage: found.has_damage,
        }
    }

    /// True if `stop` says nothing about the tunnel: it was said before, or nobody came to look.
    fn is_no_news(&self, stop: &Stop, order: Order) -> bool {
        let is_unseen = order.background && !self.found.has_announced && stop.is_held_back();
        matches!(stop, Stop::Interrupted | Stop::StillRefused) || is_unseen
    }

    /// The rows that say how it stands now.
    pub fn rows(&self, now: DateTime<Utc>) -> Vec<RowChange> {
        let Self { read, found, result } = self;
        let tunnel = &read.snapshot.tunnel.id;
        let mut rows = Vec::new();
        if let Some(in_force) = &found.config.in_force {
            let is_drifting = |rule: &&IngressRule| found.config.drifting.contains_key(&rule.id());
            let ours = in_force.iter().filter(|rule| !is_drifting(rule));
            let as_written = read.snapshot.applied.iter().filter(is_drifting);
            let after: Vec<IngressRule> = ours.chain(as_written).cloned().collect();
            rows.extend(applied_change(tunnel, &read.applied, &after));
        }
        // Nothing was sent for them: next time nobody needs to look first.
        let unsent = found.names.put_off.keys().filter(|name| found.names.untried.contains(*name));
        rows.extend(unsent.filter_map(|name| {
            let zone_id = read.wanted.names.get(name)?.clone();
            Some(RowChange::DeleteDnsRecord { zone_id, name: name.clone() })
        }));
        // Nobody has it any more, and nothing of ours is left in it.
        if read.snapshot.is_left() && result.is_ok() && read.wanted.is_empty() {
            let forget =
                |row: &TunnelStatusRow| RowChange::DeleteTunnelStatus { tunnel_id: row.tunnel_id.clone() };
            rows.extend(read.snapshot.status.as_ref().map(forget));
            return rows;
        }
        let said = spoken_of(&read.snapshot, self.routes());
        rows.extend(route_changes(&read.snapshot.route_status, &said, now, |key| agent_of(read, key)));
        if found.has_looked || result.is_err() {
            rows.extend(tunnel_change(self.tunnel_row_there(now).as_ref(), self.tunnel_row(now)));
        }
        rows
    }

    /// The tunnel's row as it is now: a write announces itself.
    fn tunnel_row_there(&self, now: DateTime<Utc>) -> Option<TunnelStatusRow> {
        let (tunnel, row) = (&self.read.snapshot.tunnel.id, self.read.snapshot.status.as_ref());
        match self.found.has_announced {
            true => Some(tunnel_row(tunnel, TunnelState::Applying, row, now)),
            false => row.cloned(),
        }
    }

    fn tunnel_row(&self, now: DateTime<Utc>) -> TunnelStatusRow {
        let Self { read, found, result } = self;
        let before = read.snapshot.status.as_ref();
        let state = match result {
            Err(stop) if stop.is_put_off() => TunnelState::Applying,
            Err(_) => TunnelState::Failed,
            Ok(()) if found.is_waiting => TunnelState::Waiting,
            Ok(()) => TunnelState::Applied,
        };
        let mut row = tunnel_row(&read.snapshot.tunnel.id, state, before, now);
        if let Some(foreign) = &found.config.foreign {
            row.foreign_rules = serde_json::json!(foreign_words(foreign, &self.wanted_by()));
        }
        row.config_version = found.config.version.or(row.config_version);
        let gap = found.config.gap.clone();
        row.reason = match result {
            Err(stop) => Some(stop.to_string()),
            Ok(()) if found.is_waiting => Some(self.why_it_waits()),
            // Shown until we write again.
            Ok(()) if found.config.has_written => gap,
            Ok(()) => gap.or_else(|| before.and_then(gap_before)),
        };
        row.cause = match result {
            Err(stop) => stop.cause(),
            Ok(()) => (row.reason.is_some() && !found.is_waiting).then_some(Cause::WrittenBetween),
        };
        row.answer = result.as_ref().err().and_then(Stop::answer);
        row.is_settled = found.config.is_known;
        row
    }

    /// What is to be said about each route.
    pub fn routes(&self) -> BTreeMap<RouteKey, Said> {
        if !self.read.has_wanted {
            return self.routes_without_zones();
        }
        let refused = self.read.wanted.refused.iter();
        let blocked = |reason: &String| Said::because(PublicState::Blocked, reason.clone());
        let mut said: BTreeMap<_, _> = refused.map(|(key, reason)| (key.clone(), blocked(reason))).collect();
        said.extend(self.in_review());
        let in_force = self.found.config.rules_in_force();
        for service in &self.read.wanted.services {
            let word = match self.found.has_looked || self.result.is_err() {
                true => Some(self.route(service, &in_force)),
                false => self.said_before(service),
            };
            if let Some(word) = word {
                said.insert(service.key.clone(), word);
            }
        }
        said
    }

    /// Routes that nobody said yes to yet.
    fn in_review(&self) -> impl Iterator<Item = (RouteKey, Said)> {
        let waits = self.read.snapshot.review.iter().flat_map(|review| &review.waits);
        let new = waits.filter(|(_, why)| **why == Unreviewed::New);
        new.map(|(key, _)| (key.clone(), Said::in_review()))
    }

    /// The zones could not be read, or a fault of ours came first: what was said holds, and what is new waits.
    fn routes_without_zones(&self) -> BTreeMap<RouteKey, Said> {
        let words = self.read.snapshot.specs().map(|service| {
            let holds = |said: &Said| match self.result {
                Err(Stop::Internal) => said.state == PublicState::Published,
                _ => said.state != PublicState::Failed,
            };
            let is_known = |said: &Said| said.state != PublicState::Published || self.is_known(service);
            let before = self.said_before(service).filter(holds).filter(is_known);
            let failing = || self.result.as_ref().err().map_or_else(Said::on_its_way, Said::failing);
            (service.key.clone(), before.unwrap_or_else(failing))
        });
        words.chain(self.in_review()).collect()
    }

    /// Nothing was asked, so what was said still holds.
    fn said_before(&self, service: &Service) -> Option<Said> {
        let row = self.read.snapshot.row(&service.key)?;
        let state = self.read.snapshot.state(&service.key)?;
        Some(Said { state, reason: row.reason.clone(), cause: row.cause, answer: row.answer.clone() })
    }

    /// What is to be said about one route, if these rules of ours are `in_force`.
    pub fn route(&self, service: &Service, in_force: &BTreeSet<RuleId>) -> Said {
        let Found { config, names, .. } = self.found;
        let name = &service.key.hostname;
        let id = IngressRule::new(service).id();
        if let Some(said) = self.in_the_way(service, &id) {
            return said;
        }
        if let Some(failure) = names.failed.get(name) {
            return Said::name_failed(failure);
        }
        if let Some(words) = config.trial.refused().get(&id) {
            return Said::rule_refused(words, in_force.contains(&id));
        }
        if names.put_off.contains_key(name) {
            return Said::in_line();
        }
        if in_force.contains(&id) && (names.led.contains_key(name) || self.read.has_settled_name(name)) {
            return match self.found.protection.kept(&service.key) {
                Some(failure) => Said::protected_as_before(failure),
                None => Said { reason: self.note(service), ..Said::plain(PublicState::Published) },
            };
        }
        match self.result {
            Err(stop @ Stop::Gone(_)) => Said::failing(stop),
            // What was published stays so while Cloudflare cannot be asked.
            Err(_) if self.was_published(service) => {
                self.said_before(service).unwrap_or_else(Said::on_its_way)
            }
            Err(stop) => Said::failing(stop),
            Ok(()) => Said::on_its_way(),
        }
    }

    /// What a person has to see to before the route can be published.
    fn in_the_way(&self, service: &Service, id: &RuleId) -> Option<Said> {
        let Found { config, names, protection, is_waiting, .. } = self.found;
        let name = &service.key.hostname;
        if let Err(stop @ Stop::Local) = self.result {
            return Some(Said::because(PublicState::Blocked, stop.to_string()));
        }
        let closed = names.unprotected.get(&service.key);
        if let Some(conflict) = config.conflicts.iter().find(|conflict| conflict.wanted.id() == *id) {
            return Some(match closed {
                // First of all it has no protection of ours; the rule alone would not help.
                Some(reason) => Said::closed_beside(reason, conflict),
                None => Said::in_conflict(conflict),
            });
        }
        if *is_waiting {
            return Some(Said::because(PublicState::Waiting, self.why_it_waits()));
        }
        if let Some(reason) = closed {
            let rules = config.in_force.as_ref().unwrap_or(&self.read.applied);
            let is_open = |rule: &IngressRule| rule.id() == *id && rule.service != CLOSED;
            return Some(match self.result {
                Err(stop) if rules.iter().any(is_open) => Said::still_open(reason, stop),
                _ if protection.is_put_off(&service.key) => Said::in_line(),
                _ => match protection.failure(&service.key) {
                    Some(failure) => Said::name_failed(failure),
                    None => Said::because(PublicState::Blocked, reason.clone()),
                },
            });
        }
        if let Some(reason) = config.drifting.get(id).or_else(|| names.drifted.get(name)) {
            return Some(Said::drifted(reason));
        }
        Some(Said::because(PublicState::Blocked, names.blocked.get(name)?.clone()))
    }

    /// What is to be known about a route that serves.
    fn note(&self, service: &Service) -> Option<String> {
        let name = &service.key.hostname;
        if self.read.snapshot.unreviewed(&service.key).is_some() {
            return Some(CHANGE_NOT_REVIEWED.into());
        }
        let warning = self.read.wanted.warnings.get(&service.key);
        match self.found.names.led.get(name) {
            Some(false) => Some(LEADS_HERE_ALREADY.into()),
            // Nobody looked this time.
            None if self.read.snapshot.record(name).is_none() && warning.is_none() => {
                let before = self.said_before(service);
                before.filter(|said| said.state == PublicState::Published).and_then(|said| said.reason)
            }
            _ => warning.cloned(),
        }
    }

    fn was_published(&self, service: &Service) -> bool {
        let snapshot = &self.read.snapshot;
        let rule = IngressRule::new(service);
        let is_applied = || snapshot.applied.iter().any(|applied| applied.as_wanted() == rule);
        snapshot.state(&service.key) == Some(PublicState::Published) && is_applied() && self.is_known(service)
    }

    /// False while nobody knows what a call about the route's rule or name has come to.
    fn is_known(&self, service: &Service) -> bool {
        let record = self.read.snapshot.record(&service.key.hostname);
        self.found.config.is_known && record.is_none_or(|row| row.is_settled)
    }

    /// Who wants each of the rules, in words.
    fn wanted_by(&self) -> BTreeMap<RuleId, String> {
        let snapshot = &self.read.snapshot;
        let container = |name: &str| format!("container `{name}`");
        let routes = snapshot.routes.iter().map(|route| (&route.spec, container(&route.container_name)));
        let rules = snapshot.rules.iter().map(|rule| (&rule.spec, A_PERSON.to_owned()));
        routes.chain(rules).map(|(spec, who)| (IngressRule::new(spec).id(), who)).collect()
    }

    fn why_it_waits(&self) -> String {
        let foreign = self.found.config.foreign.as_deref().unwrap_or_default();
        why_it_waits(&self.read.snapshot.tunnel.name, foreign)
    }

    /// The rows that say which of these names serve by now, while calls about others are still under way.
    pub fn served(&self, names: &[String], now: DateTime<Utc>) -> Vec<RouteStatusRow> {
        let names: BTreeSet<&String> = names.iter().collect();
        let in_force = self.found.config.rules_in_force();
        let services = self.read.wanted.services.iter();
        let services = services.filter(|service| names.contains(&service.key.hostname));
        let said = services.map(|service| (service.key.clone(), self.route(service, &in_force)));
        let said = said.filter(|(_, said)| said.state == PublicState::Published).collect();
        route_rows(self.read, said, now)
    }
}

/// The rows that say of the names `in_line` that they wait for their turn, and of what waited for a person that it is on
/// its way. What serves goes on serving.
pub(super) fn set_out(read: &Read, in_line: &BTreeSet<&str>, now: DateTime<Utc>) -> Vec<RouteStatusRow> {
    let word = |service: &Service| match read.snapshot.state(&service.key) {
        Some(PublicState::Published) => None,
        _ if in_line.contains(service.key.hostname.as_str()) => Some(Said::in_line()),
        Some(PublicState::Waiting) => Some(Said::on_its_way()),
        _ => None,
    };
    let services = read.wanted.services.iter();
    let said = services.filter_map(|service| Some((service.key.clone(), word(service)?))).collect();
    route_rows(read, said, now)
}

/// Returns the rows that say something else than `said` of the tunnel's routes, as they are to be.
fn route_rows(read: &Read, said: BTreeMap<RouteKey, Said>, now: DateTime<Utc>) -> Vec<RouteStatusRow> {
    let said = spoken_of(&read.snapshot, said);
    route_puts(&read.snapshot.route_status, &said, now, |key| agent_of(read, key))
}

/// Of routes that an agent took along to another tunnel that one speaks, and of those that are gone nobody.
fn spoken_of(snapshot: &Snapshot, mut said: BTreeMap<RouteKey, Said>) -> BTreeMap<RouteKey, Said> {
    said.retain(|key, _| snapshot.speaks_of(key) && snapshot.unreviewed(key) != Some(Unreviewed::Gone));
    said
}

fn agent_of(read: &Read, key: &RouteKey) -> Option<AgentId> {
    read.snapshot.agent_of(key).cloned()
}

/// Routes of which the publisher said something, and that are gone.
pub(super) fn gone_routes(snapshot: &Snapshot) -> Vec<RouteKey> {
    let is_there = |row: &RouteStatusRow| snapshot.is_asked(&row.key);
    let rows = snapshot.route_status.iter().filter(|row| is_from_publisher(row) && !is_there(row));
    rows.map(|row| row.key.clone()).collect()
}

fn is_from_publisher(row: &RouteStatusRow) -> bool {
    PublicState::parse(&row.state).is_some_and(PublicState::is_from_publisher)
}

/// A gap is worth showing until the next write, other reasons only as long as they hold.
fn gap_before(row: &TunnelStatusRow) -> Option<String> {
    row.reason.clone().filter(|_| row.cause == Some(Cause::WrittenBetween))
}

/// Returns the changes that make a tunnel's rows say `said`. Rows in words that are not the publisher's stay,
/// unless the route is to be spoken of now.
fn route_changes(
    rows: &[RouteStatusRow],
    said: &BTreeMap<RouteKey, Said>,
    now: DateTime<Utc>,
    agent_of: impl Fn(&RouteKey) -> Option<AgentId>,
) -> Vec<RowChange> {
    let gone = rows.iter().filter(|row| !said.contains_key(&row.key) && is_from_publisher(row));
    let deletes = gone.map(|row| RowChange::DeleteRouteStatus {
        agent_id: row.agent_id.clone(),
        key: row.key.clone(),
        said_by: SaidBy::Publisher,
    });
    let puts = route_puts(rows, said, now, agent_of).into_iter().map(RowChange::PutRouteStatus);
    puts.chain(deletes).collect()
}

/// Returns the rows that say something else than `said`, as they are to be.
fn route_puts(
    rows: &[RouteStatusRow],
    said: &BTreeMap<RouteKey, Said>,
    now: DateTime<Utc>,
    agent_of: impl Fn(&RouteKey) -> Option<AgentId>,
) -> Vec<RouteStatusRow> {
    let there: BTreeMap<&RouteKey, &RouteStatusRow> = rows.iter().map(|row| (&row.key, row)).collect();
    let is_said = |row: &RouteStatusRow, said: &Said| {
        row.state == said.state.as_str()
            && (&row.reason, row.cause, &row.answer) == (&said.reason, said.cause, &said.answer)
    };
    let puts = said.iter().filter(|(key, said)| !there.get(key).is_some_and(|row| is_said(row, said)));
    let puts = puts.map(|(key, said)| RouteStatusRow {
        agent_id: agent_of(key),
        key: key.clone(),
        state: said.state.as_str().into(),
        reason: said.reason.clone(),
        cause: said.cause,
        answer: said.answer.clone(),
        updated_at: now,
    });
    puts.collect()
}

/// Returns the change that makes a tunnel's row equal to `wanted`, times aside.
pub(super) fn tunnel_change(row: Option<&TunnelStatusRow>, wanted: TunnelStatusRow) -> Option<RowChange> {
    let is_equal =
        row.is_some_and(|row| TunnelStatusRow { updated_at: wanted.updated_at, ..row.clone() } == wanted);
    (!is_equal).then_some(RowChange::PutTunnelStatus(wanted))
}

/// A tunnel's row in our words.
pub(super) fn tunnel_row(
    tunnel: &TunnelId,
    state: TunnelState,
    before: Option<&TunnelStatusRow>,
    now: DateTime<Utc>,
) -> TunnelStatusRow {
    TunnelStatusRow {
        tunnel_id: tunnel.clone(),
        state: state.as_str().into(),
        reason: None,
        cause: None,
        answer: None,
        config_version: before.and_then(|row| row.config_version),
        foreign_rules: before.map_or_else(|| serde_json::json!([]), |row| row.foreign_rules.clone()),
        updated_at: now,
        version_since: before.and_then(|row| row.version_since),
        is_settled: before.is_none_or(|row| row.is_settled),
    }
}

/// Makes the rows that say which rules are ours, if they are to say something else.
pub(super) fn applied_change(
    tunnel: &TunnelId,
    before: &[IngressRule],
    after: &[IngressRule],
) -> Option<RowChange> {
    let sorted = |rules: &[IngressRule]| -> BTreeMap<_, _> { rules.iter().cloned().map(by_id).collect() };
    (sorted(before) != sorted(after)).then(|| RowChange::PutAppliedRules {
        tunnel_id: tunnel.clone(),
        rules: after.iter().map(write_rule).collect(),
    })
}

fn write_rule(rule: &IngressRule) -> AppliedRule {
    let id = rule.id();
    let key = RouteKey { hostname: id.hostname, path: id.path };
    AppliedRule { key, rule: serde_json::to_value(rule).expect("a rule is plain data") }
}
