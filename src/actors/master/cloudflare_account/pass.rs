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
use tokio::time::Instant;

use super::desk::Desk;
use super::snapshot::Snapshot;
use super::stop::{NameFailure, Stop};
use super::turn::{Order, REFUSED_RETRY};
use super::wishes::{KnownZones, Wishes};
use super::zones::Listing;
use crate::cloudflare::{CfError, Cloudflare, TunnelConfig};
use crate::db::RowChange;
use crate::db::cloudflare::RouteStatusRow;
use crate::domain::id::TunnelId;
use crate::domain::ingress::{Contact, Foreign, IngressRule, RuleConflict, RuleId, Trial, rule_there};
use crate::domain::publish::PublicState;
use crate::domain::route::RouteKey;

/// Writes of one pass; somebody who writes as often as we do does not keep us here for ever.
const MAX_ROUNDS: usize = 8;
/// Calls that have their turn together when there are hardly any left: others may write between the two.
const READ_AND_WRITE: u32 = 2;
/// How old what was read may be when it is written back.
const FRESH: Duration = Duration::from_millis(250);
/// So often it is read again for that; a machine that is too slow for it still has to come to an end.
const MAX_LATE_WRITES: u32 = 3;

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
    /// Rules that Cloudflare refused before.
    pub refused: RefusedRules,
    /// Names that it refused before.
    pub refused_names: RefusedNames,
}

/// Names of which Cloudflare takes no record.
pub(super) type RefusedNames = BTreeMap<String, NameFailure>;

/// Rules that Cloudflare does not take.
pub(super) type RefusedRules = BTreeMap<RuleId, RefusedRule>;

/// A rule that Cloudflare does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedRule {
    /// As labels ask for it: another one is tried at once.
    pub rule: IngressRule,
    /// Cloudflare's words.
    pub words: String,
    pub at: Instant,
}

