//! The end of a pass: what it found is written down and shown.

use super::pass::{Pass, RefusedNames, RefusedRules};
use super::snapshot::applied_change;
use super::status::{foreign_words, route_changes, tunnel_change, tunnel_row};
use super::stop::{NameFailure, Stop};
use super::turn::{Ending, Order};
use super::waiters::Failure;
use crate::db::cloudflare::TunnelStatusRow;
use crate::db::{DbError, RowChange};
use crate::domain::id::TunnelId;
use crate::domain::publish::{Cause, TunnelState};

/// What the actor learns of a pass.
#[derive(Debug)]
pub(super) struct Outcome {
    pub ending: Ending,
    /// Digest of the wishes, if all of them were dealt with.
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
    /// True if a comparison found something to be put right: what is left of that is a change.
    pub has_found_damage: bool,
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
            has_found_damage: false,
        }
    }

    /// A fault of ours, of which nothing could be written down either.
    pub fn broken() -> Self {
        Self { ending: Ending::Failed(None), error: Some(Stop::Internal.failure()), ..Self::nothing() }
    }

    /// What the pass turned out to be: a comparison that left damage is a change that is not done.
    pub fn order(&self, begun: Order) -> Order {
        let is_left = !matches!(self.ending, Ending::Done | Ending::Refused);
        if self.has_found_damage && is_left { Order::AGAIN } else { begun }
    }

    /// The database could not be read.
    pub fn unread(error: DbError) -> Self {
        Self { ending: Ending::Failed(None), error: Some(Stop::from(error).failure()), ..Self::nothing() }
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
            has_written: self.has_written,
            took_from: self.took_from.iter().cloned().collect(),
            is_to_go: self.snap.tunnel.is_to_go(),
            version: self.version.or_else(|| self.snap.status.as_ref().and_then(|row| row.config_version)),
            error: result.as_ref().err().map(Stop::failure),
            is_no_news: result.as_ref().is_err_and(|stop| self.is_no_news(stop)),
            refused: self.has_looked.then(|| self.refused_rules()),
            refused_names: self.has_looked.then(|| self.refused_names()),
            has_found_damage: self.has_found_damage,
        };
        if outcome.is_no_news {
            return outcome;
        }
        let rows = self.rows(&result);
        let has_changes = !rows.is_empty();
        if let Err(error) = self.desk.write(rows).await {
            outcome.ending = Ending::Failed(None);
            outcome.digest = None;
            outcome.error = Some(Stop::from(error).failure());
        }
        if has_changes {
            self.desk.store.announce();
        }
        outcome
    }

    /// True if `stop` says nothing about the tunnel: it was said before, or nobody came to look.
    fn is_no_news(&self, stop: &Stop) -> bool {
        let is_unseen = self.job.order.background && !self.has_announced && stop.is_held_back();
        matches!(stop, Stop::Interrupted | Stop::StillRefused) || is_unseen
    }

    /// A name that failed leaves something to do, although the rest went well.
    fn check_names(&self) -> Result<(), Stop> {
        // One that is tried again soon counts more than one that only a person can heal.
        let soon = |failure: &&NameFailure| matches!(failure.ending, Ending::Failed(_));
        let failed = self.failed_names.values();
        let by_name = |failure: &NameFailure| Stop::Name(failure.clone());
        let put_off = self.put_off.values().min().map(|wait| Stop::PutOff(*wait));
        let refused = self.trial.refused().values().next();
        let refused = refused.map(|words| Stop::Name(NameFailure::of_rule(words)));
        let stop = failed.clone().find(soon).map(by_name).or(put_off);
        stop.or_else(|| failed.clone().next().map(by_name)).or(refused).map_or(Ok(()), Err)
    }

    fn rows(&self, result: &Result<(), Stop>) -> Vec<RowChange> {
        let tunnel = &self.job.tunnel;
        let now = self.desk.clock.now();
        let mut rows = Vec::new();
        if let Some(in_force) = &self.in_force {
            rows.extend(applied_change(tunnel, &self.applied, in_force));
        }
        // Nothing was sent for them: next time nobody needs to look first.
        rows.extend(self.put_off.keys().filter(|name| self.untried.contains(*name)).filter_map(|name| {
            let zone_id = self.wishes.names.get(name)?.clone();
            Some(RowChange::DeleteDnsRecord { zone_id, name: name.clone() })
        }));
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
        Some(tunnel_row(&self.job.tunnel, TunnelState::Applying, self.snap.status.as_ref(), now))
    }

    fn tunnel_row(&self, result: &Result<(), Stop>) -> TunnelStatusRow {
        let before = self.snap.status.as_ref();
        let state = match result {
            Err(stop) if stop.is_put_off() => TunnelState::Applying,
            Err(_) => TunnelState::Failed,
            Ok(()) if self.is_waiting => TunnelState::Waiting,
            Ok(()) => TunnelState::Applied,
        };
        let mut row = tunnel_row(&self.job.tunnel, state, before, self.desk.clock.now());
        if let Some(foreign) = &self.foreign {
            row.foreign_rules = serde_json::json!(foreign_words(foreign, &self.containers()));
        }
        row.config_version = self.version.or(row.config_version);
        row.reason = match result {
            Err(error) => Some(error.to_string()),
            Ok(()) if self.is_waiting => Some(self.why_it_waits()),
            // Shown until we write again.
            Ok(()) if self.has_written => self.gap.clone(),
            Ok(()) => self.gap.clone().or_else(|| before.and_then(gap_before)),
        };
        row.cause = match result {
            Err(stop) => stop.cause(),
            Ok(()) => (row.reason.is_some() && !self.is_waiting).then_some(Cause::WrittenBetween),
        };
        row.answer = result.as_ref().err().and_then(Stop::answer);
        row.is_settled = self.is_config_known;
        row
    }
}

/// A gap is worth showing until the next write, other reasons only as long as they hold.
fn gap_before(row: &TunnelStatusRow) -> Option<String> {
    row.reason.clone().filter(|_| row.cause == Some(Cause::WrittenBetween))
}

/// True if trying again with the same wishes makes no difference.
fn is_settled(result: &Result<(), Stop>) -> bool {
    matches!(ending(result), Ending::Done | Ending::Refused)
}

fn ending(result: &Result<(), Stop>) -> Ending {
    result.as_ref().err().map_or(Ending::Done, Stop::ending)
}
