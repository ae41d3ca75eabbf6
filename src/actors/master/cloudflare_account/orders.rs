//! What the account can be told and asked. Answers go through `reply`, because they may take longer than a
//! handler may; a reply dropped unanswered means that the work was lost and may be asked for again.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::checks::list_tunnels;
use super::conclude::EQUAL_RULE;
use super::desk::Desk;
use super::plan::plan;
use super::provide::{list_connectors, provide};
use super::snapshot::SYSTEM;
use super::status::{RoutePhase, TunnelPhase};
use super::turn::Order;
use super::wishes::KnownZones;
use super::{CloudflareAccount, waiters};
use crate::actors::master::account::ProvidedTunnel;
use crate::actors::master::error::MasterError;
use crate::actors::master::plan::{ApplyReport, Plan};
use crate::actors::supervision::Ctx;
use crate::db::{Expected, agents, cloudflare, tunnels};
use crate::domain::event::{Event, Stream};
use crate::domain::id::{AgentId, TunnelId};

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T, MasterError>>;

/// Something changed for a tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Wake {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
}

/// Something changed for an agent's tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WakeAgent {
    /// Which agent.
    pub agent_id: AgentId,
}

/// Something changed, for any tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WakeAll;

/// Finds the undeleted tunnel of exactly this name, or makes it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ProvideTunnel {
    /// Its name.
    pub name: String,
    /// Who is to serve it: a tunnel that another agent serves is refused.
    pub for_agent: Option<AgentId>,
    /// Where the answer goes.
    pub reply: Reply<ProvidedTunnel>,
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

/// Asks what would be done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GetPlan {
    /// Where the answer goes.
    pub reply: Reply<Plan>,
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

/// Brings one tunnel up to date now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct PutRules {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Answered with the version of its configuration.
    pub reply: Reply<i64>,
}

/// Asks which connectors serve a tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GetConnectors {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
    /// Where their ids go.
    pub reply: Reply<Vec<String>>,
}

impl Handler<Wake> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, Wake { tunnel_id }: Wake, ctx: &mut Ctx<Self>) {
        self.wake(&tunnel_id, Order::CHANGE, ctx);
        self.catch_up(ctx);
    }
}

impl Handler<WakeAgent> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, WakeAgent { agent_id }: WakeAgent, ctx: &mut Ctx<Self>) {
        self.catch_up(ctx);
        let desk = Arc::clone(&self.desk);
        let find = async move {
            let agent = agents::find_agent(&desk.db, &agent_id).await;
            (agent.map(|row| row.and_then(|row| row.tunnel_id)), agent_id)
        };
        ctx.spawn(find.into_actor(self).map(|(tunnel, agent_id), actor, ctx| match tunnel {
            Ok(Some(tunnel)) => actor.wake(&tunnel, Order::CHANGE, ctx),
            // It has no tunnel: nothing of it is published.
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "an agent's tunnel could not be read");
                ctx.notify_later(WakeAgent { agent_id }, std::time::Duration::from_secs(1));
            }
        }));
    }
}

impl Handler<WakeAll> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, _: WakeAll, ctx: &mut Ctx<Self>) {
        let desk = Arc::clone(&self.desk);
        let read = async move { list_tunnels(&desk.db, desk.cloudflare.account()).await };
        ctx.spawn(read.into_actor(self).map(|tunnels, actor, ctx| match tunnels {
            Ok(tunnels) => tunnels.iter().for_each(|tunnel| actor.wake(tunnel, Order::CHANGE, ctx)),
            Err(error) => {
                tracing::warn!(%error, "the tunnels could not be read");
                ctx.notify_later(WakeAll, std::time::Duration::from_secs(1));
            }
        }));
    }
}

impl Handler<ProvideTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ask: ProvideTunnel, ctx: &mut Ctx<Self>) {
        let desk = Arc::clone(&self.desk);
        let work = async move { answer(ask.reply, provide(&desk, &ask.name, ask.for_agent.as_ref()).await) };
        ctx.spawn(work.into_actor(self));
    }
}

impl Handler<ConfirmTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ConfirmTunnel { tunnel_id, by, reply }: ConfirmTunnel, ctx: &mut Ctx<Self>) {
        let desk = Arc::clone(&self.desk);
        let work = async move {
            let confirmed = confirm(&desk, &tunnel_id, &by).await;
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

impl Handler<GetPlan> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, GetPlan { reply }: GetPlan, ctx: &mut Ctx<Self>) {
        let desk = Arc::clone(&self.desk);
        ctx.spawn(async move { answer(reply, read_plan(&desk).await) }.into_actor(self));
    }
}

impl Handler<PutRules> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, PutRules { tunnel_id, reply }: PutRules, ctx: &mut Ctx<Self>) {
        self.wake(&tunnel_id, Order::CHANGE, ctx);
        let end = self.waiters.add(HashSet::from([tunnel_id]));
        let work = async move {
            let result = match end.await {
                Ok(waiters::Ended { error: Some(error), .. }) => Err(MasterError::Cloudflare(error)),
                Ok(waiters::Ended { version, .. }) => Ok(version.unwrap_or(0)),
                Err(_) => Err(MasterError::Busy),
            };
            answer(reply, result);
        };
        ctx.spawn(work.into_actor(self));
    }
}

