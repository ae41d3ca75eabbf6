//! Why a host cannot be changed.

use std::path::PathBuf;

use crate::domain::update::{PlanFault, Problem, RunId};
use crate::state_dir::StateError;

/// Why a host cannot be changed, or not be planned for.
#[derive(Debug, thiserror::Error)]
pub enum HandsFault {
    /// Nothing there can be installed with.
    #[error("{NOTHING}; {WITH_SOMETHING}")]
    Nothing,
    /// An installer could not plan.
    #[error("{}", in_words(.0))]
    Problem(Problem),
    /// What the installers planned makes no plan together.
    #[error(transparent)]
    Plan(#[from] PlanFault),
    /// A record cannot be read or written.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something else changes the host now.
    #[error("another run is under way on this host; `lightship history` shows it, try again when it ended")]
    Busy,
    /// There is no such run.
    #[error("no run `{0}` on this host; `lightship history` lists them")]
    NoRun(RunId),
    /// What the owner of the host allows is not known.
    #[error("the policy {} cannot be followed: {reason}", path.display())]
    Policy {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

const NOTHING: &str = "there is nothing on this host that could be installed with: it has no packages of APT or DNF, and no \
    Docker Engine answers";
const WITH_SOMETHING: &str = "for packages run the agent on the host itself, not in a container without the helper; for containers \
    let its user reach the Engine (`DOCKER_HOST`)";

fn in_words(problem: &Problem) -> String {
    let way_out = problem.way_out.as_ref().map(|way_out| format!("; {way_out}")).unwrap_or_default();
    format!("{}{way_out}", problem.reason)
}

impl HandsFault {
    /// Returns it as what is told of a plan that could not be made.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::Problem(problem) => problem,
            Self::Nothing => Problem { reason: NOTHING.into(), way_out: Some(WITH_SOMETHING.into()) },
            other => Problem { reason: other.to_string(), way_out: None },
        }
    }
}
