//! What is known of one tunnel: what the database says of it, read together, and what a pass has found since. No calls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::drifts::Drifts;
use super::leaving::{Leaving, is_noted, read_leaving};
use super::owned::{Ended, OwnedError, Standing};
use super::protection::{FoundProtection, Needs, RefusedNeeds};
use super::schedule::REFUSED_RETRY;
use super::words::{NameFailure, RefusedNames, RefusedRule, RefusedRules, Stop};
use crate::cloudflare::CfError;
use crate::db::access::{self, AccessApplicationRow, AccessPolicyRow};
use crate::db::cloudflare::{AppliedRule, DnsRecordRow, RouteStatusRow, TunnelStatusRow};
use crate::db::drifts::reviewed_of_agents;
use crate::db::tunnels::TunnelRow;
use crate::db::{Db, DbError, cloudflare, manual_rules, routes, tunnels};
use crate::domain::access::{AccessAsk, Group, Need, Team, WantedApplication};
use crate::domain::dns::tunnel_target;
use crate::domain::id::{AccountId, AgentId, GroupId, TunnelId};
use crate::domain::ingress::{
    CLOSED, Contact, Foreign, IngressRule, MergeOutcome, RuleConflict, RuleId, Trial, foreign_services,
    gets_requests_of, in_order, rule_there,
};
use crate::domain::manual_rule::ManualRule;
use crate::domain::owned::OwnedKind;
use crate::domain::protection::{Protection, waiting};
use crate::domain::publish::{Cause, ChangeMode, PublicState, PublishSettings, TunnelState};
use crate::domain::review::{Reviewed, Unreviewed, reviewed};
use crate::domain::route::{Route, RouteKey, Service};
use crate::domain::wanted::{KnownZones, Published, PublishedRecord, Wanted};

/// One tunnel, as the database has it.
pub(super) struct Snapshot {
    pub tunnel: TunnelRow,
    /// Routes of its agent.
    pub routes: Vec<Route>,
    /// Rules that people made.
    pub rules: Vec<ManualRule>,
    /// Names that are another tunnel's by now, and lead here still.
    pub leaving: BTreeMap<String, Leaving>,
    /// Those of them whose rules stay until they lead there.
    pub staying: BTreeSet<String>,
    pub applied: Vec<IngressRule>,
    pub records: Vec<DnsRecordRow>,
    /// Our applications that protect its routes.
    pub applications: Vec<AccessApplicationRow>,
    /// The policies of the account that are ours, by name; none are read if no route has anything to do with Access.
    pub policies: Arc<BTreeMap<String, AccessPolicyRow>>,
    /// The groups that people made; none are read either.
    pub groups: Arc<BTreeMap<GroupId, Group>>,
    pub route_status: Vec<RouteStatusRow>,
    pub status: Option<TunnelStatusRow>,
    /// What others changed of ours in the account, and is not put right yet.
    pub drifts: Drifts,
    /// What is published of what labels ask for, while changes are reviewed.
    pub review: Option<Reviewed>,
    /// False if that is to be written down: reviews begin with what is published, and what begins to keep somebody out
    /// does so at once.
    pub is_review_noted: bool,
    /// What a person said yes to, as it was read.
    pub approved: Vec<Service>,
}

impl Snapshot {
    /// Reads it; none if we never had such a tunnel.
    pub async fn read(db: &Db, id: &TunnelId, settings: &PublishSettings) -> Result<Option<Self>, DbError> {
        let Some(tunnel) = tunnels::find_tunnel(db, id).await? else { return Ok(None) };
        Ok(Self::read_many(db, vec![tunnel], settings).await?.pop())
    }

