//! How soon the same step may be taken again.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::actors::supervision::Backoff;
use crate::chance::Chance;
use crate::domain::agent_tunnel::Step;
use crate::domain::id::ContainerId;

/// The first time at once; after that a second, doubling to a minute.
const WAITS: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(60),
    jitter: 0.2,
    reset_after: Duration::from_secs(180),
};

/// Remembers which steps were taken and when. What keeps breaking is repaired ever more slowly.
#[derive(Debug, Default)]
pub(super) struct Repairs(HashMap<Kind, Taken>);

/// What counts as the same step.
type Kind = (&'static str, Option<ContainerId>);

#[derive(Debug)]
struct Taken {
    times: u32,
    at: Instant,
    due: Instant,
}

impl Repairs {
    /// Returns how long to wait before `step` may be taken; zero if it may be now.
    pub(super) fn wait(&self, step: &Step, now: Instant) -> Duration {
        self.0.get(&kind(step)).map_or(Duration::ZERO, |taken| taken.due.saturating_duration_since(now))
    }

    /// Notes that `step` is being taken.
    pub(super) fn took(&mut self, step: &Step, now: Instant, chance: &Chance) {
        self.0.retain(|_, taken| now.duration_since(taken.at) < WAITS.reset_after);
        let times = self.0.get(&kind(step)).map_or(0, |taken| taken.times) + 1;
        self.0.insert(kind(step), Taken { times, at: now, due: now + WAITS.delay(times, chance) });
    }

    /// A person wants something: nothing of what was speaks against it.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

fn kind(step: &Step) -> Kind {
    match step {
        Step::Create { name } => (*name, None),
        // The first start of a container belongs to its making, which had its pause.
        Step::Start(id) => ("start", Some(id.clone())),
        Step::Unpause(_) => ("unpause", None),
        Step::Stop(_) => ("stop", None),
        Step::Remove(_) => ("remove", None),
        Step::Rename(_) => ("rename", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_repair_is_made_ever_more_slowly_and_another_at_once() {
        let chance = Chance::seeded(1);
        let step = Step::Start(ContainerId::new("a"));
        let mut repairs = Repairs::default();
        let mut waits = Vec::new();
        for _ in 0..9 {
            let now = Instant::now();
            repairs.took(&step, now, &chance);
            let wait = repairs.wait(&step, now);
            waits.push(wait.as_secs_f64());
            tokio::time::advance(wait).await;
        }

        assert!((0.8..=1.2).contains(&waits[0]) && (1.6..=2.4).contains(&waits[1]), "{waits:?}");
        assert!(waits[8] <= 72.0, "{waits:?}");
        assert_eq!(repairs.wait(&Step::Unpause(ContainerId::new("a")), Instant::now()), Duration::ZERO);
        assert_eq!(
            repairs.wait(&Step::Start(ContainerId::new("its successor")), Instant::now()),
            Duration::ZERO
        );
        repairs.forget();
        assert_eq!(repairs.wait(&step, Instant::now()), Duration::ZERO);
    }
}
