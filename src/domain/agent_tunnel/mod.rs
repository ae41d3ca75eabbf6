//! The container that runs `cloudflared`: what to do next, from what is wanted and what is there.
//!
//! [`next_step`] names one step; whoever carries it out looks again and asks again. No step depends on a memory of
//! earlier ones, so a crash between any two ends in the same state: exactly one container with the right name.
//!
//! A running connector is replaced without cutting the door: the new one is made beside it under
//! [`NEXT_NAME`], started, and waited for until it is connected, however long that takes; only then is the old
//! one stopped and removed, and the new one renamed. What the Engine is starting again by itself is left to it.

mod drift;
mod options;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use super::command::CommandKind;
use super::id::{AgentId, CommandId};
pub use super::tunnel::CONTAINER_NAME;
pub use drift::drift;
pub use options::{
    BadOption, ConnectorOptions, EDGE_IP_VERSION, FORM_LABEL, OPTIONS, POST_QUANTUM, PROTOCOL,
};
pub use types::{
    AGENT_LABEL, COMMAND_LABEL, Desired, Observed, RESTART_POLICY, RunState, Step, TokenPrint, Wanted,
};

/// Name of the connector that is to take over.
pub const NEXT_NAME: &str = "dockflare-agent-tunnel-next";
/// Arguments for the image's entry point.
pub const COMMAND: [&str; 3] = ["tunnel", "--no-autoupdate", "run"];

/// What to do next, if anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// All is as it should be.
    Nothing,
    /// Do this, look again, ask again.
    Do {
        /// The step.
        step: Step,
        /// Why, for the log.
        reason: String,
    },
    /// Nothing can be done now; look again later.
    Wait {
        /// Why, for a person.
        reason: String,
    },
    /// This is not ours to repair.
    Refuse {
        /// Why, and the way out.
        reason: String,
    },
}

/// Whose a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Us,
    /// No label: a DockFlare agent left it.
    Nobody,
    Another,
}

/// Returns the labels that a connector of this agent carries, made for `command` if one ordered it.
pub fn own_labels(agent_id: &AgentId, command: Option<&CommandId>) -> BTreeMap<String, String> {
    let agent = (AGENT_LABEL.to_owned(), agent_id.to_string());
    std::iter::once(agent).chain(command.map(|id| (COMMAND_LABEL.to_owned(), id.to_string()))).collect()
}

/// Returns the command that only a new container fulfils: a restart, not a start.
pub fn must_be_made_for(kind: &CommandKind, id: &CommandId) -> Option<CommandId> {
    matches!(kind, CommandKind::RestartTunnel { .. }).then(|| id.clone())
}

/// Names the next step. `main` is the container named [`CONTAINER_NAME`], `next` the one named [`NEXT_NAME`].
pub fn next_step(
    agent_id: &AgentId,
    desired: &Desired,
    main: Option<&Observed>,
    next: Option<&Observed>,
) -> NextStep {
    let owner = |found: &Observed| owner_of(agent_id, found);
    let own_next = next.filter(|found| owner(found) == Owner::Us);
    match desired {
        Desired::Unknown => NextStep::Nothing,
        Desired::Stopped => {
            let own_main = main.filter(|found| owner(found) != Owner::Another);
            own_main
                .or(own_next)
                .map_or(NextStep::Nothing, |found| retire(found, "no tunnel is wanted any more"))
        }
        Desired::Running(wanted) => match main {
            Some(main) if owner(main) == Owner::Another => refuse_foreign(main),
            Some(main) => match drift(agent_id, wanted, main) {
                None => keep(main, own_next.map(|found| (found, drift(agent_id, wanted, found).is_none()))),
                Some(differs) => replace(agent_id, wanted, main, differs, next),
            },
            None => establish(agent_id, wanted, own_next),
        },
    }
}

fn owner_of(agent_id: &AgentId, found: &Observed) -> Owner {
    match found.labels.get(AGENT_LABEL) {
        None => Owner::Nobody,
        Some(label) if label == agent_id.as_str() => Owner::Us,
        Some(_) => Owner::Another,
    }
}

fn act(step: Step, reason: impl Into<String>) -> NextStep {
    NextStep::Do { step, reason: reason.into() }
}