/// A pass under way, and what it has found so far.
pub(super) struct Pass<'a> {
    pub desk: &'a Desk,
    pub job: &'a Job,
    pub client: Cloudflare,
    /// The client of a read and a write that have their turn already.
    config_client: Option<Cloudflare>,
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
    /// False while a write of the configuration is under way, or its answer was lost.
    pub is_config_known: bool,
    /// True once a comparison met something that is not as it should be: putting it right is a change, and waits for
    /// nobody.
    pub has_found_damage: bool,
    /// When the configuration was read last.
    pub read_at: Option<Instant>,
    /// The search for rules that Cloudflare does not take.
    pub trial: Trial,
    /// How often it was read again because the write had to wait too long.
    pub late_writes: u32,
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
        let snap_is_known = snap.is_config_known();
        Self {
            desk,
            job,
            client,
            config_client: None,
            contact: snap.contact(),
            version: snap.status.as_ref().and_then(|row| row.config_version),
            applied: snap.applied.clone(),
            snap,
            wishes: Wishes::default(),
            has_wishes: false,
            has_looked: false,
            has_announced: false,
            has_written: false,
            is_config_known: snap_is_known,
            has_found_damage: false,
            read_at: None,
            late_writes: 0,
            trial: Trial::default(),
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
        self.forget_gone_routes().await?;
        if !self.job.order.background && self.client.calls_left() < READ_AND_WRITE {
            self.config_client = Some(self.client.with_turns(READ_AND_WRITE).await?);
        }
        let reader = self.config_client.as_ref().unwrap_or(&self.client);
        let (config, looks) = join(self.read_config(reader), self.look_at_blocked_names()).await;
        let mut config = config?;
        self.note_read();
        for look in looks? {
            self.take_name(look)?;
        }
        let mut rounds = 0;
        while rounds < MAX_ROUNDS {
            if self.write(config).await? {
                if self.is_waiting {
                    return Ok(());
                }
                if !self.is_comparison() || self.compare_names().await? {
                    return self.remove_names().await;
                }
            }
            if !self.has_found_damage {
                self.make_way()?;
            }
            config = self.read_again().await?;
            // A search comes to its end by itself.
            rounds += usize::from(!self.trial.is_under_way());
        }
        Err(Stop::Outwritten)
    }

    /// True if everything is looked at, and not only what is due. At first contact nothing of ours is there yet, and no
    /// name is led to a tunnel that nobody has.
    fn is_comparison(&self) -> bool {
        self.job.order.background && self.snap.contact() != Contact::First && !self.snap.is_left()
    }

    /// Reads the configuration once more before it is written. If the write had to wait too long the last time, both
    /// calls get their turn together.
    async fn read_again(&mut self) -> Result<TunnelConfig, Stop> {
        if self.late_writes > 0 {
            self.config_client = Some(self.client.with_turns(READ_AND_WRITE).await?);
        }
        let config = self.read_config(self.config_client.as_ref().unwrap_or(&self.client)).await?;
        self.note_read();
        Ok(config)
    }

    fn note_read(&mut self) {
        self.is_config_known = true;
        self.read_at = Some(Instant::now());
    }

    /// The client for the write that follows a read: Cloudflare has no compare-and-set, and others may write while ours
    /// waits for its turn.
    pub fn writing_client(&self) -> Cloudflare {
        let client = self.config_client.as_ref().unwrap_or(&self.client);
        match self.read_at.filter(|_| self.late_writes < MAX_LATE_WRITES) {
            Some(at) => client.sent_before(at + FRESH),
            None => client.clone(),
        }
    }

    /// Something is not as it should be: from now on this is no comparison that can wait.
    pub fn note_damage(&mut self) {
        if self.job.order.background && !self.has_found_damage {
            self.has_found_damage = true;
            self.client = self.desk.cloudflare.patient();
        }
    }

    /// What was said of routes that are gone holds no longer once calls are made: the route may come back meanwhile.
    async fn forget_gone_routes(&mut self) -> Result<(), Stop> {
        let Some(agent) = &self.snap.tunnel.agent_id else { return Ok(()) };
        let is_gone = |row: &RouteStatusRow| {
            PublicState::parse(&row.state).is_some_and(PublicState::is_from_publisher)
                && self.snap.routes.iter().all(|route| route.spec.key != row.key)
        };
        let gone: Vec<RouteKey> =
            self.snap.route_status.iter().filter(|row| is_gone(row)).map(|row| row.key.clone()).collect();
        let rows =
            gone.iter().map(|key| RowChange::DeleteRouteStatus { agent_id: agent.clone(), key: key.clone() });
        self.desk.write(rows.collect()).await?;
        self.snap.route_status.retain(|row| !gone.contains(&row.key));
        Ok(())
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
        self.trial = Trial::knowing(self.known_refused());
        self.failed_names = self.known_refused_names();
        Ok(())
    }

    /// What was refused not long ago and is asked for still; after a while it is tried again.
    fn known_refused(&self) -> BTreeMap<RuleId, String> {
        let rules = self.wishes.rules(&BTreeSet::new());
        let known = rules.iter().filter_map(|rule| {
            let refused = self.job.refused.get(&rule.id())?;
            let holds = refused.rule == *rule && refused.at.elapsed() < REFUSED_RETRY;
            holds.then(|| (rule.id(), refused.words.clone()))
        });
        known.collect()
    }

    fn known_refused_names(&self) -> RefusedNames {
        let holds = |failure: &NameFailure| failure.refused_at.is_some_and(|at| at.elapsed() < REFUSED_RETRY);
        let names = self.job.refused_names.iter();
        let names = names.filter(|(name, failure)| self.wishes.names.contains_key(*name) && holds(failure));
        names.map(|(name, failure)| (name.clone(), failure.clone())).collect()
    }

    /// Names that are refused now.
    pub fn refused_names(&self) -> RefusedNames {
        let failed = self.failed_names.iter().filter(|(_, failure)| failure.refused_at.is_some());
        failed.map(|(name, failure)| (name.clone(), failure.clone())).collect()
    }

    /// What is refused now.
    pub fn refused_rules(&self) -> RefusedRules {
        let known = self.known_refused();
        let rules = self.wishes.rules(&BTreeSet::new()).into_iter();
        let refused = rules.filter_map(|rule| {
            let (id, words) = self.trial.refused().get_key_value(&rule.id())?;
            let before = self.job.refused.get(id).filter(|_| known.contains_key(id));
            let at = before.map_or_else(Instant::now, |refused| refused.at);
            Some((id.clone(), RefusedRule { rule, words: words.clone(), at }))
        });
        refused.collect()
    }

    /// The rules that are to be in the configuration after the next write. What Cloudflare does not take stays as it
    /// was, if it was there.
    pub fn wanted_rules(&self, read: &serde_json::Value) -> Vec<IngressRule> {
        let blocked: BTreeSet<String> = self.blocked.keys().cloned().collect();
        let left_out = self.trial.left_out();
        let is_ours = |id: &RuleId| self.applied.iter().any(|rule| rule.id() == *id && !rule.unseen);
        let rules = self.wishes.rules(&blocked).into_iter();
        let rules = rules.filter_map(|rule| match left_out.contains(&rule.id()) {
            true => rule_there(read, &rule.id()).filter(|_| is_ours(&rule.id())),
            false => Some(rule),
        });
        rules.collect()
    }

    async fn read_config(&self, client: &Cloudflare) -> Result<TunnelConfig, Stop> {
        match client.get_config(&self.job.tunnel).await {
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
