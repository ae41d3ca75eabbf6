//! One pass over one tunnel: read, merge, write what differs, and say how it stands.
//!
//! Cloudflare has no compare-and-set, so the configuration is read immediately before each write, and a
//! version that is not the next one means that somebody wrote in between: read and merge again. What may
//! become ours is written to the database before the call that makes it so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join;

use super::desk::Desk;
use super::snapshot::Snapshot;
use super::stop::{NameFailure, Stop};
use super::turn::Order;
use super::wishes::{KnownZones, Wishes};
use super::zones::Listing;
use crate::cloudflare::{CfError, Cloudflare, TunnelConfig};
use crate::domain::id::TunnelId;
use crate::domain::ingress::{Contact, Foreign, IngressRule, RuleConflict};

/// Writes of one pass; somebody who writes as often as we do does not keep us here for ever.
const MAX_ROUNDS: usize = 6;

/// A pass to be made.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub tunnel: TunnelId,
    pub order: Order,
    /// Raised when a change waits: a pass in the background makes way for it, and so does one that waits itself.
    pub urgent: Arc<AtomicBool>,
    /// Digest of the wishes of the last pass that came to its end.
    pub last_digest: Option<u64>,
    /// True if Cloudflare refused something in that pass.
    pub was_refused: bool,
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
    /// The newest version of the configuration that is known of.
    pub version: Option<i64>,
    pub foreign: Option<Vec<Foreign>>,
    pub conflicts: Vec<RuleConflict>,
    /// Names that are dealt with; true if by a record of ours.
    pub names: BTreeMap<String, bool>,
    /// Names that records of others are in the way of, and why.
    pub blocked: BTreeMap<String, String>,
    /// Names whose calls wait for their turn still, and how long.
    pub put_off: BTreeMap<String, Duration>,
    /// Names that nobody ever tried before this pass.
    pub untried: BTreeSet<String>,
    /// Names that failed in this pass.
    pub failed_names: BTreeMap<String, NameFailure>,
    /// Tunnels that names are led away from: their rules go after that.
    pub took_from: BTreeSet<TunnelId>,
    /// What to tell about others who wrote at the same time.
    pub gap: Option<String>,
    pub contact: Contact,
    /// Version that a write whose answer was lost should have made.
    pub expected: Option<i64>,
    pub lost_answers: u32,
}

impl<'a> Pass<'a> {
    pub fn new(desk: &'a Desk, job: &'a Job, snap: Snapshot) -> Self {
        let client =
            if job.order.background { desk.cloudflare.background() } else { desk.cloudflare.patient() };
        Self {
            desk,
            job,
            client,
            contact: snap.contact(),
            version: snap.status.as_ref().and_then(|row| row.config_version),
            applied: snap.applied.clone(),
            snap,
            wishes: Wishes::default(),
            has_wishes: false,
            has_looked: false,
            has_announced: false,
            has_written: false,
            is_waiting: false,
            in_force: None,
            foreign: None,
            conflicts: Vec::new(),
            names: BTreeMap::new(),
            blocked: BTreeMap::new(),
            put_off: BTreeMap::new(),
            untried: BTreeSet::new(),
            failed_names: BTreeMap::new(),
            took_from: BTreeSet::new(),
            gap: None,
            expected: None,
            lost_answers: 0,
        }
    }

    /// Brings Cloudflare to what is wished for.
    pub async fn work(&mut self) -> Result<(), Stop> {
        self.check_account()?;
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
        let (config, looks) = join(self.read_config(), self.look_at_names()).await;
        let mut config = config?;
        for look in looks? {
            self.take_name(look)?;
        }
        for _ in 0..MAX_ROUNDS {
            if self.write(config).await? {
                return if self.is_waiting { Ok(()) } else { self.remove_names().await };
            }
            self.make_way()?;
            config = self.read_config().await?;
        }
        Err(Stop::Outwritten)
    }

    /// In another account nothing is found, which says nothing about what is there.
    fn check_account(&self) -> Result<(), Stop> {
        let (theirs, ours) = (&self.snap.tunnel.account_id, self.desk.cloudflare.account());
        match theirs == ours {
            true => Ok(()),
            false => Err(Stop::OtherAccount { theirs: theirs.clone(), ours: ours.clone() }),
        }
    }

    async fn read_wishes(&mut self) -> Result<(), Stop> {
        let read = |zones: &Listing| self.snap.wishes(KnownZones::of(zones), &self.desk.settings);
        let mut wishes = read(&self.desk.zones.get(&self.client, false).await?);
        let is_news = wishes
            .refused
            .iter()
            .any(|(key, said)| self.snap.row(key).is_none_or(|row| row.reason != said.reason));
        if wishes.misses_a_zone && (is_news || self.job.order.look_again) {
            wishes = read(&self.desk.zones.get(&self.client, true).await?);
        }
        self.wishes = wishes;
        self.has_wishes = true;
        Ok(())
    }

    async fn read_config(&self) -> Result<TunnelConfig, Stop> {
        match self.client.get_config(&self.job.tunnel).await {
            Err(error) if self.is_gone(&error).await => match self.wishes.is_empty() {
                // Nothing can be left in a tunnel that is gone; its names still have to go.
                true => Ok(TunnelConfig { version: 0, config: serde_json::Value::Null, source: None }),
                false => Err(Stop::Gone(error)),
            },
            Ok(config) if self.is_local(&config).await? => Err(Stop::Local),
            answer => self.unless_stale(answer?),
        }
    }

    /// The tunnel's own record decides: it is the one by which tunnels are provided.
    async fn is_local(&self, config: &TunnelConfig) -> Result<bool, Stop> {
        Ok(config.is_local() && self.client.get_tunnel(&self.job.tunnel).await?.is_local())
    }

    /// True if this answer means that the tunnel was deleted. Its own record is asked if the code does not tell.
    async fn is_gone(&self, answer: &CfError) -> bool {
        if answer.is_tunnel_gone() || !answer.is_not_found() {
            return answer.is_tunnel_gone();
        }
        let tunnel = self.client.get_tunnel(&self.job.tunnel).await;
        tunnel.map_or_else(|error| error.is_tunnel_gone(), |tunnel| tunnel.is_deleted())
    }

    /// Versions only grow: merged with an older one, what others wrote since would be lost.
    fn unless_stale(&self, config: TunnelConfig) -> Result<TunnelConfig, Stop> {
        match self.version.filter(|known| config.version < *known) {
            Some(known) => Err(Stop::Stale { answered: config.version, known }),
            None => Ok(config),
        }
    }

    /// Every name that is asked for.
    pub fn all_names(&self) -> Vec<String> {
        self.wishes.names.keys().cloned().collect()
    }

    /// A change never waits for a pass in the background.
    pub fn make_way(&self) -> Result<(), Stop> {
        if self.job.order.background && self.job.urgent.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }
}