    /// Reads many: it costs no more queries than one.
    pub async fn read_many(
        db: &Db,
        tunnels: Vec<TunnelRow>,
        settings: &PublishSettings,
    ) -> Result<Vec<Self>, DbError> {
        let ids: Vec<TunnelId> = tunnels.iter().map(|tunnel| tunnel.id.clone()).collect();
        let of = |tunnel: &TunnelRow| tunnel.agent_id.clone().or(tunnel.left_by.clone());
        let agents: Vec<AgentId> = tunnels.iter().filter_map(of).collect();
        let (routes, mut rules, mut applied, mut records, mut applications, mut statuses, mut route_status) =
            futures_util::try_join!(
                routes::routes_of_agents(db, &agents),
                manual_rules::rules_of_tunnels(db, &ids),
                cloudflare::applied_rules_of(db, &ids),
                cloudflare::dns_records_of(db, &ids),
                access::applications_of_tunnels(db, &ids),
                cloudflare::tunnel_status_of(db, &ids),
                cloudflare::route_status_of(db, &agents),
            )?;
        let approved = match settings.changes {
            ChangeMode::Automatic => None,
            ChangeMode::Review => Some(read_approved(db, &agents).await?),
        };
        let mut leaving = read_leaving(db, &tunnels, &routes, &rules, approved.as_ref()).await?;
        let has_access = !applications.is_empty() || {
            let by_labels = routes.values().flatten().map(|route| &route.spec);
            let by_people = rules.values().flatten().map(|rule| &rule.spec);
            let asked_next = leaving.values().flat_map(BTreeMap::values).flat_map(|leaving| &leaving.asks);
            let reviewed = approved.iter().flat_map(HashMap::values).flatten();
            let mut specs = by_labels.chain(by_people).chain(asked_next).chain(reviewed);
            specs.any(|spec| spec.access != AccessAsk::Nothing)
        };
        let names: Vec<String> =
            rules.values().flatten().map(|rule| rule.spec.key.hostname.clone()).collect();
        let said_of_rules = manual_rules::status_of_rules(db, &names).await?;
        let account = tunnels.first().map(|tunnel| tunnel.account_id.clone());
        let drifts = match &account {
            Some(account) => Drifts::read(db, account, settings.drift).await?,
            None => Drifts::default(),
        };
        let (policies, groups) = read_access(db, account.as_ref().filter(|_| has_access)).await?;
        let snapshot = |tunnel: TunnelRow| {
            let (id, agent) = (&tunnel.id, tunnel.agent_id.as_ref());
            let applied = applied.remove(id).unwrap_or_default();
            let records = records.remove(id).unwrap_or_default();
            let applications = applications.remove(id).unwrap_or_default();
            let mut routes = of(&tunnel).and_then(|agent| routes.get(&agent).cloned()).unwrap_or_default();
            if agent.is_none() {
                // Its agent moved: a rule goes once its name leads to the other tunnel.
                let stays =
                    |name: &str| records.iter().any(|record| record.name == name && leads_to(record, id));
                routes.retain(|route| stays(&route.spec.key.hostname));
            }
            let rules = rules.remove(id).unwrap_or_default();
            let is_rule = |key: &RouteKey| rules.iter().any(|rule| rule.spec.key == *key);
            // What is said of a name that its agent asks for too is said of the rule that has it.
            let mut route_status = agent.and_then(|agent| route_status.remove(agent)).unwrap_or_default();
            route_status.retain(|row| !is_rule(&row.key));
            route_status.extend(said_of_rules.iter().filter(|row| is_rule(&row.key)).cloned());
            Self {
                routes,
                leaving: leaving.remove(id).unwrap_or_default(),
                staying: BTreeSet::new(),
                applied: applied.into_iter().filter_map(read_rule).collect(),
                records,
                applications,
                policies: Arc::clone(&policies),
                groups: Arc::clone(&groups),
                route_status,
                status: statuses.remove(id),
                rules,
                drifts: drifts.clone(),
                review: None,
                is_review_noted: true,
                approved: Vec::new(),
                tunnel,
            }
            .reviewed(approved.as_ref())
        };
        Ok(tunnels.into_iter().map(snapshot).collect())
    }

    /// Returns what the tunnel's routes ask for.
    pub fn wanted(&self, zones: KnownZones<'_>, settings: &PublishSettings) -> Wanted {
        let records = self.records.iter().map(|row| {
            let record = PublishedRecord { zone_id: &row.zone_id, is_made: row.record_id.is_some() };
            (row.name.as_str(), record)
        });
        let rules = self.applied.iter().map(IngressRule::id).collect();
        let published = Published { rules, records: records.collect() };
        let mut wanted = Wanted::read(self.specs(), zones, settings, &published);
        wanted.guarded.extend(self.kept_shut());
        let rules = wanted.all_rules();
        wanted.guarded.extend(self.left_behind().filter(|route| gets_requests_of(route, &rules)));
        let team = settings.access_team.clone().map(Team::Named);
        self.complete_checks(&mut wanted, &self.applications, team.as_ref());
        wanted
    }

    /// Puts in what routes leave open of the connector's check of Access tokens, as far as it is known: the tags of these
    /// `applications` of theirs, and the team. A team that was not read is the one that was written last. Says why the others wait.
    pub fn complete_checks(
        &self,
        wanted: &mut Wanted,
        applications: &[AccessApplicationRow],
        team: Option<&Team>,
    ) -> BTreeMap<RouteKey, String> {
        let mut waiting = BTreeMap::new();
        for (key, open) in wanted.open_checks.clone() {
            let row = applications.iter().find(|row| row.domain == key.to_string());
            let aud = row.filter(|row| row.application_id.is_some()).and_then(|row| row.aud.as_deref());
            let written = self.written_team(&key);
            let team = match team {
                Some(Team::Named(_)) => team,
                _ => written.as_ref().or(team),
            };
            match open.completed(aud, team) {
                Ok(whole) => wanted.complete_check(&key, whole),
                Err(reason) => {
                    wanted.complete_check(&key, open);
                    waiting.insert(key, reason);
                }
            }
        }
        waiting
    }

    /// The team that the rule of a route was written with.
    fn written_team(&self, key: &RouteKey) -> Option<Team> {
        let id = RuleId::of(key);
        let rule = self.applied.iter().find(|rule| rule.id() == id)?;
        let check = rule.origin_request.access.as_ref().filter(|check| !check.team_name.is_empty())?;
        Some(Team::Named(check.team_name.clone()))
    }

