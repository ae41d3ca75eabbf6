//! Rules that people make: set, removed, moved along with an agent that gets another tunnel.
//!
//! A hostname belongs to an agent, or to the rules of one tunnel. It changes hands in one commit, so that nobody is without
//! it: what publishes it there is led over, and not made anew.

use std::collections::{BTreeMap, BTreeSet};

use actix::prelude::*;

use super::{Decision, Registrar, commit, expected};
use crate::actors::master::cloudflare_account::ProvidedTunnel;
use crate::actors::master::env::Env;
use crate::actors::master::error::{HostnameHolder, MasterError};
use crate::actors::supervision::Ctx;
use crate::db::cloudflare::{RouteStatusRow, has_dns_record, list_route_status};
use crate::db::manual_rules::{
    Claimant, count_rules, find_claimant, find_rule, rules_of_names, rules_of_tunnels, status_of_rules,
};
use crate::db::{self, Batch, Expected, RowChange, SaidBy};
use crate::domain::dns::tunnel_target;
use crate::domain::event::{Event, RouteEvent, RuleEvent, Stream, TunnelEvent};
use crate::domain::id::{AgentId, SecretId, TunnelId};
use crate::domain::ingress::Contact;
use crate::domain::manual_rule::{MAX_RULES, ManualRule};
use crate::domain::publish::PublicState;
use crate::domain::route::{Release, Route, RouteKey, Service};

/// Where a rule is to be.
#[derive(Clone)]
pub enum RuleTunnel {
    /// In a tunnel that is known.
    Known(TunnelId),
    /// In one that was found or made just now.
    Provided(Box<ProvidedTunnel>),
}

impl RuleTunnel {
    /// Which one.
    pub fn id(&self) -> &TunnelId {
        match self {
            Self::Known(id) => id,
            Self::Provided(tunnel) => &tunnel.tunnel_id,
        }
    }
}

/// Makes rules, or puts them in the place of those that have their hostnames and paths.
#[derive(Message)]
#[rtype(result = "Result<RulesSet, MasterError>")]
pub struct SetRules {
    /// What they publish.
    pub specs: Vec<Service>,
    /// Where.
    pub tunnel: RuleTunnel,
    /// True if hostnames are taken from whoever has them.
    pub take_over: bool,
    /// True if the person has seen what others wrote in the tunnel, and agrees to it.
    pub confirms: bool,
    /// Who asks.
    pub by: String,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesSet {
    /// Rules that were not there before.
    pub made: Vec<RouteKey>,
    /// Agents whose containers lost a hostname by it.
    pub taken_from: BTreeSet<AgentId>,
}

/// Removes a rule.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct RemoveRule {
    /// Which one.
    pub key: RouteKey,
    /// Who asks.
    pub by: String,
}

impl Handler<SetRules> for Registrar {
    type Result = AtomicResponse<Self, Result<RulesSet, MasterError>>;

    fn handle(&mut self, ask: SetRules, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { commit(&env, async || decide(&env, &ask).await).await })
    }
}

impl Handler<RemoveRule> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: RemoveRule, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { remove(&env, &ask).await })
    }
}

async fn decide(env: &Env, ask: &SetRules) -> Result<Decision<RulesSet>, MasterError> {
    let end = expected(env, &Stream::rules()).await?;
    let tunnel = ask.tunnel.id();
    let mut answer = RulesSet::default();
    let mut batch = add_tunnel(env, ask).await?;
    let mut events = Vec::new();
    let mut released = BTreeMap::<AgentId, (Expected, Vec<RouteEvent>)>::new();
    let names: BTreeSet<&String> = ask.specs.iter().map(|spec| &spec.key.hostname).collect();
    for name in names {
        if let Some(held) = Held::by_agent(env, name).await? {
            if !ask.take_over {
                return Err(MasterError::HostnameHeld {
                    hostname: name.clone(),
                    by: Box::new(held.holder(env).await?),
                });
            }
            held.may_leave(env, tunnel).await?;
            let (_, events) = released.entry(held.agent.clone()).or_insert((held.end, Vec::new()));
            events.extend(held.released());
            answer.taken_from.insert(held.agent);
        }
        events.extend(led_over(env, ask, name).await?);
    }
    for spec in &ask.specs {
        let rule = ManualRule { tunnel_id: tunnel.clone(), spec: spec.clone() };
        let before = find_rule(&env.db, &spec.key).await?;
        if before.as_ref().is_some_and(|before| before.rule == rule) {
            continue;
        }
        if before.is_none() {
            answer.made.push(spec.key.clone());
        }
        events.retain(|event| !matches!(event, RuleEvent::Set { rule: led } if led.spec.key == spec.key));
        events.push(RuleEvent::Set { rule: Box::new(rule) });
    }
    if count_rules(&env.db).await? + answer.made.len() as u64 > MAX_RULES as u64 {
        return Err(MasterError::TooMuch(format!(
            "people may make {MAX_RULES} rules in all; remove some first"
        )));
    }
    // First those that give names up: while they hold them, the rules would be refused.
    for (agent, (end, events)) in released {
        batch = batch.append(Stream::routes(&agent), end, events);
    }
    batch.rows.extend(
        events
            .iter()
            .filter(|event| matches!(event, RuleEvent::Removed { .. }))
            .map(|event| nothing_said(event.route())),
    );
    if !events.is_empty() {
        batch = batch.append(Stream::rules(), end, events);
    }
    Ok(Decision { batch, answer })
}

