//! An agent asks for commands, and may say how its machine is.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{object, text};

/// What an agent says when it checks in; all of it may be absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckIn {
    /// Its version.
    pub version: Option<String>,
    /// Measurements, under RedFlag's names.
    pub metrics: Map<String, Value>,
    /// Until when it says that it asks often.
    pub rapid_until: Option<DateTime<Utc>>,
}

const METRICS: [&str; 7] = [
    "cpu_percent",
    "memory_percent",
    "memory_used_gb",
    "memory_total_gb",
    "disk_used_gb",
    "disk_total_gb",
    "disk_percent",
];

/// Reads the body of a check-in. What is of another type than expected says nothing.
pub fn decode_check_in(map: &Map<String, Value>) -> CheckIn {
    let mut metrics = Map::new();
    for name in METRICS {
        if let Some(value) =
            map.get(name).and_then(Value::as_f64).filter(|value| value.is_finite() && *value > 0.0)
        {
            metrics.insert(name.into(), value.into());
        }
    }
    if let Some(uptime) = text(map, "uptime") {
        metrics.insert("uptime".into(), uptime.chars().take(200).collect::<String>().into());
    }
    let metadata = object(map, "metadata");
    let is_rapid = metadata.get("rapid_polling_enabled").and_then(Value::as_bool) == Some(true);
    let until = text(&metadata, "rapid_polling_until").and_then(|until| until.parse().ok());
    CheckIn { version: text(map, "version"), metrics, rapid_until: until.filter(|_| is_rapid) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_of_another_type_says_nothing() {
        let odd = json!({
            "cpu_percent": "7", "memory_percent": 41.5, "disk_percent": 0, "uptime": 5, "version": ["x"],
            "metadata": {"rapid_polling_enabled": "yes", "rapid_polling_until": 5},
        });
        let read = decode_check_in(odd.as_object().unwrap());
        assert_eq!(read.metrics, json!({"memory_percent": 41.5}).as_object().unwrap().clone());
        assert_eq!((read.version, read.rapid_until), (None, None));
        assert_eq!(decode_check_in(&Map::new()), CheckIn::default());
        let rapid = json!({"metadata": {"rapid_polling_enabled": true, "rapid_polling_until": "2026-01-31T12:00:00Z"}});
        assert!(decode_check_in(rapid.as_object().unwrap()).rapid_until.is_some());
    }
}
