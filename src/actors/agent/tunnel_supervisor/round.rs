//! The comparison, round by round: look, decide, take one step, look again.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::look::{SeenContainers, look, name_of_network, next_step};
use super::step::{StepEnd, StepError, carry_out};
use super::{Ending, TunnelSupervisor};
use crate::actors::supervision::{Backoff, Ctx};
use crate::docker::DockerError;
use crate::domain::agent_tunnel::{Desired, NextStep, RunState, Step};
use crate::domain::tunnel::{ELSEWHERE, TunnelHealth};
use crate::state_dir::DesiredState;

/// Waits while the Engine is away or refuses.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(250),
    max: Duration::from_secs(15),
    jitter: 0.3,
    reset_after: Duration::ZERO,
};
/// How often a connector is asked whether it is ready while something waits for it.
const HANDOVER: Duration = Duration::from_millis(200);
/// How often a tunnel that is not well is looked at while something changed not long ago.
const CLOSE_WATCH: Duration = Duration::from_secs(1);
/// How long after a change that is.
const CLOSE_WATCH_FOR: Duration = Duration::from_secs(60);
/// How long a command may wait for an Engine or a container before its failure is told.
const PATIENCE: Duration = Duration::from_secs(60);
/// `cloudflared` ends with this code if its token is none; trying again makes no sense.
const BAD_TOKEN: i64 = 255;

impl TunnelSupervisor {
    /// Begins a round, or has one follow the round under way.
    pub(super) fn look(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        if self.is_busy || self.ending != Ending::No {
            self.is_touched = true;
            return;
        }
        self.is_busy = true;
        self.is_touched = false;
        if self.save(ctx) {
            return;
        }
        if self.parts.settings.is_external {
            return self.leave_to_others(ctx);
        }
        let (docker, network) = (Arc::clone(&self.parts.docker), self.parts.settings.network.clone());
        let looked = async move {
            let network = name_of_network(&*docker, &network).await?;
            Ok::<_, DockerError>((network, look(&*docker).await?))
        };
        ctx.spawn(looked.into_actor(self).map(|looked, actor, ctx| {
            if actor.ended_meanwhile(ctx) {
                return;
            }
            match looked {
                Ok((network, sight)) => {
                    if let Some(name) = network {
                        actor.parts.settings.network = name;
                    }
                    actor.seen(sight, ctx);
                }
                Err(error) => actor.step_failed(&StepError::Docker(error), ctx),
            }
        }));
    }

    /// Ends the round under way. Returns true if the actor is to end and this was waited for.
    pub(super) fn ended_meanwhile(&mut self, ctx: &mut Ctx<Self>) -> bool {
        self.is_busy = false;
        if self.ending == Ending::Wanted {
            self.retire(ctx);
        }
        self.ending != Ending::No
    }

    /// Nothing is started, looked at or stopped here: an order is kept, and said to be with whoever runs the connector.
    fn leave_to_others(&mut self, ctx: &mut Ctx<Self>) {
        self.is_busy = false;
        let now = ctx.clock().now();
        match self.orders.state().desired_state {
            DesiredState::Running => {
                self.orders.succeed(&format!("nothing was started: {ELSEWHERE}"), now);
            }
            DesiredState::Stopped => {
                self.orders.forget_tunnel();
                self.orders.succeed(&format!("nothing was stopped: {ELSEWHERE}"), now);
            }
            DesiredState::Unknown => {}
        }
        self.tell(None, now);
        let (is_kept, calm) = (self.orders.to_save().is_none(), self.parts.settings.check);
        self.look_after(if is_kept { calm } else { calm.min(self.keeping.wait()) }, ctx);
    }

    fn seen(&mut self, sight: SeenContainers, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        self.settling.note(&sight, now);
        self.sight = sight;
        let desired = self.orders.desired(&self.parts.settings);
        let next = match self.agent_id() {
            Some(agent) => next_step(&agent, &desired, &self.sight, &self.settling, now),
            None if desired == Desired::Unknown => NextStep::Nothing,
            None => NextStep::Wait { reason: "the master has not named this host yet".into() },
        };
        match next {
            NextStep::Nothing => self.all_well(ctx),
            NextStep::Do { step, reason } => self.consider(step, &reason, ctx),
            NextStep::Wait { reason } => self.wait(reason, ctx),
            NextStep::Refuse { reason } => self.refuse(reason, ctx),
        }
    }

    fn all_well(&mut self, ctx: &mut Ctx<Self>) {
        let now = ctx.clock().now();
        self.failures = 0;
        self.refusal = None;
        self.tell(None, now);
        let is_proven =
            self.sight.main.as_ref().is_some_and(|main| self.settling.is_proven(main, Instant::now()));
        match self.orders.state().desired_state {
            DesiredState::Running if self.orders.state().token.is_some() => {
                if self.orders.has_waiting() && !is_proven {
                    return self.look_after(HANDOVER, ctx);
                }
                self.orders.succeed("the tunnel container runs", now);
            }
            DesiredState::Stopped => {
                self.orders.forget_tunnel();
                self.orders.succeed("the tunnel container is stopped and removed", now);
            }
            DesiredState::Running | DesiredState::Unknown => {}
        }
        let is_ready = self
            .told
            .as_ref()
            .is_none_or(|t| matches!(t.health, TunnelHealth::Running | TunnelHealth::Stopped));
        let is_new = self.last_change.elapsed() < CLOSE_WATCH_FOR;
        let calm = if is_ready || !is_new { self.parts.settings.check } else { CLOSE_WATCH };
        let is_kept = self.orders.to_save().is_none();
        self.look_after(if is_kept { calm } else { calm.min(self.keeping.wait()) }, ctx);
    }

