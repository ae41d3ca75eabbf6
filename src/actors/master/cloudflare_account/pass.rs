//! One pass over one tunnel: read, merge, write what differs, and say how it stands.
//!
//! Cloudflare has no compare-and-set, so the configuration is read immediately before each write, and a
//! version that is not the next one means that somebody wrote in between: read and merge again. What may
//! become ours is written to the database before the call that makes it so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join;
use futures_util::{StreamExt, stream};

use super::desk::{Desk, StoreFailed};
use super::records::{self, NameEnd, NameTask, RecordError};
use super::snapshot::{SYSTEM, Snapshot, applied_change};
use super::status::{RoutePhase, TunnelPhase, tunnel_change, tunnel_row};
use super::turn::{Ending, Order};
use super::wishes::{KnownZones, Wishes};
use crate::cloudflare::{CfError, Cloudflare, TunnelConfig};
use crate::db::{Batch, DbError, Expected, RowChange, cloudflare};
use crate::domain::event::{Event, Stream};
use crate::domain::id::TunnelId;
use crate::domain::ingress::{Contact, Foreign, IngressRule, MergeError, MergeOutcome, RuleConflict, merge};
use crate::domain::route::RouteKey;

/// Writes of one pass; somebody who writes as often as we do does not keep us here for ever.
const MAX_ROUNDS: usize = 6;
/// Calls about names that run side by side.
const SIDE_BY_SIDE: usize = 8;

/// A pass to be made.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub tunnel: TunnelId,
    pub order: Order,
    /// Raised when a change waits: a pass in the background makes way for it.
    pub urgent: Arc<AtomicBool>,
    /// Digest of the wishes of the last pass that came to its end.
    pub last_digest: Option<u64>,
    /// True if Cloudflare refused something in that pass.
    pub was_refused: bool,
}

/// Why a pass did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error(transparent)]
    Cloudflare(#[from] CfError),
    #[error(transparent)]
    Store(#[from] StoreFailed),
    #[error("the database could not be read")]
    Db(#[from] DbError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error("somebody else keeps writing to this tunnel; it is tried again later")]
    Outwritten,
    #[error("{}", .0.answer)]
    Name(NameFailure),
    #[error("nothing could be planned for `{0}`")]
    Unplanned(String),
    #[error("nothing changed since Cloudflare refused it")]
    StillRefused,
    #[error("a change came first")]
    Interrupted,
}

/// Why a name does not lead to the tunnel.
#[derive(Debug, Clone)]
pub(super) struct NameFailure {
    /// Cloudflare's words.
    pub answer: String,
    pub ending: Ending,
}

/// What a refusal or a silence of Cloudflare means for the next pass.
pub(super) fn ending_of(error: &CfError) -> Ending {
    if error.is_transient() { Ending::Failed(error.retry_after()) } else { Ending::Refused }
}

impl Stop {
    /// Cloudflare's last words, if it was Cloudflare.
    pub fn answer(&self) -> Option<String> {
        matches!(self, Self::Cloudflare(_) | Self::Name(_)).then(|| self.to_string())
    }
}

impl From<RecordError> for Stop {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Cloudflare(error) => Self::Cloudflare(error),
            RecordError::Store(error) => Self::Store(error),
            RecordError::Db(error) => Self::Db(error),
            RecordError::Unplanned(name) => Self::Unplanned(name),
        }
    }
}

