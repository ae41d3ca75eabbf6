//! What travels between agent and master: the DockFlare dialect ([`v2`]), our own ([`v3`]) and RedFlag's ([`redflag`]).
//!
//! Shapes and their reading only: no connection, no state. All end in [`crate::domain::report::Report`]
//! on the way up and in [`command::AgentCommand`] on the way down, so that nothing behind this module knows
//! which one was spoken.

pub mod body;
pub mod command;
mod fit;
pub mod redflag;
pub mod v2;
pub mod v3;

/// Largest body of a v2 event or a native batch of reports, after decompression.
pub const REPORT_BODY_LIMIT: usize = 8 * 1024 * 1024;

/// The same of an agent that nobody has enrolled yet: it is a stranger with a key.
pub const PENDING_REPORT_BODY_LIMIT: usize = REPORT_BODY_LIMIT / 10;

/// Largest body of any other request, and of any answer an agent reads.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// Deepest nesting of objects and lists in a body.
pub const JSON_DEPTH_LIMIT: usize = 64;
