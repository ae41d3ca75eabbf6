//! What the database says about one tunnel, read together; and whether anything is due. No calls.

use std::collections::{BTreeMap, BTreeSet};

use super::wishes::{KnownZones, PublishSettings, Published, Wishes};
use crate::db::cloudflare::{AppliedRule, DnsRecordRow, RouteStatusRow, TunnelStatusRow};
use crate::db::tunnels::TunnelRow;
use crate::db::{Db, DbError, RowChange, cloudflare, routes, tunnels};
use crate::domain::dns::tunnel_target;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::ingress::{Contact, IngressRule};
use crate::domain::publish::{Cause, PublicState, TunnelState};
use crate::domain::route::{Route, RouteKey};

/// Who confirms a tunnel in which nothing foreign was found.
pub(super) const SYSTEM: &str = "system";

/// One tunnel, as the database has it.
pub(super) struct Snapshot {
    pub tunnel: TunnelRow,
    pub routes: Vec<Route>,
    pub applied: Vec<IngressRule>,
    pub records: Vec<DnsRecordRow>,
    pub route_status: Vec<RouteStatusRow>,
    pub status: Option<TunnelStatusRow>,
}

impl Snapshot {
    /// Reads it; none if we never had such a tunnel.
    pub async fn read(db: &Db, id: &TunnelId) -> Result<Option<Self>, DbError> {
        let Some(tunnel) = tunnels::find_tunnel(db, id).await? else { return Ok(None) };
        Ok(Self::read_many(db, vec![tunnel]).await?.pop())
    }

    /// Reads many: it costs no more queries than one.
    pub async fn read_many(db: &Db, tunnels: Vec<TunnelRow>) -> Result<Vec<Self>, DbError> {
        let ids: Vec<TunnelId> = tunnels.iter().map(|tunnel| tunnel.id.clone()).collect();
        let of = |tunnel: &TunnelRow| tunnel.agent_id.clone().or(tunnel.left_by.clone());
        let agents: Vec<AgentId> = tunnels.iter().filter_map(of).collect();
        let (routes, mut applied, mut records, mut statuses, mut route_status) = futures_util::try_join!(
            routes::routes_of_agents(db, &agents),
            cloudflare::applied_rules_of(db, &ids),
            cloudflare::dns_records_of(db, &ids),
            cloudflare::tunnel_status_of(db, &ids),
            cloudflare::route_status_of(db, &agents),
        )?;
        let snapshot = |tunnel: TunnelRow| {
            let (id, agent) = (&tunnel.id, tunnel.agent_id.as_ref());
            let applied = applied.remove(id).unwrap_or_default();
            let records = records.remove(id).unwrap_or_default();
            let mut routes = of(&tunnel).and_then(|agent| routes.get(&agent).cloned()).unwrap_or_default();
            if agent.is_none() {
                // Its agent moved: a rule goes once its name leads to the other tunnel.
                let stays =
                    |name: &str| records.iter().any(|record| record.name == name && leads_to(record, id));
                routes.retain(|route| stays(&route.spec.key.hostname));
            }
            Self {
                routes,
                applied: applied.into_iter().filter_map(read_rule).collect(),
                records,
                route_status: agent.and_then(|agent| route_status.remove(agent)).unwrap_or_default(),
                status: statuses.remove(id),
                tunnel,
            }
        };
        Ok(tunnels.into_iter().map(snapshot).collect())
    }

    /// Returns what the tunnel's routes ask for.
    pub fn wishes(&self, zones: KnownZones<'_>, settings: &PublishSettings) -> Wishes {
        let published = Published {
            rules: self.applied.iter().map(IngressRule::id).collect(),
            records: self.records.iter().map(|record| (record.name.as_str(), record)).collect(),
        };
        Wishes::read(&self.routes, zones, settings, &published)
    }

    /// How well we know the tunnel.
    pub fn contact(&self) -> Contact {
        match self.tunnel.confirmed_by.as_deref() {
            None => Contact::First,
            Some(SYSTEM) => Contact::Written,
            Some(_) => Contact::Confirmed,
        }
    }

    /// True if nobody has the tunnel: what is left in it goes, and no name is led to it any more.
    pub fn is_left(&self) -> bool {
        self.tunnel.agent_id.is_none()
    }