    /// Leaves of what labels ask for what a person said yes to, if that is needed.
    fn reviewed(mut self, approved: Option<&HashMap<AgentId, Vec<Service>>>) -> Self {
        let Some(approved) = approved else { return self };
        let agent = self.tunnel.agent_id.as_ref().or(self.tunnel.left_by.as_ref());
        let mut approved = agent.and_then(|agent| approved.get(agent)).cloned().unwrap_or_default();
        self.approved.clone_from(&approved);
        if self.tunnel.agent_id.is_none() {
            let leads_here = |name: &str| {
                self.records.iter().any(|row| row.name == name && leads_to(row, &self.tunnel.id))
            };
            approved.retain(|service| leads_here(&service.key.hostname));
        }
        let is_ruled =
            |service: &Service| self.rules.iter().any(|rule| rule.spec.key.hostname == service.key.hostname);
        approved.retain(|service| !is_ruled(service));
        if approved.is_empty() {
            approved = self.in_force();
            self.is_review_noted = approved.is_empty();
        }
        let review = reviewed(self.routes.iter().map(|route| &route.spec), &approved);
        // What was closed at once stays so until a person says otherwise.
        self.is_review_noted &= review.services == approved;
        self.review = Some(review);
        self
    }

    /// Routes that wait for a person and are to keep somebody out: no other route may answer for them meanwhile.
    fn kept_shut(&self) -> impl Iterator<Item = RouteKey> {
        let is_new = |key: &RouteKey| self.unreviewed(key) == Some(Unreviewed::New);
        let specs = self.routes.iter().map(|route| &route.spec);
        specs.filter(move |spec| spec.access.keeps_out() && is_new(&spec.key)).map(|spec| spec.key.clone())
    }

    /// Routes that are gone and whose applications are still there: they let their people in to whatever answers instead.
    fn left_behind(&self) -> impl Iterator<Item = RouteKey> {
        let asked: BTreeSet<&RouteKey> = self.routes.iter().map(|route| &route.spec.key).collect();
        let routes = self.applications_to_remove().filter(|row| row.application_id.is_some());
        let routes = routes.map(|row| {
            let (hostname, path) = row.domain.split_at(row.domain.find('/').unwrap_or(row.domain.len()));
            let path = if path.is_empty() { "/" } else { path };
            RouteKey { hostname: hostname.to_owned(), path: path.to_owned() }
        });
        routes.filter(move |route| !asked.contains(route))
    }

    /// Routes that have a rule in the tunnel that leads to a service: what counts as reviewed when reviews begin, as its labels ask then.
    fn in_force(&self) -> Vec<Service> {
        let is_applied = |service: &&Service| {
            self.applied.iter().any(|rule| rule.id() == RuleId::of(&service.key) && rule.service != CLOSED)
        };
        self.routes.iter().map(|route| &route.spec).filter(is_applied).cloned().collect()
    }

    /// Everything that is asked for in the tunnel, by labels and by people; while changes are reviewed, as far as a person
    /// said yes to it.
    pub fn specs(&self) -> impl Iterator<Item = &Service> {
        let reviewed = self.review.iter().flat_map(|review| &review.services);
        let routes = self.routes.iter().filter(|_| self.review.is_none()).map(|route| &route.spec);
        reviewed.chain(routes).chain(self.rules.iter().map(|rule| &rule.spec))
    }

    /// True if labels or people ask for the route, be it reviewed or not.
    pub fn is_asked(&self, key: &RouteKey) -> bool {
        self.specs().any(|spec| spec.key == *key) || self.routes.iter().any(|route| route.spec.key == *key)
    }

    /// Why a route waits for a person, while changes are reviewed.
    pub fn unreviewed(&self, key: &RouteKey) -> Option<Unreviewed> {
        self.review.as_ref()?.waits.get(key).copied()
    }

    /// The agent whose route this is; none if a person made it.
    pub fn agent_of(&self, key: &RouteKey) -> Option<&AgentId> {
        let is_rule = self.rules.iter().any(|rule| rule.spec.key == *key);
        self.tunnel.agent_id.as_ref().filter(|_| !is_rule)
    }

    /// The agent that has a name in the tunnel; none if rules of people have it.
    pub fn agent_with(&self, hostname: &str) -> Option<&AgentId> {
        let is_ruled = self.rules.iter().any(|rule| rule.spec.key.hostname == hostname);
        self.tunnel.agent_id.as_ref().filter(|_| !is_ruled)
    }

    /// True if this tunnel says how a route stands. Of those that an agent took along to another tunnel that one does.
    pub fn speaks_of(&self, key: &RouteKey) -> bool {
        self.tunnel.agent_id.is_some() || self.rules.iter().any(|rule| rule.spec.key == *key)
    }

    /// True if names that are not led here yet are to be.
    pub fn leads(&self, name: &str) -> bool {
        self.tunnel.agent_id.is_some() || self.rules.iter().any(|rule| rule.spec.key.hostname == name)
    }

    /// How well we know the tunnel.
    pub fn contact(&self) -> Contact {
        Contact::of(self.tunnel.confirmed_by.as_deref())
    }

    /// True if nobody has the tunnel: what is left in it goes, and no name is led to it any more.
    pub fn is_left(&self) -> bool {
        self.tunnel.agent_id.is_none() && self.rules.is_empty()
    }

