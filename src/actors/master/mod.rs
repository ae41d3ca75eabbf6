//! The master's actor tree.
//!
//! Pages, API and command line talk to [`Master`]; requests that change nothing are answered by
//! [`Directory`] and [`Slot`] without an actor.

mod directory;
mod error;
mod facade;
mod plan;
mod requests;
mod settings;
mod slot;

pub use directory::{Directory, Errand, KeyAccess, KeyDigest, Refused, digest_key};
pub use error::MasterError;
pub use facade::Master;
pub use plan::{ApplyReport, BlockedChange, ChangeKind, Plan, PlannedChange, WaitingTunnel};
pub use requests::{
    DeliveredCommand, Dialect, Enrolled, Incoming, KeyDropped, KeyRef, NewKey, RegisterInput, Registered,
    RemovedAgent,
};
pub use settings::MasterSettings;
pub use slot::{AgentStatus, Slot, Source};
