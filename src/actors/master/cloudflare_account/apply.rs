//! What only a person may order: agreeing to what is in a tunnel, and trying again what is blocked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use actix::prelude::*;

use super::CloudflareAccount;
use super::checks::read_tunnels;
use super::desk::Desk;
use super::orders::{Reply, answer, read_plan};
use super::snapshot::SYSTEM;
use super::turn::Order;
use crate::actors::master::error::MasterError;
use crate::actors::master::plan::ApplyReport;
use crate::actors::supervision::Ctx;
use crate::db::cloudflare::{RouteStatusRow, TunnelStatusRow};
use crate::db::tunnels::TunnelRow;
use crate::db::{ALL, Expected, cloudflare, tunnels};
use crate::domain::event::{Event, Stream, TunnelEvent};
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::publish::{Cause, PublicState, TunnelState};

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

/// Confirms every tunnel that waits, tries again what is blocked or failing, and carries out the rest.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Apply {
    /// Who orders it.
    pub by: String,
    /// Answered once the calls are done.
    pub reply: Reply<ApplyReport>,
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
                blocked: plan.blocked,
                failed: plan.failed,
                ..ApplyReport::default()
            });
            answer(reply, report);
        };
        ctx.spawn(work.into_actor(self));
    }

    /// A person ordered it: waits are over, and what was blocked is looked at again.
    fn try_again(&mut self, tunnel: &TunnelId, ctx: &mut Ctx<Self>) {
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        entry.turn.forgive();
        entry.refused.clear();
        entry.refused_names.clear();
        self.wake(tunnel, Order::AGAIN, ctx);
    }
}

/// What a person's `apply` means for a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Consent {
    /// It is confirmed.
    pub is_given: bool,
    /// It is looked at again, whatever is known of it.
    pub look_again: bool,
}

async fn agree(desk: &Desk, by: &str) -> Result<Agreed, MasterError> {
    let rows = read_tunnels(&desk.db, desk.cloudflare.account()).await?;
    desk.zones.forgive();
    let routes = cloudflare::list_route_status(&desk.db, None, ALL).await?;
    let statuses = cloudflare::list_tunnel_status(&desk.db, ALL).await?;
    let consents = consents(&rows, &statuses, &routes);
    let mut agreed = Agreed { confirmed: Vec::new(), again: HashSet::new(), all: Vec::new() };
    for (row, consent) in rows.into_iter().zip(consents) {
        if consent.is_given {
            confirm(desk, &row.id, by).await?;
            agreed.confirmed.push(row.id.clone());
        }
        if consent.look_again {
            agreed.again.insert(row.id.clone());
        }
        agreed.all.push(row.id);
    }
    Ok(agreed)
}

/// Says what an `apply` means for each tunnel, by what was said of it and of its routes.
pub fn consents(
    tunnels: &[TunnelRow],
    statuses: &[TunnelStatusRow],
    routes: &[RouteStatusRow],
) -> Vec<Consent> {
    let states: HashMap<&TunnelId, &str> =
        statuses.iter().map(|row| (&row.tunnel_id, row.state.as_str())).collect();
    let mut routes_of: HashMap<&AgentId, Vec<&RouteStatusRow>> = HashMap::new();
    for row in routes {
        routes_of.entry(&row.agent_id).or_default().push(row);
    }
    let consent = |row: &TunnelRow| {
        let state = states.get(&row.id).copied();
        let mine =
            row.agent_id.as_ref().and_then(|agent| routes_of.get(agent)).map_or(&[][..], Vec::as_slice);
        let is_waiting = state == Some(TunnelState::Waiting.as_str()) && row.confirmed_by.is_none();
        let is_equal = |status: &&RouteStatusRow| status.cause == Some(Cause::EqualRule);
        let has_equal = row.confirmed_by.as_deref() == Some(SYSTEM) && mine.iter().any(is_equal);
        let is_stuck =
            |state: &str| [PublicState::Blocked, PublicState::Failed].iter().any(|p| p.as_str() == state);
        let is_unapplied = state.is_some_and(|state| state != TunnelState::Applied.as_str());
        Consent {
            is_given: is_waiting || has_equal,
            look_again: is_unapplied || mine.iter().any(|row| is_stuck(&row.state)),
        }
    };
    tunnels.iter().map(consent).collect()
}

async fn confirm(desk: &Desk, tunnel: &TunnelId, by: &str) -> Result<(), MasterError> {
    if tunnels::find_tunnel(&desk.db, tunnel).await?.is_none() {
        return Err(MasterError::Invalid(format!("tunnel `{tunnel}` is not known")));
    }
    let event = Event::Tunnel(TunnelEvent::Confirmed { tunnel_id: tunnel.clone(), by: by.to_owned() });
    let mut batch = desk.batch().append(Stream::tunnel(tunnel), Expected::Head, vec![event]);
    batch.by = by.to_owned();
    let written = desk.store.commit(batch).await;
    Ok(written.inspect_err(|error| tracing::warn!(%error, "a confirmation could not be written down"))?)
}
