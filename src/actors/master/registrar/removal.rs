//! Takes an agent off the list.
//!
//! Its routes are withdrawn and its words count no more at once. A connector can only be stopped by its agent, so
//! the key still registers and fetches commands until `stop_tunnel` is finished (a DockFlare agent, which does not
//! say so, has it from two polls) or its time is up; then it is revoked. Without a tunnel, or if the agent was revoked
//! before, the key goes with the agent.

use actix::prelude::*;

use super::agents::listed;
use super::keys::give_up;
use super::{Decision, Registrar, commit, expected};
use crate::actors::master::commands::{new_command, queued, superseded};
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::Retire;
use crate::actors::master::requests::{LeftTunnel, RemovedAgent};
use crate::actors::supervision::Ctx;
use crate::db::approvals::{ApprovalFilter, ApprovalRow, list_approvals};
use crate::db::{self, Batch, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::command::CommandKind;
use crate::domain::delivery::Superseding;
use crate::domain::event::{AgentEvent, Event, Stream, UpdateEvent};
use crate::domain::guard;
use crate::domain::id::{AgentId, KeyId};
use crate::domain::update::ApprovalStatus;

/// Open approvals of an agent that go with it.
const MOST_OPEN: u64 = 1_000;

/// Takes an agent off the list.
#[derive(Message)]
#[rtype(result = "Result<RemovedAgent, MasterError>")]
pub struct Remove {
    /// Which agent.
    pub agent: AgentId,
    /// Who asks.
    pub by: String,
}

impl Handler<Remove> for Registrar {
    type Result = AtomicResponse<Self, Result<RemovedAgent, MasterError>>;

    fn handle(&mut self, ask: Remove, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { remove(&env, &ask).await })
    }
}

impl Handler<Retire> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: Retire, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { retire(&env, &ask.agent).await })
    }
}

async fn remove(env: &Env, ask: &Remove) -> Result<RemovedAgent, MasterError> {
    commit(env, async || decide(env, ask).await).await
}

async fn decide(env: &Env, ask: &Remove) -> Result<Decision<RemovedAgent>, MasterError> {
    let agent = &ask.agent;
    let agent_end = expected(env, &Stream::agent(agent)).await?;
    let commands_end = expected(env, &Stream::commands(agent)).await?;
    let routes_end = expected(env, &Stream::routes(agent)).await?;
    let row = listed(env, agent).await?;
    let routes = db::routes::list_agent_routes(&env.db, agent).await?;
    let (has_key, keys) =
        env.directory.look(|roster| (roster.keys_in_force(agent).0.is_some(), roster.own_keys(agent)));
    let tunnel = match &row.tunnel_id {
        Some(tunnel) => db::tunnels::find_tunnel(&env.db, tunnel).await?,
        None => None,
    };
    let tunnel = tunnel.map(|tunnel| LeftTunnel { name: tunnel.name, is_to_go: tunnel.made });
    let can_be_told = row.tunnel_id.is_some() && has_key;
    let stop =
        can_be_told.then(|| new_command(env, CommandKind::StopTunnel, Some(env.settings.removal_limit)));

    let updates_end = expected(env, &Stream::updates(agent)).await?;
    let filter = ApprovalFilter { agent: Some(agent.clone()), open: true, ..ApprovalFilter::default() };
    let open = list_approvals(&env.db, &filter, MOST_OPEN).await?;
    let ended = open.iter().map(|row| ended(row, &ask.by)).collect();
    let released = guard::release_all(agent, &routes);
    let mut commands = superseded(env, agent, Superseding::Removal).await?;
    commands.extend(stop.as_ref().map(|stop| queued(agent, stop)));

    let mut batch = env.batch(&ask.by);
    batch = append_some(batch, Stream::routes(agent), routes_end, released);
    batch = append_some(batch, Stream::commands(agent), commands_end, commands);
    batch = append_some(batch, Stream::updates(agent), updates_end, ended);
    batch = batch
        .append(Stream::agent(agent), agent_end, vec![AgentEvent::Removed { agent_id: agent.clone() }])
        .row(RowChange::ForgetAgent { agent_id: agent.clone() });
    if stop.is_none() {
        batch = leave(env, batch, agent, row.shared_key_id.as_ref(), &keys);
    }
    if let Some(id) = row.secret_id {
        batch = batch.row(RowChange::DeleteSecret { id });
    }
    let answer = RemovedAgent {
        rules_removed: routes.len(),
        stop_command: stop.as_ref().map(|command| command.id.clone()),
        tunnel,
    };
    Ok(Decision { batch, answer })
}

/// Nothing of a yes may wait for a host that comes back one day.
fn ended(row: &ApprovalRow, by: &str) -> UpdateEvent {
    let words = match row.status {
        ApprovalStatus::Ordered => " before it told what came of the order",
        _ => "",
    };
    UpdateEvent::PlanWithdrawn {
        agent_id: row.agent_id.clone(),
        approval_id: row.id.clone(),
        reason: format!("the host was removed by {by}{words}"),
    }
}

fn append_some<E: Into<Event>>(batch: Batch, stream: Stream, end: db::Expected, events: Vec<E>) -> Batch {
    if events.is_empty() { batch } else { batch.append(stream, end, events) }
}

/// Its keys open nothing any more, but for those that others use too.
fn leave(env: &Env, batch: Batch, agent: &AgentId, shared: Option<&KeyId>, own: &[KeyId]) -> Batch {
    let batch = give_up(env, batch, agent, own);
    let left = shared.map(|key| AgentEvent::LeftKey { agent_id: agent.clone(), key_id: key.clone() });
    append_some(batch, Stream::agent(agent), db::Expected::Head, left.into_iter().collect())
}

async fn retire(env: &Env, agent: &AgentId) -> Result<(), MasterError> {
    commit(env, async || {
        let row = db::agents::find_agent(&env.db, agent).await?;
        // Asked twice, or the agent came back with another key meanwhile: nothing to do.
        let Some(row) = row.filter(|row| row.status == AgentStatus::Removed) else {
            return Ok(Decision { batch: env.batch("system"), answer: () });
        };
        let keys = env.directory.look(|roster| roster.own_keys(agent));
        let batch = leave(env, env.batch("system"), agent, row.shared_key_id.as_ref(), &keys);
        Ok(Decision { batch, answer: () })
    })
    .await
}
