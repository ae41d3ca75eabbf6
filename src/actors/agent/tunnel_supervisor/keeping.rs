//! How writing what is wanted goes.

use std::time::Duration;

use tokio::time::Instant;

/// How the last attempts to write ended.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) failures: u32,
    pub(super) due: Option<Instant>,
    pub(super) problem: Option<String>,
}

impl Keeping {
    /// The next attempt need not wait.
    pub(super) fn try_now(&mut self) {
        self.due = None;
    }

    /// How long the next attempt has to wait.
    pub(super) fn wait(&self) -> Duration {
        self.due.map_or(Duration::ZERO, |due| due.saturating_duration_since(Instant::now()))
    }

    /// Why the latest order is not acted on.
    pub(super) fn problem(&self) -> Option<&String> {
        self.problem.as_ref()
    }
}
