//! What the account is asked and ordered by who waits for an answer, each message beside its handler.
//!
//! Answers go through `reply`, because they may take longer than a handler may; a reply dropped unanswered means that the
//! work was lost and may be asked for again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use serde::Serialize;
use tokio::time::{Instant, timeout};

use super::actor::CloudflareAccount;
use super::drifts::restore;
use super::plan::{ApplyReport, KnownAccess, Plan, plan};
use super::schedule::{Order, Turn};
use super::shared::Shared;
use super::tunnels::{ProvidedTunnel, has_tunnel, list_connectors, provide, read_tunnels};
use super::waiters::Ended;
use super::words::refused;
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Reply;
use crate::actors::supervision::Ctx;
use crate::db::cloudflare::{RouteStatusRow, TunnelStatusRow};
use crate::db::tunnels::TunnelRow;
use crate::db::{ALL, Expected, RowChange, cloudflare, drifts, manual_rules, routes, tunnels};
use crate::domain::connector::Connector;
use crate::domain::doctor::token::Facts as TokenFacts;
use crate::domain::event::{Event, OwnedEvent, Stream, TunnelEvent};
use crate::domain::id::{AgentId, TunnelId, ZoneId};
use crate::domain::ingress::Contact;
use crate::domain::publish::{ChangeMode, Consent, PublicState, TunnelState};
use crate::domain::review::{Unreviewed, reviewed};
use crate::domain::route::{RouteKey, Service};
use crate::domain::wanted::KnownZones;

/// How long one read of a look at the token may take.
const LOOK_LIMIT: Duration = Duration::from_secs(8);
/// Most routes of a kind that the record names of a person's yes.
const NAMED: usize = 100;
/// How long a plan waits for zones that are being read; it says less without them.
const ZONES_PATIENCE: Duration = Duration::from_secs(2);

/// Asks which connectors serve a tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GetConnectors {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Where they go.
    pub reply: Reply<Vec<Connector>>,
}

impl Handler<GetConnectors> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, GetConnectors { tunnel_id, reply }: GetConnectors, ctx: &mut Ctx<Self>) {
        let client = self.shared.cloudflare.background();
        let work = async move {
            let connectors = list_connectors(&client, &tunnel_id).await;
            answer(reply, connectors.map_err(refused));
        };
        ctx.spawn(work.into_actor(self));
    }
}

/// Asks what the token is and what it may; it is found out by harmless reads.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookAtToken {
    /// Where the answer goes.
    pub reply: Reply<TokenFacts>,
}

impl Handler<LookAtToken> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, LookAtToken { reply }: LookAtToken, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let client = shared.cloudflare.background().with_time_limit(LOOK_LIMIT);
            answer(reply, Ok(client.look_at_token(shared.zones.by_setting()).await));
        };
        ctx.spawn(work.into_actor(self));
    }
}

/// Asks for the name of a zone, as far as it is known already.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NameZone {
    /// Which zone.
    pub zone: ZoneId,
    /// Where the answer goes.
    pub reply: Reply<Option<String>>,
}

impl Handler<NameZone> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, NameZone { zone, reply }: NameZone, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, Ok(shared.zones.name_of(&zone).await)) }.into_actor(self));
    }
}

/// Asks whether a tunnel is there still.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct HasTunnel {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Where the answer goes.
    pub reply: Reply<bool>,
}

impl Handler<HasTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, HasTunnel { tunnel_id, reply }: HasTunnel, ctx: &mut Ctx<Self>) {
        let client = self.shared.cloudflare.clone();
        let work = async move { answer(reply, has_tunnel(&client, &tunnel_id).await.map_err(refused)) };
        ctx.spawn(work.into_actor(self));
    }
}

/// Finds the undeleted tunnel of exactly this name, or makes it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ProvideTunnel {
    /// Its name.
    pub name: String,
    /// Where the answer goes.
    pub reply: Reply<ProvidedTunnel>,
}

