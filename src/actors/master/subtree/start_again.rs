//! Looks whether an agent lost its tunnel, and has it started again.

use actix::prelude::*;

use super::Own;
use super::commands::CommandDispatcher;
use super::operation::log;
use crate::actors::master::error::MasterError;
use crate::actors::supervision::Ctx;
use crate::db;
use crate::domain::agent::AgentStatus;
use crate::domain::command::CommandKind;
use crate::domain::lost_tunnel::{Next, next};
use crate::domain::tunnel::TunnelHealth;

/// Latest commands that count.
const RECENT: u64 = 20;

/// Queues a start unless something is on its way to the agent.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StartAgain(pub CommandKind);

impl Handler<StartAgain> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, StartAgain(kind): StartAgain, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |queue| queue.enqueue_alone(kind).await, log("a tunnel that is lost"))
    }
}

/// Returns the start that is due, if one is; asks to be woken if it is due later.
pub async fn due_start(own: &Own) -> Result<Option<CommandKind>, MasterError> {
    let (db, agent) = (&own.env.db, &own.agent);
    let Some(seen) = db::tunnels::find_tunnel_observed(db, agent).await? else { return Ok(None) };
    if seen.report.health != TunnelHealth::Stopped {
        return Ok(None);
    }
    let row = db::agents::find_agent(db, agent).await?.filter(|row| row.status == AgentStatus::Enrolled);
    let Some((tunnel_id, tunnel_name, secret_id)) =
        row.and_then(|row| Some((row.tunnel_id?, row.tunnel_name?, row.secret_id?)))
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
        Next::Start => Ok(Some(CommandKind::StartTunnel { tunnel_id, tunnel_name, secret_id })),
    }
}
