//! Pending updates of a host: what a scan finds, and the life of an update from its first sight to its end.
//!
//! A *finding* is what a scan says of one package or image of one host now. An *update* is the life of
//! (host, kind, name): it begins with the first finding that is newer, follows what people decide, and ends when no scan
//! finds it any more. What could not be checked is never taken for up to date.

mod approval;
mod ask;
mod behind;
mod finding;
mod first_seen;
mod kind;
mod life;
mod lifeline;
mod mode;
mod plan;
mod policy;
mod reconcile;
mod risk;
mod run;
mod run_id;
mod scan;
mod service;
mod severity;
pub mod swap;
mod version;

pub use approval::{
    ApprovalStatus, LIFETIME, MAX_DELAY, MAX_LIFETIME, MIN_LIFETIME, Term, TermFault, happening,
};
pub use ask::{AskFault, MAX_NAMES, PlanAsk, RebootAsk, Then, Wanted};
pub use behind::routes_behind;
pub use finding::{
    Cause, Finding, HeldBack, HeldCause, MAX_DETAILS, MAX_FINDINGS, MAX_LIST, MAX_NAME_CHARS, MAX_TEXT_CHARS,
    Standing,
};
pub use first_seen::FirstSeen;
pub use kind::{Kind, UnknownKind};
pub use life::{Decision, Happening, Refused, State, decided, next};
pub use lifeline::{is_engine_package, while_engine_restarts};
pub use mode::{ApprovalMode, Beyond, beyond};
pub use plan::{
    Changes, ConfigFile, Difference, LeftOut, OnHost, Operation, Plan, PlanFault, PlanId, PlannedChange,
    UndoSource, concerns,
};
pub use policy::{Forbidden, Policy, PolicyFault};
pub use reconcile::{
    CURRENT, Change, UNCHECKED, Update, after_decision, after_happening, after_snooze, reconcile,
};
pub use risk::Risk;
pub use run::{DoneStep, FailedImage, HOST_LOOK, Present, Run, RunOutcome, RunProgress, UndoFault, undo};
pub use run_id::RunId;
pub use scan::{Checked, Findings, HostScan, Problem, Scanned, digest};
pub use service::{Aftermath, Service};
pub use severity::Severity;
pub use version::Evr;
