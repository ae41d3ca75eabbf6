//! The only caller of Cloudflare for an account.
//!
//! A message only wakes [`CloudflareAccount`] (`actor`; who waits for an answer: `requests`, `rules`, `view`); what is wanted is read from the database (`picture`),
//! compared with what is known to be there, and only a difference leads to calls (`pass`). Each tunnel has one pass at a
//! time, many tunnels go side by side; when a tunnel has its turn is decided in `schedule`. 429, 5xx and time-outs are
//! states with their own retry.
//!
//! What we own at Cloudflare is of one kind or another (`owned`): looked at, ensured and removed in the same way: DNS
//! `records`, `policies` and `applications` of Access. What protects a route (`protection`) is put in place (`protect`) before it is made
//! reachable; who can be let in is in `people`, whose `tokens` programs have there; how many of each kind there may be, in
//! `usage`. A name that another tunnel gets is `leaving`. What a pass came to is said in `outcome`, in the `words` for people.
//!
//! Everybody else holds an [`Account`], which is made in `handle`; one whose token may come later is in `late`.

mod actor;
mod adopt;
mod applications;
mod drifts;
mod handle;
mod late;
mod leaving;
mod made_tunnels;
mod outcome;
mod owned;
mod pass;
mod people;
mod picture;
mod plan;
mod policies;
mod protect;
mod protection;
mod records;
mod requests;
mod rules;
mod schedule;
mod shared;
mod tokens;
mod tunnels;
mod usage;
mod view;
mod waiters;
mod words;
mod zones;

pub use self::actor::{CAPACITY, CloudflareAccount};
pub use self::adopt::Adopted;
pub use self::handle::{Account, Connected, PlanOnly, SharedAccount, describe};
pub use self::late::Late;
pub use self::plan::{
    ApplyReport, BlockedChange, ChangeKind, Drifted, KnownAccess, Plan, PlannedChange, WaitingTunnel,
    plan as plan_from_database,
};
pub use self::requests::{AccountStatus, GetStatus, consents};
pub use self::shared::{AccountParts, AccountStore, MasterStore, StoreFailed, forget_reviews, installation};
pub use self::tunnels::ProvidedTunnel;
pub use self::view::{AccountView, BudgetView};
pub use self::zones::LastZones;
pub use crate::domain::publish::PublishSettings;
pub use crate::domain::wanted::KnownZones;
