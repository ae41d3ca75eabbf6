//! Fetches commands, writes each down before it is carried out and its result after, and hands it to whom it
//! concerns.
//!
//! A native master is asked with a long poll, a DockFlare Master every half minute. A command that comes again
//! finds itself under way or done. Commands that a crash left unfinished are carried out at the next start, before
//! the master is asked. Results wait in the outbox until the [`Reporter`] has sent them. What cannot be written
//! down is not carried out: it waits, nothing more is fetched, and the master is told why.

mod carry_out;
mod ingress;
mod poll;
mod record;
mod task;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tracing::debug;

use super::link::{CurrentLink, Link};
use super::reporter::{LinkLost, RemovedThere, Reporter};
use super::retries::Retries;
use super::status::{ActorStatus, GetStatus};
use super::update_scanner::Looked;
use crate::actors::supervision::{Ctx, Port};
use crate::domain::command::Outcome;
use crate::domain::delivery::Dialect;
use crate::domain::id::CommandId;
use crate::protocol::command::AgentCommand;
use crate::protocol::v3::DeliveredCommand;
use crate::state_dir::{NewCommand, StateDir, StateError, UnfinishedCommand};
use crate::uplink::{CommandDelivery, Uplink, UplinkError, Verdict};

pub use self::task::{HostTask, HostWork, SendHostTask, SendTask, TaskReply, TunnelTask, TunnelWork};

/// How often a task is handed over again when it was lost or could not be taken.
const ATTEMPTS: u32 = 5;
/// Wait before it is handed over again, times the attempt.
const AGAIN: Duration = Duration::from_secs(1);
/// A task nobody answered for this long has failed; pulling an image may take minutes.
const TASK_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What the poller works with.
#[derive(Clone)]
pub struct PollerParts {
    /// The way to the master.
    pub uplink: Arc<dyn Uplink>,
    /// Where commands are written down.
    pub state: StateDir,
    /// Set by the reporter.
    pub link: CurrentLink,
    /// Takes results, and the news that the link is lost.
    pub reporter: Port<Reporter>,
    /// Takes tasks for the tunnel.
    pub tunnel: SendTask,
    /// Takes what is to be worked out or changed on the host.
    pub host: SendHostTask,
    /// Has the host looked at for updates; false if that cannot be asked for now.
    pub scan: Arc<dyn Fn(Looked) -> bool + Send + Sync>,
    /// Has the last lines read that the connector wrote; false if that cannot be asked for now.
    pub connector_log: Arc<dyn Fn(Looked) -> bool + Send + Sync>,
    /// Takes why no command can be taken in, and `None` when they can be again.
    pub no_commands: Arc<dyn Fn(Option<String>) + Send + Sync>,
}

/// See the module.
pub struct CommandPoller {
    parts: PollerParts,
    under_way: HashMap<CommandId, UnderWay>,
    /// They ended, and their outcomes could not be written down yet.
    unwritten: HashSet<CommandId>,
    /// Why nothing can be written down now.
    no_commands: Option<String>,
    /// How far the master's clock is ahead of this host's; none before it said so.
    ahead: Option<TimeDelta>,
    retries: Retries,
    finished: u64,
    problem: Option<String>,
}

/// A command that was handed over and has not ended.
struct UnderWay {
    command: UnfinishedCommand,
    attempt: u32,
}

/// What a round brought.
struct Round {
    link: Arc<Link>,
    took: Duration,
    result: Result<Polled, UplinkError>,
}

/// What the master handed over.
enum Polled {
    Native(CommandDelivery),
    DockFlare(Vec<AgentCommand>),
    /// The link ended while we waited.
    Nothing,
    /// A DockFlare Master was not asked: it forgets what it hands over, and nothing could be written down.
    NoRoom(StateError),
}

/// Commands that came together.
struct Batch {
    link: Arc<Link>,
    commands: Vec<NewCommand>,
    /// How long to wait with the next poll.
    pause: Duration,
}

// === messages ===

/// A task came to its end, or was lost on its way (`None`).
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct TaskEnded {
    id: CommandId,
    attempt: u32,
    outcome: Option<Outcome>,
}

// === the actor ===

impl CommandPoller {
    /// Makes a poller with nothing under way.
    pub fn new(parts: PollerParts) -> Self {
        Self {
            parts,
            under_way: HashMap::new(),
            unwritten: HashSet::new(),
            no_commands: None,
            ahead: None,
            retries: Retries::default(),
            finished: 0,
            problem: None,
        }
    }
}

impl Actor for CommandPoller {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // What an earlier run said of it may be over.
        (self.parts.no_commands)(None);
        let state = self.parts.state.clone();
        let load = async move { state.unfinished_commands().await };
        ctx.spawn(load.into_actor(self).map(|unfinished, actor, ctx| {
            match unfinished {
                Ok(commands) => commands.into_iter().for_each(|command| actor.begin(command, 1, ctx)),
                Err(error) => actor.refuse_commands("commands of the last run cannot be read", &error),
            }
            // The last run may have failed between writing a result down and saying so.
            actor.tell_spooled(ctx);
            actor.poll(ctx);
        }));
    }
}

crate::supervised!(CommandPoller);

impl Handler<TaskEnded> for CommandPoller {
    type Result = ();

