//! The first phase: what protects the routes is put in place and read back, before they are made reachable.
//!
//! Everything fails closed: what cannot be had, or is not known to be there, makes the route wait. What is in place by our
//! rows costs no call; a comparison looks at it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::applications::{Applications, AskedApplication, found_application};
use super::drifts::Watch;
use super::owned::{Owned, OwnedError, SIDE_BY_SIDE, Standing, remove_all};
use super::picture::Read;
use super::policies::{self, Policies, is_made_here, linked_policies};
use super::protection::{End, FoundProtection};
use super::shared::Shared;
use super::words::Stop;
use crate::cloudflare::{CfError, Cloudflare};
use crate::db::access::{self, AccessApplicationRow, AccessPolicyRow};
use crate::db::{DbError, cloudflare, tunnels};
use crate::domain::access::{
    Need, PolicyKey, WantedApplication, WantedPolicy, asks_somebody, zone_application,
};
use crate::domain::id::{PolicyId, TunnelId};
use crate::domain::owned::OwnedKind;
use crate::domain::protection::Protection;
use crate::domain::publish::Cause;
use crate::domain::route::RouteKey;

/// A policy this young is not tidied away: whoever made it may not have used it yet.
pub(super) const TIDY_AFTER: chrono::TimeDelta = chrono::TimeDelta::minutes(10);

/// A policy that is needed: its id, or why it is not there.
enum EnsuredPolicy {
    There(PolicyId),
    Blocked(String),
    Failed(CfError),
    /// These tunnels serve behind it still, and it would become another one.
    Elsewhere(BTreeSet<TunnelId>),
}

/// What came of the policies that are needed.
struct EnsuredPolicies {
    /// Each of them, by its name.
    needed: BTreeMap<String, EnsuredPolicy>,
    /// Every policy of the account that is ours, as its row is after that.
    rows: BTreeMap<String, AccessPolicyRow>,
}

const ZONE_NOT_KNOWN: &str = "its labels leave it to the Access application of its zone (`default_tld`), and the name of that \
    zone is not known, so it is closed; give the container a group (`access.group`)";

/// Puts protections in place.
pub(super) struct Protecting<'a> {
    pub shared: &'a Shared,
    pub client: &'a Cloudflare,
    pub tunnel: &'a TunnelId,
    pub read: &'a Read,
    /// True if what is in place by our rows is looked at all the same.
    pub is_comparison: bool,
    /// True unless the same was asked for when the last pass came to its end.
    pub is_news: bool,
    /// Who takes note of what others changed.
    pub watch: Watch<'a>,
}

