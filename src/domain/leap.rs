//! Leaps of the wall clock: a time server that sets it, or a machine that slept.
//!
//! What has to survive a restart is written in wall time, so a leap changes what it means. Whoever owns a
//! timer compares both clocks with [`LeapWatch`] and corrects what it holds.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// The wall clock may be set by as much without being called a leap.
pub const SMALL_STEP: TimeDelta = TimeDelta::seconds(30);

/// Returns by how much the wall clock moved more (or less) than time went by, if that is more than a small step.
pub fn clock_leap(wall: TimeDelta, went_by: Duration) -> Option<TimeDelta> {
    let leap = wall - TimeDelta::from_std(went_by).ok()?;
    (leap.abs() > SMALL_STEP).then_some(leap)
}

/// Returns where a time that was written down for later lies after a leap, `now` being the clock after it.
///
/// After a leap forward it is as far away as before. It is never further away than `longest`: that is what a leap
/// back leaves of it, and what one that is carried out twice, because its answer was lost, can do at most.
pub fn after_leap(
    time: DateTime<Utc>,
    leap: TimeDelta,
    now: DateTime<Utc>,
    longest: Duration,
) -> DateTime<Utc> {
    let latest = TimeDelta::from_std(longest).ok().and_then(|longest| now.checked_add_signed(longest));
    let moved = time.checked_add_signed(leap.max(TimeDelta::zero())).unwrap_or(time);
    latest.map_or(moved, |latest| moved.min(latest))
}

/// Notices leaps between two looks.
#[derive(Debug, Clone)]
pub struct LeapWatch {
    wall: DateTime<Utc>,
    steady: Duration,
    last_leap: Option<DateTime<Utc>>,
}

impl LeapWatch {
    /// Starts at a wall time and a reading of a clock that only goes forward.
    pub fn new(wall: DateTime<Utc>, steady: Duration) -> Self {
        Self { wall, steady, last_leap: None }
    }

    /// Looks at both clocks and returns the leap since the last look, if there was one.
    pub fn look(&mut self, wall: DateTime<Utc>, steady: Duration) -> Option<TimeDelta> {
        let leap = clock_leap(wall - self.wall, steady.saturating_sub(self.steady));
        (self.wall, self.steady) = (wall, steady);
        if leap.is_some() {
            self.last_leap = Some(wall);
        }
        leap
    }

    /// Returns when the last leap was noticed, by the clock as it is since.
    pub fn last_leap(&self) -> Option<DateTime<Utc>> {
        self.last_leap
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_more_than_a_small_step_is_a_leap() {
        let start = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let mut watch = LeapWatch::new(start, Duration::ZERO);
        let mut look = |wall: i64, steady: u64| {
            watch
                .look(start + TimeDelta::seconds(wall), Duration::from_secs(steady))
                .map(|leap| leap.num_seconds())
        };
        assert_eq!(look(60, 60), None);
        assert_eq!(look(149, 120), None);
        assert_eq!(look(3_000, 130), Some(2_841));
        assert_eq!(look(3_060, 190), None, "a leap is told once");
        assert_eq!(look(0, 200), Some(-3_070));
        assert_eq!(watch.last_leap(), Some(start));
    }
}