    /// Returns what the publisher said last about a route.
    pub fn state(&self, key: &RouteKey) -> Option<PublicState> {
        let said = self.row(key).and_then(|row| PublicState::parse(&row.state));
        said.filter(|state| state.is_from_publisher())
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

    /// Returns our record of a name.
    pub fn record(&self, name: &str) -> Option<&DnsRecordRow> {
        self.records.iter().find(|record| record.name == name)
    }

    /// Returns the records that no wish asks for any more.
    pub fn records_to_remove<'a>(&'a self, wishes: &'a Wishes) -> impl Iterator<Item = &'a DnsRecordRow> {
        self.records.iter().filter(|record| match wishes.names.get(&record.name) {
            None => true,
            Some(zone) => wishes.has_zones && *zone != record.zone_id,
        })
    }

    /// True if the name is known to lead to this tunnel, by our record or by somebody else's.
    pub fn has_settled_name(&self, wishes: &Wishes, name: &str) -> bool {
        match self.record(name) {
            Some(row) => {
                let zone = wishes.names.get(name);
                leads_to(row, &self.tunnel.id) && (!wishes.has_zones || zone == Some(&row.zone_id))
            }
            // What was said may be about the tunnel that the agent had before: then the rule is not in this one.
            None => wishes.services.iter().filter(|service| service.key.hostname == name).any(|service| {
                let id = IngressRule::new(service).id();
                self.state(&service.key) == Some(PublicState::Published)
                    && self.applied.iter().any(|rule| rule.id() == id)
            }),
        }
    }

    /// True if we have nothing there and want nothing.
    pub fn is_nothing(&self, wishes: &Wishes) -> bool {
        wishes.is_empty() && self.applied.is_empty() && self.records.is_empty()
    }

    /// True if Cloudflare has what is wished for, as far as we know: then it is not called.
    pub fn is_settled(&self, wishes: &Wishes) -> bool {
        let state = self.status.as_ref().map(|status| status.state.as_str());
        if self.is_nothing(wishes) {
            return true;
        }
        if state == Some(TunnelState::Waiting.as_str()) && self.contact() == Contact::First {
            let waits = |key| matches!(self.state(key), Some(PublicState::Waiting | PublicState::Blocked));
            return wishes.services.iter().all(|service| waits(&service.key));
        }
        let (published, blocked): (Vec<_>, Vec<_>) = wishes
            .services
            .iter()
            .partition(|service| self.state(&service.key) == Some(PublicState::Published));
        let is_blocked = |key| self.state(key) == Some(PublicState::Blocked);
        let wanted: BTreeSet<_> =
            published.iter().map(|service| IngressRule::new(service)).map(by_id).collect();
        let applied: BTreeSet<_> = self.applied.iter().map(IngressRule::as_wished).map(by_id).collect();
        let has_record =
            |name: &str| self.record(name).is_none_or(|record| leads_to(record, &self.tunnel.id));
        state == Some(TunnelState::Applied.as_str())
            && self.is_config_known()
            && blocked.iter().all(|service| is_blocked(&service.key))
            && wanted == applied
            && published.iter().all(|service| has_record(&service.key.hostname))
            && self.records_to_remove(wishes).next().is_none()
    }
}

/// True if the row says that our record leads to `tunnel`, and nothing is under way. One that was taken over from another tunnel leads there
/// until it is moved.
pub(super) fn leads_to(row: &DnsRecordRow, tunnel: &TunnelId) -> bool {
    row.is_settled
        && row.record_id.is_some()
        && row.tunnel_id == *tunnel
        && row.content == tunnel_target(tunnel)
}

/// Makes the rows that say which rules are ours, if they are to say something else.
pub(super) fn applied_change(
    tunnel: &TunnelId,
    before: &[IngressRule],
    after: &[IngressRule],
) -> Option<RowChange> {
    let sorted = |rules: &[IngressRule]| -> BTreeMap<_, _> { rules.iter().cloned().map(by_id).collect() };
    (sorted(before) != sorted(after)).then(|| RowChange::PutAppliedRules {
        tunnel_id: tunnel.clone(),
        rules: after.iter().map(write_rule).collect(),
    })
}

fn by_id(rule: IngressRule) -> (crate::domain::ingress::RuleId, String) {
    let text = serde_json::to_string(&rule).expect("a rule is plain data");
    (rule.id(), text)
}

fn write_rule(rule: &IngressRule) -> AppliedRule {
    let id = rule.id();
    let key = RouteKey { hostname: id.hostname, path: id.path };
    AppliedRule { key, rule: serde_json::to_value(rule).expect("a rule is plain data") }
}

/// A row that cannot be read is no reason to lose the others; its rule counts as foreign from now on.
fn read_rule(row: AppliedRule) -> Option<IngressRule> {
    serde_json::from_value(row.rule)
        .inspect_err(|error| tracing::error!(%error, route = %row.key, "an applied rule cannot be read"))
        .ok()
}
