//! Work for an agent's own actors, on its way through the fleet.

use actix::prelude::*;
use chrono::TimeDelta;

use super::receipt::{Part, Reply};
use super::requests::{DeliveredCommand, Dialect, Incoming};
use crate::domain::command::{Command, CommandKind, Outcome};
use crate::domain::id::{AgentId, CommandId};
use crate::domain::update::{Decision, Kind};

/// Work for one agent's actors; the router finds or starts them.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ToAgent {
    /// Whose actors.
    pub agent: AgentId,
    /// What to do.
    pub work: Work,
}

/// What to do.
pub enum Work {
    /// Take in a report.
    Report { reports: Incoming, part: Part },
    /// Hand over commands.
    Lease { max: usize, dialect: Dialect, reply: Reply<Vec<DeliveredCommand>> },
    /// The agent has a command.
    Acknowledge { command: CommandId, reply: Reply<()> },
    /// A command came to its end.
    Finish { command: CommandId, outcome: Outcome, part: Part },
    /// Queue a command.
    Enqueue { kind: CommandKind, by: String, reply: Reply<Command> },
    /// A person decides about updates, or takes it back.
    DecideUpdates {
        updates: Vec<(Kind, String)>,
        decision: Option<Decision>,
        by: String,
        reply: Reply<usize>,
    },
    /// A time that was written down has come: look what is due.
    Due,
    /// The registrar changed where the agent stands: read again.
    StandingChanged,
    /// A hostname became free that this agent may want.
    NameFreed,
    /// The wall clock leapt: running grace periods and the lives of commands move with it.
    Postpone { leap: TimeDelta, part: Part },
    /// A person confirms the removals that the guard holds.
    ReleaseHeld { by: String, reply: Reply<usize> },
}

/// Work that nobody waits for and nothing repeats: kept until there is room for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owed {
    /// The registrar changed where the agent stands.
    StandingChanged,
    /// A hostname became free.
    NameFreed,
}

impl From<Owed> for Work {
    fn from(owed: Owed) -> Self {
        match owed {
            Owed::StandingChanged => Self::StandingChanged,
            Owed::NameFreed => Self::NameFreed,
        }
    }
}

impl Work {
    /// Returns what must be kept if there is no room now.
    pub fn owed(&self) -> Option<Owed> {
        match self {
            Self::StandingChanged => Some(Owed::StandingChanged),
            Self::NameFreed => Some(Owed::NameFreed),
            _ => None,
        }
    }

    /// False if it is of use to its asker only, who does not wait any more.
    pub fn is_wanted(&self) -> bool {
        match self {
            Self::Lease { reply, .. } => !reply.is_closed(),
            Self::Acknowledge { reply, .. } => !reply.is_closed(),
            Self::Enqueue { reply, .. } => !reply.is_closed(),
            Self::DecideUpdates { reply, .. } => !reply.is_closed(),
            _ => true,
        }
    }
}
