//! One agent's actors: a cache of what the database holds of it, started by its first change.
//!
//! They share one fate (one for all): the views of one agent belong together, and reading a few rows again is
//! cheaper than a half-reset picture. Idle ones are stopped by the router and lose nothing.

mod approvals;
mod commands;
mod containers;
mod draft;
mod host_runs;
mod ingester;
mod moves;
mod named;
mod own;
mod picture;
mod plans;
mod queue;
mod reissues;
mod schedules;
mod tunnel;
mod unanswered;
mod updates;

use std::time::Duration;

pub use commands::CommandDispatcher;
pub use containers::ContainerMirror;
pub use ingester::ReportIngester;
pub use tunnel::TunnelReconciler;
pub use updates::UpdateCoordinator;

use ingester::Sinks;
use own::Own;

use super::env::Env;
use super::fleet::Work;
use crate::actors::supervision::{Backoff, ChildSpec, Overflow, Port, Refused, Restart, SupSpec};
use crate::domain::id::AgentId;
use crate::domain::restart::{self, RestartNumbers};

/// Reports that may wait.
const REPORTS: usize = 32;
/// Messages that may wait at each of the others.
const MESSAGES: usize = 64;
/// Longest a handler may work: Cloudflare is not called here, so this is a stuck database.
const DEADLINE: Duration = Duration::from_secs(30);

/// The ways into one agent's actors.
#[derive(Clone)]
pub struct Subtree {
    ingester: Port<ReportIngester>,
    containers: Port<ContainerMirror>,
    tunnel: Port<TunnelReconciler>,
    updates: Port<UpdateCoordinator>,
    commands: Port<CommandDispatcher>,
}

/// Describes an agent's actors, in the order they start.
pub fn describe(env: &Env, agent: &AgentId) -> (ChildSpec, Subtree) {
    let own = Own { env: env.clone(), agent: agent.clone() };
    let (commands_spec, commands) = {
        let own = own.clone();
        ChildSpec::actor("commands", MESSAGES, Overflow::Reject, move || CommandDispatcher::new(own.clone()))
    };
    let (updates_spec, updates) = {
        let own = own.clone();
        ChildSpec::actor("updates", MESSAGES, Overflow::Reject, move || UpdateCoordinator::new(own.clone()))
    };
    let (tunnel_spec, tunnel) = {
        let (own, commands) = (own.clone(), commands.clone());
        ChildSpec::actor("tunnel", MESSAGES, Overflow::Reject, move || {
            TunnelReconciler::new(own.clone(), commands.clone())
        })
    };
    let (containers_spec, containers) = {
        let own = own.clone();
        ChildSpec::actor("containers", MESSAGES, Overflow::Reject, move || ContainerMirror::new(own.clone()))
    };
    let (ingester_spec, ingester) = {
        let sinks = Sinks {
            containers: containers.clone(),
            tunnel: tunnel.clone(),
            updates: updates.clone(),
            commands: commands.clone(),
        };
        ChildSpec::actor("ingester", REPORTS, Overflow::Reject, move || {
            ReportIngester::new(own.clone(), sinks.clone())
        })
    };
    // Who is told starts before who tells and stops after it: what one hands on while it stops is still taken.
    let children = [
        (commands_spec, "master-commands"),
        (updates_spec, "master-updates"),
        (tunnel_spec, "master-tunnel"),
        (containers_spec, "master-containers"),
        (ingester_spec, "master-ingester"),
    ];
    let numbers = &restart::AGENT_SUBTREE;
    let mut family = SupSpec::one_for_all().intensity(numbers.restarts, numbers.within);
    for (spec, role) in children {
        let spec = spec.role(role).grace(numbers.grace).deadline(DEADLINE);
        family = family.child(spec.backoff(backoff(numbers)));
    }
    // When it fails too often it leaves the tree; the router lets it cool down and starts it anew.
    let spec = ChildSpec::supervisor(agent.as_str(), family).restart(Restart::Temporary).role("master-agent");
    (spec, Subtree { ingester, containers, tunnel, updates, commands })
}

/// Returns the delays that these numbers mean.
pub fn backoff(numbers: &RestartNumbers) -> Backoff {
    Backoff { min: numbers.min, max: numbers.max, jitter: numbers.jitter, reset_after: numbers.reset_after }
}

/// Why work did not reach its actor.
pub enum Undelivered {
    /// No room: who waits is told to come later.
    Full,
    /// The actors have ended for good.
    Closed,
}