    /// Returns what the publisher said last about a route.
    pub fn state(&self, key: &RouteKey) -> Option<PublicState> {
        let said = self.row(key).and_then(|row| PublicState::parse(&row.state));
        // Nothing is said of a route that nobody asks for any more; it is published until a person says yes.
        let gone =
            self.unreviewed(key).filter(|why| *why == Unreviewed::Gone).map(|_| PublicState::Published);
        said.filter(|state| state.is_from_publisher()).or(gone)
    }

    /// True if the publisher said last that the route is open. Of one that waits to be withdrawn nothing is said, and it may have
    /// been closed.
    pub fn is_said_open(&self, key: &RouteKey) -> bool {
        self.row(key).is_some_and(|row| row.state == PublicState::Published.as_str())
    }

    /// True if somebody changed a rule, or the record of its name, and it waits for a person.
    pub fn is_drifting(&self, id: &RuleId) -> bool {
        self.drifts.waits(OwnedKind::Rule, &id.route().to_string()).is_some()
            || self.drifts.waits(OwnedKind::Record, &id.hostname).is_some()
    }

    /// Returns the row of a route.
    pub fn row(&self, key: &RouteKey) -> Option<&RouteStatusRow> {
        self.route_status.iter().find(|row| row.key == *key)
    }

    /// True if the tunnel was configured locally when it was read last.
    pub fn is_local(&self) -> bool {
        self.status.as_ref().is_some_and(|row| row.cause == Some(Cause::TunnelLocal))
    }

    /// True unless a write of the configuration was under way of which nobody heard the end.
    pub fn is_config_known(&self) -> bool {
        self.status.as_ref().is_none_or(|row| row.is_settled)
    }

    /// True for a rule that answers in the place of a route that may not be reached.
    pub fn is_guard(&self, wanted: &Wanted, rule: &IngressRule) -> bool {
        let blocked = wanted.services.iter().map(|service| &service.key);
        let mut blocked = blocked.filter(|key| self.state(key) == Some(PublicState::Blocked));
        rule.service == CLOSED
            && (wanted.guarded.iter().any(|key| RuleId::of(key) == rule.id())
                || blocked.any(|key| RuleId::of(key) == rule.id()))
    }

    /// Returns our record of a name.
    pub fn record(&self, name: &str) -> Option<&DnsRecordRow> {
        self.records.iter().find(|record| record.name == name)
    }

    /// Returns the records that nobody asks for any more.
    pub fn records_to_remove<'a>(&'a self, wanted: &'a Wanted) -> impl Iterator<Item = &'a DnsRecordRow> {
        self.records.iter().filter(|record| match wanted.names.get(&record.name) {
            None => true,
            Some(zone) => wanted.has_zones && *zone != record.zone_id,
        })
    }

    /// Returns the applications that no route asks for any more, also none that is refused for now.
    pub fn applications_to_remove(&self) -> impl Iterator<Item = &AccessApplicationRow> {
        let asked = self.specs().filter(|spec| spec.access.has_own_application());
        let asked: BTreeSet<String> = asked.map(|spec| spec.key.to_string()).collect();
        self.applications.iter().filter(move |row| !asked.contains(&row.domain))
    }

    /// True if a group is mirrored by a policy of this name.
    pub fn mirrors(&self, policy: &str, mark: &str) -> bool {
        self.groups.values().any(|group| group.policy_names(mark).iter().any(|name| name == policy))
    }

    /// True if the rows say that just this application is there for the tunnel, with just these policies.
    pub fn has_noted(&self, wanted: &WantedApplication) -> bool {
        let mut rows = self.applications.iter().filter(|row| row.tunnel_id == self.tunnel.id);
        let row = rows.find(|row| row.domain == wanted.domain);
        row.is_some_and(|row| is_noted(wanted, &self.policies, row))
    }

    /// True if what protects the routes is in place, as far as we know.
    pub fn is_protected(&self, needs: &Needs) -> bool {
        let is_in_place = |need: &Need| match need {
            Need::Nothing | Need::Zone => true,
            Need::Application(wanted) => self.has_noted(wanted),
        };
        let is_closed = |key| matches!(self.state(key), Some(PublicState::Blocked));
        let mut needs = needs.iter();
        needs.all(|(key, need)| need.as_ref().map_or_else(|_| is_closed(key), is_in_place))
            && self.applications_to_remove().next().is_none()
    }

    /// Says which of the names that are another tunnel's by now keep their rules until they lead there.
    pub fn decide_who_stays(&mut self, need_of: impl Fn(&Service) -> Result<Need, String>) {
        let may_stay = |(name, leaving): &(&String, &Leaving)| {
            let rules: Vec<_> = self.applied.iter().filter(|rule| rule.hostname == **name).collect();
            leaving.may_stay(name, &rules, &self.policies, &self.drifts, &need_of)
        };
        self.staying = self.leaving.iter().filter(may_stay).map(|(name, _)| name.clone()).collect();
    }

    /// Rules of ours whose names are another tunnel's by now, and that stay until they lead there.
    pub fn leaving_rules(&self) -> impl Iterator<Item = IngressRule> {
        let stays = self.applied.iter().filter(|rule| !rule.unseen && self.staying.contains(&rule.hostname));
        stays.map(IngressRule::as_wanted)
    }

