//! What a scan makes of the updates that are kept of a host.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::finding::{Finding, Standing};
use super::life::{Decision, Happening, State, decided, next};
use super::scan::Findings;
use crate::domain::id::UpdateId;

/// How long what came to its end is kept to be looked at.
const KEPT_FOR: TimeDelta = TimeDelta::days(30);

/// What is kept of one package or image of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// What pages and the API call it.
    pub id: UpdateId,
    /// What the last scan said that knew of it.
    pub finding: Finding,
    /// Where its life stands; none if no scan ever found a newer one.
    pub state: Option<State>,
    /// When the version on offer was found first, or the thing itself if it has no update.
    pub first_seen_at: DateTime<Utc>,
    /// When it last changed.
    pub changed_at: DateTime<Utc>,
    /// Until when a person put it off.
    pub due_at: Option<DateTime<Utc>>,
}

impl Update {
    /// Returns its state in the word of pages and the API: of what has no update, whether that is known.
    pub fn status(&self) -> &'static str {
        match (self.state, &self.finding.standing) {
            (Some(state), _) => state.as_str(),
            (None, Standing::Unchecked { .. }) => UNCHECKED,
            (None, _) => CURRENT,
        }
    }
}

/// Status of what has no update, as far as could be found out.
pub const CURRENT: &str = "current";
/// Status of what could not be checked and never had an update.
pub const UNCHECKED: &str = "unchecked";

/// What is to be written of one update.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Keep it like this.
    Put(Box<Update>),
    /// Keep it no more.
    Forget(String),
}

/// Decides what is kept after a scan. `known` is by name; `new_id` makes ids.
///
/// What a scan that is not complete does not name stays as it is. What could not be checked keeps its state and what was
/// known of it.
pub fn reconcile(
    mut known: BTreeMap<String, Update>,
    decisions: &BTreeMap<String, Decision>,
    found: &Findings,
    now: DateTime<Utc>,
    mut new_id: impl FnMut() -> UpdateId,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for finding in &found.items {
        let before = known.remove(&finding.name);
        let after = seen(before.as_ref(), finding, decisions.get(&finding.name), now, &mut new_id);
        if before.as_ref() != Some(&after) {
            changes.push(Change::Put(Box::new(Update { changed_at: now, ..after })));
        }
    }
    if found.checked.is_complete {
        changes.extend(known.into_values().filter_map(|update| missing(update, now)));
    }
    changes
}

/// Returns what an update is after something happened to it that no scan and no decision about it alone can say: a yes to a plan
/// that holds it, or its run. None if that changes nothing, or cannot happen to it.
pub fn after_happening(
    update: &Update,
    happening: Happening,
    decision: Option<&Decision>,
    now: DateTime<Utc>,
) -> Option<Update> {
    let standing = decided(decision, update.finding.available_version.as_deref(), now);
    let state = next(update.state?, happening, standing).ok()?;
    let due_at = due(Some(state), decision);
    let after = Update { state: Some(state), due_at, changed_at: now, ..update.clone() };
    (update.state != Some(state)).then_some(after)
}

