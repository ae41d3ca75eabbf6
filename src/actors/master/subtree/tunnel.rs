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
use crate::domain::connector::FollowUp;
use crate::domain::lost_tunnel::{self, Next};
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

    /// Has the account look at what the agent's word leaves open.
    fn look_at(&self, next: FollowUp) {
        let Own { env, agent } = &self.own;
        if next.tunnel {
            env.account.compare_agent(agent);
        }
        if next.connectors {
            env.account.look_at_connectors(agent);
        }
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
        let next = FollowUp::of(&report, dialect == Dialect::Native);
        let shown = (dialect == Dialect::V2).then(|| TunnelShown {
            report: report.clone(),
            received_at: own.env.now(),
            part: part.split(),
        });
        let write = async move {
            write(&own, report.clone()).await?;
            if next.names {
                move_if_seen(&own, &report).await;
            }
            Ok::<_, MasterError>(if next.loss { due_start(&own).await } else { Ok(None) })
        };
        AtomicResponse::new(Box::pin(write.into_actor(self).map(move |written, actor, _| match written {
            Ok(due) => {
                actor.look_at(next);
                if let Some(shown) = shown {
                    // No room: the receipt goes with it, and the agent's next word confirms.
                    let _ = actor.commands.tell(shown);
                }
                part.finish(Ok(()));
                actor.start_again(due);
            }
            Err(error) => part.finish(Err(error)),
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
    match lost_tunnel::next(&tunnel_id, &seen.report, seen.changed_at, &commands, own.env.now()) {
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
