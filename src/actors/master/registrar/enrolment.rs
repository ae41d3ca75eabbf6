//! Gives an agent a tunnel: token, enrolment and the command that starts it are one commit. If it had another one, its
//! names move once the connector of the new one is seen.

use actix::prelude::*;
use secrecy::SecretString;

use super::agents::listed;
use super::{Decision, Registrar, commit, expected, rules};
use crate::actors::master::cloudflare_account::ProvidedTunnel;
use crate::actors::master::commands::{new_command, queued, superseded};
use crate::actors::master::directory::LackingSeat;
use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::actors::master::for_registrar::FinishMove;
use crate::actors::master::requests::Enrolled;
use crate::actors::supervision::Ctx;
use crate::db::agents::AgentRow;
use crate::db::tunnels::TunnelObservedRow;
use crate::db::{self, RowChange, SaidBy};
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind, CommandStatus};
use crate::domain::delivery::{Dialect, Superseding};
use crate::domain::event::{AgentEvent, Event, Stream, TunnelEvent};
use crate::domain::id::{AgentId, SecretId, TunnelId};
use crate::domain::publish::{Cause, PublicState};
use crate::domain::tunnel::TunnelHealth;

/// Longest tunnel name that is passed on.
const MAX_TUNNEL_NAME: usize = 100;
/// Commands that are looked through for the one that started the tunnel.
const RECENT: u64 = 50;

/// Asks whether an enrolment is needed.
#[derive(Message)]
#[rtype(result = "Result<Enrolment, MasterError>")]
pub struct BeginEnrolment {
    /// Which agent.
    pub agent: AgentId,
    /// The tunnel it is to have.
    pub tunnel_name: String,
}

/// What is to be done about an enrolment.
pub enum Enrolment {
    /// The agent has this tunnel already.
    Done(Box<Enrolled>),
    /// The tunnel has to be provided first; this is its cleaned name.
    NeedsTunnel(String),
}

/// Writes an enrolment down, now that the tunnel is there.
#[derive(Message)]
#[rtype(result = "Result<Enrolled, MasterError>")]
pub struct CommitEnrolment {
    /// Which agent.
    pub agent: AgentId,
    /// Its tunnel.
    pub tunnel: ProvidedTunnel,
    /// Who asks.
    pub by: String,
}

/// Lets an agent claim its routes before there is a tunnel for it; safe to repeat.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct Approve {
    /// Which agent.
    pub agent: AgentId,
    /// Who asks.
    pub by: String,
}

impl Handler<Approve> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: Approve, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { approve(&env, &ask).await })
    }
}

impl Handler<BeginEnrolment> for Registrar {
    type Result = AtomicResponse<Self, Result<Enrolment, MasterError>>;

    fn handle(&mut self, ask: BeginEnrolment, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { begin(&env, &ask).await })
    }
}

impl Handler<CommitEnrolment> for Registrar {
    type Result = AtomicResponse<Self, Result<Enrolled, MasterError>>;

    fn handle(&mut self, ask: CommitEnrolment, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { enrol(&env, &ask).await })
    }
}

async fn approve(env: &Env, ask: &Approve) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::agent(&ask.agent)).await?;
        let row = listed(env, &ask.agent).await?;
        let batch = env.batch(&ask.by);
        must_have_seat(env, &row)?;
        match row.status {
            AgentStatus::Revoked => Err(MasterError::AgentRevoked(row.id)),
            AgentStatus::Enrolled => Ok(Decision { batch, answer: () }),
            _ => {
                let approved = Event::Agent(AgentEvent::Approved { agent_id: row.id });
                Ok(Decision {
                    batch: batch.append(Stream::agent(&ask.agent), end, vec![approved]),
                    answer: (),
                })
            }
        }
    })
    .await
}

async fn begin(env: &Env, ask: &BeginEnrolment) -> Result<Enrolment, MasterError> {
    let name = ask.tunnel_name.trim();
    if name.is_empty() {
        return Err(MasterError::Invalid("`tunnel_name` is missing; give the tunnel a name".into()));
    }
    if name.len() > MAX_TUNNEL_NAME || name.chars().any(char::is_control) {
        let reason = format!(
            "`tunnel_name` has control characters or more than {MAX_TUNNEL_NAME} bytes; choose another"
        );
        return Err(MasterError::Invalid(reason));
    }
    let row = listed(env, &ask.agent).await?;
    if row.status == AgentStatus::Revoked {
        return Err(MasterError::AgentRevoked(row.id));
    }
    if row.dialect.as_deref().map(Dialect::of) == Some(Dialect::RedFlag) {
        let reason = format!(
            "`{}` runs RedFlag's agent, which has no tunnel; put Lightship's agent on the host to publish from it",
            row.display_name
        );
        return Err(MasterError::Invalid(reason));
    }
    must_have_seat(env, &row)?;
    let is_enrolled = row.status == AgentStatus::Enrolled && row.tunnel_name.as_deref() == Some(name);
    if is_enrolled
        && !is_gone(env, row.tunnel_id.as_ref()).await?
        && let Some(enrolled) = enrolled_before(env, &row).await?
    {
        return Ok(Enrolment::Done(Box::new(enrolled)));
    }
    Ok(Enrolment::NeedsTunnel(name.into()))
}

