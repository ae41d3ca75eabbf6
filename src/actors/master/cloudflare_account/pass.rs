//! One pass over one tunnel: read, merge, write what differs, and say how it stands.
//!
//! Cloudflare has no compare-and-set, so the configuration is read immediately before each write, and a
//! version that is not the next one means that somebody wrote in between: read and merge again. What may
//! become ours is written to the database before the call that makes it so.
//!
//! A pass has two phases: what protects the routes is put in place, and then what makes them reachable. It goes the other
//! way round: rules first, then records, and what protected a route last.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{FutureExt, join};
use futures_util::{StreamExt, stream};

use super::drifts::Watch;
use super::outcome::{
    Outcome, Statement, applied_change, gone_routes, set_out, tunnel_change, tunnel_row,
    unless_something_failed,
};
use super::owned::{
    Ended, Looked, Owned, OwnedError, SIDE_BY_SIDE, Standing, ensure_all, look, look_all, put_right,
    remove_all,
};
use super::people::{Asked, Listed};
use super::picture::{Found, Read, Remembered, Snapshot, read_approved};
use super::policies::is_made_here;
use super::protect::Protecting;
use super::protection::needs;
use super::records::{Records, WantedRecord};
use super::schedule::{Ending, Order};
use super::shared::Shared;
use super::tunnels::read_config;
use super::words::Stop;
use crate::cloudflare::{CfError, Cloudflare, TunnelConfig};
use crate::db::{Expected, RowChange, SaidBy, access};
use crate::domain::access::{Need, asks_for_owner, need_of};
use crate::domain::drift::{Drift, Remedy};
use crate::domain::event::{Event, Stream, TunnelEvent};
use crate::domain::id::TunnelId;
use crate::domain::ingress::{
    CLOSED, Contact, IngressRule, MergeOutcome, RuleId, SYSTEM, Trial, changed_rules, merge,
};
use crate::domain::owned::OwnedKind;
use crate::domain::publish::TunnelState;
use crate::domain::route::RouteKey;

const NOT_SHUT: &str =
    "Cloudflare does not take the rule that is to answer for it until its protection is in place";

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
    /// True if Cloudflare refused something in the last pass.
    pub was_refused: bool,
    /// What the last pass left.
    pub remembered: Remembered,
}

/// Makes a pass. A fault in the work for one tunnel ends that pass and nothing else: other tunnels are published on.
pub(super) async fn make_pass(shared: &Shared, job: &Job) -> Outcome {
    if let Ok(outcome) = AssertUnwindSafe(read_and_run(shared, job)).catch_unwind().await {
        return outcome;
    }
    // Locks are free again, and what was under way is in the rows: the next pass begins with those.
    tracing::error!(tunnel.id = %job.tunnel, "the work for a tunnel ended in a panic; it is tried again");
    metrics::counter!("lightship_publish_panics_total").increment(1);
    let conclude = AssertUnwindSafe(conclude_broken(shared, job)).catch_unwind();
    conclude.await.unwrap_or_else(|_| Outcome::broken())
}

async fn read_and_run(shared: &Shared, job: &Job) -> Outcome {
    match Snapshot::read(&shared.db, &job.tunnel, &shared.settings).await {
        Ok(Some(snapshot)) => {
            let mut pass = Pass::new(shared, job, snapshot);
            let result = pass.run().await;
            pass.conclude(result).await
        }
        Ok(None) => Outcome::nothing(),
        Err(error) => Outcome::unread(error),
    }
}

/// Says of the tunnel that a fault of ours ended the pass.
async fn conclude_broken(shared: &Shared, job: &Job) -> Outcome {
    match Snapshot::read(&shared.db, &job.tunnel, &shared.settings).await {
        Ok(Some(snapshot)) => Pass::new(shared, job, snapshot).conclude(Err(Stop::Internal)).await,
        Ok(None) | Err(_) => Outcome::broken(),
    }
}

/// A pass under way.
struct Pass<'a> {
    shared: &'a Shared,
    job: &'a Job,
    client: Cloudflare,
    /// The client of a read and a write that have their turn already.
    reserved: Option<Cloudflare>,
    read: Read,
    found: Found,
}

/// A call of a round that came to its end.
enum Done {
    /// The write of the configuration; none if it was right already.
    Write(Option<Result<i64, CfError>>),
    /// The calls about a name.
    Name(Ended),
}

