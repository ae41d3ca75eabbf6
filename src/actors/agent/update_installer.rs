//! Works out what would be changed on this host, and carries out what the master orders: one thing at a time.
//!
//! The work runs elsewhere, by [`Hands`]; here is only what comes next, and whom its outcome is told. A run is interrupted by
//! nothing. One that a crash cut off is gone on with when the command poller hands its order over again. Plans and runs wait
//! in the outbox before the result of their command does. Runs that somebody began on the host itself are told too.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Handler, Message, WrapFuture};
use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::{info, warn};

use super::command_poller::{HostTask, HostWork};
use super::link::CurrentLink;
use super::status::{ActorStatus, GetStatus};
use super::update_scanner::Looked;
use crate::actors::supervision::Ctx;
use crate::domain::command::Outcome;
use crate::domain::delivery::Dialect;
use crate::domain::id::{AgentId, CommandId};
use crate::domain::order::SIZE_LIMIT;
use crate::domain::update::{PlanAsk, Problem, Run, RunId, RunOutcome, RunProgress};
use crate::protocol::v3::PlanTold;
use crate::state_dir::{SpooledItem, StateDir};
use crate::updates::{Errand, Hands, HandsStatus, TellProgress};

/// Most tasks that wait.
const QUEUE: usize = 16;
/// Longest that a plan may be worked out.
const PLAN_LIMIT: Duration = Duration::from_secs(15 * 60);
/// Time between two looks for runs that were not told.
const TELL_EVERY: Duration = Duration::from_secs(300);
/// A host that starts has other things to do first.
const TELL_FIRST: Duration = Duration::from_secs(5);
/// Longest outcome that is told, in characters.
const WORDS: usize = 1_900;

/// Takes how far a run is, and nothing when it ended.
pub type TellRun = Arc<dyn Fn(Option<RunProgress>) + Send + Sync>;

/// What the installer works with.
#[derive(Clone)]
pub struct InstallerParts {
    /// Plans and changes.
    pub hands: Arc<dyn Hands>,
    /// Where what is told waits.
    pub state: StateDir,
    /// What there is with the master.
    pub link: CurrentLink,
    /// Has the host looked at after a run.
    pub scan: Arc<dyn Fn(Looked) -> bool + Send + Sync>,
    /// Takes how far a run is.
    pub tell_run: TellRun,
    /// Has what waits in the outbox sent.
    pub spooled: Arc<dyn Fn() + Send + Sync>,
}

/// Something is to be worked out or changed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Install(pub HostTask);

/// It is time to look for runs that were not told.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct TellDue;

/// See the module.
pub struct UpdateInstaller {
    parts: InstallerParts,
    queue: VecDeque<HostTask>,
    busy: Option<Busy>,
    hands: Option<HandsStatus>,
    last: Option<Last>,
}

/// What is under way.
struct Busy {
    command: CommandId,
    is_plan: bool,
    since: DateTime<Utc>,
}

/// How the last task came out.
struct Last {
    command: CommandId,
    outcome: Outcome,
}

impl UpdateInstaller {
    /// Makes one with nothing to do.
    pub fn new(parts: InstallerParts) -> Self {
        Self { parts, queue: VecDeque::new(), busy: None, hands: None, last: None }
    }

    /// Begins with the next task, if none is under way.
    fn next(&mut self, ctx: &mut Ctx<Self>) {
        if self.busy.is_some() {
            return;
        }
        let Some(HostTask { id, work, ahead, expired, reply }) = self.queue.pop_front() else { return };
        let is_plan = matches!(work, HostWork::Plan(_));
        self.busy = Some(Busy { command: id.clone(), is_plan, since: ctx.clock().now() });
        let (parts, command, clock) = (self.parts.clone(), id.clone(), ctx.clock().clone());
        let work = async move {
            let ended = match work {
                HostWork::Plan(ask) => parts.plan(command, ask).await,
                HostWork::Cancel { run, by } => parts.cancel(&run, &by).await,
                HostWork::CarryOut(order) => match parts.agent().await {
                    Ok(agent) => parts.carry_out(Errand { order: *order, agent, ahead, expired }).await,
                    Err(why) => Err(why),
                },
            };
            let (succeeded, message) = ended.map_or_else(|why| (false, why), |words| (true, words));
            let message = message.chars().take(WORDS).collect();
            (Outcome { succeeded, message, finished_at: Some(clock.now()) }, parts.hands.status().await)
        };
        ctx.spawn(work.into_actor(self).map(|(outcome, hands), actor, ctx| {
            reply.send(outcome.clone());
            (actor.busy, actor.hands) = (None, Some(hands));
            actor.last = Some(Last { command: id, outcome });
            actor.next(ctx);
        }));
    }
}

