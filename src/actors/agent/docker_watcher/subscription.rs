//! Being subscribed: how a subscription begins, how long it is waited before the next, and how it is read.

use std::sync::Arc;
use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::watch::{Next, Origin, Watch, next, open};
use super::{ConnectNow, ContainerNews, DockerWatcher};
use crate::actors::supervision::{Backoff, Ctx};
use crate::docker::{DockerError, Events};
use crate::domain::agent_tunnel::{CONTAINER_NAME, NEXT_NAME};
use crate::domain::container::Container;
use crate::domain::labels::concerns_us;

/// Waits between attempts while the Engine is away or its events end. It is on this host, so asking often costs
/// nothing.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
    jitter: 0.5,
    reset_after: Duration::ZERO,
};
/// A stream of events that held for this long works: its end is one of those that happen. One that ends sooner is
/// refused, be it by a proxy that lets listings through, and asking again at once would never end.
const PROOF: Duration = Duration::from_secs(1);
/// Share by which the time of the next listing varies.
const JITTER: f64 = 0.1;

impl DockerWatcher {
    pub(super) fn connect(&mut self, ctx: &mut Ctx<Self>) {
        let docker = Arc::clone(&self.parts.docker);
        // What changes after this is listed by again.
        self.prefix_changes.mark_unchanged();
        let (now, networks, prefix) =
            (ctx.clock().now(), self.networks.clone(), self.parts.label_prefix.get());
        let opened = async move {
            let is_ours = |container: &Container| concerns_us(&container.labels, prefix.as_deref());
            open(&*docker, now, &networks, is_ours).await
        };
        ctx.spawn(opened.into_actor(self).map(|opened, actor, ctx| match opened {
            Ok(watch) => actor.connected(watch, ctx),
            Err(error) => actor.not_connected(&error, ctx),
        }));
    }

    fn connected(&mut self, watch: Watch, ctx: &mut Ctx<Self>) {
        if self.engine.as_ref().is_none_or(|engine| engine.api_version != watch.engine.api_version) {
            info!(docker.api_version = %watch.engine.api_version, "watching the docker engine");
        }
        self.list_by = None;
        self.is_loss_told = false;
        self.engine = Some(watch.engine);
        self.last_listing = Some(ctx.clock().now());
        let bears_its_name = |container: &&Container| [CONTAINER_NAME, NEXT_NAME].contains(&&*container.name);
        self.connectors = watch.listed.iter().filter(bears_its_name).map(|c| c.id.clone()).collect();
        let ours = watch.listed.into_iter().filter_map(|container| self.published(container));
        self.known = ours.map(|container| (container.id.clone(), container)).collect();
        let networks = self.known.values().filter_map(|c| Some((c.id.clone(), c.networks.clone()?)));
        self.networks = networks.collect();
        self.tell(ContainerNews::Listed(self.known.values().cloned().collect()));
        (self.parts.connector_touched)();
        let due = Instant::now() + ctx.chance().jitter(self.parts.resync, JITTER);
        self.proof = Some(ctx.run_later(PROOF, |actor, ctx| {
            actor.proof = None;
            actor.proven(ctx);
        }));
        self.read(watch.events, watch.origin, due, ctx);
    }

    fn not_connected(&mut self, error: &DockerError, ctx: &mut Ctx<Self>) {
        if !self.is_loss_told {
            self.is_loss_told = self.tell(ContainerNews::ListingLost);
        }
        self.engine = None;
        self.forget_networks();
        self.connect_later(error, ctx);
    }

    /// The Engine hung up. What it listed counts until it cannot be listed again.
    fn lost(&mut self, error: &DockerError, ctx: &mut Ctx<Self>) {
        self.forget_networks();
        if self.proof.is_some() {
            return self.connect_later(error, ctx);
        }
        info!(reason = %error, "the docker engine's events ended; listing again");
        self.connect(ctx);
    }

    /// What happened to them meanwhile was not told.
    fn forget_networks(&mut self) {
        self.networks.clear();
        self.heard_networks = None;
    }

    fn connect_later(&mut self, error: &DockerError, ctx: &mut Ctx<Self>) {
        let text = error.to_string();
        if self.problem.as_ref() == Some(&text) {
            debug!(error = %error, "the docker engine still cannot be watched");
        } else {
            warn!(
                error = error as &dyn std::error::Error,
                "the docker engine cannot be watched; trying again"
            );
        }
        self.problem = Some(text);
        self.failures = self.failures.saturating_add(1);
        self.stop_proof(ctx);
        ctx.notify_later(ConnectNow, RETRY.delay(self.failures, ctx.chance()));
    }

    /// The stream of events holds.
    fn proven(&mut self, ctx: &mut Ctx<Self>) {
        self.stop_proof(ctx);
        self.failures = 0;
        self.problem = None;
    }

    fn stop_proof(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(proof) = self.proof.take() {
            ctx.cancel_future(proof);
        }
    }

    /// Waits for one event at a time, so that events and listings are handled strictly in their order.
    fn read(&mut self, events: Events, origin: Origin, due: Instant, ctx: &mut Ctx<Self>) {
        let next = next(events, self.list_by.map_or(due, |by| due.min(by)), self.prefix_changes.clone());
        ctx.spawn(next.into_actor(self).map(move |(events, next), actor, ctx| match next {
            Next::Event(event) => {
                if origin.is_listed_already(&event) {
                    debug!(action = ?event.action, "an event from before the engine's clock was set back");
                } else {
                    actor.happened(event);
                }
                actor.read(events, origin, due, ctx);
            }
            Next::ListingDue => {
                actor.proven(ctx);
                actor.connect(ctx);
            }
            Next::Lost(error) => actor.lost(&error, ctx),
        }));
    }
}