impl<'a> Pass<'a> {
    fn new(shared: &'a Shared, job: &'a Job, snapshot: Snapshot) -> Self {
        let cloudflare = &shared.cloudflare;
        let client = if job.order.background { cloudflare.background() } else { cloudflare.patient() };
        let found = Found::new(&snapshot);
        let read = Read::new(snapshot, job.remembered.clone());
        Self { shared, job, client, reserved: None, read, found }
    }

    /// Brings Cloudflare to what is wanted. What routes wait for because it could not be read is read again soon.
    async fn run(&mut self) -> Result<(), Stop> {
        self.bring_about().await?;
        self.found.unread.take().map_or(Ok(()), |error| Err(error.into()))
    }

    async fn bring_about(&mut self) -> Result<(), Stop> {
        self.check_account()?;
        self.note_review().await?;
        self.read_wanted().await?;
        if !self.is_due()? {
            return Ok(());
        }
        self.found.has_looked = true;
        self.forget_gone_routes().await?;
        self.shut_first().await?;
        // What is read is written back at once, so this comes before.
        self.protect().await?;
        let mut config = self.look_first().await?;
        let mut rounds = 0;
        while rounds < MAX_ROUNDS {
            if self.publish(config).await? {
                if self.found.is_waiting {
                    return Ok(());
                }
                if !self.is_comparison() || self.compare_names().await? {
                    return self.remove_names().await;
                }
            }
            if !self.found.has_damage {
                self.make_way()?;
            }
            config = self.read_again().await?;
            // A search comes to its end by itself.
            rounds += usize::from(!self.found.config.trial.is_under_way());
        }
        Err(Stop::Outwritten)
    }

    /// Writes down what counts as reviewed, if it was not: from now on a change of it waits.
    async fn note_review(&mut self) -> Result<(), Stop> {
        let snapshot = &mut self.read.snapshot;
        if let (true, Some(review), Some(agent)) =
            (!snapshot.is_review_noted, &snapshot.review, &snapshot.tunnel.agent_id)
        {
            let _held = self.shared.locks.lock(&format!("review {agent}")).await;
            let now = read_approved(&self.shared.db, std::slice::from_ref(agent)).await?.remove(agent);
            // A person said yes meanwhile, and the next pass begins with that.
            if now.unwrap_or_default() != snapshot.approved {
                return Ok(());
            }
            let (agent_id, services) = (agent.clone(), review.services.clone());
            self.shared.write(vec![RowChange::PutReviewedRoutes { agent_id, services }]).await?;
            snapshot.is_review_noted = true;
        }
        Ok(())
    }

    /// In another account nothing is found, which says nothing about what is there.
    fn check_account(&self) -> Result<(), Stop> {
        let (theirs, ours) = (&self.read.snapshot.tunnel.account_id, self.shared.cloudflare.account());
        match theirs == ours {
            true => Ok(()),
            false => Err(Stop::OtherAccount { theirs: theirs.clone(), ours: ours.clone() }),
        }
    }

    async fn read_wanted(&mut self) -> Result<(), Stop> {
        let Self { shared, client, read, .. } = self;
        let zones = shared.zones.get(client, false).await?;
        let mut wanted = read.snapshot.wanted(zones.known(), &shared.settings);
        let is_news = wanted.refused.iter().any(|(key, reason)| {
            read.snapshot.row(key).is_none_or(|row| row.reason.as_ref() != Some(reason))
        });
        if wanted.misses_a_zone && (is_news || self.job.order.look_again) {
            let zones = shared.zones.get(client, true).await?;
            wanted = read.snapshot.wanted(zones.known(), &shared.settings);
        }
        read.wanted = wanted;
        self.read_needs().await?;
        let read = &mut self.read;
        read.has_wanted = true;
        self.found.protection.take_up(&read.remembered.needs, &read.needs);
        self.found.config.trial = Trial::knowing(read.known_refused_rules());
        self.found.names.failed = read.known_refused_names();
        self.found.take_drifts(&self.read);
        Ok(())
    }