impl InstallerParts {
    async fn agent(&self) -> Result<AgentId, String> {
        let id = self.state.agent_id().await.map_err(|error| error.to_string())?;
        id.ok_or_else(|| "this agent has no id yet".to_owned())
    }

    /// Works a plan out and lets it wait for the master. Returns what came out, in words.
    async fn plan(&self, command: CommandId, ask: PlanAsk) -> Result<String, String> {
        let planned = tokio::time::timeout(PLAN_LIMIT, self.hands.plan(&ask)).await;
        let late = || Problem {
            reason: format!("planning took longer than {} min", PLAN_LIMIT.as_secs() / 60),
            way_out: None,
        };
        let planned = planned.unwrap_or_else(|_| Err(late())).and_then(|plan| {
            let bytes = serde_json::to_vec(&plan).map_or(usize::MAX, |json| json.len());
            let too_large = || Problem {
                reason: format!("the plan has {bytes} bytes, and 8 MiB can be told"),
                way_out: Some("ask for fewer updates at a time".into()),
            };
            if bytes > SIZE_LIMIT { Err(too_large()) } else { Ok(plan) }
        });
        let words = match &planned {
            Ok(plan) => {
                Ok(format!("planned: {} changes, plan {}", plan.changes.all().len(), plan.id().short()))
            }
            Err(problem) => Err(problem.reason.clone()),
        };
        let (plan, problem) = match planned {
            Ok(plan) => (Some(plan), None),
            Err(problem) => (None, Some(problem)),
        };
        let told = SpooledItem::Plan { plan: Box::new(PlanTold { command, plan, problem }) };
        self.state.spool(told).await.map_err(|error| format!("the plan cannot be told: {error}"))?;
        (self.spooled)();
        words
    }

    async fn cancel(&self, run: &RunId, by: &str) -> Result<String, String> {
        let asked = self.hands.cancel(run, by).await.map_err(|problem| problem.reason);
        asked.map(|()| format!("{run} stops at its next safe point"))
    }

    /// Carries an order out and lets its run wait for the master. Returns how it came out, in words.
    async fn carry_out(&self, errand: Errand) -> Result<String, String> {
        let (agent, tell) = (errand.agent.clone(), Arc::clone(&self.tell_run));
        let tell: TellProgress = Arc::new(move |progress| tell(Some(progress)));
        let carried_out = self.hands.carry_out(errand, tell).await;
        (self.tell_run)(None);
        let run = carried_out.map_err(|refusal| refusal.to_string())?;
        info!(run = %run.id, outcome = outcome_word(&run), "carried out an order of the master");
        if let Err(why) = self.tell(&run.id, &agent).await {
            warn!(run = %run.id, reason = %why, "the run is told later");
        }
        // What is not taken is looked at in a few minutes anyway.
        let _ = (self.scan)(Box::new(|_| ()));
        let words = format!("{}: {}", run.id, outcome_word(&run));
        match &run.outcome {
            Some(RunOutcome::Verified) => Ok(words),
            other => {
                let reason = other.as_ref().and_then(RunOutcome::reason).unwrap_or_default();
                Err(format!("{words}: {reason}"))
            }
        }
    }

