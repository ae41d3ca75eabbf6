//! Registers with the master and tells it how this host is: containers, tunnel, results of commands.
//!
//! One call is under way at a time. What changes meanwhile coalesces in `View` and goes with the next call,
//! at once if the line is idle. A call that failed makes everything be said again as one fresh snapshot, under new
//! numbers; only results, plans and runs that ended wait on disk and are replayed in order. The tunnel never waits for any of this.

mod call;
mod key;
mod last;
mod messages;
mod view;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Running, WrapFuture};
use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::{debug, error, info, warn};

use self::call::{Call, CallEnd};
use self::messages::HeartbeatDue;
use self::view::View;
use super::label_prefix::LabelPrefix;
use super::link::{CurrentLink, Link};
use super::retries::Retries;
use super::status::{ActorStatus, GetStatus};
use crate::actors::supervision::Ctx;
use crate::domain::delivery::Dialect;
use crate::domain::id::AgentId;
use crate::domain::report::{Report, Reports};
use crate::protocol::v2::{Hello, RegisterRequest, event_form};
use crate::protocol::v3;
use crate::state_dir::StateDir;
use crate::updates::{Hands, KeyWas};
use crate::uplink::{Uplink, UplinkError, Verdict};

pub use self::last::{LastContainers, LastSeen, LastTunnel};
pub use self::messages::{
    ContainerNews, HostSeen, LinkLost, RemovedThere, ResultSpooled, RunSeen, TunnelObserved,
};

/// Every so many signs of life, a native master gets the whole list, so that nothing stays wrong for ever.
const FULL_REPORT_EVERY: u32 = 10;
/// Share by which the interval varies, so that a fleet does not report in step.
const JITTER: f64 = 0.05;
/// How long the last report may take when the agent stops.
const LAST_CALL: Duration = Duration::from_secs(3);

/// What is said after the end.
const REMOVED_THERE: &str = "this host was removed there, at the master: nothing is reported and no command is taken \
     any more, and the tunnel is left as it is; start the agent again to have it register anew";

/// How this agent introduces itself, and how often it shows a sign of life.
#[derive(Debug, Clone)]
pub struct ReporterSettings {
    /// Name a person gave this host, if any.
    pub display_name: Option<String>,
    /// The machine's own name, if it has one that means something.
    pub hostname: Option<String>,
    /// Version of this program.
    pub version: String,
    /// Time between two signs of life.
    pub interval: Duration,
}

/// What the reporter works with.
#[derive(Clone)]
pub struct ReporterParts {
    /// Name and interval.
    pub settings: ReporterSettings,
    /// The way to the master.
    pub uplink: Arc<dyn Uplink>,
    /// Where id and results are kept.
    pub state: StateDir,
    /// Set by this actor, read by the command poller.
    pub link: CurrentLink,
    /// Set by whoever looks at the tunnel, which tells only changes.
    pub last_tunnel: LastTunnel,
    /// Set by whoever tells what runs, which tells only changes.
    pub last_containers: LastContainers,
    /// Set by whoever looks at the host.
    pub last_seen: LastSeen,
    /// Learns what the master says of it.
    pub label_prefix: LabelPrefix,
    /// Learns the key by which orders are known.
    pub hands: Arc<dyn Hands>,
}

/// See the module.
pub struct Reporter {
    parts: ReporterParts,
    view: View,
    agent_id: Option<AgentId>,
    next_seq: u64,
    has_results: bool,
    has_announced: bool,
    beats: u32,
    is_ready: bool,
    is_busy: bool,
    is_paused: bool,
    is_ending: bool,
    retries: Retries,
    last_success: Option<DateTime<Utc>>,
    problem: Option<String>,
    /// Why orders of this master are refused.
    distrust: Option<String>,
}

// === the actor ===

impl Reporter {
    /// Makes a reporter that knows nothing yet.
    pub fn new(parts: ReporterParts) -> Self {
        Self {
            parts,
            view: View::default(),
            agent_id: None,
            next_seq: 0,
            has_results: false,
            has_announced: false,
            beats: 0,
            is_ready: false,
            is_busy: false,
            is_paused: false,
            is_ending: false,
            retries: Retries::default(),
            last_success: None,
            problem: None,
            distrust: None,
        }
    }
}