/// Begins the batch: the tunnel is known from now on, and agreed to if the person did so.
async fn add_tunnel(env: &Env, ask: &SetRules) -> Result<Batch, MasterError> {
    let mut batch = env.batch(&ask.by);
    let id = ask.tunnel.id();
    let known = db::tunnels::find_tunnel(&env.db, id).await?;
    let mut events = Vec::new();
    match (&ask.tunnel, &known) {
        (RuleTunnel::Provided(tunnel), None) => {
            let secret_id = SecretId::new(format!("tunnel-token/{}", env.chance.sorted_uuid(&env.clock)));
            events.push(Event::Tunnel(TunnelEvent::Added {
                tunnel_id: id.clone(),
                account_id: tunnel.account_id.clone(),
                tunnel_name: tunnel.name.clone(),
                secret_id: secret_id.clone(),
            }));
            if tunnel.is_made {
                events.push(Event::Tunnel(TunnelEvent::Made { tunnel_id: id.clone() }));
            }
            let (purpose, plain) = ("tunnel token".to_owned(), tunnel.token.clone());
            batch = batch.row(RowChange::PutSecret { id: secret_id, purpose, plain });
        }
        (RuleTunnel::Known(_), None) => return Err(MasterError::TunnelNotFound(id.to_string())),
        (_, Some(_)) => {}
    }
    let contact = known.as_ref().map(|row| Contact::of(row.confirmed_by.as_deref()));
    if ask.confirms && contact != Some(Contact::Confirmed) {
        events.push(Event::Tunnel(TunnelEvent::Confirmed { tunnel_id: id.clone(), by: ask.by.clone() }));
    }
    Ok(match events.is_empty() {
        true => batch,
        false => batch.append(Stream::tunnel(id), Expected::Head, events),
    })
}

/// Has the rules of a hostname that are in another tunnel come along. One that is the only one of its name, and is set
/// anew, may go anywhere.
async fn led_over(env: &Env, ask: &SetRules, name: &str) -> Result<Vec<RuleEvent>, MasterError> {
    let tunnel = ask.tunnel.id();
    let rules = rules_of_names(&env.db, &[name.to_owned()]).await?;
    let elsewhere: Vec<ManualRule> =
        rules.into_iter().map(|row| row.rule).filter(|rule| rule.tunnel_id != *tunnel).collect();
    let is_asked = |rule: &ManualRule| ask.specs.iter().any(|spec| spec.key == rule.spec.key);
    if let Some(other) = elsewhere.iter().find(|rule| !is_asked(rule)).filter(|_| !ask.take_over) {
        let row = db::tunnels::find_tunnel(&env.db, &other.tunnel_id).await?;
        return Err(MasterError::RuleElsewhere {
            hostname: name.to_owned(),
            route: other.spec.key.clone(),
            tunnel_id: other.tunnel_id.clone(),
            tunnel: row.map_or_else(|| other.tunnel_id.to_string(), |row| row.name),
        });
    }
    if let Some(rule) = elsewhere.first() {
        let said = status_of_rules(&env.db, &[name.to_owned()]).await?;
        may_leave(env, &rule.spec.key, &rule.tunnel_id, &said).await?;
    }
    Ok(moved(elsewhere, tunnel))
}

/// Fails if a record that somebody else made leads the hostname to the tunnel that it is to leave: it serves without one of
/// ours. That record would stay as it is, so the name would be lost there and get nobody in the other tunnel.
async fn may_leave(
    env: &Env,
    route: &RouteKey,
    from: &TunnelId,
    said: &[RouteStatusRow],
) -> Result<(), MasterError> {
    let serves = |row: &RouteStatusRow| {
        row.key.hostname == route.hostname && PublicState::parse(&row.state) == Some(PublicState::Published)
    };
    if !said.iter().any(serves) || has_dns_record(&env.db, &route.hostname).await? {
        return Ok(());
    }
    let (route, tunnel_id, target) = (route.clone(), from.clone(), tunnel_target(from));
    Err(MasterError::RecordOfOthers { route, tunnel_id, target })
}

