//! The end of a pass: what it found is written down and shown.

use std::collections::{BTreeMap, BTreeSet};

use super::pass::{NameFailure, Pass, Stop, ending_of};
use super::snapshot::applied_change;
use super::status::{RoutePhase, Said, TunnelPhase, foreign_words, route_changes, tunnel_change, tunnel_row};
use super::turn::Ending;
use super::wishes::Wishes;
use crate::db::cloudflare::TunnelStatusRow;
use crate::db::{DbError, RowChange};
use crate::domain::ingress::{IngressRule, RuleConflict, RuleId};
use crate::domain::route::{RouteKey, Service};

/// What the actor learns of a pass.
#[derive(Debug)]
pub(super) struct Outcome {
    pub ending: Ending,
    /// Digest of the wishes, if all of them were dealt with.
    pub digest: Option<u64>,
    /// True if Cloudflare was asked.
    pub has_looked: bool,
    /// Version of the configuration, if known.
    pub version: Option<i64>,
    /// Why it did not come to its end.
    pub error: Option<String>,
    /// True if that was said before, or is nothing to tell.
    pub is_no_news: bool,
}

impl Outcome {
    /// We never had such a tunnel.
    pub fn nothing() -> Self {
        Self {
            ending: Ending::Done,
            digest: None,
            has_looked: false,
            version: None,
            error: None,
            is_no_news: false,
        }
    }

    /// The database could not be read.
    pub fn unread(error: &DbError) -> Self {
        Self { ending: Ending::Failed(None), error: Some(error.to_string()), ..Self::nothing() }
    }
}

impl Pass<'_> {
    /// Writes down how it ended.
    pub async fn conclude(self, result: Result<(), Stop>) -> Outcome {
        let result = result.and_then(|()| self.check_names());
        let mut outcome = Outcome {
            ending: ending(&result),
            digest: (self.has_wishes && is_settled(&result)).then(|| self.wishes.digest()),
            has_looked: self.has_looked,
            version: self.version.or_else(|| self.snap.status.as_ref().and_then(|row| row.config_version)),
            error: result.as_ref().err().map(ToString::to_string),
            is_no_news: matches!(result, Err(Stop::Interrupted | Stop::StillRefused)),
        };
        if outcome.is_no_news {
            return outcome;
        }
        let rows = self.rows(&result);
        let has_changes = !rows.is_empty();
        if let Err(error) = self.desk.write(rows).await {
            outcome.ending = Ending::Failed(None);
            outcome.digest = None;
            outcome.error = Some(error.to_string());
        }
        if has_changes {
            self.desk.store.announce();
        }
        outcome
    }

    /// A name that failed leaves something to do, although the rest went well.
    fn check_names(&self) -> Result<(), Stop> {
        // One that is tried again soon counts more than one that only a person can heal.
        let soon = |failure: &&NameFailure| matches!(failure.ending, Ending::Failed(_));
        let failure = self.failed_names.values().find(soon).or_else(|| self.failed_names.values().next());
        failure.map_or(Ok(()), |failure| Err(Stop::Name(failure.clone())))
    }

    fn rows(&self, result: &Result<(), Stop>) -> Vec<RowChange> {
        let tunnel = &self.job.tunnel;
        let now = self.desk.clock.now();
        let mut rows = Vec::new();
        if let Some(in_force) = &self.in_force {
            rows.extend(applied_change(tunnel, &self.applied, in_force));
        }
        match &self.snap.tunnel.agent_id {
            Some(agent) => {
                rows.extend(route_changes(agent, &self.snap.route_status, &self.said(result), now))
            }
            // Nobody has it any more, and nothing of ours is left in it.
            None if result.is_ok() && self.wishes.is_empty() => {
                let row = self.snap.status.as_ref();
                return rows.into_iter().chain(row.map(|row| self.forget_tunnel(row))).collect();
            }
            None => {}
        }
        if self.has_looked || result.is_err() {
            rows.extend(tunnel_change(self.tunnel_there().as_ref(), self.tunnel_row(result)));
        }
        rows
    }

    fn forget_tunnel(&self, row: &TunnelStatusRow) -> RowChange {
        RowChange::DeleteTunnelStatus { tunnel_id: row.tunnel_id.clone() }
    }

    /// The tunnel's row as it is now: a write announces itself.
    fn tunnel_there(&self) -> Option<TunnelStatusRow> {
        if !self.has_announced {
            return self.snap.status.clone();
        }
        let now = self.desk.clock.now();
        Some(tunnel_row(&self.job.tunnel, TunnelPhase::Applying, self.snap.status.as_ref(), now))
    }

    fn tunnel_row(&self, result: &Result<(), Stop>) -> TunnelStatusRow {
        let before = self.snap.status.as_ref();
        let phase = match result {
            Err(_) => TunnelPhase::Failing,
            Ok(()) if self.is_waiting => TunnelPhase::Waiting,
            Ok(()) => TunnelPhase::Applied,
        };
        let mut row = tunnel_row(&self.job.tunnel, phase, before, self.desk.clock.now());
        if let Some(foreign) = &self.foreign {
            row.foreign_rules = serde_json::json!(foreign_words(foreign));
        }
        row.config_version = self.version.or(row.config_version);
        row.reason = match result {
            Err(error) => Some(error.to_string()),
            Ok(()) if self.is_waiting => Some(self.why_it_waits()),
            // Shown until we write again.
            Ok(()) if self.has_written => self.gap.clone(),
            Ok(()) => self.gap.clone().or_else(|| before.and_then(gap_before)),
        };
        row.answer = result.as_ref().err().and_then(Stop::answer);
        row
    }

    fn why_it_waits(&self) -> String {
        let count = self.foreign.as_ref().map_or(0, Vec::len);
        format!(
            "tunnel `{}` holds {count} rules or settings that are not ours; they stay as they are, and nothing \
             is written to it until you confirm with `lightship apply --yes` or on the page",
            self.snap.tunnel.name
        )
    }

    /// What is to be said about each route.
    fn said(&self, result: &Result<(), Stop>) -> BTreeMap<RouteKey, Said> {
        let Some(wishes) = self.wishes_if_read() else { return self.said_without_zones(result) };
        let mut said = wishes.refused.clone();
        let in_force: BTreeSet<RuleId> = self.in_force.iter().flatten().map(IngressRule::id).collect();
        for service in &self.wishes.services {
            let word = match self.has_looked || result.is_err() {
                true => Some(self.say(service, &in_force, result)),
                false => self.said_before(service),
            };
            if let Some(word) = word {
                said.insert(service.key.clone(), word);
            }
        }
        said
    }

    fn wishes_if_read(&self) -> Option<&Wishes> {
        self.has_wishes.then_some(&self.wishes)
    }

    /// The zones could not be read: what was said holds, and what is new waits for them.
    fn said_without_zones(&self, result: &Result<(), Stop>) -> BTreeMap<RouteKey, Said> {
        let services = self.snap.routes.iter().map(|route| &route.spec);
        let words = services.map(|service| {
            let before = self.said_before(service).filter(|said| said.phase != RoutePhase::Failing);
            let failing = || result.as_ref().err().map_or_else(still_on_its_way, failing);
            (service.key.clone(), before.unwrap_or_else(failing))
        });
        words.collect()
    }

    /// Nothing was asked, so what was said still holds.
    fn said_before(&self, service: &Service) -> Option<Said> {
        let row = self.snap.row(&service.key)?;
        let phase = RoutePhase::parse(&row.state)?;
        Some(Said { phase, reason: row.reason.clone(), answer: row.answer.clone() })
    }

    fn say(&self, service: &Service, in_force: &BTreeSet<RuleId>, result: &Result<(), Stop>) -> Said {
        let name = &service.key.hostname;
        let id = IngressRule::new(service).id();
        if self.is_waiting {
            return Said::because(RoutePhase::Waiting, self.why_it_waits());
        }
        if let Some(reason) = self.blocked.get(name) {
            return Said::because(RoutePhase::Blocked, reason.clone());
        }
        if let Some(conflict) = self.conflicts.iter().find(|conflict| conflict.wanted.id() == id) {
            return Said::because(RoutePhase::Blocked, in_conflict(conflict));
        }
        let leads_here = self.names.contains_key(name) || self.has_settled_name(name);
        if in_force.contains(&id) && leads_here {
            let reason = match self.names.get(name) {
                Some(false) => Some(
                    "a DNS record that was there already leads here; it is used and never changed".into(),
                ),
                _ => self.wishes.warnings.get(&service.key).cloned(),
            };
            return Said { phase: RoutePhase::Published, reason, answer: None };
        }
        if let Some(failure) = self.failed_names.get(name) {
            return Said {
                phase: RoutePhase::Failing,
                reason: Some(TRIED_AGAIN.into()),
                answer: Some(failure.answer.clone()),
            };
        }
        match result {
            // What was published stays so while Cloudflare cannot be asked.
            Err(_) if self.was_published(service) => self.said_before(service).unwrap_or(still_on_its_way()),
            Err(error) => failing(error),
            Ok(()) => still_on_its_way(),
        }
    }

    fn was_published(&self, service: &Service) -> bool {
        let rule = IngressRule::new(service);
        self.snap.phase(&service.key) == Some(RoutePhase::Published) && self.snap.applied.contains(&rule)
    }
}