impl Subtree {
    /// True if nothing waits for any of the actors and none is at work. Who tells is asked before who is told: what
    /// was handed on meanwhile is seen where it went.
    pub fn is_idle(&self) -> bool {
        self.ingester.is_idle()
            && self.containers.is_idle()
            && self.tunnel.is_idle()
            && self.updates.is_idle()
            && self.commands.is_idle()
    }

    /// Tells work to the actor whose it is. What is not delivered is dropped, and its reply with it.
    pub fn tell(&self, work: Work) -> Result<(), Undelivered> {
        match work {
            Work::Report { reports, part } => {
                delivered(self.ingester.tell(ingester::TakeIn { reports, part }))
            }
            Work::Lease { max, dialect, reply } => {
                delivered(self.commands.tell(commands::Lease { max, dialect, reply }))
            }
            Work::Acknowledge { command, reply } => {
                delivered(self.commands.tell(commands::Acknowledge { command, reply }))
            }
            Work::Finish { command, outcome, part } => {
                let answered = updates::OrderAnswered {
                    command: command.clone(),
                    outcome: outcome.clone(),
                    part: part.split(),
                };
                delivered(self.updates.tell(answered))?;
                delivered(self.commands.tell(commands::Finish { command, outcome, part, is_report: false }))
            }
            Work::Enqueue { kind, by, reply } => {
                delivered(self.commands.tell(commands::Enqueue { kind, by, reply }))
            }
            Work::ReleaseHeld { by, reply } => {
                delivered(self.containers.tell(containers::ReleaseHeld { by, reply }))
            }
            Work::DecideUpdates { updates, decision, by, reply } => {
                delivered(self.updates.tell(updates::Decide { updates, decision, by, reply }))
            }
            Work::AskPlan { request, ask, then, by, reply } => {
                delivered(self.updates.tell(updates::AskPlan { request, ask, then, by, reply }))
            }
            Work::WantAll { names, not_before, by, reply } => {
                delivered(self.updates.tell(updates::WantAll { names, not_before, by, reply }))
            }
            Work::Want { kind, name, confirms, by, reply } => {
                delivered(self.updates.tell(updates::Want { kind, name, confirms, by, reply }))
            }
            Work::TakeDependencies { kind, name, dependencies, reply } => {
                delivered(self.updates.tell(updates::TakeDependencies { kind, name, dependencies, reply }))
            }
            Work::TakePlan { told, reply } => delivered(self.updates.tell(updates::TakePlan { told, reply })),
            Work::Approve { what, reply } => delivered(self.updates.tell(updates::Approve { what, reply })),
            Work::TakeRun { told, reply } => delivered(self.updates.tell(updates::TakeRun { told, reply })),
            Work::NameFreed => delivered(self.containers.tell(containers::Reconsider)),
            Work::Due => {
                delivered(self.containers.tell(containers::LookWhatIsDue))?;
                delivered(self.commands.tell(commands::LookWhatIsDue))?;
                delivered(self.tunnel.tell(tunnel::LookWhatIsDue))?;
                delivered(self.updates.tell(updates::LookWhatIsDue))
            }
            Work::StandingChanged => {
                delivered(self.containers.tell(containers::StandingChanged))?;
                delivered(self.commands.tell(commands::StandingChanged))
            }
        }
    }
}

fn delivered<M, S>(sent: Result<S, Refused<M>>) -> Result<(), Undelivered> {
    match sent {
        Ok(_) => Ok(()),
        Err(Refused::Full(_)) => Err(Undelivered::Full),
        Err(Refused::Closed(_)) => Err(Undelivered::Closed),
    }
}

/// One of an agent's actors, for tests that make it fail.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub enum Which {
    Ingester,
    Containers,
    Tunnel,
    Updates,
    Commands,
}

#[cfg(test)]
mod fail {
    use super::*;
    use crate::actors::supervision::fail::{Fail, fails};

    fails!(ReportIngester, ContainerMirror, TunnelReconciler, UpdateCoordinator, CommandDispatcher);

    impl Which {
        pub const ALL: [Self; 5] =
            [Self::Ingester, Self::Containers, Self::Tunnel, Self::Updates, Self::Commands];
    }

    impl Subtree {
        pub fn fail(&self, which: Which) -> Result<(), Undelivered> {
            match which {
                Which::Ingester => delivered(self.ingester.tell(Fail)),
                Which::Containers => delivered(self.containers.tell(Fail)),
                Which::Tunnel => delivered(self.tunnel.tell(Fail)),
                Which::Updates => delivered(self.updates.tell(Fail)),
                Which::Commands => delivered(self.commands.tell(Fail)),
            }
        }
    }
}
