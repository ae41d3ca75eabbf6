//! A helper that runs as root beside an agent that does not: what they say to each other, and both of their sides.
//!
//! The agent asks, over a socket of the file system, once a connection. The helper trusts it with nothing: it reads the whole
//! order into its own memory, knows its key, its agent and its numbers from a directory of root, and plans again itself.

mod client;
mod frame;
mod server;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::{HandsStatus, KeyNews, NotCarriedOut};
use crate::domain::id::AgentId;
use crate::domain::order::{KeyOffer, SignedOrder};
use crate::domain::update::{Plan, PlanAsk, Problem, Run, RunId, RunProgress};
use crate::protocol::v3::RunTold;

pub use client::HelperHands;
pub use server::{Allowed, serve};

/// What is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    /// What can be done here.
    Status,
    /// Fetch the lists of what there is.
    Refresh,
    /// What would be changed.
    Plan(PlanAsk),
    /// Carry this out.
    Apply {
        /// What came from the master.
        order: Box<SignedOrder>,
        /// Whose orders are asked for.
        agent: AgentId,
    },
    /// Which runs were not told as this agent's.
    Untold(AgentId),
    /// A run with its log.
    Read(RunId),
    /// It was told.
    Told {
        /// Which.
        run: RunId,
        /// As whose.
        agent: AgentId,
    },
    /// A run is to stop at its next safe point.
    Cancel {
        /// Which.
        run: RunId,
        /// Who wants it.
        by: String,
    },
    /// This prefix of labels counts beside the known ones.
    LabelPrefix(Option<String>),
    /// The master shows this key.
    OfferKey {
        /// It.
        offer: Box<KeyOffer>,
        /// To whom.
        agent: AgentId,
    },
}

/// What is answered; all but the last of a connection are words on the way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// It is worked on.
    Working,
    /// How far a run is.
    Progress(Box<RunProgress>),
    Status(HandsStatus),
    Done,
    Plan(Box<Plan>),
    /// How the run came out.
    Ended(Box<Run>),
    /// The order is not carried out.
    NotCarriedOut(NotCarriedOut),
    Untold(Vec<RunId>),
    Run(Option<Box<RunTold>>),
    Key(KeyNews),
    /// It did not work.
    Failed(Problem),
}

impl Question {
    fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Apply { agent, .. } | Self::Told { agent, .. } | Self::OfferKey { agent, .. } => {
                Some(agent)
            }
            Self::Untold(agent) => Some(agent),
            Self::Status
            | Self::Refresh
            | Self::Plan(_)
            | Self::Read(_)
            | Self::Cancel { .. }
            | Self::LabelPrefix(_) => None,
        }
    }
}

impl Answer {
    fn is_last(&self) -> bool {
        !matches!(self, Self::Working | Self::Progress(_))
    }
}
