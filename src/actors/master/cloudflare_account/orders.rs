//! What the account can be told and asked. Answers go through `reply`, because they may take longer than a
//! handler may; a reply dropped unanswered means that the work was lost and may be asked for again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::checks::list_tunnels;
use super::desk::Desk;
use super::plan::plan;
use super::provide::{list_connectors, provide};
use super::turn::Order;
use super::wishes::KnownZones;
use super::{CloudflareAccount, waiters};
use crate::actors::master::account::ProvidedTunnel;
use crate::actors::master::error::MasterError;
use crate::actors::master::plan::Plan;
use crate::actors::supervision::Ctx;
use crate::db::{agents, cloudflare};
use crate::domain::connector::Connector;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::publish::TunnelState;

/// How long a plan waits for zones that are being read; it says less without them.
const ZONES_PATIENCE: Duration = Duration::from_secs(2);

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
    /// Where the answer goes.
    pub reply: Reply<ProvidedTunnel>,
}

/// Asks what would be done.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GetPlan {
    /// Where the answer goes.
    pub reply: Reply<Plan>,
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
    /// Where they go.
    pub reply: Reply<Vec<Connector>>,
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
        self.with_tunnel_of(agent_id, ctx, |tunnel, agent_id, actor, ctx| match tunnel {
            Ok(tunnel) => actor.wake(&tunnel, Order::CHANGE, ctx),
            Err(Unread) => drop(ctx.notify_later(WakeAgent { agent_id }, Duration::from_secs(1))),
        });
    }
}

/// The database could not be read.
pub(super) struct Unread;

impl CloudflareAccount {
    /// Finds the tunnel of an agent; of one without a tunnel nothing is published, and nothing is done.
    pub(super) fn with_tunnel_of(
        &self,
        agent_id: AgentId,
        ctx: &mut Ctx<Self>,
        then: impl FnOnce(Result<TunnelId, Unread>, AgentId, &mut Self, &mut Ctx<Self>) + 'static,
    ) {
        let desk = Arc::clone(&self.desk);
        let find = async move { (agents::find_agent(&desk.db, &agent_id).await, agent_id) };
        ctx.spawn(find.into_actor(self).map(|(agent, agent_id), actor, ctx| {
            let tunnel = agent.map(|row| row.and_then(|row| row.publishes_in().cloned())).map_err(|error| {
                tracing::warn!(%error, "an agent's tunnel could not be read");
                Unread
            });
            if let Some(tunnel) = tunnel.transpose() {
                then(tunnel, agent_id, actor, ctx);
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
                ctx.notify_later(WakeAll, Duration::from_secs(1));
            }
        }));
    }
}

impl Handler<ProvideTunnel> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, ask: ProvideTunnel, ctx: &mut Ctx<Self>) {
        let desk = Arc::clone(&self.desk);
        let work = async move { answer(ask.reply, provide(&desk, &ask.name).await) };
        ctx.spawn(work.into_actor(self));
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
        let end = self.waiters.add(HashSet::from([tunnel_id.clone()]));
        let desk = Arc::clone(&self.desk);
        let work = async move {
            let result = match end.await {
                Ok(waiters::Ended { error: Some(error), .. }) => Err(error.into()),
                Ok(waiters::Ended { version, .. }) => {
                    refuse_if_waiting(&desk, &tunnel_id).await.map(|()| version.unwrap_or(0))
                }
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

/// Nothing is written to a tunnel that waits for a person, and nobody may be told that it was.
async fn refuse_if_waiting(desk: &Desk, tunnel: &TunnelId) -> Result<(), MasterError> {
    let row = cloudflare::find_tunnel_status(&desk.db, tunnel).await?;
    match row.filter(|row| row.state == TunnelState::Waiting.as_str()) {
        Some(row) => Err(MasterError::TunnelWaits(row.reason.unwrap_or_default())),
        None => Ok(()),
    }
}

pub(super) async fn read_plan(desk: &Desk) -> Result<Plan, MasterError> {
    // The zones that were read last will do: a plan makes no calls of its own unless there were none yet.
    let cloudflare = desk.cloudflare.background();
    let zones = timeout(ZONES_PATIENCE, desk.zones.get(&cloudflare, false)).await;
    let known = match &zones {
        Ok(Ok(zones)) => KnownZones::of(zones),
        Ok(Err(_)) | Err(_) => KnownZones::Unknown,
    };
    Ok(plan(&desk.db, &desk.settings, known, true).await?)
}

pub(super) fn answer<T>(reply: Reply<T>, result: Result<T, MasterError>) {
    // Who gave up waiting needs no answer.
    let _ = reply.send(result);
}