    /// Says what the routes need. Who can be let in is read from the account if something is named that is not known.
    async fn read_needs(&mut self) -> Result<(), Stop> {
        let (shared, is_comparison) = (self.shared, self.is_comparison());
        let (snapshot, wanted) = (&self.read.snapshot, &self.read.wanted);
        let asks_owner =
            wanted.services.iter().any(|service| asks_for_owner(&service.access, &snapshot.groups));
        // Who owns the account, and what its team is called, may change: a comparison looks again.
        let owner = asks_owner && is_comparison;
        let asked = Asked { lists: false, owner, team: self.needs_team(is_comparison).await };
        let listed = self.look_at_account(asked).await?;
        let (snapshot, wanted) = (&self.read.snapshot, &self.read.wanted);
        let say = |listed: &Listed| needs(&snapshot.groups, wanted, &listed.account(), &shared.mark);
        let mut said = say(&listed);
        let is_news = said.iter().any(|(key, need)| {
            let reason = snapshot.row(key).and_then(|row| row.reason.as_ref());
            need.as_ref().is_err_and(|new| reason != Some(new))
        });
        if said.values().any(Result::is_err) && (is_news || self.job.order.look_again) {
            let asked = Asked { lists: true, owner: asks_owner, team: false };
            match shared.people.read(&self.client, asked).await {
                Ok(listed) => said = say(&listed),
                Err(error) if error.is_out_of_turn() => return Err(error.into()),
                Err(error) => self.found.unread = Some(error),
            }
        }
        self.read.needs = said;
        let listed = shared.people.known().await;
        let Read { snapshot, wanted, .. } = &mut self.read;
        let groups = Arc::clone(&snapshot.groups);
        snapshot.decide_who_stays(|service| {
            let check = service.origin_request.access.as_ref();
            need_of(service, check, &groups, &listed.account(), &shared.mark)
        });
        snapshot.complete_checks(wanted, &snapshot.applications, listed.team.as_ref());
        Ok(())
    }

    /// True if the team of the account has to be read: connectors are to check tokens, and whose is left open.
    async fn needs_team(&self, again: bool) -> bool {
        let mut checks = self.read.wanted.open_checks.values();
        let is_open = checks.any(|check| check.team_name.is_empty());
        is_open && (again || self.shared.people.known().await.team.is_none())
    }

    /// Reads what is asked for. If Cloudflare does not answer, what was known holds, should there be anything.
    /// No other route waits for that.
    async fn look_at_account(&mut self, asked: Asked) -> Result<Listed, Stop> {
        let known = self.shared.people.known().await;
        if !asked.is_any() {
            return Ok(known);
        }
        match self.shared.people.read(&self.client, asked).await {
            Ok(listed) => Ok(listed),
            Err(error) if error.is_out_of_turn() && !self.is_comparison() => Err(error.into()),
            Err(error) => {
                tracing::info!(%error, "who owns the account and what its team is called is asked again later");
                self.found.unread = Some(error).filter(|_| !self.is_comparison());
                Ok(known)
            }
        }
    }

    /// Puts in what routes leave open of the connector's check, now that their applications are there. What nobody can check
    /// is not made reachable.
    async fn complete_checks(&mut self) -> Result<(), Stop> {
        if self.read.wanted.open_checks.is_empty() {
            return Ok(());
        }
        let (db, tunnel) = (&self.shared.db, &self.job.tunnel);
        let mut rows = access::applications_of_tunnels(db, std::slice::from_ref(tunnel)).await?;
        let team = self.shared.people.known().await.team;
        let Read { snapshot, wanted, .. } = &mut self.read;
        let rows = rows.remove(tunnel).unwrap_or_default();
        let waiting = snapshot.complete_checks(wanted, &rows, team.as_ref());
        for (route, reason) in waiting {
            self.found.protection.close(&route, reason);
        }
        Ok(())
    }

    /// True if Cloudflare has to be called.
    fn is_due(&self) -> Result<bool, Stop> {
        let (snapshot, wanted) = (&self.read.snapshot, &self.read.wanted);
        let is_new = self.job.remembered.digest.is_some_and(|digest| digest != self.read.digest());
        let is_asked = self.job.order.look_again || is_new;
        if snapshot.is_nothing(wanted) || (!is_asked && snapshot.is_settled(wanted, &self.read.needs)) {
            return Ok(false);
        }
        if self.job.was_refused && !is_asked {
            return Err(Stop::StillRefused);
        }
        Ok(true)
    }