impl Protecting<'_> {
    /// Deals with every route that this pass is not done with yet.
    pub async fn protect(&self, found: &mut FoundProtection) -> Result<(), Stop> {
        let mut due = Vec::new();
        for (route, need) in &self.read.needs {
            match need {
                _ if found.said.contains_key(route) => {}
                Ok(Need::Nothing) => drop(found.said.insert(route.clone(), Protection::InPlace)),
                Ok(need) => due.push((route, need)),
                Err(reason) => drop(found.said.insert(route.clone(), Protection::Missing(reason.clone()))),
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let policies = self.ensure_policies(&due).await?;
        let our_policies = ids_of(&policies.rows, &self.shared.mark);
        let work = stream::iter(due).map(async |(route, need)| {
            let end = match need {
                Need::Application(wanted) => self.ensure(route, wanted, &policies, &our_policies).await,
                Need::Zone => self.look_at_zone(route).await,
                Need::Nothing => End::Known(Standing::Ours),
            };
            (route, need, end)
        });
        let ends: Vec<_> = work.buffer_unordered(SIDE_BY_SIDE).collect().await;
        for (route, need, end) in ends {
            found.take(route, need, end)?;
        }
        Ok(())
    }

    /// Puts every policy that is needed in place, each once; what came of it, by its name.
    async fn ensure_policies(&self, due: &[(&RouteKey, &Need)]) -> Result<EnsuredPolicies, Stop> {
        let wanted = due.iter().filter_map(|(_, need)| need.application());
        let wanted = wanted.flat_map(|application| &application.policies);
        let wanted: BTreeMap<&str, &WantedPolicy> =
            wanted.map(|policy| (policy.name.as_str(), policy)).collect();
        let kind = Policies { shared: self.shared, client: self.client };
        let work = stream::iter(wanted.into_values()).map(async |policy| {
            let row = self.read.snapshot.policies.get(&policy.name);
            let is_settled = policies::is_settled(row, policy, None);
            if !is_settled && row.is_some_and(|row| row.policy_id.is_some()) {
                match self.holders_of_policy(policy, due).await {
                    Ok(holders) if holders.is_empty() => {}
                    Ok(holders) => return (policy.name.clone(), End::Elsewhere(holders)),
                    Err(error) => return (policy.name.clone(), End::Failed(error.into())),
                }
            }
            let is_trusted = due.iter().all(|(route, need)| {
                let behind = need.application().filter(|wanted| wanted.policies.contains(policy));
                behind.is_none_or(|wanted| self.is_published(route) && self.read.snapshot.has_noted(wanted))
            });
            let end = self.ensure_one(&kind, OwnedKind::Policy, policy, is_settled, is_trusted).await;
            (policy.name.clone(), end)
        });
        let ends: Vec<_> = work.buffer_unordered(SIDE_BY_SIDE).collect().await;
        let rows = access::policies_of(&self.shared.db, self.shared.cloudflare.account()).await?;
        let mut needed = BTreeMap::new();
        for (name, end) in ends {
            let id = rows.get(&name).and_then(|row| row.policy_id.clone());
            let end = match (end, id) {
                (End::Known(Standing::Blocked(reason)), _) => EnsuredPolicy::Blocked(reason),
                (End::Unseen(error), _) => return Err(Stop::Cloudflare(error)),
                (End::Stopped(stop), _) => return Err(stop),
                (End::Known(_) | End::Kept(_), Some(id)) => EnsuredPolicy::There(id),
                (End::Known(_) | End::Kept(_), None) => return Err(Stop::Unplanned(name)),
                (End::Elsewhere(holders), _) => EnsuredPolicy::Elsewhere(holders),
                (End::Failed(OwnedError::Cloudflare(error)), _) => EnsuredPolicy::Failed(error),
                (End::Failed(error), _) => return Err(error.into()),
            };
            needed.insert(name, end);
        }
        Ok(EnsuredPolicies { needed, rows })
    }

    /// Looks at one thing if that is asked for, and puts it right if it is not as it should be. A look that fails says
    /// nothing about what is there.
    ///
    /// What others changed and what waits for a person closes the route: nobody knows whom it lets in. And a row is trusted
    /// only for a route that is open: what stood before a closed one was compared by nobody.
    async fn ensure_one<K: Owned>(
        &self,
        kind: &K,
        what: OwnedKind,
        wanted: &K::Wanted,
        is_settled: bool,
        is_trusted: bool,
    ) -> End {
        if !is_settled {
            return kind.ensure(wanted).await.into();
        }
        if is_trusted && !self.is_comparison {
            let waits = self.read.snapshot.drifts.waits(what, K::name(wanted));
            return End::Known(waits.map_or(Standing::Ours, Standing::Blocked));
        }
        let mut looked = match kind.look(wanted).await {
            Ok(looked) => looked,
            Err(OwnedError::Cloudflare(error)) if self.is_comparison && error.is_transient() => {
                return End::Unseen(error);
            }
            Err(error) => return End::Failed(error),
        };
        let (drift, remedy) = (looked.drift.take(), looked.remedy());
        match (self.watch.seen(what, K::name(wanted), drift, remedy).await, looked.standing) {
            (Err(stop), _) => End::Stopped(stop),
            (Ok(Some(reason)), _) => End::Known(Standing::Blocked(reason)),
            (Ok(None), Some(standing)) => End::Known(standing),
            (Ok(None), None) => kind.ensure(wanted).await.into(),
        }
    }

    async fn ensure(
        &self,
        route: &RouteKey,
        wanted: &WantedApplication,
        policies: &EnsuredPolicies,
        our_policies: &BTreeSet<PolicyId>,
    ) -> End {
        let mut ids = Vec::new();
        for policy in &wanted.policies {
            match policies.needed.get(&policy.name) {
                Some(EnsuredPolicy::There(id)) => ids.push(id.clone()),
                Some(EnsuredPolicy::Blocked(reason)) => return End::Known(Standing::Blocked(reason.clone())),
                Some(EnsuredPolicy::Elsewhere(holders)) => return End::Elsewhere(holders.clone()),
                Some(EnsuredPolicy::Failed(error)) => {
                    return self.unless_protected(route, wanted, &policies.rows, error.clone()).await;
                }
                None => return End::Failed(OwnedError::Unplanned(policy.name.clone())),
            }
        }
        let (shared, client, tunnel) = (self.shared, self.client, self.tunnel);
        let kind = Applications { shared, client, tunnel, our_policies };
        let asked = AskedApplication { wanted: wanted.clone(), policies: ids };
        let is_settled = self.row(wanted).is_some_and(|row| asked.is_settled(row, tunnel));
        if !is_settled {
            match self.holders(&asked, route).await {
                Ok(holders) if holders.is_empty() => {}
                Ok(holders) => return End::Elsewhere(holders),
                Err(error) => return End::Failed(error.into()),
            }
        }
        let is_trusted = self.is_published(route);
        match self.ensure_one(&kind, OwnedKind::Application, &asked, is_settled, is_trusted).await {
            End::Failed(OwnedError::Cloudflare(error)) => {
                self.unless_protected(route, wanted, &policies.rows, error).await
            }
            end => end,
        }
    }

    /// A change of what protects a published route failed in a way that time may heal. If nobody comes in without being
    /// asked, as it was read back last and as it is to be, the route stays as it is until then. It is closed if a comparison
    /// found that somebody changed it, or if its application is gone: then it has no id any more. Once closed it stays so.
    async fn unless_protected(
        &self,
        route: &RouteKey,
        wanted: &WantedApplication,
        policies: &BTreeMap<String, AccessPolicyRow>,
        error: CfError,
    ) -> End {
        if self.is_comparison || !self.is_published(route) || !error.is_transient() || wanted.has_bypass() {
            return End::Failed(OwnedError::Cloudflare(error));
        }
        let account = self.shared.cloudflare.account();
        let row = match access::find_application(&self.shared.db, account, &wanted.domain).await {
            Ok(row) => row.filter(|row| row.application_id.is_some() && row.tunnel_id == *self.tunnel),
            Err(error) => return End::Failed(error.into()),
        };
        let asks = |id: &String| {
            let mut rows = policies.values();
            let row = rows.find(|row| row.policy_id.as_ref().is_some_and(|policy| policy.as_str() == id));
            row.is_some_and(|row| asks_somebody(&row.body))
        };
        let linked = row.map(|row| linked_policies(&row.body)).unwrap_or_default();
        match !linked.is_empty() && linked.iter().all(asks) {
            true => End::Kept(error),
            false => End::Failed(OwnedError::Cloudflare(error)),
        }
    }

    /// The other tunnels whose rules are behind the own policy of a route that would become another one. A group's is
    /// changed for everybody at once, because the group was.
    async fn holders_of_policy(
        &self,
        policy: &WantedPolicy,
        due: &[(&RouteKey, &Need)],
    ) -> Result<BTreeSet<TunnelId>, DbError> {
        let mut holders = BTreeSet::new();
        if matches!(policy.key, PolicyKey::Own { .. }) {
            for (route, need) in due {
                if need.application().is_some_and(|wanted| wanted.policies.contains(policy)) {
                    holders.extend(self.others_with(&route.hostname).await?);
                }
            }
        }
        Ok(holders)
    }

    /// The other tunnels whose rules are behind an application that would become another one, or behind none of this name: what
    /// would stand before them is for other people than what does.
    async fn holders(
        &self,
        asked: &AskedApplication,
        route: &RouteKey,
    ) -> Result<BTreeSet<TunnelId>, DbError> {
        let (db, account) = (&self.shared.db, self.shared.cloudflare.account());
        let row = access::find_application(db, account, &asked.wanted.domain).await?;
        let body = asked.wanted.body(&asked.policies);
        match row.is_none_or(|row| row.application_id.is_none() || row.body != body) {
            true => self.others_with(&route.hostname).await,
            false => Ok(BTreeSet::new()),
        }
    }

    /// The other tunnels that have rules for a hostname.
    async fn others_with(&self, hostname: &str) -> Result<BTreeSet<TunnelId>, DbError> {
        let (db, account) = (&self.shared.db, self.shared.cloudflare.account());
        let mut others = BTreeSet::new();
        for tunnel in cloudflare::tunnels_with_rules(db, hostname).await? {
            let row = tunnels::find_tunnel(db, &tunnel).await?;
            // Of another account nobody takes rules away, nor can what they serve be reached by a name of this one.
            if tunnel == *self.tunnel || row.is_none_or(|row| row.account_id != *account) {
                continue;
            }
            // What was deleted serves nobody, and nobody takes rules away from it.
            let status = cloudflare::find_tunnel_status(db, &tunnel).await?;
            if status.is_none_or(|status| status.cause != Some(Cause::TunnelGone)) {
                others.insert(tunnel);
            }
        }
        Ok(others)
    }

    fn is_published(&self, route: &RouteKey) -> bool {
        self.read.snapshot.is_said_open(route)
    }

    fn row(&self, wanted: &WantedApplication) -> Option<&AccessApplicationRow> {
        self.read.snapshot.applications.iter().find(|row| row.domain == wanted.domain)
    }

    /// The application of the whole zone may be anybody's; without one the name would be open.
    async fn look_at_zone(&self, route: &RouteKey) -> End {
        let is_published = self.is_published(route);
        // It may have been published behind something else.
        if is_published && !self.is_comparison && !self.is_news {
            return End::Known(Standing::Theirs);
        }
        match self.find_zone_application(route).await {
            Ok(standing) => End::Known(standing),
            Err(error) if is_published && error.is_transient() => End::Unseen(error),
            Err(error) => End::Failed(OwnedError::Cloudflare(error)),
        }
    }

    async fn find_zone_application(&self, route: &RouteKey) -> Result<Standing, CfError> {
        let zone = self.read.wanted.names.get(&route.hostname);
        let listing = self.shared.zones.get(self.client, false).await?;
        let listed = listing.zones.into_iter().flatten().map(|zone| (zone.id, Some(zone.name)));
        let mut known = listed.chain(listing.default.map(|zone| (zone.id, zone.name)));
        let Some(name) = known.find(|(id, _)| Some(id) == zone).and_then(|(_, name)| name) else {
            return Ok(Standing::Blocked(ZONE_NOT_KNOWN.into()));
        };
        let found = self.client.find_access_apps(&format!("*.{name}")).await?;
        let found: Vec<_> = found.into_iter().map(found_application).collect();
        Ok(zone_application(route, &name, &found).map_or_else(Standing::Blocked, |_| Standing::Theirs))
    }

    /// Takes away what protected routes that nobody asks for any more, now that nothing of them is reachable, and policies
    /// that nothing uses. Returns the tunnels that have to go on with what is left: those that have rules for such a name
    /// still, and those that get it.
    pub async fn remove(&self) -> Result<BTreeSet<TunnelId>, Stop> {
        let (mut gone, mut others) = (Vec::new(), BTreeSet::new());
        for row in self.read.snapshot.applications_to_remove() {
            let hostname = row.domain.split('/').next().unwrap_or_default();
            let holders = self.others_with(hostname).await?;
            let next = self.shared.next_tunnel(hostname).await?.filter(|next| next != self.tunnel);
            // What others serve behind it would be open.
            if holders.is_empty() || next.is_some() {
                gone.push(row.domain.clone());
            }
            others.extend(holders);
            others.extend(next);
        }
        let rows = access::policies_of(&self.shared.db, self.shared.cloudflare.account()).await?;
        let our_policies = ids_of(&rows, &self.shared.mark);
        let (shared, client, tunnel) = (self.shared, self.client, self.tunnel);
        let kind = Applications { shared, client, tunnel, our_policies: &our_policies };
        remove_all(&kind, &gone).await?;
        let unused = self.unused_policies(rows).await?;
        remove_all(&Policies { shared, client }, &unused).await?;
        Ok(others)
    }

    /// Policies of ours that no application of ours links to, and that no group is mirrored by.
    async fn unused_policies(&self, rows: BTreeMap<String, AccessPolicyRow>) -> Result<Vec<String>, Stop> {
        let (db, account) = (&self.shared.db, self.shared.cloudflare.account());
        let applications = access::applications_of(db, account).await?;
        let applications: Vec<&AccessApplicationRow> = applications.iter().collect();
        let is_mirror = |name: &str| self.read.snapshot.mirrors(name, &self.shared.mark);
        let before = self.shared.clock.now() - TIDY_AFTER;
        let unused = policies::unused(rows.values(), &applications, is_mirror);
        Ok(unused.into_iter().filter(|row| row.created_at < before).map(|row| row.name.clone()).collect())
    }
}

/// Ids of those of these policies that we made, as far as they are known. Adopted ones are others' in other applications.
fn ids_of(rows: &BTreeMap<String, AccessPolicyRow>, mark: &str) -> BTreeSet<PolicyId> {
    let made = rows.values().filter(|row| is_made_here(&row.name, mark));
    made.filter_map(|row| row.policy_id.clone()).collect()
}
