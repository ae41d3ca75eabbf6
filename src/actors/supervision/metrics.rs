//! Metrics of actors, labelled by role: tens of thousands of paths would drown any collector.

use metrics::{Counter, Histogram};

/// Handles of the metrics that change with every message; looked up once per role, not per message.
pub(super) struct RoleMetrics {
    pub(super) messages: Counter,
    pub(super) handler_seconds: Histogram,
    pub(super) queue_seconds: Histogram,
}

impl RoleMetrics {
    /// Registers the handles of `role` with the recorder of the process.
    pub(super) fn new(role: &'static str) -> Self {
        Self {
            messages: metrics::counter!("actor_messages_total", "role" => role),
            handler_seconds: metrics::histogram!("actor_handler_seconds", "role" => role),
            queue_seconds: metrics::histogram!("actor_queue_seconds", "role" => role),
        }
    }
}
