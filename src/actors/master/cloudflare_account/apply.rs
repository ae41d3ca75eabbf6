//! What only a person may order: agreeing to what is in a tunnel, and trying again what is blocked.

use std::collections::HashSet;
use std::sync::Arc;

use actix::prelude::*;

use super::CloudflareAccount;
use super::checks::list_tunnels;
use super::desk::Desk;
use super::orders::{Reply, answer, database, read_plan};
use super::say::EQUAL_RULE;
use super::snapshot::SYSTEM;
use super::turn::Order;
use crate::actors::master::error::MasterError;
use crate::actors::master::plan::ApplyReport;
use crate::actors::supervision::Ctx;
use crate::db::{ALL, Expected, cloudflare, tunnels};
use crate::domain::event::{Event, Stream};
use crate::domain::id::TunnelId;
use crate::domain::publish::{PublicState, TunnelState};

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
        self.tunnels.entry(tunnel.clone()).or_default().turn.forgive();
        self.wake(tunnel, Order::AGAIN, ctx);
    }
}

async fn agree(desk: &Desk, by: &str) -> Result<Agreed, MasterError> {
    let all = list_tunnels(&desk.db, desk.cloudflare.account()).await.map_err(database)?;
    desk.zones.forgive();
    let mut agreed = Agreed { confirmed: Vec::new(), again: HashSet::new(), all };
    let blocked = cloudflare::list_route_status(&desk.db, None, ALL).await.map_err(database)?;
    let statuses = cloudflare::list_tunnel_status(&desk.db, ALL).await.map_err(database)?;
    for tunnel in &agreed.all {
        let Some(row) = tunnels::find_tunnel(&desk.db, tunnel).await.map_err(database)? else { continue };
        let state =
            statuses.iter().find(|status| status.tunnel_id == *tunnel).map(|status| status.state.as_str());
        let mine = || blocked.iter().filter(|status| Some(&status.agent_id) == row.agent_id.as_ref());
        let is_waiting = state == Some(TunnelState::Waiting.as_str()) && row.confirmed_by.is_none();
        let has_equal = row.confirmed_by.as_deref() == Some(SYSTEM)
            && mine()
                .any(|status| status.reason.as_deref().is_some_and(|reason| reason.starts_with(EQUAL_RULE)));
        if is_waiting || has_equal {
            confirm(desk, tunnel, by).await?;
            agreed.confirmed.push(tunnel.clone());
        }
        let is_stuck =
            |state: &str| [PublicState::Blocked, PublicState::Failed].iter().any(|p| p.as_str() == state);
        if state.is_some_and(|state| state != TunnelState::Applied.as_str())
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