impl Actor for Reporter {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        // The numbers of an older run are lost with it, so its session is too.
        self.parts.link.clear();
        self.recall_tunnel();
        self.recall_containers();
        if let Some(seen) = self.parts.last_seen.get() {
            self.view.seen(seen);
        }
        self.arm_beat(ctx);
        let state = self.parts.state.clone();
        let load = async move { state.agent_id().await };
        ctx.spawn(load.into_actor(self).map(|loaded, actor, ctx| {
            actor.agent_id = loaded.unwrap_or_else(|e| {
                error!(
                    error = &e as &dyn std::error::Error,
                    "the agent's id is lost; the master is asked for it"
                );
                None
            });
            actor.is_ready = true;
            actor.drive(ctx);
        }));
    }

    /// Says what is left to say before the end, if that does not take long.
    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        if self.is_ending || !ctx.is_stopping() {
            return Running::Stop;
        }
        self.is_ending = true;
        // The tunnel ended before, and its last word may still wait to be read.
        self.recall_tunnel();
        let Some(link) = self.parts.link.get().filter(|_| !self.is_paused && self.view.is_due()) else {
            return Running::Stop;
        };
        let mut calls = Vec::new();
        while let Some(call) = self.report_call(&link, ctx) {
            calls.push(call);
        }
        let (uplink, state) = (Arc::clone(&self.parts.uplink), self.parts.state.clone());
        let hands = Arc::clone(&self.parts.hands);
        let last = tokio::time::timeout(LAST_CALL, async move {
            for call in calls {
                call.make(&*uplink, &state, &*hands).await;
            }
        });
        ctx.spawn(last.into_actor(self).map(|_, _, ctx| ctx.stop()));
        Running::Continue
    }
}

crate::supervised!(Reporter);

impl Handler<ContainerNews> for Reporter {
    type Result = ();

    fn handle(&mut self, news: ContainerNews, ctx: &mut Self::Context) {
        match news {
            ContainerNews::Listed(list) => self.view.listed(list),
            ContainerNews::ListingLost => self.view.listing_lost(),
            ContainerNews::Started(container) => self.view.started(container),
            ContainerNews::Stopped(id) => self.view.stopped(&id),
        }
        self.drive(ctx);
    }
}

impl Handler<TunnelObserved> for Reporter {
    type Result = ();

    fn handle(&mut self, TunnelObserved(report): TunnelObserved, ctx: &mut Self::Context) {
        self.view.tunnel(report);
        self.drive(ctx);
    }
}

impl Handler<HostSeen> for Reporter {
    type Result = ();

    fn handle(&mut self, seen: HostSeen, ctx: &mut Self::Context) {
        self.view.seen(seen);
        self.drive(ctx);
    }
}

impl Handler<RunSeen> for Reporter {
    type Result = ();

    fn handle(&mut self, RunSeen(progress): RunSeen, ctx: &mut Self::Context) {
        self.view.run(progress);
        self.drive(ctx);
    }
}

impl Handler<ResultSpooled> for Reporter {
    type Result = ();

    fn handle(&mut self, _: ResultSpooled, ctx: &mut Self::Context) {
        self.has_results = true;
        self.drive(ctx);
    }
}

impl Handler<LinkLost> for Reporter {
    type Result = ();

    fn handle(&mut self, LinkLost { epoch }: LinkLost, ctx: &mut Self::Context) {
        if self.parts.link.get().is_some_and(|link| link.epoch == epoch) {
            self.lose_link(ctx);
            self.drive(ctx);
        }
    }
}

impl Handler<RemovedThere> for Reporter {
    type Result = ();

    fn handle(&mut self, RemovedThere { epoch }: RemovedThere, _: &mut Self::Context) {
        if self.parts.link.get().is_some_and(|link| link.epoch == epoch) {
            self.removed_there();
        }
    }
}

impl Handler<HeartbeatDue> for Reporter {
    type Result = ();

    fn handle(&mut self, _: HeartbeatDue, ctx: &mut Self::Context) {
        self.arm_beat(ctx);
        self.beats = self.beats.wrapping_add(1);
        self.recall_tunnel();
        let is_native = self.parts.link.get().is_some_and(|link| link.dialect() == Dialect::Native);
        match is_native {
            true if self.beats.is_multiple_of(FULL_REPORT_EVERY) => self.view.say_all_again(),
            true => self.view.ask_for_heartbeat(),
            // A DockFlare Master puts right with every full report what it missed of the events.
            false => {
                self.view.ask_for_heartbeat();
                self.view.ask_for_snapshot();
            }
        }
        self.drive(ctx);
    }
}

