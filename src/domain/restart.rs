//! Numbers of both trees: how fast what failed is started again, and when that is given up.
//!
//! The limit of a supervisor must be reachable: its period is longer than the sum of the delays before so many
//! restarts. An outage of something outside is no failure; the retries of those are at the end.

use std::time::Duration;

/// How a supervisor starts children again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartNumbers {
    /// Delay after the first failure; doubles with each further one in a row.
    pub min: Duration,
    /// Longest delay.
    pub max: Duration,
    /// Share of the delay by which it may deviate, either way.
    pub jitter: f64,
    /// Time up after which a failure counts as the first again.
    pub reset_after: Duration,
    /// So many restarts are allowed ...
    pub restarts: usize,
    /// ... within this time; one more, and the supervisor itself has failed.
    pub within: Duration,
    /// How long a child may take to stop.
    pub grace: Duration,
}

/// Actors of one agent's subtree; short graces, since a stop holds up the siblings' restart. Everybody else goes by
/// the numbers that supervision itself has.
pub const AGENT_SUBTREE: RestartNumbers = RestartNumbers {
    min: Duration::from_millis(100),
    max: Duration::from_secs(5),
    jitter: 0.2,
    reset_after: Duration::from_secs(60),
    restarts: 3,
    within: Duration::from_secs(30),
    grace: Duration::from_secs(2),
};

impl RestartNumbers {
    /// Returns the delay before the restart after failure number `streak` (from 1) in a row, without jitter.
    pub fn delay(&self, streak: u32) -> Duration {
        doubled(self.min, self.max, streak.saturating_sub(1))
    }
}

/// How something outside is tried again for as long as it is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Upper bound of the first wait.
    pub min: Duration,
    /// Upper bound of every wait.
    pub max: Duration,
}

/// The master, seen from an agent: the cap lets a whole fleet come back within half a minute.
pub const MASTER_AWAY: Retry = Retry { min: Duration::from_millis(500), max: Duration::from_secs(15) };
/// The Docker Engine.
pub const ENGINE_AWAY: Retry = Retry { min: Duration::from_millis(200), max: Duration::from_secs(10) };
/// The connector's container that cannot be repaired.
pub const CONNECTOR_FAILED: Retry = Retry { min: Duration::from_secs(1), max: Duration::from_secs(60) };
/// Cloudflare, unless it names the time itself.
pub const CLOUDFLARE_AWAY: Retry = Retry { min: Duration::from_secs(1), max: Duration::from_secs(60) };

impl Retry {
    /// Returns the wait before attempt number `attempt` (from 0) with full jitter: `chance` is from 0 to 1.
    ///
    /// Full jitter spreads a fleet that lost its master at one moment evenly over the whole wait.
    pub fn wait(&self, attempt: u32, chance: f64) -> Duration {
        let chance = if chance.is_finite() { chance.clamp(0.0, 1.0) } else { 1.0 };
        doubled(self.min, self.max, attempt).mul_f64(chance)
    }
}

fn doubled(min: Duration, max: Duration, times: u32) -> Duration {
    min.saturating_mul(2_u32.saturating_pow(times)).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_stop_at_the_cap() {
        let delays: Vec<u128> = (1..=8).map(|streak| AGENT_SUBTREE.delay(streak).as_millis()).collect();
        assert_eq!(delays, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        assert_eq!(AGENT_SUBTREE.delay(u32::MAX), AGENT_SUBTREE.max);
    }

    #[test]
    fn the_limit_can_be_reached_before_its_period_is_over() {
        let numbers = AGENT_SUBTREE;
        let streaks = 1..=u32::try_from(numbers.restarts).unwrap() + 1;
        let sum: Duration = streaks.map(|streak| numbers.delay(streak).mul_f64(1.0 + numbers.jitter)).sum();
        assert!(sum < numbers.within, "{sum:?}");
    }

    #[test]
    fn waits_grow_to_their_cap_and_are_spread() {
        assert_eq!(MASTER_AWAY.wait(0, 1.0), Duration::from_millis(500));
        assert_eq!(MASTER_AWAY.wait(3, 0.5), Duration::from_secs(2));
        assert_eq!(MASTER_AWAY.wait(u32::MAX, 1.0), Duration::from_secs(15));
        assert_eq!(MASTER_AWAY.wait(9, 0.0), Duration::ZERO);
        assert_eq!(MASTER_AWAY.wait(9, f64::NAN), Duration::from_secs(15));
    }
}