    /// True if the name is known to lead to this tunnel, by our record or by somebody else's.
    pub fn has_settled_name(&self, wanted: &Wanted, name: &str) -> bool {
        match self.record(name) {
            Some(row) => {
                let zone = wanted.names.get(name);
                leads_to(row, &self.tunnel.id) && (!wanted.has_zones || zone == Some(&row.zone_id))
            }
            // What was said may be about the tunnel that the agent had before: then the rule is not in this one.
            None => wanted.of_name(name).any(|service| {
                let id = IngressRule::new(service).id();
                self.state(&service.key) == Some(PublicState::Published)
                    && self.applied.iter().any(|rule| rule.id() == id)
            }),
        }
    }

    /// True if we have nothing there and want nothing.
    pub fn is_nothing(&self, wanted: &Wanted) -> bool {
        wanted.is_empty()
            && self.applied.is_empty()
            && self.records.is_empty()
            && self.applications.is_empty()
    }

    /// True if Cloudflare has what is wanted, as far as we know: then it is not called.
    pub fn is_settled(&self, wanted: &Wanted, needs: &Needs) -> bool {
        let state = self.status.as_ref().map(|status| status.state.as_str());
        if self.is_nothing(wanted) {
            return true;
        }
        if !self.is_protected(needs) {
            return false;
        }
        if state == Some(TunnelState::Waiting.as_str()) && self.contact() == Contact::First {
            let waits = |key| matches!(self.state(key), Some(PublicState::Waiting | PublicState::Blocked));
            return wanted.services.iter().all(|service| waits(&service.key));
        }
        let (published, blocked): (Vec<_>, Vec<_>) = wanted
            .services
            .iter()
            .partition(|service| self.state(&service.key) == Some(PublicState::Published));
        let is_blocked = |key| self.state(key) == Some(PublicState::Blocked);
        let stays = self.leaving_rules();
        let rules: BTreeSet<_> =
            published.iter().map(|service| IngressRule::new(service)).chain(stays).map(by_id).collect();
        let applied = self.applied.iter().filter(|rule| !self.is_guard(wanted, rule));
        let applied = applied.filter(|rule| !self.is_drifting(&rule.id()));
        let applied: BTreeSet<_> = applied.map(IngressRule::as_wanted).map(by_id).collect();
        let has_record =
            |name: &str| self.record(name).is_none_or(|record| leads_to(record, &self.tunnel.id));
        state == Some(TunnelState::Applied.as_str())
            && self.is_config_known()
            && blocked.iter().all(|service| is_blocked(&service.key))
            && rules == applied
            && published.iter().all(|service| has_record(&service.key.hostname))
            && self.records_to_remove(wanted).next().is_none()
    }
}

/// True if the row says that our record leads to `tunnel`, and nothing is under way. One that was taken over from another
/// tunnel leads there until it is moved.
pub(super) fn leads_to(row: &DnsRecordRow, tunnel: &TunnelId) -> bool {
    row.is_settled
        && row.record_id.is_some()
        && row.tunnel_id == *tunnel
        && row.content == tunnel_target(tunnel)
}

/// What was read before a pass does anything, kept up with what the pass itself writes down.
pub(super) struct Read {
    pub snapshot: Snapshot,
    /// What earlier passes found out.
    pub remembered: Remembered,
    /// What the tunnel's routes ask for; none until the zones are known, without which nothing can be asked for.
    pub wanted: Wanted,
    /// What each of those needs before it may be reachable.
    pub needs: Needs,
    /// True once both are known.
    pub has_wanted: bool,
    /// How well we know the tunnel.
    pub contact: Contact,
    /// The rules that are ours, as the database has them now.
    pub applied: Vec<IngressRule>,
}

/// What a pass leaves to the next one.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    /// Digest of what was wanted in the last pass that came to its end.
    pub digest: Option<u64>,
    /// Rules that Cloudflare does not take, and is not asked to all the time.
    pub rules: RefusedRules,
    /// Names of which it takes no record.
    pub names: RefusedNames,
    /// Protections that it does not take.
    pub needs: RefusedNeeds,
}

/// What a pass has found so far.
#[derive(Default)]
pub(super) struct Found {
    /// True once Cloudflare was called: what was said before may no longer be true.
    pub has_looked: bool,
    /// True once a write was written down as being on its way.
    pub has_announced: bool,
    /// True once a comparison met something that is not as it should be: putting it right is a change, and waits for
    /// nobody.
    pub has_damage: bool,
    /// True if the tunnel waits for a person.
    pub is_waiting: bool,
    /// Why something of the account could not be read that routes wait for; the rest goes on without it.
    pub unread: Option<CfError>,
    pub config: FoundConfig,
    pub names: FoundNames,
    pub protection: FoundProtection,
}

