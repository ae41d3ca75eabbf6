//! Follows how an agent's connector is and decides what comes of it: a tunnel that is lost is started again, one that is cut
//! off is compared, names move to one that serves, and a DockFlare agent's word confirms its commands.

use actix::prelude::*;

use super::commands::{CommandDispatcher, StartAgain, TunnelShown};
use super::own::Own;
use crate::actors::master::bus::Note;
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::FinishMove;
use crate::actors::master::receipt::Part;
use crate::actors::master::requests::Dialect;
use crate::actors::supervision::{Ctx, Port, supervised};
use crate::db::{self, Assumption, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::command::CommandKind;
use crate::domain::connector::Said;
use crate::domain::lost_tunnel::{Next, next};
use crate::domain::tunnel::{TunnelHealth, TunnelReport};

/// Follows one agent's tunnel.
pub struct TunnelReconciler {
    own: Own,
    commands: Port<CommandDispatcher>,
}

/// How the agent says its tunnel is.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TunnelReported {
    /// What it says.
    pub report: TunnelReport,
    /// How it says it: a DockFlare agent answers commands in no other way.
    pub dialect: Dialect,
    /// Who waits for the commit.
    pub part: Part,
}

/// A command came to its end, or a pause did: a tunnel that is lost may be started again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookWhatIsDue;

impl TunnelReconciler {
    /// Makes a reconciler in front of the agent's dispatcher.
    pub fn new(own: Own, commands: Port<CommandDispatcher>) -> Self {
        Self { own, commands }
    }

    fn start_again(&self, due: Result<Option<StartAgain>, MasterError>) {
        match due {
            // No room: whatever fills it is followed by another look.
            Ok(Some(start)) => drop(self.commands.tell(start)),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "could not read whether a tunnel is lost"),
        }
    }
}

supervised!(TunnelReconciler);

impl Actor for TunnelReconciler {
    type Context = Ctx<Self>;
}

impl Handler<TunnelReported> for TunnelReconciler {
    type Result = AtomicResponse<Self, ()>;

    fn handle(
        &mut self,
        TunnelReported { report, dialect, part }: TunnelReported,
        _: &mut Ctx<Self>,
    ) -> Self::Result {
        let own = self.own.clone();
        let received_at = own.env.now();
        let shown = (dialect == Dialect::V2).then(|| TunnelShown {
            report: report.clone(),
            received_at,
            part: part.split(),
        });
        // A DockFlare agent has no other word for a connector that ends again and again.
        let is_cut_off =
            report.health.is_cut_off() || (dialect == Dialect::V2 && report.health == TunnelHealth::Stopped);
        let is_stopped = report.health == TunnelHealth::Stopped;
        let asks_connector = dialect == Dialect::Native;
        let is_serving = !report.health.is_cut_off() && report.health != TunnelHealth::Stopped;
        let serves = report.clone();
        let is_open = Said { report: &report, is_heard: true, asks_connector }.leaves_open();
        let write = async move {
            let written = write(&own, report).await;
            let due = if written.is_ok() && is_stopped { due_start(&own).await } else { Ok(None) };
            if written.is_ok() && is_serving && !is_open {
                move_if_seen(&own, &serves).await;
            }
            (written, due)
        };
        AtomicResponse::new(Box::pin(write.into_actor(self).map(move |(written, due), actor, _| {
            if written.is_ok() && is_cut_off {
                actor.own.env.account.compare_agent(&actor.own.agent);
            }
            if written.is_ok() && is_open {
                actor.own.env.account.look_at_connectors(&actor.own.agent);
            }
            if let (Ok(()), Some(shown)) = (&written, shown) {
                // No room: the receipt goes with it, and the agent's next word confirms.
                let _ = actor.commands.tell(shown);
            }
            part.finish(written);
            actor.start_again(due);
        })))
    }
}

impl Handler<LookWhatIsDue> for TunnelReconciler {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: LookWhatIsDue, _: &mut Ctx<Self>) -> Self::Result {
        let own = self.own.clone();
        let look = async move { due_start(&own).await };
        AtomicResponse::new(Box::pin(look.into_actor(self).map(|due, actor, _| actor.start_again(due))))
    }
}

async fn write(own: &Own, report: TunnelReport) -> Result<(), MasterError> {
    let slot = own.known_slot()?;
    let digest = report.digest();
    if slot.same_tunnel(digest) {
        return Ok(());
    }
    let row = RowChange::PutTunnelObserved { agent_id: own.agent.clone(), report };
    let is_listed = Assumption::IsListed { agent_id: own.agent.clone() };
    own.env.ledger.commit(own.env.batch(format!("agent:{}", own.agent)).assume(is_listed).row(row)).await?;
    slot.set_tunnel_digest(digest);
    own.env.notices.announce(Note::Tunnel(own.agent.clone()));
    Ok(())
}

/// The agent says that it serves this tunnel: if its names wait for that, they move.
async fn move_if_seen(own: &Own, report: &TunnelReport) {
    let row = match db::agents::find_agent(&own.env.db, &own.agent).await {
        Ok(row) => row.filter(|row| row.moving_from.is_some()),
        Err(error) => {
            return tracing::warn!(%error, "could not read whether an agent moves to another tunnel");
        }
    };
    let Some((to, name)) = row.and_then(|row| Some((row.tunnel_id?, row.tunnel_name))) else { return };
    if report.names(&to, name.as_deref()) {
        // With no room it is seen again at the next look at Cloudflare's list.
        let _ = own.env.finish_move.tell(FinishMove::seen(&own.agent, &to));
    }
}

/// Latest commands that count.
const RECENT: u64 = 20;

/// Returns the start that is due, if one is; asks to be woken if it is due later.
async fn due_start(own: &Own) -> Result<Option<StartAgain>, MasterError> {
    let (db, agent) = (&own.env.db, &own.agent);
    let Some(seen) = db::tunnels::find_tunnel_observed(db, agent).await? else { return Ok(None) };
    if seen.report.health != TunnelHealth::Stopped {
        return Ok(None);
    }
    let standing = db::agents::find_standing(db, agent).await?;
    let Some((tunnel_id, tunnel_name, secret_id)) =
        standing.tunnel.filter(|_| standing.status == AgentStatus::Enrolled)
    else {
        return Ok(None);
    };
    let commands = db::commands::list_commands(db, agent, RECENT).await?;
    match next(&tunnel_id, &seen.report, seen.changed_at, &commands, own.env.now()) {
        Next::Nothing => Ok(None),
        Next::LookAgain(at) => {
            own.env.due_at(agent, at);
            Ok(None)
        }
        Next::Start => {
            let kind = CommandKind::StartTunnel { tunnel_id, tunnel_name, secret_id };
            Ok(Some(StartAgain { kind, version: standing.version }))
        }
    }
}