impl Handler<GetStatus> for Reporter {
    type Result = ActorStatus;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> ActorStatus {
        let link = self.parts.link.get();
        let dialect = link.as_ref().map(|link| match link.dialect() {
            Dialect::Native => "native",
            Dialect::V2 => "dockflare",
            Dialect::RedFlag => "redflag",
        });
        let state = match (&link, self.retries.count()) {
            _ if self.parts.link.is_over() => "removed there",
            (Some(_), 0) => "connected",
            (Some(_), _) => "retrying",
            (None, _) => "registering",
        };
        let detail = json!({
            "agent_id": self.agent_id,
            "dialect": dialect,
            "failures_in_a_row": self.retries.count(),
            "last_success": self.last_success,
            "containers": self.view.count_containers(),
        });
        ActorStatus { state, problem: self.problem.clone().or_else(|| self.distrust.clone()), detail }
    }
}

// === which call comes next, and what a finished one means ===

impl Reporter {
    /// Makes the next call, if there is one to make and nothing speaks against it.
    fn drive(&mut self, ctx: &mut Ctx<Self>) {
        let is_over = self.parts.link.is_over();
        if !self.is_ready || self.is_busy || self.is_paused || self.is_ending || is_over {
            return;
        }
        let Some(call) = self.next_call(ctx) else { return };
        self.is_busy = true;
        let (uplink, state) = (Arc::clone(&self.parts.uplink), self.parts.state.clone());
        let hands = Arc::clone(&self.parts.hands);
        let is_result = matches!(call, Call::Result { .. });
        let made = async move { call.make(&*uplink, &state, &*hands).await };
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
    fn report_call(&mut self, link: &Arc<Link>, ctx: &mut Ctx<Self>) -> Option<Call> {
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
            CallEnd::Registered(Ok(registered), key) => {
                let dialect = if registered.session.is_some() { "native" } else { "dockflare" };
                info!(agent.id = %registered.agent_id, uplink.dialect = dialect, "registered with the master");
                self.agent_id = Some(registered.agent_id.clone());
                self.next_seq = 0;
                self.has_results = registered.session.is_some();
                if self.parts.label_prefix.learn(registered.label_prefix) {
                    // What was listed was chosen by another prefix: it is listed again before it is told.
                    self.parts.last_containers.note(&ContainerNews::ListingLost);
                    self.view.listing_lost();
                }
                if let Some(news) = key {
                    self.distrust = (news.was == KeyWas::Refused).then(|| key::distrust(&news));
                    self.view.knows_orders_by(news.trusted);
                }
                self.view.say_all_again();
                self.parts.link.set(registered.agent_id, registered.session);
            }
            CallEnd::Registered(Err(error), _) => self.fail(&error, Dialect::V2, ctx),
            CallEnd::NoResult => {}
            CallEnd::Spool(error) => {
                error!(error = &error as &dyn std::error::Error, "a result cannot be read or removed");
                self.problem = Some(error.to_string());
            }
            CallEnd::Sent { link, result: Ok(taken) } => {
                if let Some(taken) = taken.filter(|_| self.is_current(&link)) {
                    self.next_seq = self.next_seq.max(taken.next_seq);
                    self.view.ask_for_findings(taken.wants);
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
    fn removed_there(&mut self) {
        self.parts.link.end();
        self.problem = Some(REMOVED_THERE.to_owned());
        warn!("{REMOVED_THERE}");
    }

    fn lose_link(&mut self, ctx: &mut Ctx<Self>) {
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
    fn recall_tunnel(&mut self) {
        if let Some(report) = self.parts.last_tunnel.get() {
            self.view.tunnel(report);
        }
    }

    /// Takes in what runs: the news of it went to an earlier run.
    fn recall_containers(&mut self) {
        if let Some(list) = self.parts.last_containers.get() {
            self.view.listed(list);
        }
    }

    fn arm_beat(&mut self, ctx: &mut Ctx<Self>) {
        let wait = ctx.chance().jitter(self.parts.settings.interval, JITTER);
        ctx.notify_later(HeartbeatDue, wait);
    }
}

/// Introduces the agent as DockFlare agents do, and offers the native protocol.
fn register_request(settings: &ReporterSettings, agent_id: Option<AgentId>) -> RegisterRequest {
    let short_id =
        || agent_id.as_ref().map(|id| format!("agent-{}", id.as_str().chars().take(8).collect::<String>()));
    let given =
        settings.display_name.as_deref().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
    RegisterRequest {
        // Without any, the master shows the first characters of the id that it makes; so does a restart.
        display_name: given.or_else(|| settings.hostname.clone()).or_else(short_id),
        hostname: None,
        version: Some(settings.version.clone()),
        lightship: Some(Hello { protocols: vec![v3::PROTOCOL], host: settings.hostname.clone() }),
        agent_id,
    }
}

#[cfg(test)]
mod tests;