/// The configuration of the tunnel, as it was found and written.
#[derive(Default)]
pub(super) struct FoundConfig {
    /// False while a write is under way, or its answer was lost.
    pub is_known: bool,
    /// When it was read last.
    pub read_at: Option<Instant>,
    /// How often it was read again because the write had to wait too long.
    pub late_writes: u32,
    /// True once it was written.
    pub has_written: bool,
    /// The newest version that is known of.
    pub version: Option<i64>,
    /// Version that our last write should have made, its answer heard or lost.
    expected: Option<i64>,
    lost_answers: u32,
    /// True once it was compared with what was written last.
    pub has_compared: bool,
    /// Rules that others changed or deleted and that wait for a person, and why.
    pub drifting: BTreeMap<RuleId, String>,
    /// The rules of ours that Cloudflare is known to have.
    pub in_force: Option<Vec<IngressRule>>,
    pub foreign: Option<Vec<Foreign>>,
    pub conflicts: Vec<RuleConflict>,
    /// The search for rules that Cloudflare does not take.
    pub trial: Trial,
    /// What to tell about others who wrote at the same time.
    pub gap: Option<String>,
}

/// The public names of the tunnel, each where this pass has come to with it.
#[derive(Default)]
pub(super) struct FoundNames {
    /// Routes whose protection is not in place, and why: they are not made reachable.
    pub unprotected: BTreeMap<RouteKey, String>,
    /// Names of which no route may be reached.
    pub shut: BTreeSet<String>,
    /// Names that lead to the tunnel; true if by a record of ours.
    pub led: BTreeMap<String, bool>,
    /// Names that records of others are in the way of, and why.
    pub blocked: BTreeMap<String, String>,
    /// Names whose records others changed and that wait for a person, and why.
    pub drifted: BTreeMap<String, String>,
    /// Names whose calls wait for their turn still, and how long.
    pub put_off: BTreeMap<String, Duration>,
    /// Names that nobody ever tried before this pass.
    pub untried: BTreeSet<String>,
    /// Names that failed.
    pub failed: RefusedNames,
    /// Tunnels that names are led away from: their rules go after that.
    pub took_from: BTreeSet<TunnelId>,
}

impl Read {
    pub fn new(snapshot: Snapshot, remembered: Remembered) -> Self {
        Self {
            remembered,
            wanted: Wanted::default(),
            needs: Needs::new(),
            has_wanted: false,
            contact: snapshot.contact(),
            applied: snapshot.applied.clone(),
            snapshot,
        }
    }

    /// A number that differs if what is wanted, or what protects it, differs; good for one run of the program.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.wanted.digest().hash(&mut hasher);
        for (route, need) in &self.needs {
            (route, format!("{need:?}")).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Routes that are to get a rule and an application, where another rule has their requests as yet.
    pub fn answered_by_others(&self) -> BTreeSet<RouteKey> {
        let is_new = |route: &RouteKey| self.applied.iter().all(|rule| rule.id() != RuleId::of(route));
        let needs = self.needs.iter().filter_map(|(route, need)| {
            let wanted = need.as_ref().ok().and_then(Need::application)?;
            (!self.snapshot.has_noted(wanted)).then_some(route)
        });
        needs.filter(|route| is_new(route) && gets_requests_of(route, &self.applied)).cloned().collect()
    }

    /// Our rules as they stand in a configuration, with one that answers in the place of each of these routes.
    pub fn with_guards(&self, routes: &BTreeSet<RouteKey>, observed: &serde_json::Value) -> Vec<IngressRule> {
        let ours = self.applied.iter().filter(|rule| !rule.unseen);
        let there = ours.filter_map(|rule| rule_there(observed, &rule.id()));
        in_order(there.chain(routes.iter().map(IngressRule::closed)).collect())
    }

    /// Every name that is asked for.
    pub fn names(&self) -> Vec<String> {
        self.wanted.names.keys().cloned().collect()
    }

    /// The rules that are to be in the configuration after the next write. What Cloudflare does not take stays as it was,
    /// if it was there; of a route that may not be reached nothing stays.
    pub fn wanted_rules(&self, found: &Found, observed: &serde_json::Value) -> Vec<IngressRule> {
        let left_out = found.config.trial.left_out();
        let closed = found.names.closed();
        let guards: BTreeSet<RuleId> =
            closed.iter().copied().chain(&self.wanted.guarded).map(RuleId::of).collect();
        let is_ours = |id: &RuleId| self.applied.iter().any(|rule| rule.id() == *id && !rule.unseen);
        let (mut rules, mut unguarded) = (Vec::new(), Vec::new());
        let foreign = foreign_services(observed, &self.applied);
        for rule in self.wanted.rules(&found.names.without_rules(), &closed, &foreign) {
            let id = rule.id();
            let is_guard = guards.contains(&id);
            let is_drifting = !is_guard && found.config.drifting.contains_key(&id);
            if !left_out.contains(&id) && !is_drifting {
                rules.push(rule);
                continue;
            }
            let there = rule_there(observed, &id)
                .filter(|there| is_ours(&id) && (!is_guard || there.service == CLOSED));
            match there {
                Some(there) => rules.push(there),
                None if is_guard => unguarded.push(rule),
                None => {}
            }
        }
        // As long as Cloudflare does not take what answers for a closed route, no other one may answer for it.
        let is_guarded = |rule: &IngressRule| {
            guards.contains(&rule.id())
                || !unguarded.iter().any(|guard: &IngressRule| guard.id().shares_requests(&rule.id()))
        };
        rules.retain(is_guarded);
        // Of an agent that moved the routes may be asked for here as well: a rule that stood there twice would stay for ever,
        // and what was found closed stays closed.
        let is_named = |rule: &IngressRule| {
            rules.iter().any(|other| other.id() == rule.id())
                || found.names.shut.contains(&rule.hostname)
                || closed.iter().any(|key| key.hostname == rule.hostname)
        };
        let leaving: Vec<IngressRule> =
            self.snapshot.leaving_rules().filter(|rule| !is_named(rule)).collect();
        match leaving.is_empty() {
            true => rules,
            false => in_order(rules.into_iter().chain(leaving).collect()),
        }
    }

    /// Rules that were refused not long ago and are asked for still; after a while they are tried again.
    pub fn known_refused_rules(&self) -> BTreeMap<RuleId, String> {
        let rules = self.wanted.all_rules();
        let known = rules.iter().filter_map(|rule| {
            let refused = self.remembered.rules.get(&rule.id())?;
            let holds = refused.rule == *rule && refused.at.elapsed() < REFUSED_RETRY;
            holds.then(|| (rule.id(), refused.words.clone()))
        });
        known.collect()
    }

    /// The same for names.
    pub fn known_refused_names(&self) -> RefusedNames {
        let holds = |failure: &NameFailure| failure.refused_at.is_some_and(|at| at.elapsed() < REFUSED_RETRY);
        let names = self.remembered.names.iter();
        let names = names.filter(|(name, failure)| self.wanted.names.contains_key(*name) && holds(failure));
        names.map(|(name, failure)| (name.clone(), failure.clone())).collect()
    }

    /// Rules that are refused now.
    pub fn refused_rules(&self, found: &Found) -> RefusedRules {
        let known = self.known_refused_rules();
        let rules = self.wanted.all_rules().into_iter();
        let refused = rules.filter_map(|rule| {
            let (id, words) = found.config.trial.refused().get_key_value(&rule.id())?;
            let before = self.remembered.rules.get(id).filter(|_| known.contains_key(id));
            let at = before.map_or_else(Instant::now, |refused| refused.at);
            Some((id.clone(), RefusedRule { rule, words: words.clone(), at }))
        });
        refused.collect()
    }

    /// True if the name is known to lead to the tunnel, by our record or by somebody else's.
    pub fn has_settled_name(&self, name: &str) -> bool {
        self.snapshot.has_settled_name(&self.wanted, name)
    }

    /// These rows are written now.
    pub fn keep_up(&mut self, rows: Vec<RouteStatusRow>) {
        self.snapshot.route_status.retain(|row| rows.iter().all(|new| new.key != row.key));
        self.snapshot.route_status.extend(rows);
    }
}

impl Found {
    pub fn new(snapshot: &Snapshot) -> Self {
        let config = FoundConfig {
            is_known: snapshot.is_config_known(),
            version: snapshot.status.as_ref().and_then(|row| row.config_version),
            ..FoundConfig::default()
        };
        Self { config, ..Self::default() }
    }

