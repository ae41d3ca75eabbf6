//! The names of a pass: which of them need a call, the calls, and what came of them.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{Stream, StreamExt, stream};

use super::desk::Desk;
use super::pass::{Job, Pass};
use super::records::{self, NameEnd, NameTask, RecordError};
use super::stop::{NameFailure, Stop};
use crate::cloudflare::{CfError, Cloudflare};
use crate::db::{RowChange, cloudflare};
use crate::domain::id::ZoneId;
use crate::domain::publish::PublicState;
use crate::domain::route::Service;

/// Calls about names that run side by side.
const SIDE_BY_SIDE: usize = 8;

/// What became of a name, or why nothing did.
pub(super) type Led = (String, Result<NameEnd, RecordError>);

/// Leads names to the tunnel of `job`, some at a time. Should a change come while calls have to wait for their turn,
/// the names that are left come after it.
pub(super) fn lead(
    desk: &Desk,
    job: &Job,
    client: &Cloudflare,
    tasks: Vec<NameTask>,
) -> impl Stream<Item = Led> {
    let work = stream::iter(tasks).map(async |task| {
        let is_overtaken = job.urgent.load(Ordering::Relaxed) && client.calls_left() == 0;
        let end = match is_overtaken {
            true => Err(RecordError::PutOff),
            false => records::ensure(desk, client, &job.tunnel, &task).await,
        };
        (task.name, end)
    });
    work.buffer_unordered(SIDE_BY_SIDE)
}