impl Handler<GetConnectors> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, GetConnectors { tunnel_id, reply }: GetConnectors, ctx: &mut Ctx<Self>) {
        let client = self.desk.cloudflare.background();
        let work = async move {
            let ids = list_connectors(&client, &tunnel_id).await;
            answer(reply, ids.map_err(|error| MasterError::Cloudflare(error.to_string())));
        };
        ctx.spawn(work.into_actor(self));
    }
}

impl Handler<Apply> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, Apply { by, reply }: Apply, ctx: &mut Ctx<Self>) {
        let desk = Arc::clone(&self.desk);
        let decide = async move { agree(&desk, &by).await };
        ctx.spawn(decide.into_actor(self).map(move |agreed, actor, ctx| match agreed {
            Ok(agreed) => actor.carry_out(agreed, reply, ctx),
            Err(error) => answer(reply, Err(error)),
        }));
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
        let desk = Arc::clone(&self.desk);
        let work = async move {
            let finished = end.await.is_ok();
            let report = read_plan(&desk).await.map(|plan| ApplyReport {
                finished,
                confirmed_tunnels: agreed.confirmed,
                released_routes: 0,
                blocked: plan.blocked,
            });
            answer(reply, report);
        };
        ctx.spawn(work.into_actor(self));
    }

    /// A person ordered it: waits are over, and what was blocked is looked at again.
    fn try_again(&mut self, tunnel: &TunnelId, ctx: &mut Ctx<Self>) {
        self.tunnels.entry(tunnel.clone()).or_default().turn.forgive();
        self.wake(tunnel, Order::AGAIN, ctx);
    }
}

async fn agree(desk: &Desk, by: &str) -> Result<Agreed, MasterError> {
    let all = list_tunnels(&desk.db, desk.cloudflare.account()).await.map_err(database)?;
    desk.zones.forgive().await;
    let mut agreed = Agreed { confirmed: Vec::new(), again: HashSet::new(), all };
    let blocked = cloudflare::list_route_status(&desk.db, None, u64::MAX).await.map_err(database)?;
    let statuses = cloudflare::list_tunnel_status(&desk.db, u64::MAX).await.map_err(database)?;
    for tunnel in &agreed.all {
        let Some(row) = tunnels::find_tunnel(&desk.db, tunnel).await.map_err(database)? else { continue };
        let state =
            statuses.iter().find(|status| status.tunnel_id == *tunnel).map(|status| status.state.as_str());
        let mine = || blocked.iter().filter(|status| Some(&status.agent_id) == row.agent_id.as_ref());
        let is_waiting = state == Some(TunnelPhase::Waiting.as_str()) && row.confirmed_by.is_none();
        let has_equal = row.confirmed_by.as_deref() == Some(SYSTEM)
            && mine()
                .any(|status| status.reason.as_deref().is_some_and(|reason| reason.starts_with(EQUAL_RULE)));
        if is_waiting || has_equal {
            confirm(desk, tunnel, by).await?;
            agreed.confirmed.push(tunnel.clone());
        }
        let is_stuck =
            |state: &str| [RoutePhase::Blocked, RoutePhase::Failing].iter().any(|p| p.as_str() == state);
        if state.is_some_and(|state| state != TunnelPhase::Applied.as_str())
            || mine().any(|row| is_stuck(&row.state))
        {
            agreed.again.insert(tunnel.clone());
        }
    }
    Ok(agreed)
}

async fn confirm(desk: &Desk, tunnel: &TunnelId, by: &str) -> Result<(), MasterError> {
    if tunnels::find_tunnel(&desk.db, tunnel).await.map_err(database)?.is_none() {
        return Err(MasterError::Invalid(format!("tunnel `{tunnel}` is not known")));
    }
    let event = Event::TunnelConfirmed { tunnel_id: tunnel.clone(), by: by.to_owned() };
    let mut batch = desk.batch().append(Stream::tunnel(tunnel), Expected::Head, vec![event]);
    batch.by = by.to_owned();
    desk.store.commit(batch).await.map_err(|error| {
        tracing::warn!(%error, "a confirmation could not be written down");
        MasterError::Busy
    })
}

async fn read_plan(desk: &Desk) -> Result<Plan, MasterError> {
    // The zones that were read last will do: a plan makes no calls of its own unless there were none yet.
    let zones = desk.zones.get(&desk.cloudflare.background(), false).await;
    let known = match &zones {
        Ok(zones) => KnownZones::of(zones.as_deref()),
        Err(_) => KnownZones::Unknown,
    };
    plan(&desk.db, &desk.settings, known, true).await.map_err(database)
}

fn database(error: crate::db::DbError) -> MasterError {
    MasterError::Database(Box::new(error))
}

fn answer<T>(reply: Reply<T>, result: Result<T, MasterError>) {
    // Who gave up waiting needs no answer.
    let _ = reply.send(result);
}