/// Fails if the agent came with a key that others have taken all the seats of.
fn must_have_seat(env: &Env, row: &AgentRow) -> Result<(), MasterError> {
    match env.directory.lacking_seat(&row.id) {
        None => Ok(()),
        Some(LackingSeat { key_id, owner, .. }) => {
            Err(MasterError::NoSeat { agent: row.display_name.clone(), key_id, owner })
        }
    }
}

/// True if its tunnel is known to be deleted at Cloudflare.
async fn is_gone(env: &Env, tunnel: Option<&TunnelId>) -> Result<bool, MasterError> {
    let Some(tunnel) = tunnel else { return Ok(false) };
    let status = db::cloudflare::find_tunnel_status(&env.db, tunnel).await?;
    Ok(status.is_some_and(|status| status.cause == Some(Cause::TunnelGone)))
}

/// Returns the enrolment in force with the command that starts its tunnel, or did: the open one, else the latest if it
/// had success that lasts. None if the tunnel has to be started again.
async fn enrolled_before(env: &Env, row: &AgentRow) -> Result<Option<Enrolled>, MasterError> {
    let (Some(tunnel_id), Some(tunnel_name)) = (&row.tunnel_id, &row.tunnel_name) else {
        return Ok(None);
    };
    let starts = |command: &Command| matches!(&command.kind, CommandKind::StartTunnel { tunnel_id: id, .. } if id == tunnel_id);
    let open = db::commands::list_open_commands(&env.db, &row.id).await?.into_iter().find(starts);
    let command = match open {
        Some(command) => Some(command),
        None => {
            let latest =
                db::commands::list_commands(&env.db, &row.id, RECENT).await?.into_iter().find(starts);
            let observed = db::tunnels::find_tunnel_observed(&env.db, &row.id).await?;
            latest.filter(|command| still_runs(command, observed.as_ref()))
        }
    };
    Ok(command.map(|command| Enrolled {
        tunnel_id: tunnel_id.clone(),
        tunnel_name: tunnel_name.clone(),
        command,
        created: false,
    }))
}

/// True if the tunnel was started and nothing was heard of it since that says it does not run.
fn still_runs(command: &Command, observed: Option<&TunnelObservedRow>) -> bool {
    let down = |health| matches!(health, TunnelHealth::Failed | TunnelHealth::Stopped);
    // What was seen before the agent had the command says nothing about what came of it.
    let is_down =
        observed.is_some_and(|seen| Some(seen.changed_at) > command.delivered_at && down(seen.report.health));
    command.status == CommandStatus::Succeeded && !is_down
}

async fn enrol(env: &Env, ask: &CommitEnrolment) -> Result<Enrolled, MasterError> {
    let (enrolled, waits) = commit(env, async || {
        let agent_end = expected(env, &Stream::agent(&ask.agent)).await?;
        let commands_end = expected(env, &Stream::commands(&ask.agent)).await?;
        let row = listed(env, &ask.agent).await?;
        if row.status == AgentStatus::Revoked {
            return Err(MasterError::AgentRevoked(row.id));
        }
        must_have_seat(env, &row)?;
        // Two requests for the same tunnel at once: the second finds the first one's work.
        if row.status == AgentStatus::Enrolled
            && row.tunnel_id.as_ref() == Some(&ask.tunnel.tunnel_id)
            && let Some(enrolled) = enrolled_before(env, &row).await?
        {
            return Ok(Decision { batch: env.batch(&ask.by), answer: (enrolled, false) });
        }
        let secret_id = SecretId::new(format!("tunnel-token/{}", env.chance.sorted_uuid(&env.clock)));
        let command = start_command(env, ask, secret_id.clone());
        let mut commands = superseded(env, &ask.agent, Superseding::Tunnel).await?;
        commands.push(queued(&ask.agent, &command));
        let left = row.publishes_in().filter(|tunnel| **tunnel != ask.tunnel.tunnel_id).cloned();
        let waits = match &left {
            Some(left) => has_names_in(env, &row, left, &ask.tunnel.name).await?,
            None => false,
        };
        let mut decided = vec![enrolment(ask, secret_id.clone())];
        if ask.tunnel.is_made {
            decided.push(Event::Tunnel(TunnelEvent::Made { tunnel_id: ask.tunnel.tunnel_id.clone() }));
        }
        if let Some(from) = left.clone().filter(|_| waits) {
            let to = ask.tunnel.tunnel_id.clone();
            decided.push(Event::Agent(AgentEvent::Moving { agent_id: ask.agent.clone(), from, to }));
        }
        let mut batch = env
            .batch(&ask.by)
            .append(Stream::agent(&ask.agent), agent_end, decided)
            .append(Stream::commands(&ask.agent), commands_end, commands)
            .row(put_token(secret_id, ask.tunnel.token.clone()));
        if let Some(old) = row.secret_id {
            batch = batch.row(RowChange::DeleteSecret { id: old });
        }
        if let Some(left) = left.filter(|_| !waits) {
            batch.rows.extend(nothing_said(env, &ask.agent).await?);
            batch = rules::follow_agent(env, batch, &left, &ask.tunnel.tunnel_id).await?;
        }
        let enrolled = Enrolled {
            tunnel_id: ask.tunnel.tunnel_id.clone(),
            tunnel_name: ask.tunnel.name.clone(),
            command,
            created: true,
        };
        Ok(Decision { batch, answer: (enrolled, waits) })
    })
    .await?;
    if waits {
        env.account.look_at_connectors(&ask.agent);
    }
    Ok(enrolled)
}

