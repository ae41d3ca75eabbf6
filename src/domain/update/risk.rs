//! Which of two updates a person should look at first.

use std::cmp::Reverse;

use chrono::{DateTime, Utc};

use super::severity::Severity;

/// What an update's place in a list follows from. The first in order is the first to look at: public without a login, then
/// public, then the worst, then what waits for longest; the name makes it one order. Lists are ordered by the database, which
/// is held to this by a test.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Risk {
    is_open: Reverse<bool>,
    is_public: Reverse<bool>,
    severity: Reverse<Severity>,
    first_seen_at: DateTime<Utc>,
    name: String,
}

impl Risk {
    /// Of an update; `is_protected` counts for public ones only.
    pub fn new(
        (is_public, is_protected): (bool, bool),
        severity: Severity,
        first_seen_at: DateTime<Utc>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            is_open: Reverse(is_public && !is_protected),
            is_public: Reverse(is_public),
            severity: Reverse(severity),
            first_seen_at,
            name: name.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: u32) -> DateTime<Utc> {
        format!("2026-01-31T12:{minute:02}:00Z").parse().unwrap()
    }

    #[test]
    fn the_order_is_public_unprotected_severity_age() {
        let (open, behind_a_login, private) = ((true, false), (true, true), (false, false));
        let in_order = [
            (open, Severity::Critical, 5, "a"),
            (open, Severity::Low, 1, "a"),
            (open, Severity::Low, 2, "a"),
            (behind_a_login, Severity::Critical, 1, "a"),
            (behind_a_login, Severity::Moderate, 1, "a"),
            (private, Severity::Critical, 1, "a"),
            (private, Severity::Critical, 1, "b"),
            (private, Severity::Important, 0, "a"),
            (private, Severity::Low, 0, "a"),
        ];
        let risk = |(reach, severity, minute, name)| Risk::new(reach, severity, at(minute), name);
        for pair in in_order.windows(2) {
            assert!(risk(pair[0]) < risk(pair[1]), "{pair:?}");
        }
        let odd = Risk::new((false, true), Severity::Low, at(0), "a");
        assert_eq!(odd, Risk::new(private, Severity::Low, at(0), "a"), "what is not public needs no login");
    }
}
