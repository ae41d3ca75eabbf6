//! Nothing is carried out that is not on disk, and no outcome is forgotten before it is.
//!
//! A disk that is full or cannot be written holds everything up here: commands that were fetched wait, nothing more
//! is fetched, and the reason goes into the log and to the master. It goes on by itself as soon as a write succeeds.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use tracing::{debug, error, info};

use super::{Batch, CommandPoller};
use crate::actors::agent::reporter::ResultSpooled;
use crate::actors::supervision::Ctx;
use crate::domain::command::Outcome;
use crate::domain::delivery::Dialect;
use crate::domain::id::CommandId;
use crate::state_dir::{NewCommand, Recorded, StateError, UnfinishedCommand};

/// Wait before an outcome that could not be written is written again, or told again.
const WRITE_AGAIN: Duration = Duration::from_secs(5);

impl CommandPoller {
    /// Writes commands down and acts on them, or tries again until that succeeds.
    pub(super) fn record(&mut self, batch: Batch, ctx: &mut Ctx<Self>) {
        let (state, copies) = (self.parts.state.clone(), batch.commands.clone());
        let record = async move { state.record_commands(copies).await };
        ctx.spawn(record.into_actor(self).map(move |recorded, actor, ctx| match recorded {
            Ok(recorded) => {
                let pause = batch.pause;
                actor.recorded(batch, recorded, ctx);
                actor.poll_later(pause, ctx);
            }
            Err(error) => {
                actor.refuse_commands(
                    "commands cannot be written down, so they are not carried out yet",
                    &error,
                );
                let wait = actor.retries.failed(None, ctx.chance());
                ctx.run_later(wait, |actor, ctx| actor.record(batch, ctx));
            }
        }));
    }

    fn recorded(&mut self, batch: Batch, recorded: Vec<Recorded>, ctx: &mut Ctx<Self>) {
        self.retries.reset();
        self.accept_commands();
        if batch.link.dialect() == Dialect::Native {
            self.acknowledge(&batch.link, batch.commands.iter().map(|c| c.id.clone()).collect(), ctx);
        }
        for (command, recorded) in batch.commands.into_iter().zip(recorded) {
            info!(command.id = %command.id, "received command `{}`", command.command.action());
            match recorded {
                Recorded::Finished(outcome) => self.keep_outcome(command.id, outcome, command.is_native, ctx),
                Recorded::New | Recorded::Unfinished => self.begin(unfinished(command), 1, ctx),
            }
        }
    }

    /// Writes the outcome down, and again until that succeeds: it cannot be observed a second time.
    pub(super) fn keep_outcome(
        &mut self,
        id: CommandId,
        outcome: Outcome,
        is_native: bool,
        ctx: &mut Ctx<Self>,
    ) {
        if self.unwritten.insert(id.clone()) {
            self.write_outcome(id, outcome, is_native, ctx);
        }
    }

    fn write_outcome(&mut self, id: CommandId, outcome: Outcome, is_native: bool, ctx: &mut Ctx<Self>) {
        let state = self.parts.state.clone();
        let write = async move {
            let written = state.record_outcome(&id, outcome.clone(), is_native).await;
            (written, id, outcome)
        };
        ctx.spawn(write.into_actor(self).map(move |(written, id, outcome), actor, ctx| {
            if let Err(error) = written {
                actor.refuse_commands("the result of a command cannot be written down; trying again", &error);
                ctx.run_later(WRITE_AGAIN, move |actor, ctx| {
                    actor.write_outcome(id, outcome, is_native, ctx)
                });
                return;
            }
            actor.unwritten.remove(&id);
            actor.accept_commands();
            if is_native {
                actor.tell_spooled(ctx);
            }
        }));
    }

    /// Has the reporter look for results, now or as soon as it takes messages.
    pub(super) fn tell_spooled(&mut self, ctx: &mut Ctx<Self>) {
        if self.parts.reporter.tell(ResultSpooled).is_err() {
            debug!("the reporter is busy; it hears of the result later");
            ctx.run_later(WRITE_AGAIN, |actor, ctx| actor.tell_spooled(ctx));
        }
    }

    /// Says why no command can be taken in: in the log when it is new, to the master every time.
    pub(super) fn refuse_commands(&mut self, what: &str, error: &StateError) {
        let text = format!("{what}: {error}");
        if self.no_commands.as_ref() == Some(&text) {
            debug!(error = error as &dyn std::error::Error, "still: {what}");
        } else {
            error!(error = error as &dyn std::error::Error, "{what}");
        }
        (self.parts.no_commands)(Some(text.clone()));
        self.no_commands = Some(text);
    }

    /// Takes back what was said last, unless there is still something to write.
    pub(super) fn accept_commands(&mut self) {
        if self.unwritten.is_empty() && self.no_commands.take().is_some() {
            info!("commands can be written down again");
            (self.parts.no_commands)(None);
        }
    }
}

fn unfinished(new: NewCommand) -> UnfinishedCommand {
    UnfinishedCommand {
        id: new.id,
        is_native: new.is_native,
        expires_at: new.expires_at,
        command: new.command,
    }
}