    /// What was said of routes that are gone holds no longer once calls are made: the route may come back meanwhile.
    async fn forget_gone_routes(&mut self) -> Result<(), Stop> {
        let snapshot = &mut self.read.snapshot;
        let gone = gone_routes(snapshot);
        // What people's rules were said to be goes with them.
        let agent = snapshot.tunnel.agent_id.as_ref();
        let forget = |key: &RouteKey| RowChange::DeleteRouteStatus {
            agent_id: agent.cloned(),
            key: key.clone(),
            said_by: SaidBy::Publisher,
        };
        self.shared.write(gone.iter().map(forget).collect()).await?;
        snapshot.route_status.retain(|row| !gone.contains(&row.key));
        Ok(())
    }

    /// True if everything is looked at, and not only what is due. At first contact nothing of ours is there yet, and no
    /// name is led to a tunnel that nobody has.
    fn is_comparison(&self) -> bool {
        let snapshot = &self.read.snapshot;
        self.job.order.background && snapshot.contact() != Contact::First && !snapshot.is_left()
    }

    /// A change never waits for a pass in the background.
    fn make_way(&self) -> Result<(), Stop> {
        if self.job.order.background && self.job.urgent.load(Ordering::Relaxed) {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }

    /// Something is not as it should be: from now on this is no comparison that can wait.
    fn note_damage(&mut self) {
        if self.job.order.background && !self.found.has_damage {
            self.found.has_damage = true;
            self.client = self.shared.cloudflare.patient();
        }
    }

    /// Reads the configuration, and beside it looks at the names that were blocked.
    async fn look_first(&mut self) -> Result<TunnelConfig, Stop> {
        if !self.job.order.background && self.client.calls_left() < READ_AND_WRITE {
            self.reserved = Some(self.client.with_turns(READ_AND_WRITE).await?);
        }
        let (config, looks) = join(self.read_config(), self.look_at_blocked_names()).await;
        let config = config?;
        self.found.config.note_read();
        for look in looks? {
            self.found.names.take(look)?;
        }
        Ok(config)
    }

    /// Reads the configuration once more before it is written. If the write had to wait too long the last time, both
    /// calls get their turn together.
    async fn read_again(&mut self) -> Result<TunnelConfig, Stop> {
        if self.found.config.late_writes > 0 {
            self.reserved = Some(self.client.with_turns(READ_AND_WRITE).await?);
        }
        let config = self.read_config().await?;
        self.found.config.note_read();
        Ok(config)
    }

    async fn read_config(&self) -> Result<TunnelConfig, Stop> {
        let reader = self.reserved.as_ref().unwrap_or(&self.client);
        let is_wanted = !self.read.wanted.is_empty();
        read_config(reader, &self.client, &self.job.tunnel, is_wanted, self.found.config.version).await
    }

    /// The client for the write that follows a read: others may write while ours waits for its turn.
    fn writing_client(&self) -> Cloudflare {
        let client = self.reserved.as_ref().unwrap_or(&self.client);
        match self.found.config.read_at.filter(|_| self.found.config.late_writes < MAX_LATE_WRITES) {
            Some(at) => client.sent_before(at + FRESH),
            None => client.clone(),
        }
    }

    /// What protects a new route lets its people in to whatever gets its requests as yet. So that nothing does, a rule comes first that
    /// answers in its place. Where Cloudflare does not take that rule nothing is made for the route.
    async fn shut_first(&mut self) -> Result<(), Stop> {
        let routes = self.read.answered_by_others();
        if routes.is_empty() || self.read.contact == Contact::First {
            return Ok(());
        }
        let mut config = self.look_first().await?;
        for _ in 0..MAX_ROUNDS {
            self.found.config.take_version(&self.job.tunnel, config.version);
            self.note_changed_rules(&config.config).await?;
            let left_out = self.found.config.trial.left_out();
            let (refused, shut) =
                routes.iter().cloned().partition(|route| left_out.contains(&RuleId::of(route)));
            let rules = self.read.with_guards(&shut, &config.config);
            let mut outcome = merge(&self.read.applied, &rules, &config.config, self.read.contact)?;
            outcome.applied_before = self.as_written(&outcome.applied_before);
            if outcome.changed {
                self.note_damage();
                self.announce(&outcome, &[]).await?;
            }
            if self.make_calls(config.version, &outcome, Vec::new()).await? {
                let refused: BTreeSet<RouteKey> = refused;
                refused.iter().for_each(|route| self.found.protection.leave_out(route, NOT_SHUT.into()));
                return Ok(());
            }
            config = self.read_again().await?;
        }
        Err(Stop::Outwritten)
    }

    /// The first phase: what protects the routes is put in place and read back. A route whose protection is
    /// missing is not published, and its rule goes if it was.
    async fn protect(&mut self) -> Result<(), Stop> {
        let mut found = std::mem::take(&mut self.found.protection);
        let ended = self.protecting().protect(&mut found).await;
        self.found.protection = found;
        let ended = ended.and(self.complete_checks().await);
        self.found.names.took_from.append(&mut self.found.protection.elsewhere);
        self.found.names.take_protections(&self.read.wanted, &self.found.protection.said);
        ended
    }

    fn protecting(&self) -> Protecting<'_> {
        Protecting {
            shared: self.shared,
            client: &self.client,
            tunnel: &self.job.tunnel,
            read: &self.read,
            is_comparison: self.is_comparison(),
            is_news: self.job.remembered.digest != Some(self.read.digest()),
            watch: self.watch(),
        }
    }

