//! How long clients are waited for.

use std::time::Duration;

/// How long clients are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request.
    pub head: Duration,
    /// From the first to the last byte of a body.
    pub body: Duration,
    /// For a client that still uploads after a refusal, so that it reads the refusal.
    pub linger: Duration,
    /// For the next request on a connection; agents that poll every 30 s keep theirs.
    pub idle: Duration,
    /// For a client that does not read its answer; a byte now and then makes no difference.
    pub unread: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(20),
            linger: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            unread: Duration::from_secs(60),
        }
    }
}
