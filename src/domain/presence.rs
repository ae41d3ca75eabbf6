//! Whether an agent is there.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// Silence after which an agent counts as offline, unless set otherwise: two missed reports.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Whether an agent was heard lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// It was.
    Online,
    /// It was not. Its routes and its tunnel stay.
    Offline,
}

/// Decides by the time an agent was last heard; never heard is offline.
///
/// After a leap of the clock noticed at `last_leap` nobody can be told silent before a whole time-out has gone
/// by since; a last word that seems to lie in the future counts from the leap too, or, if none was noticed
/// (the clock was set while we did not run), as silence once it lies further ahead than the time-out.
pub fn presence(
    last_seen: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    timeout: Duration,
    last_leap: Option<DateTime<Utc>>,
) -> Presence {
    let Some(last_seen) = last_seen else { return Presence::Offline };
    let timeout = TimeDelta::from_std(timeout).unwrap_or(TimeDelta::MAX);
    let is_near = |at: DateTime<Utc>| (now - at).abs() <= timeout;
    if is_near(last_seen) || last_leap.is_some_and(is_near) { Presence::Online } else { Presence::Offline }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn silence_beyond_the_time_out_is_offline() {
        use Presence::{Offline, Online};
        for (name, last_seen, leap, expected) in [
            ("never heard", None, None, Offline),
            ("just now", Some(0), None, Online),
            ("at the limit", Some(-60), None, Online),
            ("beyond it", Some(-61), None, Offline),
            ("beyond it, but the clock leapt forward just now", Some(-3600), Some(-5), Online),
            ("beyond it, the leap is long ago", Some(-3600), Some(-61), Offline),
            ("a little ahead", Some(30), None, Online),
            ("far ahead, the clock went back just now", Some(3600), Some(-5), Online),
            ("far ahead, nobody knows why", Some(3600), None, Offline),
        ] {
            let answer = presence(last_seen.map(at), at(0), DEFAULT_TIMEOUT, leap.map(at));
            assert_eq!(answer, expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn who_is_heard_in_time_is_never_offline(timeout in 1_u64..1000, ago in 0_i64..1000, leap in any::<Option<i32>>()) {
            prop_assume!(ago <= timeout as i64);
            let leap = leap.map(|seconds| at(i64::from(seconds)));
            prop_assert_eq!(presence(Some(at(-ago)), at(0), Duration::from_secs(timeout), leap), Presence::Online);
        }
    }
}
