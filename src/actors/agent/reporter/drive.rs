//! How the reporter decides which call comes next, and what a finished one means.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use tracing::{debug, error, info, warn};

use super::call::{Call, CallEnd, register_request};
use super::messages::HeartbeatDue;
use super::{JITTER, Reporter};
use crate::actors::agent::link::Link;
use crate::actors::supervision::Ctx;
use crate::domain::delivery::Dialect;
use crate::domain::report::{Report, Reports};
use crate::protocol::v2::event_form;
use crate::uplink::{UplinkError, Verdict};

/// What is said after the end.
const REMOVED_THERE: &str = "this host was removed there, at the master: nothing is reported and no command is taken \
     any more, and the tunnel is left as it is; start the agent again to have it register anew";

impl Reporter {
    /// Makes the next call, if there is one to make and nothing speaks against it.
    pub(super) fn drive(&mut self, ctx: &mut Ctx<Self>) {
        let is_over = self.parts.link.is_over();
        if !self.is_ready || self.is_busy || self.is_paused || self.is_ending || is_over {
            return;
        }
        let Some(call) = self.next_call(ctx) else { return };
        self.is_busy = true;
        let (uplink, state) = (Arc::clone(&self.parts.uplink), self.parts.state.clone());
        let is_result = matches!(call, Call::Result { .. });
        let made = async move { call.make(&*uplink, &state).await };
        ctx.spawn(made.into_actor(self).map(move |done, actor, ctx| {
            actor.is_busy = false;
            // Sent or not, there may be one more.
            actor.has_results |= is_result && matches!(done, CallEnd::Sent { .. });
            actor.finish(done, ctx);
            actor.drive(ctx);
        }));
    }

    fn next_call(&mut self, ctx: &mut Ctx<Self>) -> Option<Call> {
        let Some(link) = self.parts.link.get() else {
            let request = register_request(&self.parts.settings, self.agent_id.clone());
            return Some(Call::Register { request, known_id: self.agent_id.clone() });
        };
        if self.has_results && link.dialect() == Dialect::Native {
            // Taken back before looking: one that is spooled while none is found must not be forgotten.
            self.has_results = false;
            return Some(Call::Result { link });
        }
        self.report_call(&link, ctx)
    }

    /// Takes what is due: everything for a native master, one event for a DockFlare Master.
    pub(super) fn report_call(&mut self, link: &Arc<Link>, ctx: &mut Ctx<Self>) -> Option<Call> {
        let (link, now) = (Arc::clone(link), ctx.clock().now());
        if let Some(session) = link.session.clone() {
            let items = self.view.take_all();
            let batch = Reports { session, first_seq: self.next_seq, sent_at: Some(now), items };
            // Numbers are used once: a batch that may have arrived is never replaced under its own numbers.
            self.next_seq += batch.items.len() as u64;
            return (!batch.items.is_empty()).then_some(Call::Batch { link, batch });
        }
        while let Some(said) = self.view.take_next() {
            if matches!(said.report, Report::Snapshot { .. }) && !self.has_announced {
                self.has_announced = true;
                self.view.announce_each();
            }
            if let Some(event) = event_form(&said.report, said.container.as_ref(), now) {
                return Some(Call::Event { link, event });
            }
        }
        None
    }