impl Handler<ProvideTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ProvideTunnel { name, reply }: ProvideTunnel, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, provide(&shared, &name).await) }.into_actor(self));
    }
}

/// Brings one tunnel up to date now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PutRules {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Answered with the version of its configuration.
    pub reply: Reply<i64>,
}

impl Handler<PutRules> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, PutRules { tunnel_id, reply }: PutRules, ctx: &mut Ctx<Self>) {
        self.wake(&tunnel_id, Order::CHANGE, ctx);
        let end = self.waiters.add(HashSet::from([tunnel_id.clone()]));
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let result = match end.await {
                Ok(Ended { error: Some(error), .. }) => Err(error.into()),
                Ok(Ended { version, .. }) => {
                    refuse_if_waiting(&shared, &tunnel_id).await.map(|()| version.unwrap_or(0))
                }
                Err(_) => Err(MasterError::Busy),
            };
            answer(reply, result);
        };
        ctx.spawn(work.into_actor(self));
    }
}

/// Asks what would be done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GetPlan {
    /// Where the answer goes.
    pub reply: Reply<Plan>,
}

impl Handler<GetPlan> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, GetPlan { reply }: GetPlan, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        ctx.spawn(async move { answer(reply, read_plan(&shared).await) }.into_actor(self));
    }
}

/// A person agrees to what is in a tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ConfirmTunnel {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Who agrees.
    pub by: String,
    /// Answered once it is written down.
    pub reply: Reply<()>,
}

impl Handler<ConfirmTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ConfirmTunnel { tunnel_id, by, reply }: ConfirmTunnel, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let confirmed = confirm(&shared, &tunnel_id, &by).await;
            let is_confirmed = confirmed.is_ok();
            answer(reply, confirmed);
            is_confirmed.then_some(tunnel_id)
        };
        ctx.spawn(work.into_actor(self).map(|tunnel, actor, ctx| {
            if let Some(tunnel) = tunnel {
                actor.try_again(&tunnel, ctx);
            }
        }));
    }
}

/// Confirms every tunnel that waits, tries again what is blocked or failing, and carries out the rest.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Apply {
    /// Who orders it.
    pub by: String,
    /// Answered once the calls are done.
    pub reply: Reply<ApplyReport>,
}

impl Handler<Apply> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, Apply { by, reply }: Apply, ctx: &mut Ctx<Self>) {
        let shared = Arc::clone(&self.shared);
        let decide = async move { agree(&shared, &by).await };
        ctx.spawn(decide.into_actor(self).map(move |agreed, actor, ctx| match agreed {
            Ok(agreed) => actor.carry_out(agreed, reply, ctx),
            Err(error) => answer(reply, Err(error)),
        }));
    }
}

/// How the account is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccountStatus {
    /// Tunnels known to it.
    pub tunnels: usize,
    /// Tunnels that are worked on now.
    pub running: usize,
    /// Tunnels with something left to do.
    pub busy: usize,
    /// Tunnels whose last pass failed.
    pub failing: usize,
    /// Tunnels still to be compared with Cloudflare.
    pub unchecked: usize,
    /// Calls that could be made now.
    pub calls_left: u32,
    /// The last failure that still holds, in Cloudflare's words.
    pub error: Option<String>,
}

/// Asks how the account is doing.
#[derive(Debug, Message)]
#[rtype(result = "AccountStatus")]
pub struct GetStatus;

impl Handler<GetStatus> for CloudflareAccount {
    type Result = MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Ctx<Self>) -> Self::Result {
        let count = |is: fn(&Turn) -> bool| self.tunnels.values().filter(|entry| is(&entry.turn)).count();
        MessageResult(AccountStatus {
            tunnels: self.tunnels.len(),
            running: self.running,
            busy: count(Turn::is_busy),
            failing: count(Turn::is_failing),
            unchecked: self.comparisons.left() + self.looks.left(Instant::now()),
            calls_left: self.shared.cloudflare.calls_left(),
            error: self.tunnels.values().find_map(|entry| entry.error.clone()),
        })
    }
}

