//! Keeping what is wanted: it goes to disk before it is acted on.
//!
//! While it cannot be written, the host goes on with what was kept last, the order waits, and writing is tried
//! again until it succeeds.

use std::time::Duration;

use actix::{ActorFutureExt, AsyncContext, WrapFuture};
use tokio::time::Instant;
use tracing::{debug, error, info};

use super::TunnelSupervisor;
use super::keeping::Keeping;
use crate::actors::supervision::{Backoff, Ctx};
use crate::state_dir::{StateError, TunnelState};

/// Waits while nothing can be written.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(500),
    max: Duration::from_secs(15),
    jitter: 0.3,
    reset_after: Duration::ZERO,
};

impl TunnelSupervisor {
    /// Begins a round by writing what has to be written. Returns false if there is nothing to write now.
    pub(super) fn save(&mut self, ctx: &mut Ctx<Self>) -> bool {
        let Some(state) = self.orders.to_save().filter(|_| self.keeping.wait().is_zero()) else {
            return false;
        };
        let (files, copy) = (self.parts.state.clone(), state.clone());
        let saved = async move { files.put_tunnel_state(&copy).await };
        ctx.spawn(saved.into_actor(self).map(move |saved, actor, ctx| {
            match saved {
                Ok(()) => actor.kept(state),
                Err(error) => actor.not_kept(&error, ctx),
            }
            if !actor.ended_meanwhile(ctx) {
                actor.look(ctx);
            }
        }));
        true
    }

    fn kept(&mut self, state: TunnelState) {
        if self.keeping.problem.is_some() {
            info!("the wanted tunnel is kept now");
        }
        self.keeping = Keeping::default();
        self.orders.saved(state);
        self.last_change = Instant::now();
    }

    fn not_kept(&mut self, error: &StateError, ctx: &mut Ctx<Self>) {
        let text = format!("an order is not carried out before it is kept: {error}");
        if self.keeping.problem.as_ref() == Some(&text) {
            debug!(error = error as &dyn std::error::Error, "the wanted tunnel still cannot be kept");
        } else {
            error!(
                error = error as &dyn std::error::Error,
                "the wanted tunnel cannot be kept, so the order is not carried out yet"
            );
        }
        self.keeping.failures = self.keeping.failures.saturating_add(1);
        self.keeping.due = Some(Instant::now() + RETRY.delay(self.keeping.failures, ctx.chance()));
        self.keeping.problem = Some(text);
    }
}