/// Moves rules to another tunnel.
fn moved(rules: Vec<ManualRule>, to: &TunnelId) -> Vec<RuleEvent> {
    let left = rules
        .iter()
        .map(|rule| RuleEvent::Removed { tunnel_id: rule.tunnel_id.clone(), route: rule.spec.key.clone() });
    let left: Vec<RuleEvent> = left.collect();
    let set = rules
        .into_iter()
        .map(|rule| RuleEvent::Set { rule: Box::new(ManualRule { tunnel_id: to.clone(), spec: rule.spec }) });
    left.into_iter().chain(set).collect()
}

/// A hostname that an agent has.
struct Held {
    agent: AgentId,
    routes: Vec<Route>,
    /// Where its stream of routes ended before they were read.
    end: Expected,
}

impl Held {
    async fn by_agent(env: &Env, hostname: &str) -> Result<Option<Self>, MasterError> {
        let Some(Claimant::Agent(agent)) = find_claimant(&env.db, hostname).await? else { return Ok(None) };
        let end = expected(env, &Stream::routes(&agent)).await?;
        let mut routes = db::routes::list_agent_routes(&env.db, &agent).await?;
        routes.retain(|route| route.spec.key.hostname == hostname);
        // Given up meanwhile.
        Ok((!routes.is_empty()).then_some(Self { agent, routes, end }))
    }

    /// Fails if the hostname cannot be led to another tunnel.
    async fn may_leave(&self, env: &Env, to: &TunnelId) -> Result<(), MasterError> {
        let row = db::agents::find_agent(&env.db, &self.agent).await?;
        let from = row.as_ref().and_then(|row| row.publishes_in()).filter(|from| *from != to);
        let (Some(from), Some(route)) = (from, self.routes.first()) else { return Ok(()) };
        let said = list_route_status(&env.db, Some(&self.agent), db::ALL).await?;
        may_leave(env, &route.spec.key, from, &said).await
    }

    /// Who that is, in words.
    async fn holder(&self, env: &Env) -> Result<HostnameHolder, MasterError> {
        let row = db::agents::find_agent(&env.db, &self.agent).await?;
        let containers: BTreeSet<&str> =
            self.routes.iter().map(|route| route.container_name.as_str()).collect();
        let containers: Vec<String> =
            containers.into_iter().map(|name| format!("container `{name}`")).collect();
        let route = self.routes.first().map(|route| route.spec.key.clone());
        Ok(HostnameHolder {
            name: row.as_ref().map_or_else(
                || format!("agent `{}`", self.agent),
                |row| format!("agent `{}`", row.display_name),
            ),
            tunnel_id: row.and_then(|row| row.publishes_in().cloned()),
            agent_id: self.agent.clone(),
            containers: containers.join(" and "),
            route: route.unwrap_or(RouteKey { hostname: String::new(), path: String::new() }),
        })
    }

    /// The agent gives it up.
    fn released(&self) -> impl Iterator<Item = RouteEvent> {
        self.routes.iter().map(|route| RouteEvent::Released {
            agent_id: self.agent.clone(),
            route: route.spec.key.clone(),
            why: Release::TakenOver,
        })
    }
}

async fn remove(env: &Env, ask: &RemoveRule) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::rules()).await?;
        let row = find_rule(&env.db, &ask.key).await?.ok_or(MasterError::RuleNotFound)?;
        let event = RuleEvent::Removed { tunnel_id: row.rule.tunnel_id, route: ask.key.clone() };
        let batch = env.batch(&ask.by).append(Stream::rules(), end, vec![event]);
        Ok(Decision { batch: batch.row(nothing_said(&ask.key)), answer: () })
    })
    .await
}

/// What was said of a rule holds no longer.
fn nothing_said(key: &RouteKey) -> RowChange {
    RowChange::DeleteRouteStatus { agent_id: None, key: key.clone(), said_by: SaidBy::Publisher }
}

/// Has the rules of people follow an agent that they were put on from one tunnel to another.
pub(super) async fn follow_agent(
    env: &Env,
    batch: Batch,
    from: &TunnelId,
    to: &TunnelId,
) -> Result<Batch, MasterError> {
    let end = expected(env, &Stream::rules()).await?;
    let rules = rules_of_tunnels(&env.db, std::slice::from_ref(from)).await?.remove(from).unwrap_or_default();
    if rules.is_empty() {
        return Ok(batch);
    }
    let mut batch = batch;
    batch.rows.extend(rules.iter().map(|rule| nothing_said(&rule.spec.key)));
    Ok(batch.append(Stream::rules(), end, moved(rules, to)))
}