    fn handle(&mut self, TaskEnded { id, attempt, outcome }: TaskEnded, ctx: &mut Self::Context) {
        // An answer to an earlier attempt says nothing about the one under way.
        if self.under_way.get(&id).is_none_or(|under_way| under_way.attempt != attempt) {
            return;
        }
        match outcome {
            Some(outcome) => self.finish(id, outcome, ctx),
            None => self.again(&id, ctx),
        }
    }
}

impl Handler<GetStatus> for CommandPoller {
    type Result = ActorStatus;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> ActorStatus {
        let state = match (self.parts.link.get(), self.retries.count()) {
            (None, _) => "waiting for the master",
            (Some(_), 0) => "polling",
            (Some(_), _) => "retrying",
        };
        let detail = json!({
            "under_way": self.under_way.keys().collect::<Vec<_>>(),
            "finished": self.finished,
            "failures_in_a_row": self.retries.count(),
        });
        ActorStatus { state, problem: self.no_commands.clone().or_else(|| self.problem.clone()), detail }
    }
}

// === from the master ===

impl CommandPoller {
    fn harvest(&mut self, Round { link, took, result }: Round, ctx: &mut Ctx<Self>) {
        let commands = match result {
            Ok(Polled::Nothing) => return self.poll(ctx),
            Ok(Polled::NoRoom(error)) => {
                self.refuse_commands(
                    "commands could not be written down, so they are left with the master",
                    &error,
                );
                let wait = self.retries.failed(None, ctx.chance());
                return self.poll_later(wait, ctx);
            }
            Ok(Polled::Native(delivery)) => {
                let now = ctx.clock().now();
                self.ahead = delivery.master_time.map(|there| there - now).or(self.ahead);
                from_native(delivery, now)
            }
            Ok(Polled::DockFlare(commands)) => from_dockflare(commands, ctx),
            Err(error) => return self.poll_failed(&link, &error, ctx),
        };
        self.retries.reset();
        self.problem = None;
        if link.dialect() == Dialect::V2 {
            // It was asked, so there was room.
            self.accept_commands();
        }
        let pause = Self::pause_after(link.dialect(), commands.is_empty(), took, ctx.chance());
        if commands.is_empty() {
            return self.poll_later(pause, ctx);
        }
        self.record(Batch { link, commands, pause }, ctx);
    }

    fn poll_failed(&mut self, link: &Link, error: &UplinkError, ctx: &mut Ctx<Self>) {
        debug!(error = %error, "the master cannot be asked for commands");
        self.problem = Some(error.to_string());
        let wait = match error.verdict(link.dialect()) {
            Verdict::Retry { after } => self.retries.failed(after, ctx.chance()),
            Verdict::RegisterAgain => {
                self.tell_link_lost(link.epoch);
                self.retries.failed(None, ctx.chance())
            }
            Verdict::Removed => {
                if self.parts.reporter.tell(RemovedThere { epoch: link.epoch }).is_err() {
                    debug!("the reporter is busy; it will notice the removal itself");
                }
                self.retries.refused(ctx.chance())
            }
            Verdict::KeyRefused | Verdict::Refused => self.retries.refused(ctx.chance()),
        };
        self.poll_later(wait, ctx);
    }

    /// Says that the commands are here. If that fails, they come again and are recognised.
    fn acknowledge(&mut self, link: &Arc<Link>, ids: Vec<CommandId>, ctx: &mut Ctx<Self>) {
        let (link, uplink) = (Arc::clone(link), Arc::clone(&self.parts.uplink));
        let calls = async move {
            let session = link.session.clone().unwrap_or_default();
            for id in ids {
                match uplink.acknowledge(&link.agent_id, &session, &id).await {
                    Err(error) if error.verdict(Dialect::Native) == Verdict::RegisterAgain => {
                        return Some(link.epoch);
                    }
                    Err(error) => {
                        debug!(command.id = %id, error = %error, "a command could not be acknowledged")
                    }
                    Ok(()) => {}
                }
            }
            None
        };
        ctx.spawn(calls.into_actor(self).map(|lost, actor, _| {
            lost.into_iter().for_each(|epoch| actor.tell_link_lost(epoch));
        }));
    }

    fn tell_link_lost(&self, epoch: u64) {
        if self.parts.reporter.tell(LinkLost { epoch }).is_err() {
            debug!("the reporter is busy; it will notice the lost session itself");
        }
    }
}

/// Expiry is master time: what is left of it is counted from now, whatever this host's clock shows.
fn from_native(delivery: CommandDelivery, now: DateTime<Utc>) -> Vec<NewCommand> {
    let local = |command: &DeliveredCommand| {
        let left = command.expires_at - delivery.master_time.unwrap_or(command.issued_at);
        now.checked_add_signed(left.min(TimeDelta::days(365)))
    };
    let new = |command: &DeliveredCommand| NewCommand {
        id: command.id.clone(),
        is_native: true,
        received_at: now,
        expires_at: local(command),
        command: command.command.clone(),
    };
    delivery.commands.iter().map(new).collect()
}

/// A DockFlare Master's commands have neither id nor expiry; they get an id of ours.
fn from_dockflare(commands: Vec<AgentCommand>, ctx: &Ctx<CommandPoller>) -> Vec<NewCommand> {
    let new = |command| NewCommand {
        id: CommandId::new(format!("dockflare-{}", ctx.chance().uuid())),
        is_native: false,
        received_at: ctx.clock().now(),
        expires_at: None,
        command,
    };
    commands.into_iter().map(new).collect()
}

#[cfg(test)]
mod tests;