    /// Takes up what waits for a person of what others changed.
    pub fn take_drifts(&mut self, read: &Read) {
        let drifts = &read.snapshot.drifts;
        let reasons = read.wanted.names.keys();
        let reasons = reasons.filter_map(|name| Some((name.clone(), drifts.waits(OwnedKind::Record, name)?)));
        self.names.drifted = reasons.collect();
        let reasons = read.applied.iter().map(IngressRule::id);
        let reasons = reasons.filter_map(|id| {
            let reason = drifts.waits(OwnedKind::Rule, &id.route().to_string())?;
            Some((id, reason))
        });
        self.config.drifting = reasons.collect();
    }

    /// True if this pass has to do nothing more for the name.
    pub fn is_dealt_with(&self, name: &str) -> bool {
        self.names.is_dealt_with(name)
            || self.config.conflicts.iter().any(|conflict| conflict.wanted.hostname == name)
    }
}

impl FoundConfig {
    /// It was read just now.
    pub fn note_read(&mut self) {
        self.is_known = true;
        self.read_at = Some(Instant::now());
    }

    /// Takes note of a version that was read or written, and of those that somebody else must have made while we wrote.
    pub fn take_version(&mut self, tunnel: &TunnelId, version: i64) {
        self.version = self.version.max(Some(version));
        let Some(expected) = self.expected.take().filter(|expected| version > *expected) else { return };
        let who = match version - expected {
            1 => format!("version {expected}"),
            _ => format!("versions {expected} to {}", version - 1),
        };
        let gap = format!("someone wrote {who} between our read and our write");
        tracing::warn!(tunnel.id = %tunnel, "{gap}");
        self.gap = Some(gap);
    }

