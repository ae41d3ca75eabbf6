//! Registers with the master and tells it how this host is: containers, tunnel, results of commands.
//!
//! One call is under way at a time. What changes meanwhile coalesces in `View` and goes with the next call,
//! at once if the line is idle. A call that failed makes everything be said again as one fresh snapshot, under new
//! numbers; only results wait on disk and are replayed in order. The tunnel never waits for any of this.

mod call;
mod drive;
mod last;
mod messages;
mod view;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Running, WrapFuture};
use chrono::{DateTime, Utc};
use serde_json::json;
use tracing::error;

use self::messages::HeartbeatDue;
use self::view::View;
use super::label_prefix::LabelPrefix;
use super::link::CurrentLink;
use super::retries::Retries;
use super::status::{ActorStatus, GetStatus};
use crate::actors::supervision::Ctx;
use crate::domain::delivery::Dialect;
use crate::domain::id::AgentId;
use crate::state_dir::StateDir;
use crate::uplink::Uplink;

pub use self::last::{LastContainers, LastTunnel};
pub use self::messages::{
    ContainerStarted, ContainerStopped, ContainersListed, LinkLost, ListingLost, RemovedThere, ResultSpooled,
    TunnelObserved,
};

/// Every so many signs of life, a native master gets the whole list, so that nothing stays wrong for ever.
const FULL_REPORT_EVERY: u32 = 10;
/// Share by which the interval varies, so that a fleet does not report in step.
const JITTER: f64 = 0.05;
/// How long the last report may take when the agent stops.
const LAST_CALL: Duration = Duration::from_secs(3);

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
    /// Learns what the master says of it.
    pub label_prefix: LabelPrefix,
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
        let last = tokio::time::timeout(LAST_CALL, async move {
            for call in calls {
                call.make(&*uplink, &state).await;
            }
        });
        ctx.spawn(last.into_actor(self).map(|_, _, ctx| ctx.stop()));
        Running::Continue
    }
}

crate::supervised!(Reporter);

impl Handler<ContainersListed> for Reporter {
    type Result = ();

    fn handle(&mut self, ContainersListed(list): ContainersListed, ctx: &mut Self::Context) {
        self.view.listed(list);
        self.drive(ctx);
    }
}

impl Handler<ListingLost> for Reporter {
    type Result = ();

    fn handle(&mut self, _: ListingLost, _: &mut Self::Context) {
        self.view.listing_lost();
    }
}

impl Handler<ContainerStarted> for Reporter {
    type Result = ();

    fn handle(&mut self, ContainerStarted(container): ContainerStarted, ctx: &mut Self::Context) {
        self.view.started(container);
        self.drive(ctx);
    }
}

impl Handler<ContainerStopped> for Reporter {
    type Result = ();

    fn handle(&mut self, ContainerStopped(id): ContainerStopped, ctx: &mut Self::Context) {
        self.view.stopped(&id);
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
        ActorStatus { state, problem: self.problem.clone(), detail }
    }
}

#[cfg(test)]
mod tests;
