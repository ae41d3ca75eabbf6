//! Looks whether an agent lost its tunnel, and has it started again.

use actix::prelude::*;

use super::commands::CommandDispatcher;
use super::operation::log;
use super::own::Own;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db;
use crate::domain::agent::AgentStatus;
use crate::domain::command::CommandKind;
use crate::domain::lost_tunnel::{Next, next};
use crate::domain::tunnel::TunnelHealth;

/// Latest commands that count.
const RECENT: u64 = 20;

/// Queues a start unless something is on its way to the agent, or somebody decided about it meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StartAgain {
    /// The start of the tunnel that the agent has.
    kind: CommandKind,
    /// Version of the agent's stream that says so.
    version: u64,
}

impl Handler<StartAgain> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, StartAgain { kind, version }: StartAgain, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |queue| queue.enqueue_alone(kind, version).await, log("a tunnel that is lost"))
    }
}

/// Returns the start that is due, if one is; asks to be woken if it is due later.
pub async fn due_start(own: &Own) -> Result<Option<StartAgain>, MasterError> {
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