/// What a person set in motion.
struct Agreed {
    confirmed: Vec<TunnelId>,
    /// Tunnels that are looked at again, whatever is known of them.
    again: HashSet<TunnelId>,
    all: Vec<TunnelId>,
}

impl CloudflareAccount {
    fn carry_out(&mut self, agreed: Agreed, reply: Reply<ApplyReport>, ctx: &mut Ctx<Self>) {
        for tunnel in &agreed.all {
            match agreed.again.contains(tunnel) {
                true => self.try_again(tunnel, ctx),
                false => self.wake(tunnel, Order::CHANGE, ctx),
            }
        }
        let end = self.waiters.add(agreed.all.into_iter().collect());
        let shared = Arc::clone(&self.shared);
        let work = async move {
            let finished = end.await.is_ok();
            let report = read_plan(&shared).await.map(|plan| ApplyReport {
                finished,
                confirmed_tunnels: agreed.confirmed,
                blocked: plan.blocked,
                failed: plan.failed,
                ..ApplyReport::default()
            });
            answer(reply, report);
        };
        ctx.spawn(work.into_actor(self));
    }
}

async fn agree(shared: &Shared, by: &str) -> Result<Agreed, MasterError> {
    let rows = read_tunnels(&shared.db, shared.cloudflare.account()).await?;
    shared.zones.forgive();
    let restored = restore(shared, by).await?;
    approve(shared, &rows, by).await?;
    let routes = cloudflare::list_route_status(&shared.db, None, ALL).await?;
    let statuses = cloudflare::list_tunnel_status(&shared.db, ALL).await?;
    let rules = manual_rules::list_rules(&shared.db, None, ALL).await?;
    let rules = rules.into_iter().map(|row| (row.rule.spec.key, row.rule.tunnel_id)).collect();
    let consents = consents(&rows, &statuses, &routes, &rules);
    let mut agreed = Agreed { confirmed: Vec::new(), again: HashSet::new(), all: Vec::new() };
    for (row, consent) in rows.into_iter().zip(consents) {
        if consent.is_given {
            confirm(shared, &row.id, by).await?;
            agreed.confirmed.push(row.id.clone());
        }
        if consent.look_again || restored.contains(&row.id) {
            agreed.again.insert(row.id.clone());
        }
        agreed.all.push(row.id);
    }
    Ok(agreed)
}

/// A person says yes to what labels ask for, while changes are reviewed.
async fn approve(shared: &Shared, tunnels: &[TunnelRow], by: &str) -> Result<(), MasterError> {
    if shared.settings.changes != ChangeMode::Review {
        return Ok(());
    }
    let agents: Vec<AgentId> = tunnels.iter().filter_map(|row| row.agent_id.clone()).collect();
    let asked = routes::routes_of_agents(&shared.db, &agents).await?;
    let account_id = shared.cloudflare.account();
    for agent_id in agents {
        let now: Vec<Service> =
            asked.get(&agent_id).into_iter().flatten().map(|route| route.spec.clone()).collect();
        let _held = shared.locks.lock(&format!("review {agent_id}")).await;
        let approved = drifts::reviewed_of_agents(&shared.db, std::slice::from_ref(&agent_id)).await?;
        let before = approved.into_values().next().unwrap_or_default();
        if before == now {
            continue;
        }
        let waits = reviewed(&now, &before).waits;
        let names = |wanted: Unreviewed| -> Vec<String> {
            let routes = waits.iter().filter(|(_, why)| **why == wanted);
            routes.map(|(key, _)| key.to_string()).take(NAMED).collect()
        };
        let event = OwnedEvent::Reviewed {
            account_id: account_id.clone(),
            agent_id: agent_id.clone(),
            published: names(Unreviewed::New),
            changed: names(Unreviewed::Changed),
            withdrawn: names(Unreviewed::Gone),
        };
        let mut batch = shared.batch().row(RowChange::PutReviewedRoutes { agent_id, services: now });
        batch.by = by.to_owned();
        if !waits.is_empty() {
            batch = batch.append(Stream::account(account_id), Expected::Head, vec![event]);
        }
        shared.store.commit(batch).await?;
    }
    Ok(())
}