impl Pass<'_> {
    /// In the background nothing is hurried.
    fn side_by_side(&self) -> usize {
        if self.job.order.background { 1 } else { SIDE_BY_SIDE }
    }

    /// Looks at the names that were blocked before anything is written. Returns those for which nothing is to be done.
    pub(super) async fn look_at_blocked_names(&self) -> Result<Vec<Led>, Stop> {
        if self.snap.is_left() {
            return Ok(Vec::new());
        }
        let is_blocked = |service: &&Service| self.snap.state(&service.key) == Some(PublicState::Blocked);
        let services = self.wishes.services.iter().filter(is_blocked);
        let names: BTreeSet<&String> = services.map(|service| &service.key.hostname).collect();
        let looks = stream::iter(names).map(async |name| {
            self.make_way()?;
            // Without a zone nobody can look, and nothing of ours is there.
            let Some(task) = self.task(name, true) else { return Ok(None) };
            Ok(self.look(&self.client, &task).await?.map(|end| (name.clone(), end)))
        });
        let looks: Vec<Result<_, Stop>> = looks.buffer_unordered(self.side_by_side()).collect().await;
        looks.into_iter().filter_map(Result::transpose).collect()
    }

    /// Looks at a name. Returns none if there is something to be done for it.
    async fn look(
        &self,
        client: &Cloudflare,
        task: &NameTask,
    ) -> Result<Option<Result<NameEnd, RecordError>>, Stop> {
        match records::look(self.desk, client, &self.job.tunnel, task).await {
            // Nothing is known of the others either.
            Err(RecordError::Cloudflare(error)) if error.is_transient() => Err(Stop::from(error)),
            end => Ok(end.transpose()),
        }
    }

    /// Looks at the names that are taken to be right, one after the other, and puts right at once what is not. Returns
    /// false if one is blocked: its rule has to go.
    pub(super) async fn compare_names(&mut self) -> Result<bool, Stop> {
        let client = self.desk.cloudflare.background();
        let mut is_blocked = false;
        for name in self.all_names().into_iter().filter(|name| !self.is_dealt_with(name)).collect::<Vec<_>>()
        {
            self.make_way()?;
            let Some(task) = self.task(&name, true) else { continue };
            let end = match self.look(&client, &task).await? {
                Some(end) => end,
                None => self.put_right(&task).await?,
            };
            is_blocked |= self.take_name((name, end))?;
        }
        Ok(!is_blocked)
    }

    async fn put_right(&mut self, task: &NameTask) -> Result<Result<NameEnd, RecordError>, Stop> {
        self.note_damage();
        let mut task = task.clone();
        if task.row.is_none() {
            // A row may lead to another tunnel still.
            task.row = cloudflare::find_dns_record(&self.desk.db, &task.zone, &task.name).await?;
        }
        let other = task.row.as_ref().map(|row| &row.tunnel_id);
        self.took_from.extend(other.filter(|tunnel| **tunnel != self.job.tunnel).cloned());
        let row = records::row_before(self.desk, &self.job.tunnel, &task);
        self.desk.write(vec![RowChange::PutDnsRecord(row)]).await?;
        Ok(records::ensure(self.desk, &self.client, &self.job.tunnel, &task).await)
    }

    /// True if this pass has to do nothing more for the name.
    fn is_dealt_with(&self, name: &str) -> bool {
        self.names.contains_key(name)
            || self.blocked.contains_key(name)
            || self.failed_names.contains_key(name)
            || self.put_off.contains_key(name)
            || self.conflicts.iter().any(|conflict| conflict.wanted.hostname == name)
    }

    /// Names that need a call, in this round. A name may have a row that leads to another tunnel still.
    pub(super) async fn tasks(&mut self) -> Result<Vec<NameTask>, Stop> {
        if self.snap.is_left() {
            return Ok(Vec::new());
        }
        let is_due = |name: &&String| !self.is_dealt_with(name);
        let mut tasks: Vec<NameTask> =
            self.wishes.names.keys().filter(is_due).filter_map(|name| self.task_if_needed(name)).collect();
        for task in tasks.iter_mut().filter(|task| task.row.is_none()) {
            task.row = cloudflare::find_dns_record(&self.desk.db, &task.zone, &task.name).await?;
            task.look_first |= task.row.is_some();
        }
        let others = tasks.iter().filter_map(|task| task.row.as_ref()).map(|row| &row.tunnel_id);
        self.took_from.extend(others.filter(|tunnel| **tunnel != self.job.tunnel).cloned());
        Ok(tasks)
    }

    /// True if the name is known to lead to the tunnel, by our record or by somebody else's.
    pub(super) fn has_settled_name(&self, name: &str) -> bool {
        self.snap.has_settled_name(&self.wishes, name)
    }

    fn states<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Option<PublicState>> + 's {
        let services = self.wishes.services.iter().filter(move |service| service.key.hostname == name);
        services.map(|service| self.snap.state(&service.key))
    }

    fn task_if_needed(&self, name: &str) -> Option<NameTask> {
        let is_unknown = self.states(name).all(|state| matches!(state, None | Some(PublicState::Publishing)));
        if self.has_settled_name(name) {
            return None;
        }
        // Nobody has ever tried it: Cloudflare itself refuses a second record, so the look can be saved.
        let look_first = self.snap.record(name).is_some() || !is_unknown || self.job.order.background;
        self.task(name, look_first)
    }

    /// None if no zone is known for the name: it was published in one that is not listed any more, by a record that
    /// is not ours.
    fn task(&self, name: &str, look_first: bool) -> Option<NameTask> {
        let zone = self.wishes.names.get(name)?.clone();
        let row = self.snap.record(name).filter(|row| row.zone_id == zone).cloned();
        Some(NameTask { zone, name: name.to_owned(), look_first, row })
    }

    /// Takes note of what became of a name. Returns true if it is blocked: its rule has to go again.
    pub(super) fn take_name(&mut self, (name, end): Led) -> Result<bool, Stop> {
        match end {
            Ok(NameEnd::Ours) => drop(self.names.insert(name, true)),
            Ok(NameEnd::AsItIs) => drop(self.names.insert(name, false)),
            Ok(NameEnd::Blocked(reason)) => {
                self.blocked.insert(name, reason);
                return Ok(true);
            }
            Err(RecordError::PutOff) => drop(self.put_off.insert(name, Duration::ZERO)),
            Err(RecordError::Cloudflare(CfError::NotYet { retry_after, .. })) => {
                self.put_off.insert(name, retry_after);
            }
            Err(RecordError::Cloudflare(error)) => {
                self.failed_names.insert(name, NameFailure::new(&error));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Takes away names that nobody wants any more, now that their rules are gone.
    pub(super) async fn remove_names(&mut self) -> Result<(), Stop> {
        let gone: Vec<(ZoneId, String)> = self
            .snap
            .records_to_remove(&self.wishes)
            .map(|row| (row.zone_id.clone(), row.name.clone()))
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.note_damage();
        self.tell_progress(&self.all_names()).await?;
        let work = stream::iter(&gone).map(async |(zone, name)| {
            records::remove(self.desk, &self.client, &self.job.tunnel, zone, name).await
        });
        let ends: Vec<_> = work.buffer_unordered(SIDE_BY_SIDE).collect().await;
        ends.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(())
    }
}
