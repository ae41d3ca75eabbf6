//! Changes a host: plans, carries out, takes back. The verbs of the command line, the agent and the helper that runs as root
//! all do it with these.

mod chosen;
mod fault;
mod impls;
mod on_io;
mod order;
mod own;
mod policy_file;
mod progress;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::host::Ability;
use crate::domain::id::AgentId;
use crate::domain::order::{Fingerprint, KeyOffer, SignedOrder};
use crate::domain::update::{Plan, PlanAsk, Problem, Run, RunId, RunProgress};
use crate::protocol::v3::RunTold;

pub use chosen::ChosenHands;
pub use fault::HandsFault;
pub use on_io::OnIo;
pub use own::{HandsParts, OwnHands, Rights};
pub use policy_file::check_policy;

/// Whoever changes this host for its agent: the agent itself, or a helper that may do more.
#[async_trait]
pub trait Hands: Send + Sync + 'static {
    /// Says what they can do, and whose orders they know.
    async fn status(&self) -> HandsStatus;

    /// Fetches the lists of what there is, if they may.
    async fn refresh(&self) -> Result<(), Problem>;

    /// Works out what would be changed; changes nothing.
    async fn plan(&self, ask: &PlanAsk) -> Result<Plan, Problem>;

    /// Carries an order out, or goes on with its run, or tells how that ended. `tell` hears of it at every step, at most once
    /// a second beside that, and every quarter of a minute.
    async fn carry_out(&self, errand: Errand, tell: TellProgress) -> Result<Run, NotCarriedOut>;

    /// Has a run stop at its next safe point; one that is at its end stays as it is. Whoever may order nothing can stop a run all
    /// the same: what is done stays done.
    async fn cancel(&self, run: &RunId, by: &str) -> Result<(), Problem>;

    /// Takes in the key that the master shows.
    async fn offer_key(&self, offer: &KeyOffer, agent: &AgentId) -> Result<KeyNews, Problem>;

    /// Takes in which prefix of labels counts beside the known ones, as the master says: by it they know which containers are
    /// published. None forgets it.
    async fn learn_label_prefix(&self, said: Option<&str>) -> Result<(), Problem>;

    /// Returns some runs that ended and were not told as this agent's, the oldest first.
    async fn untold(&self, agent: &AgentId) -> Result<Vec<RunId>, Problem>;

    /// Returns a run as it is told; none if there is no such run.
    async fn read_run(&self, run: &RunId) -> Result<Option<RunTold>, Problem>;

    /// Notes that a run was told as this agent's.
    async fn mark_told(&self, run: &RunId, agent: &AgentId) -> Result<(), Problem>;
}

/// Hears how a run goes on.
pub type TellProgress = Arc<dyn Fn(RunProgress) + Send + Sync>;

/// An order with what is known of it beside its text.
#[derive(Debug, Clone)]
pub struct Errand {
    /// What came from the master.
    pub order: SignedOrder,
    /// Who this agent is.
    pub agent: AgentId,
    /// How far the master's clock is ahead of this host's, if it is known.
    pub ahead: Option<TimeDelta>,
    /// When the command that carried it expired, by this host's clock; none if it did not.
    pub expired: Option<DateTime<Utc>>,
}

/// Why an order is not carried out; nothing was changed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{0}")]
pub struct NotCarriedOut(pub String);

/// What hands can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandsStatus {
    /// Whether they install packages.
    pub installs_packages: Ability,
    /// Whether they replace containers.
    pub replaces_containers: Ability,
    /// The key by which they know orders; none before one was shown.
    pub key: Option<Fingerprint>,
    /// The key that was shown last and that they do not trust.
    pub refused_key: Option<Fingerprint>,
    /// What is wrong with them, in words.
    pub problem: Option<String>,
}

/// What became of a key that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNews {
    /// Whether it is trusted, and since when.
    pub was: KeyWas,
    /// The key that is trusted now.
    pub trusted: Option<Fingerprint>,
    /// The key that was shown.
    pub shown: Fingerprint,
}

/// What a key that was shown is to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyWas {
    /// The one that is trusted.
    Same,
    /// The first one; it is trusted now.
    First,
    /// One that the trusted key gave its word for; it is trusted now.
    Exchanged,
    /// Not trusted.
    Refused,
}
