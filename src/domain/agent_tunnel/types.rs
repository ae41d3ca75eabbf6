//! The connector as it should be and as it is, and the steps between the two.

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest, Sha256};

use super::options::ConnectorOptions;
use crate::domain::id::{CommandId, ContainerId};

/// Label with the id of the agent that a connector belongs to.
pub const AGENT_LABEL: &str = "lightship.agent-id";
/// Label with the command that a connector was made for.
pub const COMMAND_LABEL: &str = "lightship.command-id";
/// Restart policy of the container: it must also come back after it ended well.
pub const RESTART_POLICY: &str = "unless-stopped";

/// A token that can be compared, but neither used nor read.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenPrint([u8; 32]);

impl TokenPrint {
    /// Takes the print of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for TokenPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenPrint({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

/// The connector that should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its token.
    pub token: TokenPrint,
    /// The image, with tag or digest.
    pub image: String,
    /// Arguments for the image's entry point.
    pub command: Vec<String>,
    /// Address of its metrics listener.
    pub metrics: String,
    /// The network it joins.
    pub network: String,
    /// Its options, shown by its label [`FORM_LABEL`](super::FORM_LABEL).
    pub options: ConnectorOptions,
    /// Labels it carries besides the two of this module.
    pub labels: BTreeMap<String, String>,
    /// Set after a restart was ordered: only a container made for this command will do.
    pub made_for: Option<CommandId>,
}

/// What should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Nobody has said anything yet: nothing is touched.
    Unknown,
    /// No connector.
    Stopped,
    /// This one.
    Running(Box<Wanted>),
}

/// Whether a container runs, in the Engine's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Made, never started.
    Created,
    /// Runs.
    Running,
    /// Frozen.
    Paused,
    /// Ended; the Engine starts it again.
    Restarting,
    /// Ended.
    Exited,
    /// Being removed, or left over from a removal that failed.
    Dead,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The Engine's id.
    pub id: ContainerId,
    /// Its image as it names it.
    pub image: String,
    /// Arguments for the entry point.
    pub command: Vec<String>,
    /// Print of its `TUNNEL_TOKEN`.
    pub token: Option<TokenPrint>,
    /// Its `TUNNEL_METRICS`.
    pub metrics: Option<String>,
    /// Those of its variables that are options of ours.
    pub options: BTreeMap<String, String>,
    /// The network it was made for.
    pub network: String,
    /// True if it is connected to that network now.
    pub is_connected: bool,
    /// Name of its restart policy.
    pub restart_policy: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it runs.
    pub state: RunState,
    /// True once it is ready, or has run for a while and nobody can read whether it is. Only looked at while it is
    /// to take over from another one.
    pub has_settled: bool,
    /// Last line of its log, for the reason of a wait.
    pub last_words: Option<String>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the wanted container, labelled with agent and command, and do not start it.
    Create {
        /// [`CONTAINER_NAME`](super::CONTAINER_NAME) or [`NEXT_NAME`](super::NEXT_NAME).
        name: &'static str,
    },
    /// Start it.
    Start(ContainerId),
    /// Let it run on.
    Unpause(ContainerId),
    /// Stop it within its own stop time.
    Stop(ContainerId),
    /// Remove it.
    Remove(ContainerId),
    /// Give it the one name.
    Rename(ContainerId),
}