/// A pass under way, and what it has found so far.
pub(super) struct Pass<'a> {
    pub desk: &'a Desk,
    pub job: &'a Job,
    pub client: Cloudflare,
    pub snap: Snapshot,
    pub wishes: Wishes,
    /// False until the zones are known, without which nothing can be wished for.
    pub has_wishes: bool,
    /// True once Cloudflare was called: what was said before may no longer be true.
    pub has_looked: bool,
    /// True once a write was written down as being on its way.
    pub has_announced: bool,
    /// True once the configuration was written.
    pub has_written: bool,
    /// True if the tunnel waits for a person.
    pub is_waiting: bool,
    /// The rules of ours that Cloudflare is known to have.
    pub in_force: Option<Vec<IngressRule>>,
    /// What `applied_rules` says now.
    pub applied: Vec<IngressRule>,
    pub version: Option<i64>,
    pub foreign: Option<Vec<Foreign>>,
    pub conflicts: Vec<RuleConflict>,
    /// Names that are dealt with; true if by a record of ours.
    pub names: BTreeMap<String, bool>,
    /// Names that records of others are in the way of, and why.
    pub blocked: BTreeMap<String, String>,
    /// Names that failed in this pass.
    pub failed_names: BTreeMap<String, NameFailure>,
    /// What to tell about others who wrote at the same time.
    pub gap: Option<String>,
    contact: Contact,
    /// Version that a write whose answer was lost should have made.
    expected: Option<i64>,
    lost_answers: u32,
}

impl<'a> Pass<'a> {
    pub fn new(desk: &'a Desk, job: &'a Job, snap: Snapshot) -> Self {
        let client =
            if job.order.background { desk.cloudflare.background() } else { desk.cloudflare.clone() };
        Self {
            desk,
            job,
            client,
            contact: snap.contact(),
            applied: snap.applied.clone(),
            snap,
            wishes: Wishes::default(),
            has_wishes: false,
            has_looked: false,
            has_announced: false,
            has_written: false,
            is_waiting: false,
            in_force: None,
            version: None,
            foreign: None,
            conflicts: Vec::new(),
            names: BTreeMap::new(),
            blocked: BTreeMap::new(),
            failed_names: BTreeMap::new(),
            gap: None,
            expected: None,
            lost_answers: 0,
        }
    }

    /// Brings Cloudflare to what is wished for.
    pub async fn work(&mut self) -> Result<(), Stop> {
        self.read_wishes().await?;
        let is_new = self.job.last_digest.is_some_and(|digest| digest != self.wishes.digest());
        let is_nothing = self.snap.is_nothing(&self.wishes);
        if is_nothing || (!self.job.order.look_again && !is_new && self.snap.is_settled(&self.wishes)) {
            return Ok(());
        }
        if !self.job.order.look_again && self.job.was_refused && !is_new {
            return Err(Stop::StillRefused);
        }
        self.has_looked = true;
        let (config, looks) = join(self.read_config(), self.look_at_blocked()).await;
        self.blocked = looks?;
        let mut config = config?;
        for _ in 0..MAX_ROUNDS {
            if self.write(config).await? {
                return self.finish().await;
            }
            self.make_way()?;
            config = self.read_config().await?;
        }
        Err(Stop::Outwritten)
    }

    async fn read_wishes(&mut self) -> Result<(), Stop> {
        let read =
            |zones: Option<&[_]>| Wishes::read(&self.snap.routes, KnownZones::of(zones), &self.desk.settings);
        let zones = self.desk.zones.get(&self.client, false).await?;
        let mut wishes = read(zones.as_deref());
        let is_news = wishes
            .refused
            .iter()
            .any(|(key, said)| self.snap.row(key).is_none_or(|row| row.reason != said.reason));
        if wishes.misses_a_zone && (is_news || self.job.order.look_again) {
            let zones = self.desk.zones.get(&self.client, true).await?;
            wishes = read(zones.as_deref());
        }
        self.wishes = wishes;
        self.has_wishes = true;
        Ok(())
    }

    async fn read_config(&self) -> Result<TunnelConfig, CfError> {
        match self.client.get_config(&self.job.tunnel).await {
            // Nothing can be left in a tunnel that is gone; its names still have to go.
            Err(error) if error.is_not_found() && self.wishes.is_empty() => {
                Ok(TunnelConfig { version: 0, config: serde_json::Value::Null, source: None })
            }
            answer => answer,
        }
    }

