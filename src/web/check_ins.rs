//! What RedFlag agents said lately and nobody has to remember: measurements, how often they ask, and which scan said that
//! it found nothing without saying of what.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::domain::id::AgentId;

/// Longest that an agent may be asked to check in often.
pub const LONGEST_RAPID: TimeDelta = TimeDelta::minutes(60);

/// What one agent said.
#[derive(Debug, Clone, Default)]
pub struct CheckedIn {
    /// Measurements, under RedFlag's names.
    pub metrics: Map<String, Value>,
    /// When they came.
    pub metrics_at: Option<DateTime<Utc>>,
    /// Until when it asks often.
    pub rapid_until: Option<DateTime<Utc>>,
    /// The command whose log said that nothing was found, until its report would have come.
    silent_scan: Option<String>,
}

/// Of all agents; nothing of it outlives the process.
#[derive(Default)]
pub struct CheckIns(Mutex<HashMap<AgentId, CheckedIn>>);

impl CheckIns {
    /// Returns what an agent said lately.
    pub fn of(&self, agent: &AgentId) -> CheckedIn {
        self.0.lock().get(agent).cloned().unwrap_or_default()
    }

    /// Notes measurements.
    pub fn measured(&self, agent: &AgentId, metrics: Map<String, Value>, now: DateTime<Utc>) {
        let mut all = self.0.lock();
        let own = all.entry(agent.clone()).or_default();
        own.metrics = metrics;
        own.metrics_at = Some(now);
    }

    /// Notes until when an agent asks often; none ends it.
    pub fn set_rapid(&self, agent: &AgentId, until: Option<DateTime<Utc>>) {
        self.0.lock().entry(agent.clone()).or_default().rapid_until = until;
    }

    /// Returns until when an agent asks often, if it does.
    pub fn rapid(&self, agent: &AgentId, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.lock().get(agent).and_then(|own| own.rapid_until).filter(|until| *until > now)
    }

    /// A scan said that it found nothing.
    pub fn scanned_silently(&self, agent: &AgentId, command: &str) {
        self.0.lock().entry(agent.clone()).or_default().silent_scan = Some(command.to_owned());
    }

    /// A report came: the scan found something.
    pub fn reported(&self, agent: &AgentId) {
        if let Some(own) = self.0.lock().get_mut(agent) {
            own.silent_scan = None;
        }
    }

    /// An agent checks in: a report of its last scan would be here by now. Returns true, once, if there is none.
    pub fn found_nothing(&self, agent: &AgentId) -> bool {
        self.0.lock().get_mut(agent).is_some_and(|own| own.silent_scan.take().is_some())
    }

    /// Forgets agents that are not there any more, once they are many beside the `known` ones.
    pub fn tidy(&self, known: usize, is_there: impl Fn(&AgentId) -> bool) {
        let mut all = self.0.lock();
        if all.len() > known.saturating_mul(2) + 64 {
            all.retain(|agent, _| is_there(agent));
        }
    }
}
