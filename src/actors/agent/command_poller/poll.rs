//! One round of asking the master for commands.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{CommandPoller, Polled, Round};
use crate::actors::agent::link::CurrentLink;
use crate::actors::supervision::Ctx;
use crate::chance::Chance;
use crate::domain::delivery::Dialect;
use crate::state_dir::StateDir;
use crate::uplink::Uplink;

/// Bounds of a native wait: spread, so that a fleet's polls do not end together.
const WAIT: (Duration, Duration) = (Duration::from_secs(25), Duration::from_secs(50));
/// Bounds of the time between two polls of a DockFlare Master, which never waits.
const PAUSE: (Duration, Duration) = (Duration::from_secs(24), Duration::from_secs(30));
/// A native wait that ends with nothing before this did not wait.
const HASTE: Duration = Duration::from_secs(1);

/// Waits for a link, then for commands.
pub(super) async fn round(
    cell: CurrentLink,
    uplink: Arc<dyn Uplink>,
    state: StateDir,
    chance: Chance,
) -> Round {
    let link = cell.wait().await;
    let begun = Instant::now();
    let result = match &link.session {
        // A poll of an ended session is given up: what it may have leased is handed over again.
        Some(session) => tokio::select! {
            delivery = uplink.wait_for_commands(&link.agent_id, session, between(WAIT, &chance)) => delivery.map(Polled::Native),
            () = cell.ended(link.epoch) => Ok(Polled::Nothing),
        },
        // This one empties the queue, so it is always awaited.
        None => match state.check_room().await {
            Ok(()) => uplink.fetch_commands(&link.agent_id).await.map(Polled::DockFlare),
            Err(error) => Ok(Polled::NoRoom(error)),
        },
    };
    Round { link, took: begun.elapsed(), result }
}

impl CommandPoller {
    /// Returns how long to wait after a round that succeeded.
    pub(super) fn pause_after(dialect: Dialect, is_empty: bool, took: Duration, chance: &Chance) -> Duration {
        match dialect {
            Dialect::V2 | Dialect::RedFlag => between(PAUSE, chance),
            // A master that is about to stop lets its parked polls go; so does a proxy that cannot wait.
            Dialect::Native if is_empty && took < HASTE => HASTE.mul_f64(0.2 + 0.8 * chance.fraction()),
            Dialect::Native => Duration::ZERO,
        }
    }

    /// Spawns the next round; its result comes back to [`CommandPoller::harvest`].
    pub(super) fn poll(&mut self, ctx: &mut Ctx<Self>) {
        use actix::{ActorFutureExt, AsyncContext, WrapFuture};

        let parts = &self.parts;
        let (link, uplink, state) = (parts.link.clone(), Arc::clone(&parts.uplink), parts.state.clone());
        let round = round(link, uplink, state, ctx.chance().clone());
        ctx.spawn(round.into_actor(self).map(|round, actor, ctx| actor.harvest(round, ctx)));
    }

    /// Spawns the next round after `wait`.
    pub(super) fn poll_later(&mut self, wait: Duration, ctx: &mut Ctx<Self>) {
        use actix::AsyncContext;

        if wait.is_zero() {
            return self.poll(ctx);
        }
        ctx.run_later(wait, |actor, ctx| actor.poll(ctx));
    }
}

fn between((low, high): (Duration, Duration), chance: &Chance) -> Duration {
    low + (high - low).mul_f64(chance.fraction())
}
