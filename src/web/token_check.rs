//! How the last look at the token for Cloudflare came out.

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use crate::domain::doctor::Check;

/// How the last look came out; none since the start if nobody looked.
#[derive(Default)]
pub struct TokenCheck {
    last: Mutex<Option<Looked>>,
    /// One look at a time: each takes dozens of calls.
    pub turn: tokio::sync::Mutex<()>,
}

/// A look.
#[derive(Debug, Clone)]
pub struct Looked {
    /// When.
    pub at: DateTime<Utc>,
    /// What was found.
    pub checks: Vec<Check>,
}

impl TokenCheck {
    /// Returns how the last look came out.
    pub fn last(&self) -> Option<Looked> {
        self.last.lock().clone()
    }

    /// Keeps how a look came out.
    pub fn keep(&self, looked: Looked) {
        *self.last.lock() = Some(looked);
    }
}