fn retire(found: &Observed, reason: &str) -> NextStep {
    match found.state {
        RunState::Running => act(Step::Stop(found.id.clone()), reason),
        _ => act(Step::Remove(found.id.clone()), reason),
    }
}

fn refuse_foreign(main: &Observed) -> NextStep {
    let other = main.labels.get(AGENT_LABEL).map_or("", String::as_str);
    NextStep::Refuse {
        reason: format!(
            "container `{CONTAINER_NAME}` on this host belongs to agent `{other}`; two agents cannot share one \
             Docker Engine, so stop that agent, or remove the container"
        ),
    }
}

/// The right container has the right name; see that it runs, and that it runs alone.
fn keep(main: &Observed, next: Option<(&Observed, bool)>) -> NextStep {
    if let Some((next, fits)) = next {
        let (main_runs, next_runs) = (main.state == RunState::Running, next.state == RunState::Running);
        if fits && next_runs && !main_runs {
            return act(Step::Remove(main.id.clone()), "its successor runs already");
        }
        if main_runs && next_runs && !fits && !main.has_settled {
            return NextStep::Wait { reason: "it is not ready yet; the one beside it serves on".into() };
        }
        if main_runs || (!next_runs && !fits) {
            return retire(next, "it is left over from a replacement that is not needed");
        }
    }
    revive(main).unwrap_or(NextStep::Nothing)
}

/// Makes a container that is what it should be run; `None` if it runs.
fn revive(found: &Observed) -> Option<NextStep> {
    let id = found.id.clone();
    match found.state {
        RunState::Running => None,
        RunState::Created => Some(act(Step::Start(id), "it was made and not started")),
        RunState::Exited => Some(act(Step::Start(id), "it had ended")),
        RunState::Paused => Some(act(Step::Unpause(id), "it was paused")),
        RunState::Dead => Some(act(Step::Remove(id), "it is left over from a removal that failed")),
        RunState::Restarting => {
            let words = found.last_words.as_deref().unwrap_or("it wrote nothing");
            Some(NextStep::Wait {
                reason: format!("the Docker Engine is starting it again; its last words: {words}"),
            })
        }
    }
}

/// The container with the right name is not what it should be.
fn replace(
    agent_id: &AgentId,
    wanted: &Wanted,
    main: &Observed,
    differs: &str,
    next: Option<&Observed>,
) -> NextStep {
    if main.state != RunState::Running {
        // It serves nobody, so nothing is lost if it goes first.
        return act(Step::Remove(main.id.clone()), format!("its {differs} is not what is wanted"));
    }
    let Some(next) = next else {
        return act(
            Step::Create { name: NEXT_NAME },
            format!("the {differs} of the one that runs is not what is wanted"),
        );
    };
    if owner_of(agent_id, next) != Owner::Us {
        return NextStep::Refuse {
            reason: format!(
                "container `{NEXT_NAME}` is not ours, and its name is needed for a replacement; rename or remove it"
            ),
        };
    }
    if let Some(differs) = drift(agent_id, wanted, next) {
        return retire(next, &format!("its {differs} is not what is wanted"));
    }
    match revive(next) {
        Some(step) => step,
        None if next.has_settled => act(Step::Stop(main.id.clone()), "its successor runs"),
        None => NextStep::Wait {
            reason: "the new connector is not ready yet; the old one serves on until it is".into(),
        },
    }
}

/// No container has the right name.
fn establish(agent_id: &AgentId, wanted: &Wanted, next: Option<&Observed>) -> NextStep {
    match next {
        None => act(Step::Create { name: CONTAINER_NAME }, "it is missing"),
        Some(next) => match drift(agent_id, wanted, next) {
            None if next.state != RunState::Dead => {
                act(Step::Rename(next.id.clone()), "it is the one that is left")
            }
            None => act(Step::Remove(next.id.clone()), "it is left over from a removal that failed"),
            // It serves until the right one does.
            Some(_) if next.state == RunState::Running => {
                act(Step::Create { name: CONTAINER_NAME }, "only one that is not wanted runs")
            }
            Some(differs) => {
                act(Step::Remove(next.id.clone()), format!("its {differs} is not what is wanted"))
            }
        },
    }
}