fn seen(
    before: Option<&Update>,
    finding: &Finding,
    decision: Option<&Decision>,
    now: DateTime<Utc>,
    new_id: &mut impl FnMut() -> UpdateId,
) -> Update {
    let Some(before) = before else {
        let anew =
            || decided(decision, finding.available_version.as_deref(), now).unwrap_or(State::Discovered);
        let state = finding.is_pending().then(anew);
        return Update {
            id: new_id(),
            finding: finding.clone(),
            due_at: due(state, decision),
            state,
            first_seen_at: now,
            changed_at: now,
        };
    };
    let finding = with_what_was_known(before, finding);
    let is_new_version = before.finding.available_version != finding.available_version;
    let standing = decided(decision, finding.available_version.as_deref(), now);
    let state = match (before.state, &finding.standing) {
        (state, Standing::Unchecked { .. }) => state,
        (None, Standing::Newer | Standing::RestartNeeded) => Some(standing.unwrap_or(State::Discovered)),
        (Some(state), Standing::Newer | Standing::RestartNeeded) => {
            next(state, Happening::Found { is_new_version }, standing).ok().or(Some(state))
        }
        (Some(state), Standing::Same | Standing::Untracked { .. }) => {
            next(state, Happening::Vanished, standing).ok().or(Some(state))
        }
        (None, Standing::Same | Standing::Untracked { .. }) => None,
    };
    let begins_anew = finding.is_pending()
        && (is_new_version || matches!(before.state, None | Some(State::Resolved | State::Verified)));
    Update {
        id: before.id.clone(),
        first_seen_at: if begins_anew { now } else { before.first_seen_at },
        due_at: due(state, decision),
        state,
        finding,
        changed_at: before.changed_at,
    }
}

/// What could not be checked is still what it was, as far as anybody knows.
fn with_what_was_known(before: &Update, finding: &Finding) -> Finding {
    let Standing::Unchecked { cause, reason, last_known_at, retry_at } = &finding.standing else {
        return finding.clone();
    };
    let known_at = match &before.finding.standing {
        Standing::Unchecked { last_known_at, .. } => *last_known_at,
        _ => Some(before.changed_at),
    };
    let is_same_thing =
        finding.current_version.is_none() || finding.current_version == before.finding.current_version;
    let mut known = if is_same_thing { before.finding.clone() } else { finding.clone() };
    if known.available_version.is_none() {
        known.available_version.clone_from(&finding.available_version);
    }
    known.containers.clone_from(&finding.containers);
    known.flaw.clone_from(&finding.flaw);
    known.standing = Standing::Unchecked {
        cause: *cause,
        reason: reason.clone(),
        last_known_at: last_known_at.or(known_at),
        retry_at: *retry_at,
    };
    known
}

/// Says what becomes of what a complete scan does not name.
fn missing(update: Update, now: DateTime<Utc>) -> Option<Change> {
    let Some(state) = update.state else { return Some(Change::Forget(update.finding.name)) };
    let after = next(state, Happening::Vanished, None).unwrap_or(state);
    if after != state {
        let gone = Update { state: Some(after), changed_at: now, due_at: None, ..update };
        return Some(Change::Put(Box::new(gone)));
    }
    let is_over = matches!(state, State::Resolved | State::Verified) && now - update.changed_at > KEPT_FOR;
    is_over.then_some(Change::Forget(update.finding.name))
}

fn due(state: Option<State>, decision: Option<&Decision>) -> Option<DateTime<Utc>> {
    match (state, decision) {
        (Some(State::Snoozed), Some(Decision::Snooze { until })) => Some(*until),
        _ => None,
    }
}

/// Returns what an update is after a person decided, or took a decision back; none if it cannot be decided about now.
pub fn after_decision(update: &Update, decision: Option<&Decision>, now: DateTime<Utc>) -> Option<Update> {
    let happening = match decision {
        None => Happening::Reconsider,
        Some(Decision::Hold) => Happening::Hold,
        Some(Decision::Ignore { .. }) => Happening::Ignore,
        Some(Decision::Snooze { .. }) => Happening::Snooze,
    };
    let state = next(update.state?, happening, None).ok()?;
    Some(Update { state: Some(state), due_at: due(Some(state), decision), changed_at: now, ..update.clone() })
}

/// Returns what an update is once the time is over until which it was put off.
pub fn after_snooze(update: &Update, now: DateTime<Utc>) -> Option<Update> {
    let is_over = update.due_at.is_some_and(|due_at| due_at <= now);
    (is_over && update.state == Some(State::Snoozed)).then(|| Update {
        state: Some(State::Discovered),
        due_at: None,
        changed_at: now,
        ..update.clone()
    })
}

#[cfg(test)]
mod tests;