    /// An order that cannot be kept is not carried out now; it stays wanted.
    fn lose_patience(&mut self, now: DateTime<Utc>) {
        if let Some(problem) = self.keeping.problem()
            && self.last_change.elapsed() > PATIENCE
        {
            self.orders.fail_held_up(problem.clone(), now);
        }
    }

    fn consider(&mut self, step: Step, reason: &str, ctx: &mut Ctx<Self>) {
        if self.pulling.is_some() && matches!(step, Step::Create { .. }) {
            return self.wait(format!("image `{}` is being pulled", self.parts.settings.image), ctx);
        }
        let wait = self.repairs.wait(&step, Instant::now());
        if !wait.is_zero() {
            // What went wrong says more than that it has to be done again.
            let trouble = self.refusal.clone().unwrap_or_else(|| {
                format!("{reason}; repaired a moment ago, trying again in {} s", wait.as_secs() + 1)
            });
            self.tell(Some(trouble), ctx.clock().now());
            return self.look_after(wait, ctx);
        }
        let Some(agent) = self.agent_id() else { return };
        info!(tunnel.step = ?step, reason, "changing the tunnel container");
        self.repairs.took(&step, Instant::now(), ctx.chance());
        self.last_change = Instant::now();
        self.is_busy = true;
        let docker = Arc::clone(&self.parts.docker);
        let new = self.orders.new_connector(&agent, &self.parts.settings);
        let done = async move { carry_out(&*docker, step, new, &agent).await };
        ctx.spawn(done.into_actor(self).map(|done, actor, ctx| {
            if actor.ended_meanwhile(ctx) {
                return;
            }
            match done {
                StepEnd::Changed => actor.look(ctx),
                StepEnd::ImageMissing => {
                    actor.pull(ctx);
                    actor.look(ctx);
                }
                StepEnd::Failed(error) => actor.step_failed(&error, ctx),
            }
        }));
    }

    /// Fetches the image beside the rounds, so that an order to stop need not wait for it.
    fn pull(&mut self, ctx: &mut Ctx<Self>) {
        let (docker, image) = (Arc::clone(&self.parts.docker), self.parts.settings.image.clone());
        info!(tunnel.image = %image, "pulling the image of the connector");
        let pulled = async move { docker.pull_image(&image).await };
        self.pulling = Some(ctx.spawn(pulled.into_actor(self).map(|pulled, actor, ctx| {
            actor.pulling = None;
            match pulled {
                Ok(()) => {
                    actor.repairs.forget();
                    actor.look(ctx);
                }
                Err(error) => actor.step_failed(&StepError::from(error), ctx),
            }
        })));
    }

    fn wait(&mut self, reason: String, ctx: &mut Ctx<Self>) {
        debug!(reason, "waiting with the tunnel");
        if self.pulling.is_none() {
            // It was started after all.
            self.refusal = None;
        }
        // Its log may come a moment after its end, and is the reason that a person needs.
        let is_hopeless = self.sight.main.as_ref().is_some_and(|main| {
            let details = &main.details;
            let has_bad_token = details.state == RunState::Restarting && details.exit_code == Some(BAD_TOKEN);
            has_bad_token && main.last_words.is_some()
        });
        if self.orders.has_waiting()
            && (is_hopeless || self.last_change.elapsed() > PATIENCE)
            && self.pulling.is_none()
        {
            self.orders.fail(reason.clone(), ctx.clock().now());
        }
        self.tell(Some(reason), ctx.clock().now());
        let is_handover = self.sight.main.is_some() && self.sight.next.is_some();
        let is_new = self.last_change.elapsed() < CLOSE_WATCH_FOR;
        let wait = match (is_handover, is_new) {
            (true, true) => HANDOVER,
            // It may never get ready; the old one serves meanwhile.
            (true, false) => self.parts.settings.check,
            (false, _) => CLOSE_WATCH,
        };
        self.look_after(wait, ctx);
    }

    fn refuse(&mut self, reason: String, ctx: &mut Ctx<Self>) {
        let now = ctx.clock().now();
        // What stands there is not ours to speak of.
        self.sight = SeenContainers::default();
        if self.told.as_ref().and_then(|told| told.reason.as_ref()) != Some(&reason) {
            warn!(reason, "the tunnel cannot be run");
        }
        self.orders.fail(reason.clone(), now);
        self.tell(Some(reason), now);
        self.look_after(self.parts.settings.check, ctx);
    }

    fn step_failed(&mut self, error: &StepError, ctx: &mut Ctx<Self>) {
        let now = ctx.clock().now();
        let refusal = (!error.is_away()).then(|| error.to_string());
        let is_new = refusal.is_some() && refusal != self.refusal;
        if self.failures == 0 || is_new {
            warn!(
                error = error as &dyn std::error::Error,
                "the tunnel container cannot be seen to; trying again"
            );
        }
        self.failures = self.failures.saturating_add(1);
        if refusal.is_some() {
            self.refusal = refusal;
        }
        // An Engine that is away may be back in a moment; anything else is worth telling at once.
        let is_over = !error.is_away() || self.last_change.elapsed() > PATIENCE;
        if is_over {
            self.orders.fail(error.to_string(), now);
        }
        self.tell_trouble(error, now);
        let wait = RETRY.delay(self.failures, ctx.chance());
        self.look_after(wait, ctx);
    }

    fn look_after(&mut self, wait: Duration, ctx: &mut Ctx<Self>) {
        self.lose_patience(ctx.clock().now());
        if self.is_touched || wait.is_zero() {
            return self.look(ctx);
        }
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(wait, |actor, ctx| {
            actor.timer = None;
            actor.look(ctx);
        }));
    }
}