    fn watch(&self) -> Watch<'_> {
        Watch { shared: self.shared, tunnel: &self.job.tunnel, drifts: &self.read.snapshot.drifts }
    }

    /// The second phase: merges with what was read and writes. Returns false if it has to be read again.
    async fn publish(&mut self, observed: TunnelConfig) -> Result<bool, Stop> {
        self.found.config.take_version(&self.job.tunnel, observed.version);
        self.note_changed_rules(&observed.config).await?;
        let rules = self.read.wanted_rules(&self.found, &observed.config);
        let mut outcome = merge(&self.read.applied, &rules, &observed.config, self.read.contact)?;
        // What others changed and what waits is noted as it was written, or nobody would know it for a change.
        outcome.applied_before = self.as_written(&outcome.applied_before);
        self.found.config.foreign = Some(outcome.foreign.clone());
        self.found.config.conflicts = outcome.conflicts.clone();
        if outcome.waiting {
            self.found.is_waiting = true;
            return Ok(true);
        }
        let mut records = self.records_due().await?;
        // A name that is led over from another tunnel comes once its rule is here: until then it may be served there.
        let has_rule = |name: &str| outcome.applied_after.iter().any(|rule| rule.hostname == name);
        let waits = |wanted: &WantedRecord| {
            wanted.leads_from(&self.job.tunnel).is_some() && (outcome.changed || !has_rule(&wanted.name))
        };
        let comes_again = outcome.changed && records.iter().any(waits);
        records.retain(|wanted| !waits(wanted));
        if outcome.changed || !records.is_empty() {
            self.note_damage();
            self.announce(&outcome, &records).await?;
        }
        Ok(self.make_calls(observed.version, &outcome, records).await? && !comes_again)
    }

    /// Takes note of the rules that somebody changed or deleted since they were written, once in a pass and before it writes
    /// itself. What answers in the place of a route that may not be reached is put right in any case.
    async fn note_changed_rules(&mut self, observed: &serde_json::Value) -> Result<(), Stop> {
        let is_as_written = self.read.snapshot.is_config_known() && !self.found.config.has_written;
        if self.found.config.has_compared || !is_as_written || self.read.contact == Contact::First {
            return Ok(());
        }
        self.found.config.has_compared = true;
        let changed = changed_rules(&self.read.applied, observed);
        let before = std::mem::take(&mut self.found.config.drifting);
        let wanted = self.read.wanted_rules(&self.found, observed);
        for (rule, found) in &changed {
            let id = rule.id();
            let Some(now) = wanted.iter().find(|wanted| wanted.id() == id) else { continue };
            let name = id.route().to_string();
            let drift = Drift::of(OwnedKind::Rule, &name, &rule.to_json(), found.as_ref());
            let is_ours_to_change = now.service == CLOSED || now.as_wanted() != rule.as_wanted();
            let remedy = if is_ours_to_change { Remedy::AtOnce } else { Remedy::Either };
            if let Some(reason) = self.watch().seen(OwnedKind::Rule, &name, Some(drift), remedy).await? {
                self.found.config.drifting.insert(id, reason);
            }
        }
        for id in before.keys().filter(|id| changed.iter().all(|(rule, _)| rule.id() != **id)) {
            self.watch().seen(OwnedKind::Rule, &id.route().to_string(), None, Remedy::Either).await?;
        }
        Ok(())
    }

    /// These rules of ours, but those that others changed as we wrote them.
    fn as_written(&self, rules: &[IngressRule]) -> Vec<IngressRule> {
        let drifting = &self.found.config.drifting;
        let others = rules.iter().filter(|rule| !drifting.contains_key(&rule.id()));
        let written = self.read.snapshot.applied.iter().filter(|rule| drifting.contains_key(&rule.id()));
        others.chain(written).cloned().collect()
    }

    /// The records that need a call, in this round.
    async fn records_due(&mut self) -> Result<Vec<WantedRecord>, Stop> {
        let mut due = WantedRecord::due(&self.read, &self.found, self.job.order.background);
        for wanted in &mut due {
            wanted.find_row(self.shared).await?;
            self.found.names.took_from.extend(wanted.leads_from(&self.job.tunnel));
        }
        Ok(due)
    }

    /// True if the configuration is to be written: it differs, or a connector has to be made to take it.
    fn is_writing(&self, outcome: &MergeOutcome) -> bool {
        outcome.changed || (self.job.order.write_again && !self.found.config.has_written)
    }

    /// Writes down what is ours from now on, whatever becomes of the calls.
    async fn announce(&mut self, outcome: &MergeOutcome, due: &[WantedRecord]) -> Result<(), Stop> {
        let (tunnel, now) = (&self.job.tunnel, self.shared.clock.now());
        let mut rows: Vec<RowChange> =
            applied_change(tunnel, &self.read.applied, &outcome.applied_before).into_iter().collect();
        let records = self.records(&self.client);
        rows.extend(due.iter().filter_map(|wanted| records.row_before(wanted)));
        self.found.config.is_known &= !self.is_writing(outcome);
        let before = self.read.snapshot.status.as_ref();
        let mut status = tunnel_row(tunnel, TunnelState::Applying, before, now);
        status.is_settled = self.found.config.is_known;
        rows.extend(tunnel_change(before, status));
        let left = usize::try_from(self.client.calls_left()).unwrap_or(usize::MAX);
        let in_line = due.iter().filter(|_| left < due.len()).map(|wanted| wanted.name.as_str());
        let said = set_out(&self.read, &in_line.collect(), now);
        rows.extend(said.iter().cloned().map(RowChange::PutRouteStatus));
        self.shared.write(rows).await?;
        if !said.is_empty() {
            self.shared.store.announce();
        }
        self.read.keep_up(said);
        let untried = due.iter().filter(|wanted| wanted.is_untried());
        self.found.names.untried.extend(untried.map(|wanted| wanted.name.clone()));
        self.found.has_announced = true;
        self.read.applied = outcome.applied_before.clone();
        Ok(())
    }

    /// Makes the calls of a round side by side; what serves is said as soon as its own calls are done. Returns
    /// false if the configuration has to be read again.
    async fn make_calls(
        &mut self,
        version: i64,
        outcome: &MergeOutcome,
        due: Vec<WantedRecord>,
    ) -> Result<bool, Stop> {
        let (shared, job, client) = (self.shared, self.job, self.client.clone());
        let (writer, is_writing) = (self.writing_client(), self.is_writing(outcome));
        let write = async {
            match is_writing {
                true => Some(writer.put_config(&job.tunnel, outcome.config.clone()).await),
                false => None,
            }
        };
        let (mut under_way, mut news) = (due.len() + 1, Vec::new());
        let (mut is_written, mut is_blocked) = (Ok(false), Ok(false));
        let records = Records { shared, client: &client, tunnel: &job.tunnel };
        // Should a change come while calls have to wait for their turn, what is left comes after it.
        let is_overtaking = || job.urgent.load(Ordering::Relaxed) && client.calls_left() == 0;
        let names = ensure_all(&records, due, is_overtaking).map(Done::Name);
        let mut calls = pin!(stream::select(stream::once(write.map(Done::Write)), names));
        while let Some(done) = calls.next().await {
            // What came meanwhile is said with it: one write a step, however many routes there are.
            let mut next = Some(done);
            while let Some(done) = next {
                under_way -= 1;
                match done {
                    Done::Write(write) => {
                        is_written = self.found.config.take_write(&job.tunnel, write, version, outcome);
                        self.confirm_if_first().await?;
                        news = self.read.names();
                    }
                    Done::Name(ended) => {
                        news.push(ended.0.clone());
                        // Calls under way are not cut off: the first trouble is told at the end.
                        is_blocked =
                            is_blocked.and_then(|was| self.found.names.take(ended).map(|is| was || is));
                    }
                }
                next = calls.next().now_or_never().flatten();
            }
            if under_way > 0 && self.found.config.in_force.is_some() {
                self.tell_progress(&std::mem::take(&mut news)).await?;
            }
        }
        let is_blocked = is_blocked?;
        Ok(is_written? && !is_blocked)
    }

    /// Nothing foreign was there when our rules came into it, so no person needs to agree any more. Before that a
    /// refused write proves nothing: somebody may add rules until the next one.
    async fn confirm_if_first(&mut self) -> Result<(), Stop> {
        let is_empty = self.found.config.in_force.as_ref().is_none_or(Vec::is_empty);
        if self.read.contact != Contact::First || is_empty {
            return Ok(());
        }
        let tunnel = &self.job.tunnel;
        let event = Event::Tunnel(TunnelEvent::Confirmed { tunnel_id: tunnel.clone(), by: SYSTEM.into() });
        let batch = self.shared.batch().append(Stream::tunnel(tunnel), Expected::Head, vec![event]);
        self.shared.store.commit(batch).await?;
        self.read.contact = Contact::Written;
        Ok(())
    }

    /// Says which of these names serve by now, while calls about others are still under way.
    async fn tell_progress(&mut self, names: &[String]) -> Result<(), Stop> {
        let so_far = Statement { read: &self.read, found: &self.found, result: &Ok(()) };
        let rows = so_far.served(names, self.shared.clock.now());
        if rows.is_empty() {
            return Ok(());
        }
        self.shared.write(rows.iter().cloned().map(RowChange::PutRouteStatus).collect()).await?;
        self.shared.store.announce();
        self.read.keep_up(rows);
        Ok(())
    }

    fn records<'p>(&'p self, client: &'p Cloudflare) -> Records<'p> {
        Records { shared: self.shared, client, tunnel: &self.job.tunnel }
    }

    /// Looks at the names that were blocked before anything is written. Returns those for which nothing is to be done.
    async fn look_at_blocked_names(&self) -> Result<Vec<Ended>, Stop> {
        // In the background nothing is hurried.
        let side_by_side = if self.job.order.background { 1 } else { SIDE_BY_SIDE };
        let blocked = WantedRecord::blocked(&self.read);
        look_all(&self.records(&self.client), blocked, side_by_side, || self.make_way()).await
    }

    /// Looks at the names that are taken to be right, one after the other, and puts right at once what is not. Returns
    /// false if one is blocked: its rule has to go.
    async fn compare_names(&mut self) -> Result<bool, Stop> {
        let client = self.shared.cloudflare.background();
        let is_due =
            |name: &String| self.found.names.drifted.contains_key(name) || !self.found.is_dealt_with(name);
        let names: Vec<String> = self.read.names().into_iter().filter(is_due).collect();
        let mut is_blocked = false;
        for name in names {
            self.make_way()?;
            let Some(wanted) = WantedRecord::of(&self.read, &name, true) else { continue };
            let standing = match look(&self.records(&client), &wanted).await? {
                Ok(looked) => self.take_look(wanted, looked).await?,
                Err(error) => Some(Err(error)),
            };
            if let Some(standing) = standing {
                is_blocked |= self.found.names.take((name, standing))?;
            }
        }
        Ok(!is_blocked)
    }

    /// Puts a record right at once that is not as it should be, unless that waits for a person: then nothing is returned.
    async fn take_look(
        &mut self,
        mut wanted: WantedRecord,
        mut looked: Looked,
    ) -> Result<Option<Result<Standing, OwnedError>>, Stop> {
        let (drift, remedy) = (looked.drift.take(), looked.remedy());
        self.found.names.drifted.remove(&wanted.name);
        if let Some(reason) = self.watch().seen(OwnedKind::Record, &wanted.name, drift, remedy).await? {
            self.found.names.drifted.insert(wanted.name, reason);
            return Ok(None);
        }
        if let Some(standing) = looked.standing {
            return Ok(Some(Ok(standing)));
        }
        self.note_damage();
        wanted.find_row(self.shared).await?;
        self.found.names.took_from.extend(wanted.leads_from(&self.job.tunnel));
        Ok(Some(put_right(self.shared, &self.records(&self.client), &wanted).await))
    }

    /// Takes away names that nobody wants any more, now that their rules are gone, and what protected routes last.
    async fn remove_names(&mut self) -> Result<(), Stop> {
        if self.found.config.has_written {
            // They may have waited for rules to go from here.
            let next = self.read.snapshot.leaving.values().map(|leaving| leaving.next.clone());
            self.found.names.took_from.extend(next);
        }
        let gone: Vec<_> = self
            .read
            .snapshot
            .records_to_remove(&self.read.wanted)
            .map(|row| (row.zone_id.clone(), row.name.clone()))
            .collect();
        let has_applications = self.read.snapshot.applications_to_remove().next().is_some();
        // What was adopted goes once others use it no more, and nobody tells of that.
        let mut policies = self.read.snapshot.policies.keys();
        let has_adopted = policies.any(|name| !is_made_here(name, &self.shared.mark));
        if gone.is_empty() && !has_applications && !has_adopted {
            return Ok(());
        }
        if !gone.is_empty() || has_applications {
            self.note_damage();
        }
        self.tell_progress(&self.read.names()).await?;
        remove_all(&self.records(&self.client), &gone).await?;
        if has_applications || has_adopted {
            let others = self.protecting().remove().await?;
            self.found.names.took_from.extend(others);
        }
        // What answered for a route until its application was gone goes next.
        if has_applications && !self.read.wanted.guarded.is_empty() {
            self.found.names.took_from.insert(self.job.tunnel.clone());
        }
        Ok(())
    }

    /// What others changed is put right once the pass came to its end; a tunnel that they deleted is noted.
    async fn settle_drifts(&self, result: &Result<(), Stop>) -> Result<(), Stop> {
        if !self.found.has_looked || !self.read.has_wanted {
            return Ok(());
        }
        let snapshot = &self.read.snapshot;
        let (watch, name) = (self.watch(), &snapshot.tunnel.name);
        let is_gone = matches!(result, Err(Stop::Gone(_)));
        if is_gone {
            let drift = Drift::in_words(OwnedKind::Tunnel, name, name, None);
            watch.seen(OwnedKind::Tunnel, name, Some(drift), Remedy::ByPerson).await?;
        }
        let mut rules: BTreeSet<String> =
            self.read.wanted.all_rules().iter().map(|rule| rule.id().route().to_string()).collect();
        rules.extend(self.read.wanted.guarded.iter().map(ToString::to_string));
        let applications = self.read.needs.values().flatten().filter_map(Need::application);
        let domains: BTreeSet<&String> = applications.map(|wanted| &wanted.domain).collect();
        let is_asked = |drift: &Drift| match drift.kind {
            OwnedKind::Rule => rules.contains(&drift.name),
            OwnedKind::Record => {
                self.read.wanted.names.contains_key(&drift.name) || snapshot.record(&drift.name).is_some()
            }
            // As long as it is ours it may be needed again, and nobody may take it for what it was.
            OwnedKind::Application => {
                domains.contains(&drift.name)
                    || snapshot.applications.iter().any(|row| row.domain == drift.name)
            }
            // Other tunnels may need it.
            OwnedKind::Policy => snapshot.policies.contains_key(&drift.name),
            OwnedKind::Tunnel => is_gone,
        };
        watch.settle(result.is_ok(), is_asked).await
    }

    /// Writes down how it ended.
    async fn conclude(self, result: Result<(), Stop>) -> Outcome {
        let result = result.and_then(|()| unless_something_failed(&self.found));
        let statement = Statement { read: &self.read, found: &self.found, result: &result };
        let mut outcome = statement.outcome(self.job.order);
        if outcome.is_no_news {
            return outcome;
        }
        let rows = statement.rows(self.shared.clock.now());
        let has_changes = !rows.is_empty();
        let written = match self.shared.write(rows).await {
            Ok(()) => self.settle_drifts(&result).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = written {
            outcome.ending = Ending::Failed(None);
            outcome.digest = None;
            outcome.error = Some(error.failure());
        }
        if has_changes {
            self.shared.store.announce();
        }
        outcome
    }
}