/// Says what an `apply` means for each tunnel, by what was said of it and of its routes; `rules` says in which tunnels the
/// rules of people are.
pub fn consents(
    tunnels: &[TunnelRow],
    statuses: &[TunnelStatusRow],
    routes: &[RouteStatusRow],
    rules: &HashMap<RouteKey, TunnelId>,
) -> Vec<Consent> {
    let states: HashMap<&TunnelId, Option<TunnelState>> =
        statuses.iter().map(|row| (&row.tunnel_id, TunnelState::parse(&row.state))).collect();
    let mut routes_of: HashMap<&AgentId, Vec<&RouteStatusRow>> = HashMap::new();
    let mut rules_of: HashMap<&TunnelId, Vec<&RouteStatusRow>> = HashMap::new();
    for row in routes {
        match (&row.agent_id, rules.get(&row.key)) {
            (Some(agent), _) => routes_of.entry(agent).or_default().push(row),
            (None, Some(tunnel)) => rules_of.entry(tunnel).or_default().push(row),
            (None, None) => {}
        }
    }
    let consent = |row: &TunnelRow| {
        let routes = row.agent_id.as_ref().and_then(|agent| routes_of.get(agent));
        let routes = routes
            .into_iter()
            .chain(rules_of.get(&row.id))
            .flatten()
            .map(|row| (PublicState::parse(&row.state), row.cause));
        let state = states.get(&row.id).copied().flatten();
        Consent::to(Contact::of(row.confirmed_by.as_deref()), state, routes)
    };
    tunnels.iter().map(consent).collect()
}

async fn confirm(shared: &Shared, tunnel: &TunnelId, by: &str) -> Result<(), MasterError> {
    if tunnels::find_tunnel(&shared.db, tunnel).await?.is_none() {
        return Err(MasterError::Invalid(format!("tunnel `{tunnel}` is not known")));
    }
    let event = Event::Tunnel(TunnelEvent::Confirmed { tunnel_id: tunnel.clone(), by: by.to_owned() });
    let mut batch = shared.batch().append(Stream::tunnel(tunnel), Expected::Head, vec![event]);
    batch.by = by.to_owned();
    let written = shared.store.commit(batch).await;
    Ok(written.inspect_err(|error| tracing::warn!(%error, "a confirmation could not be written down"))?)
}

/// Nothing is written to a tunnel that waits for a person, and nobody may be told that it was.
async fn refuse_if_waiting(shared: &Shared, tunnel: &TunnelId) -> Result<(), MasterError> {
    let row = cloudflare::find_tunnel_status(&shared.db, tunnel).await?;
    match row.filter(|row| row.state == TunnelState::Waiting.as_str()) {
        Some(row) => Err(MasterError::TunnelWaits(row.reason.unwrap_or_default())),
        None => Ok(()),
    }
}

async fn read_plan(shared: &Shared) -> Result<Plan, MasterError> {
    // The zones that were read last will do: a plan makes no calls of its own unless there were none yet.
    let cloudflare = shared.cloudflare.background();
    let zones = timeout(ZONES_PATIENCE, shared.zones.get(&cloudflare, false)).await;
    let known = match &zones {
        Ok(Ok(zones)) => zones.known(),
        Ok(Err(_)) | Err(_) => KnownZones::Unknown,
    };
    let people = shared.people.known().await;
    let access = KnownAccess { people: Some(people.account()), mark: &shared.mark };
    Ok(plan(&shared.db, &shared.settings, known, access, true).await?)
}

pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, MasterError>) {
    // Who gave up waiting needs no answer.
    let _ = reply.send(result);
}
