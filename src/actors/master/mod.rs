//! The master's actor tree.
//!
//! Pages, API and command line talk to [`Master`]; requests that change nothing are answered by
//! [`Directory`] and [`Slot`] without an actor.

mod bus;
pub mod cloudflare_account;
mod commands;
mod desk;
mod directory;
mod env;
mod error;
mod facade;
mod fleet;
mod follow;
mod for_registrar;
mod leaps;
mod notifier;
mod old_plans;
mod orders;
mod pushes;
mod receipt;
mod registrar;
mod requests;
mod router;
mod scans;
mod scheduler;
mod settings;
mod slot;
mod start;
mod store;
mod subtree;
mod sweep;
#[cfg(test)]
mod tests;
mod token_desk;

pub use bus::{Changes, Note};
pub use cloudflare_account::{
    Account, AccountStatus, AccountView, Adopted, ApplyReport, BlockedChange, BudgetView, ChangeKind,
    Drifted, LastZones, Plan, PlannedChange, ProvidedTunnel, SharedAccount, WaitingTunnel,
};
pub use directory::{Directory, Errand, KeyAccess, KeyDigest, LackingSeat, Refused, digest_key};
pub use error::{HostnameHolder, MasterError};
pub use facade::{Imported, MOST_HOSTS, Master, OnHosts, RuleOrder, RulePlace, RuleSet};
pub use registrar::RulesSet;
pub use requests::{
    DeliveredCommand, Dialect, Enrolled, Incoming, Joined, KeyDropped, KeyRef, LeftTunnel, NewKey, NewToken,
    RegisterInput, Registered, RemovedAgent, Renewed, TakenKey, Terms,
};
pub use settings::MasterSettings;
pub use slot::{Slot, Source};
pub use start::MasterParts;
pub use token_desk::{MakeClient, TakeToken};

pub use crate::domain::agent::AgentStatus;
