//! How long a target that cannot be reached is left alone.

use std::time::Duration;

/// Longest pause.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Returns the pause after so many failures in a row, `first` after the first one. What the target asks for itself counts
/// if it is longer.
pub fn pause(first: Duration, failures: u32, asked: Option<Duration>) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    doubled.max(asked.unwrap_or_default()).min(LONGEST)
}