    /// Looks again at names that were blocked, before their rules are written.
    async fn look_at_blocked(&self) -> Result<BTreeMap<String, String>, Stop> {
        let was_blocked = |key: &RouteKey| self.snap.phase(key) == Some(RoutePhase::Blocked);
        let services = self.wishes.services.iter().filter(|service| was_blocked(&service.key));
        let names: BTreeSet<&String> = services.map(|service| &service.key.hostname).collect();
        let tasks = names.into_iter().map(|name| self.task(name, true));
        let looks = stream::iter(tasks).map(async |task| {
            let found = records::look(self.desk, &self.client, &self.job.tunnel, &task).await?;
            Ok(found.map(|reason| (task.name, reason)))
        });
        let looks: Vec<Result<_, Stop>> = looks.buffer_unordered(self.side_by_side()).collect().await;
        looks.into_iter().filter_map(Result::transpose).collect()
    }

    /// One round: merges with what was read and writes. Returns false if it has to be read again.
    async fn write(&mut self, read: TunnelConfig) -> Result<bool, Stop> {
        self.note_version(read.version);
        let outcome = self.merge(&read)?;
        if outcome.waiting {
            self.is_waiting = true;
            self.version = Some(read.version);
            return Ok(true);
        }
        let tasks = self.tasks().await?;
        if outcome.changed || !tasks.is_empty() {
            self.make_way()?;
            self.announce(&outcome, &tasks).await?;
        }
        let put = async {
            match outcome.changed {
                true => Some(self.client.put_config(&self.job.tunnel, outcome.config.clone()).await),
                false => None,
            }
        };
        let (put, ends) = join(put, self.lead_names(&tasks)).await;
        let is_blocked = self.take_names(ends)?;
        let is_written = self.take_put(put, read.version, &outcome)?;
        Ok(is_written && !is_blocked)
    }

    fn merge(&mut self, read: &TunnelConfig) -> Result<MergeOutcome, Stop> {
        let blocked: BTreeSet<String> = self.blocked.keys().cloned().collect();
        let outcome = merge(&self.applied, &self.wishes.rules(&blocked), &read.config, self.contact)?;
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
        let status = tunnel_row(tunnel, TunnelPhase::Applying, self.snap.status.as_ref(), now);
        rows.extend(tunnel_change(self.snap.status.as_ref(), status));
        let mut batch = Batch { rows, ..self.desk.batch() };
        if self.contact == Contact::First {
            let event = Event::TunnelConfirmed { tunnel_id: tunnel.clone(), by: SYSTEM.into() };
            batch = batch.append(Stream::tunnel(tunnel), Expected::Head, vec![event]);
        }
        self.desk.store.commit(batch).await?;
        self.has_announced = true;
        self.applied = outcome.applied_before.clone();
        if self.contact == Contact::First {
            self.contact = Contact::Written;
        }
        Ok(())
    }

    /// Names that need a call, in this round. A name may have a row that leads to another tunnel still.
    async fn tasks(&self) -> Result<Vec<NameTask>, Stop> {
        let conflicts: BTreeSet<&String> =
            self.conflicts.iter().map(|conflict| &conflict.wanted.hostname).collect();
        let is_due = |name: &&String| {
            !self.names.contains_key(*name)
                && !self.blocked.contains_key(*name)
                && !self.failed_names.contains_key(*name)
                && !conflicts.contains(*name)
        };
        let mut tasks: Vec<NameTask> =
            self.wishes.names.keys().filter(is_due).filter_map(|name| self.task_if_needed(name)).collect();
        for task in tasks.iter_mut().filter(|task| task.row.is_none()) {
            task.row = cloudflare::find_dns_record(&self.desk.db, &task.zone, &task.name).await?;
            task.look_first |= task.row.is_some();
        }
        Ok(tasks)
    }

    /// True if the name is known to lead to the tunnel, by our record or by somebody else's.
    pub fn has_settled_name(&self, name: &str) -> bool {
        match self.snap.record(name) {
            Some(row) => row.record_id.is_some() && Some(&row.zone_id) == self.wishes.names.get(name),
            None => self.phases(name).any(|phase| phase == Some(RoutePhase::Published)),
        }
    }

