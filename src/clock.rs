//! The time of day that actors and handlers are given, so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// Wall time. Monotonic time is `tokio::time::Instant`, which paused tests move by themselves.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Moved { start: DateTime<Utc>, since: Instant, jump_millis: Arc<AtomicI64> },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that starts at `start` and follows tokio's, which tests pause and move.
    pub fn moved(start: DateTime<Utc>) -> Self {
        Self(Source::Moved { start, since: Instant::now(), jump_millis: Arc::default() })
    }

    /// Returns the time of day.
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that may ask")]
            Source::System => Utc::now(),
            Source::Moved { start, since, jump_millis } => {
                let run = TimeDelta::from_std(since.elapsed()).unwrap_or(TimeDelta::MAX);
                *start + run + TimeDelta::milliseconds(jump_millis.load(Ordering::Relaxed))
            }
        }
    }

    /// Makes the wall clock jump, as a time server or a suspended machine does; no effect on the system's.
    pub fn jump(&self, by: TimeDelta) {
        if let Source::Moved { jump_millis, .. } = &self.0 {
            jump_millis.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
        }
    }
}
