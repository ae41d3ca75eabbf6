//! Work for an agent's own actors, and the way to them: which shard, and what happens when it is full.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::error::MasterError;
use super::receipt::{Part, Reply};
use super::requests::{Approval, DeliveredCommand, Dialect, Incoming};
use crate::actors::supervision::Inlet;
use crate::domain::command::{Command, CommandKind, Outcome};
use crate::domain::id::{AgentId, CommandId, RequestId};
use crate::domain::shard::shard_of;
use crate::domain::update::{Decision, Kind, PlanAsk, Then};
use crate::protocol::v3::{PlanTold, RunTold};

/// Longest wait for an agent's actors; below the 15 s that a DockFlare agent waits.
pub const WORK: Duration = Duration::from_secs(12);

/// The shards' routers. Filled once all ports are made: actors of the fleet hold it before it is complete.
#[derive(Clone, Default)]
pub struct Fleet(Arc<OnceLock<Vec<Inlet<ToAgent>>>>);

impl Fleet {
    /// Completes the fleet; only the first time counts.
    pub fn complete(&self, routers: Vec<Inlet<ToAgent>>) {
        if self.0.set(routers).is_err() {
            tracing::warn!("the fleet was completed twice");
        }
    }

    /// Sends work to an agent's actors; refused if the shard has no room.
    pub fn send(&self, agent: &AgentId, work: Work) -> Result<(), MasterError> {
        let routers = self.0.get().filter(|routers| !routers.is_empty()).ok_or(MasterError::Busy)?;
        let router = &routers[shard_of(agent, routers.len())];
        router.tell(ToAgent { agent: agent.clone(), work }).map(drop).map_err(|_| MasterError::Busy)
    }

    /// Sends work and waits for its answer.
    pub async fn ask<T>(
        &self,
        agent: &AgentId,
        work: impl FnOnce(Reply<T>) -> Work,
    ) -> Result<T, MasterError> {
        let (reply, answer) = oneshot::channel();
        self.send(agent, work(reply))?;
        let answer = timeout(WORK, answer).await;
        answer.map_or(Err(MasterError::Busy), |answer| answer.unwrap_or(Err(MasterError::Busy)))
    }

    /// Sends work that nobody waits for: a timer or the next report repeats it if it is lost.
    pub fn nudge(&self, agent: &AgentId, work: Work) {
        if self.send(agent, work).is_err() {
            tracing::debug!(%agent, "the fleet has no room for a nudge");
        }
    }
}

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
    /// A person asks what the host would change.
    AskPlan { request: RequestId, ask: PlanAsk, then: Then, by: String, reply: Reply<CommandId> },
    /// A person says yes to an update by its name, or to what comes along with it.
    Want { kind: Kind, name: String, confirms: bool, by: String, reply: Reply<CommandId> },
    /// A person says yes to many updates of a host.
    WantAll {
        names: Vec<(Kind, String)>,
        not_before: Option<DateTime<Utc>>,
        by: String,
        reply: Reply<Vec<Result<CommandId, MasterError>>>,
    },
    /// A RedFlag agent says what an update brings along.
    TakeDependencies { kind: Kind, name: String, dependencies: Vec<String>, reply: Reply<Option<CommandId>> },
    /// The host worked it out, or could not.
    TakePlan { told: Box<PlanTold>, reply: Reply<()> },
    /// A person says yes to a plan, or takes it back.
    Approve { what: Approval, reply: Reply<()> },
    /// A run on the host ended.
    TakeRun { told: Box<RunTold>, reply: Reply<()> },
    /// A time that was written down has come, or a leap of the wall clock is to move some: look what is due.
    Due,
    /// The registrar changed where the agent stands: read again.
    StandingChanged,
    /// A hostname became free that this agent may want.
    NameFreed,
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
            Self::AskPlan { reply, .. } => !reply.is_closed(),
            Self::Approve { reply, .. } => !reply.is_closed(),
            _ => true,
        }
    }
}
