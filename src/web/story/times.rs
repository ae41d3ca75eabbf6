//! Times as they stand in a story.

use chrono::{DateTime, Utc};

/// A time, exactly: a story is also read by programs and in another zone.
pub(super) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
