//! RedFlag's API v1, as its agents speak it: what they send, in our words. Lenient where its own server is not: one odd
//! item never spoils a report, and what means the same is taken for the same.

mod check_in;
mod duration;
mod facts;
mod item;
mod log;
mod params;
mod register;
mod report;

pub use check_in::{CheckIn, decode_check_in};
pub use duration::duration;
pub use facts::{Facts, decode_facts};
pub use log::{Log, LogResult, ScanLog, decode_log, scan_log};
pub use params::params;
pub use register::{Registration, Renewal, Said, decode_renewal};
pub use report::{ScanReport, decode_dependencies, decode_report};

use serde_json::{Map, Value};

/// Longest text of a log that is kept, in characters.
pub const LOG_CHARS: usize = 8_000;

/// Returns the text in `field`; none if it is absent, blank or no text.
fn text(map: &Map<String, Value>, field: &str) -> Option<String> {
    let text = map.get(field)?.as_str()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Returns the whole number in `field`, be it a number or the text of one; none if it is neither, or zero.
fn number(map: &Map<String, Value>, field: &str) -> Option<u64> {
    let value = map.get(field)?;
    let number = value.as_u64().or_else(|| value.as_f64().filter(|n| *n > 0.0).map(|n| n as u64));
    number.or_else(|| value.as_str()?.trim().parse().ok()).filter(|number| *number > 0)
}

/// Returns the object in `field`, or an empty one.
fn object(map: &Map<String, Value>, field: &str) -> Map<String, Value> {
    map.get(field).and_then(Value::as_object).cloned().unwrap_or_default()
}
