//! One round of a pass: merge with what was read, write what differs, and see what became of it.

use std::collections::BTreeSet;
use std::pin::pin;

use futures_util::future::FutureExt;
use futures_util::{StreamExt, stream};

use super::lead::{Led, lead};
use super::pass::Pass;
use super::records::{self, NameTask};
use super::snapshot::{SYSTEM, applied_change};
use super::status::{tunnel_change, tunnel_row};
use super::stop::Stop;
use crate::cloudflare::{CfError, TunnelConfig};
use crate::db::{Expected, RowChange};
use crate::domain::event::{Event, Stream, TunnelEvent};
use crate::domain::ingress::{Contact, MergeOutcome, merge};
use crate::domain::publish::TunnelState;

/// A call of a round that came to its end.
enum Done {
    /// The write of the configuration; none if it was right already.
    Put(Option<Result<i64, CfError>>),
    /// The calls about a name.
    Name(Led),
}

impl Pass<'_> {
    /// One round: merges with what was read and writes. Returns false if it has to be read again.
    pub async fn write(&mut self, read: TunnelConfig) -> Result<bool, Stop> {
        self.note_version(read.version);
        self.version = self.version.max(Some(read.version));
        let outcome = self.merge(&read)?;
        if outcome.waiting {
            self.is_waiting = true;
            return Ok(true);
        }
        let tasks = self.tasks().await?;
        if outcome.changed || !tasks.is_empty() {
            self.note_damage();
            self.announce(&outcome, &tasks).await?;
        }
        self.carry_out(read.version, &outcome, tasks).await
    }

    /// Makes the calls of a round side by side; what serves is said as soon as its own calls are done. Returns
    /// false if the configuration has to be read again.
    async fn carry_out(
        &mut self,
        read: i64,
        outcome: &MergeOutcome,
        tasks: Vec<NameTask>,
    ) -> Result<bool, Stop> {
        let (desk, job, client) = (self.desk, self.job, self.client.clone());
        let writer = self.writing_client();
        let is_writing = self.is_writing(outcome);
        let put = async {
            match is_writing {
                true => Some(writer.put_config(&job.tunnel, outcome.config.clone()).await),
                false => None,
            }
        };
        let (mut under_way, mut news) = (tasks.len() + 1, Vec::new());
        let (mut is_written, mut is_blocked) = (Ok(false), Ok(false));
        let names = lead(desk, job, &client, tasks).map(Done::Name);
        let mut calls = pin!(stream::select(stream::once(put.map(Done::Put)), names));
        while let Some(done) = calls.next().await {
            // What came meanwhile is said with it: one write a step, however many routes there are.
            let mut next = Some(done);
            while let Some(done) = next {
                under_way -= 1;
                match done {
                    Done::Put(put) => {
                        is_written = self.take_put(put, read, outcome);
                        self.confirm_if_first().await?;
                        news = self.all_names();
                    }
                    Done::Name(led) => {
                        news.push(led.0.clone());
                        // Calls under way are not cut off: the first trouble is told at the end.
                        is_blocked = is_blocked.and_then(|was| self.take_name(led).map(|is| was || is));
                    }
                }
                next = calls.next().now_or_never().flatten();
            }
            if under_way > 0 && self.in_force.is_some() {
                self.tell_progress(&std::mem::take(&mut news)).await?;
            }
        }
        let is_blocked = is_blocked?;
        Ok(is_written? && !is_blocked)
    }

    /// True if the configuration is to be written: it differs, or a connector has to be made to take it.
    fn is_writing(&self, outcome: &MergeOutcome) -> bool {
        outcome.changed || (self.job.order.write_again && !self.has_written)
    }

    fn merge(&mut self, read: &TunnelConfig) -> Result<MergeOutcome, Stop> {
        let outcome = merge(&self.applied, &self.wanted_rules(&read.config), &read.config, self.contact)?;
        self.foreign = Some(outcome.foreign.clone());
        self.conflicts = outcome.conflicts.clone();
        Ok(outcome)
    }

    /// Writes down what is ours from now on, whatever becomes of the calls.
    async fn announce(&mut self, outcome: &MergeOutcome, tasks: &[NameTask]) -> Result<(), Stop> {
        let (tunnel, now) = (&self.job.tunnel, self.desk.clock.now());
        let mut rows: Vec<RowChange> =
            applied_change(tunnel, &self.applied, &outcome.applied_before).into_iter().collect();
        rows.extend(tasks.iter().filter_map(|task| {
            let row = records::row_before(self.desk, tunnel, task);
            (task.row.as_ref() != Some(&row)).then_some(RowChange::PutDnsRecord(row))
        }));
        self.is_config_known &= !self.is_writing(outcome);
        let mut status = tunnel_row(tunnel, TunnelState::Applying, self.snap.status.as_ref(), now);
        status.is_settled = self.is_config_known;
        rows.extend(tunnel_change(self.snap.status.as_ref(), status));
        let left = usize::try_from(self.client.calls_left()).unwrap_or(usize::MAX);
        let mut in_line: BTreeSet<&String> = tasks.iter().map(|task| &task.name).collect();
        if left >= in_line.len() {
            in_line.clear();
        }
        let said = self.set_out(&in_line);
        rows.extend(said.iter().cloned().map(RowChange::PutRouteStatus));
        self.desk.write(rows).await?;
        if !said.is_empty() {
            self.desk.store.announce();
        }
        self.take_rows(said);
        let untried = tasks.iter().filter(|task| task.row.is_none() && !task.look_first);
        self.untried.extend(untried.map(|task| task.name.clone()));
        self.has_announced = true;
        self.applied = outcome.applied_before.clone();
        Ok(())
    }

    /// Nothing foreign was there when our rules came into it, so no person needs to agree any more. Before that a
    /// refused write proves nothing: somebody may add rules until the next one.
    async fn confirm_if_first(&mut self) -> Result<(), Stop> {
        if self.contact != Contact::First || self.in_force.as_ref().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        let tunnel = &self.job.tunnel;
        let event = Event::Tunnel(TunnelEvent::Confirmed { tunnel_id: tunnel.clone(), by: SYSTEM.into() });
        let batch = self.desk.batch().append(Stream::tunnel(tunnel), Expected::Head, vec![event]);
        self.desk.store.commit(batch).await?;
        self.contact = Contact::Written;
        Ok(())
    }

    fn take_put(
        &mut self,
        put: Option<Result<i64, CfError>>,
        read: i64,
        outcome: &MergeOutcome,
    ) -> Result<bool, Stop> {
        match put {
            None => {
                self.in_force = Some(outcome.applied_after.clone());
                self.trial.taken();
                Ok(!self.trial.is_under_way())
            }
            Some(Ok(version)) => {
                self.has_written = true;
                self.is_config_known = true;
                self.expected = Some(read + 1);
                self.note_version(version);
                self.version = self.version.max(Some(version));
                self.in_force = Some(outcome.applied_after.clone());
                self.trial.taken();
                Ok(version == read + 1 && !self.trial.is_under_way())
            }
            // It may have taken effect: the next look says.
            Some(Err(error)) if error.is_uncertain() && self.lost_answers == 0 => {
                self.lost_answers += 1;
                self.expected = Some(read + 1);
                Ok(false)
            }
            // It was not sent: meanwhile somebody else may have written.
            Some(Err(CfError::TooLate { .. })) => {
                self.late_writes += 1;
                self.is_config_known = true;
                Ok(false)
            }
            Some(Err(error)) => {
                self.is_config_known = !error.is_uncertain();
                // One bad rule must not hold the others up.
                let is_searched =
                    error.is_about_content() && self.trial.not_taken(&outcome.fresh, &error.to_string());
                if is_searched { Ok(false) } else { Err(error.into()) }
            }
        }
    }

    /// Notices a version that somebody else must have made while we wrote.
    fn note_version(&mut self, version: i64) {
        let Some(expected) = self.expected.take().filter(|expected| version > *expected) else { return };
        let who = match version - expected {
            1 => format!("version {expected}"),
            _ => format!("versions {expected} to {}", version - 1),
        };
        let gap = format!("someone wrote {who} between our read and our write");
        tracing::warn!(tunnel.id = %self.job.tunnel, "{gap}");
        self.gap = Some(gap);
    }
}