/// How the reason begins if a person can settle a conflict by agreeing.
pub(super) const EQUAL_RULE: &str = "a rule that is not ours serves it already";
const TRIED_AGAIN: &str = "Cloudflare did not take it; it is tried again by itself";

fn failing(error: &Stop) -> Said {
    let answer = error.answer();
    let reason = if answer.is_some() { TRIED_AGAIN.to_owned() } else { error.to_string() };
    Said { phase: RoutePhase::Failing, reason: Some(reason), answer }
}

fn still_on_its_way() -> Said {
    Said::plain(RoutePhase::Publishing)
}

fn in_conflict(conflict: &RuleConflict) -> String {
    let service = &conflict.service;
    match conflict.is_equal {
        true => format!("{EQUAL_RULE}, from `{service}` too; `lightship apply --yes` makes it ours"),
        false => format!(
            "a rule that is not ours sends it to `{service}`; it stays, so remove it at Cloudflare or choose another name"
        ),
    }
}

/// A gap is worth showing until the next write, other reasons only as long as they hold.
fn gap_before(row: &TunnelStatusRow) -> Option<String> {
    row.reason.clone().filter(|reason| reason.starts_with("someone wrote"))
}

/// True if trying again with the same wishes makes no difference.
fn is_settled(result: &Result<(), Stop>) -> bool {
    matches!(ending(result), Ending::Done | Ending::Refused)
}

fn ending(result: &Result<(), Stop>) -> Ending {
    match result {
        Ok(()) => Ending::Done,
        Err(Stop::Interrupted) => Ending::Interrupted,
        Err(Stop::Cloudflare(error)) => ending_of(error),
        Err(Stop::Name(failure)) => failure.ending,
        Err(Stop::Merge(_) | Stop::StillRefused) => Ending::Refused,
        Err(Stop::Store(_) | Stop::Db(_) | Stop::Outwritten | Stop::Unplanned(_)) => Ending::Failed(None),
    }
}