    fn phases<'s>(&'s self, name: &'s str) -> impl Iterator<Item = Option<RoutePhase>> + 's {
        let services = self.wishes.services.iter().filter(move |service| service.key.hostname == name);
        services.map(|service| self.snap.phase(&service.key))
    }

    fn task_if_needed(&self, name: &str) -> Option<NameTask> {
        let is_unknown = self.phases(name).all(|phase| phase.is_none());
        if self.has_settled_name(name) && !self.job.order.background {
            return None;
        }
        // Nobody has ever tried it: Cloudflare itself refuses a second record, so the look can be saved.
        let look_first = self.snap.record(name).is_some() || !is_unknown || self.job.order.background;
        Some(self.task(name, look_first))
    }

    fn task(&self, name: &str, look_first: bool) -> NameTask {
        let zone = self.wishes.names[name].clone();
        let row = self.snap.record(name).filter(|row| row.zone_id == zone).cloned();
        NameTask { zone, name: name.to_owned(), look_first, row }
    }

    async fn lead_names(&self, tasks: &[NameTask]) -> Vec<(String, Result<NameEnd, RecordError>)> {
        let work = stream::iter(tasks).map(async |task| {
            let end = records::ensure(self.desk, &self.client, &self.job.tunnel, task).await;
            (task.name.clone(), end)
        });
        work.buffer_unordered(self.side_by_side()).collect().await
    }

    /// Returns true if a name turned out to be blocked: its rule has to go again.
    fn take_names(&mut self, ends: Vec<(String, Result<NameEnd, RecordError>)>) -> Result<bool, Stop> {
        let mut is_blocked = false;
        for (name, end) in ends {
            match end {
                Ok(NameEnd::Ours) => drop(self.names.insert(name, true)),
                Ok(NameEnd::AsItIs) => drop(self.names.insert(name, false)),
                Ok(NameEnd::Blocked(reason)) => {
                    is_blocked = true;
                    self.blocked.insert(name, reason);
                }
                Err(RecordError::Cloudflare(error)) => {
                    let (answer, ending) = (error.to_string(), ending_of(&error));
                    self.failed_names.insert(name, NameFailure { answer, ending });
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(is_blocked)
    }

    fn take_put(
        &mut self,
        put: Option<Result<i64, CfError>>,
        read: i64,
        outcome: &MergeOutcome,
    ) -> Result<bool, Stop> {
        match put {
            None => {
                self.version = Some(read);
                self.in_force = Some(outcome.applied_after.clone());
                Ok(true)
            }
            Some(Ok(version)) => {
                self.has_written = true;
                self.expected = Some(read + 1);
                self.note_version(version);
                self.version = Some(version);
                self.in_force = Some(outcome.applied_after.clone());
                Ok(version == read + 1)
            }
            // It may have taken effect: the next look says.
            Some(Err(error)) if error.is_uncertain() && self.lost_answers == 0 => {
                self.lost_answers += 1;
                self.expected = Some(read + 1);
                Ok(false)
            }
            Some(Err(error)) => Err(error.into()),
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

    /// Takes away names that nobody wants any more, now that their rules are gone.
    async fn finish(&mut self) -> Result<(), Stop> {
        if self.is_waiting {
            return Ok(());
        }
        let gone: Vec<_> = self.snap.records_to_remove(&self.wishes).cloned().collect();
        let work = stream::iter(&gone).map(async |row| {
            records::remove(self.desk, &self.client, &self.job.tunnel, &row.zone_id, &row.name).await
        });
        let ends: Vec<_> = work.buffer_unordered(self.side_by_side()).collect().await;
        ends.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(())
    }

    /// In the background nothing is hurried, and a change never waits for it.
    fn make_way(&self) -> Result<(), Stop> {
        if self.job.order.background && self.job.urgent.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }

    fn side_by_side(&self) -> usize {
        if self.job.order.background { 1 } else { SIDE_BY_SIDE }
    }
}
