//! How the poller carries commands out.

use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use chrono::{DateTime, Utc};
use tracing::{debug, info, warn};

use super::task::{Action, HostTask, HostWork, TaskReply, TunnelTask, TunnelWork};
use super::{AGAIN, ATTEMPTS, CommandPoller, TASK_LIMIT, TaskEnded, UnderWay};
use crate::actors::agent::update_scanner::Looked;
use crate::actors::supervision::Ctx;
use crate::domain::command::Outcome;
use crate::domain::id::CommandId;
use crate::state_dir::UnfinishedCommand;

impl CommandPoller {
    pub(super) fn begin(&mut self, command: UnfinishedCommand, attempt: u32, ctx: &mut Ctx<Self>) {
        let id = command.id.clone();
        let is_new = attempt == 1;
        if is_new && (self.under_way.contains_key(&id) || self.unwritten.contains(&id)) {
            return;
        }
        // What was begun in time is carried on with, even if the clock was set forward meanwhile.
        let expired = command.expires_at.filter(|at| is_new && *at <= ctx.clock().now());
        let action = match (Action::of(&command.command), expired) {
            (Action::Host(_), _) if !command.is_native => {
                Action::Refuse("only a native master plans and orders changes of a host".into())
            }
            // A run that it began in time is gone on with after a restart: that is known there.
            (Action::Host(work @ HostWork::CarryOut(_)), _) => Action::Host(work),
            (_, Some(at)) => {
                Action::Refuse(format!("it expired at {} before it could be carried out", at.to_rfc3339()))
            }
            (action, None) => action,
        };
        self.under_way.insert(id.clone(), UnderWay { command, attempt });
        match action {
            Action::Tunnel(work) => self.hand_over(id, work, attempt, ctx),
            Action::Host(work) => self.hand_to_host(id, work, attempt, expired, ctx),
            Action::Scan => self.look(id, &Arc::clone(&self.parts.scan), attempt, ctx),
            Action::ConnectorLog => self.look(id, &Arc::clone(&self.parts.connector_log), attempt, ctx),
            Action::PutIngress(list) => self.put_ingress(id, list, ctx),
            Action::Refuse(why) => self.finish(id, outcome(false, why, ctx), ctx),
        }
    }

    /// Makes what takes the outcome of one attempt.
    fn reply(id: &CommandId, attempt: u32, ctx: &mut Ctx<Self>) -> TaskReply {
        let (port, id) = (ctx.port(), id.clone());
        TaskReply::new(move |outcome| {
            let ended = TaskEnded { id, attempt, outcome };
            if port.tell(ended).is_err() {
                debug!("the command poller takes no answers now; the task's time limit will notice");
            }
        })
    }

    /// Has somebody look at the host; the result says what was found.
    fn look(
        &mut self,
        id: CommandId,
        ask: &Arc<dyn Fn(Looked) -> bool + Send + Sync>,
        attempt: u32,
        ctx: &mut Ctx<Self>,
    ) {
        let (reply, clock) = (Self::reply(&id, attempt, ctx), ctx.clock().clone());
        let is_taken = ask(Box::new(move |found| {
            let (succeeded, message) = found.map_or_else(|why| (false, why), |words| (true, words));
            reply.send(Outcome { succeeded, message, finished_at: Some(clock.now()) });
        }));
        // What was not taken was dropped, and its reply with it: it is handed over again.
        if is_taken {
            ctx.run_later(TASK_LIMIT, move |actor, ctx| actor.give_up(id, attempt, ctx));
        }
    }

    fn hand_over(&mut self, id: CommandId, work: TunnelWork, attempt: u32, ctx: &mut Ctx<Self>) {
        let reply = Self::reply(&id, attempt, ctx);
        match (self.parts.tunnel)(TunnelTask { id: id.clone(), work, reply }) {
            Ok(()) => {
                ctx.run_later(TASK_LIMIT, move |actor, ctx| actor.give_up(id, attempt, ctx));
            }
            Err(task) => {
                task.reply.cancel();
                self.again(&id, ctx);
            }
        }
    }

    /// There is no time limit here: who has it keeps one of its own, and a run takes as long as it takes.
    fn hand_to_host(
        &mut self,
        id: CommandId,
        work: HostWork,
        attempt: u32,
        expired: Option<DateTime<Utc>>,
        ctx: &mut Ctx<Self>,
    ) {
        let reply = Self::reply(&id, attempt, ctx);
        let task = HostTask { id: id.clone(), work, ahead: self.ahead, expired, reply };
        if let Err(task) = (self.parts.host)(task) {
            task.reply.cancel();
            self.again(&id, ctx);
        }
    }

    /// Hands a task over once more, later, or gives it up.
    pub(super) fn again(&mut self, id: &CommandId, ctx: &mut Ctx<Self>) {
        let Some(UnderWay { command, attempt }) = self.under_way.get(id) else { return };
        let (command, next) = (command.clone(), attempt + 1);
        if next > ATTEMPTS {
            let why =
                format!("the part of the agent that carries this out failed {ATTEMPTS} times while it did");
            return self.finish(id.clone(), outcome(false, why, ctx), ctx);
        }
        ctx.run_later(AGAIN * *attempt, move |actor, ctx| {
            if actor.under_way.get(&command.id).is_some_and(|u| u.attempt + 1 == next) {
                actor.begin(command, next, ctx);
            }
        });
    }

    fn give_up(&mut self, id: CommandId, attempt: u32, ctx: &mut Ctx<Self>) {
        if self.under_way.get(&id).is_some_and(|u| u.attempt == attempt) {
            let why = format!("nothing was heard of it for {} s", TASK_LIMIT.as_secs());
            self.finish(id, outcome(false, why, ctx), ctx);
        }
    }

    /// `update_tunnel_config`, for the tunnel this host runs.
    fn put_ingress(&mut self, id: CommandId, list: serde_json::Value, ctx: &mut Ctx<Self>) {
        let (state, uplink) = (self.parts.state.clone(), Arc::clone(&self.parts.uplink));
        let put = async move {
            let tunnel = state.tunnel_state().await.map_err(|e| e.to_string())?.and_then(|known| known.id);
            let tunnel = tunnel.ok_or("no tunnel is known on this host; send start_tunnel first")?;
            let count = list.as_array().map_or(0, |rules| rules.len().saturating_sub(1));
            uplink.put_ingress(&tunnel, list).await.map_err(|e| e.to_string())?;
            Ok::<_, String>(format!("{count} rules written to tunnel {tunnel}"))
        };
        ctx.spawn(put.into_actor(self).map(|put, actor, ctx| {
            let (succeeded, message) = put.map_or_else(|why| (false, why), |done| (true, done));
            actor.finish(id, outcome(succeeded, message, ctx), ctx);
        }));
    }

    pub(super) fn finish(&mut self, id: CommandId, outcome: Outcome, ctx: &mut Ctx<Self>) {
        let Some(UnderWay { command, .. }) = self.under_way.remove(&id) else { return };
        self.finished += 1;
        if outcome.succeeded {
            info!(command.id = %id, "carried out command `{}`", command.command.action());
        } else {
            warn!(command.id = %id, reason = %outcome.message, "command `{}` failed", command.command.action());
        }
        self.keep_outcome(id, outcome, command.is_native, ctx);
    }
}

fn outcome(succeeded: bool, message: String, ctx: &Ctx<CommandPoller>) -> Outcome {
    Outcome { succeeded, message, finished_at: Some(ctx.clock().now()) }
}
