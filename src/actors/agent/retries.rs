//! How long to leave a master alone that did not answer, or does not want us.

use std::time::Duration;

use crate::chance::Chance;

const FIRST: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(15);
const FLOOR: Duration = Duration::from_millis(50);
/// Bounds of the wait after a refused key: a person has to act first.
const REFUSED: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(60));

/// Failures in a row.
#[derive(Debug, Default)]
pub struct Retries(u32);

impl Retries {
    /// Counts a failure; returns how long to wait: anything up to a limit that doubles from half a second to
    /// 15 s, so that a fleet whose master restarts does not come back in step.
    ///
    /// `after` is the wait that the master asked for; it comes on top.
    pub fn failed(&mut self, after: Option<Duration>, chance: &Chance) -> Duration {
        let limit = FIRST.saturating_mul(2_u32.saturating_pow(self.0)).min(CAP);
        self.0 = self.0.saturating_add(1);
        after.unwrap_or_default() + limit.mul_f64(chance.fraction()).max(FLOOR)
    }

    /// Counts a refused key; returns how long to wait before the next attempt.
    pub fn refused(&mut self, chance: &Chance) -> Duration {
        self.0 = self.0.saturating_add(1);
        REFUSED.0 + (REFUSED.1 - REFUSED.0).mul_f64(chance.fraction())
    }

    /// Counts the end of a session; returns how long to wait before registering again: nothing the first
    /// time, because masters restart, and as after any failure if that did not help.
    pub fn session_lost(&mut self, chance: &Chance) -> Duration {
        if self.0 == 0 {
            self.0 = 1;
            return Duration::ZERO;
        }
        self.failed(None, chance)
    }

    /// Something succeeded.
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    /// Returns how many failures there were in a row.
    pub fn count(&self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_are_spread() {
        let chance = Chance::seeded(1);
        let mut retries = Retries::default();
        let waits: Vec<Duration> = (0..200).map(|_| retries.failed(None, &chance)).collect();

        assert!(waits[0] <= FIRST && waits.iter().all(|w| (FLOOR..=CAP).contains(w)));
        let late = &waits[10..];
        assert!(late.iter().any(|w| *w < Duration::from_secs(3)), "full jitter reaches down");
        assert!(late.iter().any(|w| *w > Duration::from_secs(12)), "and up to the cap");
    }

    #[test]
    fn what_the_master_asked_for_is_kept() {
        let wait = Retries::default().failed(Some(Duration::from_secs(7)), &Chance::seeded(1));
        assert!((Duration::from_secs(7)..=Duration::from_millis(7500)).contains(&wait));
    }

    #[test]
    fn the_first_lost_session_is_renewed_at_once_and_the_next_is_not() {
        let (mut retries, chance) = (Retries::default(), Chance::seeded(1));
        assert_eq!(retries.session_lost(&chance), Duration::ZERO);
        assert!(retries.session_lost(&chance) >= FLOOR);
        retries.reset();
        assert_eq!(retries.session_lost(&chance), Duration::ZERO);
    }
}
