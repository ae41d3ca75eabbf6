//! Which decisions are worth a word by themselves. What lasts, such as an agent that is offline, is compared instead
//! ([`compare`](super::compare)).

use super::topic::Topic;
use crate::domain::event::{Event, UpdateEvent};
use crate::domain::id::AgentId;
use crate::domain::update::{RunId, RunOutcome};

/// Something that happened and has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// What kind of thing.
    pub topic: Topic,
    /// Which one, by an id that no other one has.
    pub subject: String,
    /// The agent that it is about: people read its name.
    pub agent: AgentId,
    /// What happened, in words that follow the name.
    pub detail: String,
}

/// Returns what an event tells; each event that tells something has its line here.
pub fn occurrence(event: &Event) -> Option<Occurrence> {
    match event {
        Event::Update(UpdateEvent::RunEnded { agent_id, run_id, undoes, outcome, .. }) => {
            run_ended(agent_id, run_id, undoes.as_ref(), outcome)
        }
        _ => None,
    }
}

fn run_ended(
    agent: &AgentId,
    run: &RunId,
    undoes: Option<&RunId>,
    outcome: &RunOutcome,
) -> Option<Occurrence> {
    let detail = match (outcome, undoes) {
        (RunOutcome::Verified, Some(undone)) => format!("run {undone} was undone by run {run}"),
        (RunOutcome::Verified, None) => return None,
        // The plan no longer holds: whoever approved it is asked again, and nothing was tried.
        (RunOutcome::NotStarted { is_refused: true, .. }, _) => return None,
        (RunOutcome::NotStarted { reason, .. }, _) => format!("run {run} did not start: {reason}"),
        (RunOutcome::Failed { reason }, None) => format!("run {run} failed: {reason}"),
        (RunOutcome::Failed { reason }, Some(undone)) => {
            format!("run {run}, which was to undo run {undone}, failed: {reason}")
        }
        (RunOutcome::RolledBack { reason }, _) => {
            format!("run {run} failed and the old state is back: {reason}")
        }
        (RunOutcome::RollbackFailed { reason }, _) => {
            format!("run {run} failed and the old state could not be brought back: {reason}")
        }
    };
    let subject = format!("{agent}/{run}");
    Some(Occurrence { topic: Topic::UpdateFailed, subject, agent: agent.clone(), detail })
}