    /// Lets a run wait for the master.
    async fn tell(&self, run: &RunId, agent: &AgentId) -> Result<(), String> {
        let told = self.hands.read_run(run).await.map_err(|problem| problem.reason)?;
        let Some(told) = told else { return Ok(()) };
        let item = SpooledItem::Run { run: Box::new(told) };
        self.state.spool(item).await.map_err(|error| error.to_string())?;
        (self.spooled)();
        // After a crash in between it is told twice, which says nothing new.
        self.hands.mark_told(run, agent).await.map_err(|problem| problem.reason)
    }

    /// Tells of runs that ended and were not told, those of the command line among them.
    async fn tell_all(&self) -> Result<(), String> {
        let is_native = self.link.get().is_some_and(|link| link.dialect() == Dialect::Native);
        // A master that shows no key is older than orders, and has nowhere to put runs.
        if !is_native || self.hands.status().await.key.is_none() {
            return Ok(());
        }
        let agent = self.agent().await?;
        for run in self.hands.untold(&agent).await.map_err(|problem| problem.reason)? {
            self.tell(&run, &agent).await?;
        }
        Ok(())
    }
}

fn outcome_word(run: &Run) -> String {
    run.outcome.as_ref().map_or("under way", RunOutcome::as_str).replace('_', " ")
}

impl Actor for UpdateInstaller {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.notify_later(TellDue, TELL_FIRST);
    }
}

crate::supervised!(UpdateInstaller);

impl Handler<Install> for UpdateInstaller {
    type Result = ();

    fn handle(&mut self, Install(task): Install, ctx: &mut Self::Context) {
        if let HostTask { work: HostWork::Cancel { run, by }, reply, .. } = task {
            // What is under way is what it is about.
            let (parts, clock) = (self.parts.clone(), ctx.clock().clone());
            let asked = async move { parts.cancel(&run, &by).await };
            ctx.spawn(asked.into_actor(self).map(move |asked, _, _| {
                let (succeeded, message) = asked.map_or_else(|why| (false, why), |words| (true, words));
                reply.send(Outcome { succeeded, message, finished_at: Some(clock.now()) });
            }));
            return;
        }
        if self.queue.len() >= QUEUE {
            let message =
                format!("this host has {QUEUE} plans and orders to work off already; try again later");
            let outcome = Outcome { succeeded: false, message, finished_at: Some(ctx.clock().now()) };
            return task.reply.send(outcome);
        }
        self.queue.push_back(task);
        self.next(ctx);
    }
}

impl Handler<TellDue> for UpdateInstaller {
    type Result = ();

    fn handle(&mut self, _: TellDue, ctx: &mut Self::Context) {
        let parts = self.parts.clone();
        let told = async move {
            if let Err(why) = parts.tell_all().await {
                warn!(reason = %why, "runs of this host cannot be told now");
            }
            parts.hands.status().await
        };
        ctx.spawn(told.into_actor(self).map(|hands, actor, ctx| {
            actor.hands = Some(hands);
            ctx.notify_later(TellDue, TELL_EVERY);
        }));
    }
}

impl Handler<GetStatus> for UpdateInstaller {
    type Result = ActorStatus;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> ActorStatus {
        let state = match &self.busy {
            None => "idle",
            Some(busy) if busy.is_plan => "planning",
            Some(_) => "carrying out",
        };
        let problem = self.hands.as_ref().and_then(|hands| {
            let refused = hands.refused_key.as_ref();
            let distrust = refused.map(|key| format!("the master's key {key} is not trusted on this host"));
            hands.problem.clone().or(distrust)
        });
        let detail = json!({
            "command": self.busy.as_ref().map(|busy| &busy.command),
            "since": self.busy.as_ref().map(|busy| busy.since),
            "waiting": self.queue.len(),
            "last": self.last.as_ref().map(|last| json!({ "command": last.command, "outcome": last.outcome })),
            "key": self.hands.as_ref().and_then(|hands| hands.key.as_ref()),
            "refused_key": self.hands.as_ref().and_then(|hands| hands.refused_key.as_ref()),
        });
        ActorStatus { state, problem, detail }
    }
}

#[cfg(test)]
mod tests;