    fn finish(&mut self, done: CallEnd, ctx: &mut Ctx<Self>) {
        match done {
            CallEnd::Registered(Ok(registered)) => {
                let dialect = if registered.session.is_some() { "native" } else { "dockflare" };
                info!(agent.id = %registered.agent_id, uplink.dialect = dialect, "registered with the master");
                self.agent_id = Some(registered.agent_id.clone());
                self.next_seq = 0;
                self.has_results = registered.session.is_some();
                if self.parts.label_prefix.learn(registered.label_prefix) {
                    // What was listed was chosen by another prefix: it is listed again before it is told.
                    self.parts.last_containers.clear();
                    self.view.listing_lost();
                }
                self.view.say_all_again();
                self.parts.link.set(registered.agent_id, registered.session);
            }
            CallEnd::Registered(Err(error)) => self.fail(&error, Dialect::V2, ctx),
            CallEnd::NoResult => {}
            CallEnd::Spool(error) => {
                error!(error = &error as &dyn std::error::Error, "a result cannot be read or removed");
                self.problem = Some(error.to_string());
            }
            CallEnd::Sent { link, result: Ok(next_seq) } => {
                if self.is_current(&link) {
                    self.next_seq = self.next_seq.max(next_seq.unwrap_or(0));
                }
                self.succeed(ctx);
            }
            CallEnd::Sent { link, result: Err(error) } => {
                // What was taken may not have arrived, and the world goes on: say how it is, not how it was.
                self.view.say_all_again();
                if self.is_current(&link) {
                    self.fail(&error, link.dialect(), ctx);
                }
            }
        }
    }

    fn is_current(&self, link: &Link) -> bool {
        self.parts.link.get().is_some_and(|current| current.epoch == link.epoch)
    }

    fn succeed(&mut self, ctx: &mut Ctx<Self>) {
        if self.retries.count() > 0 {
            info!("the master answers again");
        }
        self.retries.reset();
        self.problem = None;
        self.last_success = Some(ctx.clock().now());
    }

    /// Decides when and how to go on. A failure is logged when it is new, not at every attempt.
    fn fail(&mut self, error: &UplinkError, dialect: Dialect, ctx: &mut Ctx<Self>) {
        let text = error.to_string();
        if self.problem.as_ref() == Some(&text) {
            debug!(error = %error, "the master still cannot be reported to");
        } else {
            warn!(error = %error, "the master cannot be reported to; the tunnel keeps running");
        }
        self.problem = Some(text);
        match error.verdict(dialect) {
            Verdict::Retry { after } => {
                let wait = self.retries.failed(after, ctx.chance());
                self.pause(wait, ctx);
            }
            Verdict::RegisterAgain => self.lose_link(ctx),
            Verdict::Removed => self.removed_there(),
            Verdict::KeyRefused => {
                self.parts.link.clear();
                let wait = self.retries.refused(ctx.chance());
                self.pause(wait, ctx);
            }
            Verdict::Refused => {
                let wait = self.retries.refused(ctx.chance());
                self.pause(wait, ctx);
            }
        }
    }

    /// A person decided so: coming back by itself as a new host would undo it.
    pub(super) fn removed_there(&mut self) {
        self.parts.link.end();
        self.problem = Some(REMOVED_THERE.to_owned());
        warn!("{REMOVED_THERE}");
    }

    pub(super) fn lose_link(&mut self, ctx: &mut Ctx<Self>) {
        info!("the master does not know this session any more; registering again");
        self.parts.link.clear();
        let wait = self.retries.session_lost(ctx.chance());
        self.pause(wait, ctx);
    }

    /// Lets no call be made for `wait`. There is at most one pause: it begins only after a call.
    fn pause(&mut self, wait: Duration, ctx: &mut Ctx<Self>) {
        if wait.is_zero() || self.is_paused {
            return;
        }
        self.is_paused = true;
        ctx.run_later(wait, |actor, ctx| {
            actor.is_paused = false;
            actor.drive(ctx);
        });
    }

    /// Takes in how the tunnel is, should the news of it have been lost.
    pub(super) fn recall_tunnel(&mut self) {
        if let Some(report) = self.parts.last_tunnel.get() {
            self.view.tunnel(report);
        }
    }

    /// Takes in what runs: the news of it went to an earlier run.
    pub(super) fn recall_containers(&mut self) {
        if let Some(list) = self.parts.last_containers.get() {
            self.view.listed(list);
        }
    }

    pub(super) fn arm_beat(&mut self, ctx: &mut Ctx<Self>) {
        let wait = ctx.chance().jitter(self.parts.settings.interval, JITTER);
        ctx.notify_later(HeartbeatDue, wait);
    }
}
