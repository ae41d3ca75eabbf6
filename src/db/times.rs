//! Times as the tables hold them: microseconds since 1970, UTC.

use chrono::{DateTime, Utc};

/// Returns the stored form; anything finer than a microsecond is cut off.
pub(super) fn micros(time: DateTime<Utc>) -> i64 {
    time.timestamp_micros()
}

/// Returns the time of a stored form; one that no calendar has becomes the nearest end of time.
pub(super) fn time(micros: i64) -> DateTime<Utc> {
    let bound = if micros < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
    DateTime::from_timestamp_micros(micros).unwrap_or(bound)
}