    /// Takes note of what became of the write after version `read`; none if there was nothing to write. Returns false if
    /// the configuration has to be read again.
    pub fn take_write(
        &mut self,
        tunnel: &TunnelId,
        write: Option<Result<i64, CfError>>,
        read: i64,
        outcome: &MergeOutcome,
    ) -> Result<bool, Stop> {
        match write {
            None => {
                self.in_force = Some(outcome.applied_after.clone());
                self.trial.taken();
                Ok(!self.trial.is_under_way())
            }
            Some(Ok(version)) => {
                self.has_written = true;
                self.is_known = true;
                self.expected = Some(read + 1);
                self.take_version(tunnel, version);
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
                self.is_known = true;
                Ok(false)
            }
            Some(Err(error)) => {
                self.is_known = !error.is_uncertain();
                // One bad rule must not hold the others up.
                let is_searched =
                    error.is_about_content() && self.trial.not_taken(&outcome.fresh, &error.to_string());
                if is_searched { Ok(false) } else { Err(error.into()) }
            }
        }
    }

    /// Ids of our rules that Cloudflare is known to have.
    pub fn rules_in_force(&self) -> BTreeSet<RuleId> {
        self.in_force.iter().flatten().map(IngressRule::id).collect()
    }
}

impl FoundNames {
    /// Takes note of what the first phase of a round `said` of each route.
    pub fn take_protections(&mut self, wanted: &Wanted, said: &BTreeMap<RouteKey, Protection>) {
        self.unprotected = waiting(wanted.services.iter().map(|service| &service.key), said);
        let (waiting, open): (Vec<_>, Vec<_>) = wanted
            .services
            .iter()
            .map(|service| &service.key)
            .partition(|key| self.unprotected.contains_key(*key));
        let open: BTreeSet<&String> = open.into_iter().map(|key| &key.hostname).collect();
        let names = waiting.into_iter().map(|key| &key.hostname);
        self.shut = names.filter(|name| !open.contains(name)).cloned().collect();
    }

    /// Routes that no rule may lead to.
    pub fn closed(&self) -> BTreeSet<&RouteKey> {
        self.unprotected.keys().collect()
    }

    /// Names that have no rules, since records of others are in their way.
    pub fn without_rules(&self) -> BTreeSet<&str> {
        self.blocked.keys().map(String::as_str).collect()
    }

    fn is_dealt_with(&self, name: &str) -> bool {
        self.shut.contains(name)
            || self.led.contains_key(name)
            || self.blocked.contains_key(name)
            || self.drifted.contains_key(name)
            || self.failed.contains_key(name)
            || self.put_off.contains_key(name)
    }

    /// Takes note of what became of a name. Returns true if it is blocked: its rule has to go again.
    pub fn take(&mut self, (name, standing): Ended) -> Result<bool, Stop> {
        match standing {
            Ok(Standing::Ours) => drop(self.led.insert(name, true)),
            Ok(Standing::Theirs) => drop(self.led.insert(name, false)),
            Ok(Standing::Blocked(reason)) => {
                self.blocked.insert(name, reason);
                return Ok(true);
            }
            Err(OwnedError::Overtaken) => drop(self.put_off.insert(name, Duration::ZERO)),
            Err(OwnedError::Cloudflare(CfError::NotYet { retry_after, .. })) => {
                self.put_off.insert(name, retry_after);
            }
            Err(OwnedError::Cloudflare(error)) => {
                self.failed.insert(name, NameFailure::new(&error));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(false)
    }

    /// Names that are refused now.
    pub fn refused(&self) -> RefusedNames {
        let failed = self.failed.iter().filter(|(_, failure)| failure.refused_at.is_some());
        failed.map(|(name, failure)| (name.clone(), failure.clone())).collect()
    }
}

/// A rule as it is compared.
pub(super) fn by_id(rule: IngressRule) -> (RuleId, String) {
    let text = serde_json::to_string(&rule).expect("a rule is plain data");
    (rule.id(), text)
}

/// A row that cannot be read is no reason to lose the others; its rule counts as foreign from now on.
fn read_rule(row: AppliedRule) -> Option<IngressRule> {
    serde_json::from_value(row.rule)
        .inspect_err(|error| tracing::error!(%error, route = %row.key, "an applied rule cannot be read"))
        .ok()
}

/// What a person said yes to of what labels ask for. A name that a person made a rule for since is out of it: that is a yes, too.
pub(super) async fn read_approved(
    db: &Db,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<Service>>, DbError> {
    let mut approved = reviewed_of_agents(db, agents).await?;
    let names: BTreeSet<String> =
        approved.values().flatten().map(|service| service.key.hostname.clone()).collect();
    let ruled = manual_rules::rules_of_names(db, &names.into_iter().collect::<Vec<_>>()).await?;
    let ruled: BTreeSet<String> = ruled.into_iter().map(|row| row.rule.spec.key.hostname).collect();
    for services in approved.values_mut() {
        services.retain(|service| !ruled.contains(&service.key.hostname));
    }
    Ok(approved)
}

type Access = (Arc<BTreeMap<String, AccessPolicyRow>>, Arc<BTreeMap<GroupId, Group>>);

/// Reads what is known of Access in an account; nothing, if no route has anything to do with it.
async fn read_access(db: &Db, account: Option<&AccountId>) -> Result<Access, DbError> {
    let Some(account) = account else { return Ok(Access::default()) };
    let (policies, groups) =
        futures_util::try_join!(access::policies_of(db, account), access::list_groups(db))?;
    let groups = groups.into_iter().map(|row| (row.group.id.clone(), row.group)).collect();
    Ok((Arc::new(policies), Arc::new(groups)))
}