/// True if a tunnel serves names of the agent: they stay there until the connector of the new one is seen.
async fn has_names_in(
    env: &Env,
    row: &AgentRow,
    tunnel: &TunnelId,
    new_name: &str,
) -> Result<bool, MasterError> {
    // A name belongs to one tunnel: if another one has it now, the first was deleted.
    let is_replaced = row.moving_from.is_none() && row.tunnel_name.as_deref() == Some(new_name);
    if is_replaced || is_gone(env, Some(tunnel)).await? {
        return Ok(false);
    }
    Ok(!db::cloudflare::list_applied_rules(&env.db, tunnel).await?.is_empty())
}

/// What was said of its routes is about the tunnel that it leaves.
async fn nothing_said(env: &Env, agent: &AgentId) -> Result<Vec<RowChange>, MasterError> {
    let rows = db::cloudflare::list_route_status(&env.db, Some(agent), u64::MAX).await?;
    let from_publisher = rows
        .into_iter()
        .filter(|row| PublicState::parse(&row.state).is_some_and(PublicState::is_from_publisher));
    Ok(from_publisher
        .map(|row| RowChange::DeleteRouteStatus {
            agent_id: row.agent_id,
            key: row.key,
            said_by: SaidBy::Publisher,
        })
        .collect())
}

fn enrolment(ask: &CommitEnrolment, secret_id: SecretId) -> Event {
    Event::Agent(AgentEvent::Enrolled {
        agent_id: ask.agent.clone(),
        account_id: ask.tunnel.account_id.clone(),
        tunnel_id: ask.tunnel.tunnel_id.clone(),
        tunnel_name: ask.tunnel.name.clone(),
        secret_id,
        // A further one shows later that a DockFlare agent did what it was told.
        connectors: ask.tunnel.connectors.clone(),
    })
}

fn put_token(id: SecretId, token: SecretString) -> RowChange {
    RowChange::PutSecret { id, purpose: "tunnel token".into(), plain: token }
}

fn start_command(env: &Env, ask: &CommitEnrolment, secret_id: SecretId) -> Command {
    let kind = CommandKind::StartTunnel {
        tunnel_id: ask.tunnel.tunnel_id.clone(),
        tunnel_name: ask.tunnel.name.clone(),
        secret_id,
    };
    new_command(env, kind, None)
}

impl Handler<FinishMove> for Registrar {
    type Result = AtomicResponse<Self, Result<(), MasterError>>;

    fn handle(&mut self, ask: FinishMove, _: &mut Ctx<Self>) -> Self::Result {
        self.decide(move |env| async move { finish_move(&env, &ask).await })
    }
}

async fn finish_move(env: &Env, ask: &FinishMove) -> Result<(), MasterError> {
    commit(env, async || {
        let end = expected(env, &Stream::agent(&ask.agent)).await?;
        let row = listed(env, &ask.agent).await?;
        let mut batch = env.batch(&ask.by);
        let (Some(from), Some(to)) = (row.moving_from, row.tunnel_id) else {
            return Ok(Decision { batch, answer: () });
        };
        // Meanwhile it may have been given yet another one.
        if ask.seen.as_ref().is_some_and(|seen| *seen != to) {
            return Ok(Decision { batch, answer: () });
        }
        batch = rules::follow_agent(env, batch, &from, &to).await?;
        let event = AgentEvent::Moved { agent_id: row.id, from, to };
        batch = batch.append(Stream::agent(&ask.agent), end, vec![event]);
        batch.rows.extend(nothing_said(env, &ask.agent).await?);
        Ok(Decision { batch, answer: () })
    })
    .await
}
