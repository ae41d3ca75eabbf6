//! Why an incarnation of an actor or supervisor ended.

use std::any::Any;
use std::fmt::{self, Display, Write};

use serde::Serialize;

/// Longest reason that is kept, in bytes: reasons are untrusted text and end up on pages and in logs.
pub const MAX_REASON_BYTES: usize = 512;

/// Why an incarnation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind", content = "reason")]
pub enum Exit {
    /// The actor stopped itself.
    Normal,
    /// Its supervisor stopped it.
    Shutdown,
    /// It did not stop within its grace and was cut off.
    Killed,
    /// It called [`Ctx::fail`](super::Ctx::fail).
    Error(String),
    /// It panicked: in the factory, a handler, a timer or a spawned future.
    Panic(String),
    /// A supervisor saw more failures than its intensity allows.
    Escalated(String),
    /// A handler's future passed its deadline, or the thread did not come back.
    Stuck(String),
}

impl Exit {
    /// Returns whether a [`Transient`](super::Restart::Transient) child is restarted after it.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Self::Normal | Self::Shutdown)
    }

    /// Returns the kind alone: a metric label.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Shutdown => "shutdown",
            Self::Killed => "killed",
            Self::Error(_) => "error",
            Self::Panic(_) => "panic",
            Self::Escalated(_) => "escalated",
            Self::Stuck(_) => "stuck",
        }
    }
}

impl Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Normal | Self::Shutdown | Self::Killed => f.write_str(self.kind()),
            Self::Error(reason) | Self::Panic(reason) | Self::Escalated(reason) | Self::Stuck(reason) => {
                write!(f, "{}: {reason}", self.kind())
            }
        }
    }
}

/// Returns `text` on one line and within [`MAX_REASON_BYTES`].
pub(super) fn cut(text: impl Display) -> String {
    let mut kept = String::new();
    // Writing to a string cannot fail; a `Display` that reports an error leaves what it wrote so far.
    let _ = write!(kept, "{text}");
    if kept.len() > MAX_REASON_BYTES {
        let mut end = MAX_REASON_BYTES - '…'.len_utf8();
        while !kept.is_char_boundary(end) {
            end -= 1;
        }
        kept.truncate(end);
        kept.push('…');
    }
    if kept.contains(char::is_control) {
        kept = kept.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    kept
}

/// Returns what a caught panic said.
pub(super) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    cut(text.unwrap_or("a panic without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_at_most_512_bytes() {
        assert_eq!(cut("two\nlines\u{1b}[31m"), "two lines [31m");
        let long = cut("ä".repeat(400));
        assert!(long.len() <= MAX_REASON_BYTES && long.ends_with('…'));
    }
}
