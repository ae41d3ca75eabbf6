//! Carrying out one step.

use std::collections::BTreeMap;

use crate::docker::{Docker, DockerError, NewConnector};
use crate::domain::agent_tunnel::{AGENT_LABEL, CONTAINER_NAME, NEXT_NAME, Step};
use crate::domain::container::Container;
use crate::domain::id::{AgentId, ContainerId};
use crate::domain::image::{Pull, must_pull};

/// What became of a step.
#[derive(Debug)]
pub(super) enum StepEnd {
    /// It was carried out, or the world has moved on; look again.
    Changed,
    /// The image must be fetched first.
    ImageMissing,
    /// It could not be carried out.
    Failed(StepError),
}

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The Engine's answer.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The image is named by an id that the Engine does not know.
    #[error(
        "image `{0}` is named by its local id and the docker engine does not have it; set CLOUDFLARED_IMAGE"
    )]
    NoSuchImage(String),
}

impl StepError {
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Docker(error) if error.is_away())
    }
}

/// Carries out `step`. `new` is what a creation makes; its name is the step's.
pub(super) async fn carry_out(
    docker: &dyn Docker,
    step: Step,
    new: Option<NewConnector>,
    agent: &AgentId,
) -> StepEnd {
    let outcome = match step {
        Step::Create { name } => {
            let Some(new) = new else { return StepEnd::Changed };
            return match create(docker, NewConnector { name: name.to_owned(), ..new }, agent).await {
                Ok(done) => done,
                // The name is in use: somebody was quicker, or a removal is still under way.
                Err(StepError::Docker(error)) if error.is_conflict() => StepEnd::Changed,
                Err(error) => StepEnd::Failed(error),
            };
        }
        Step::Start(id) => start(docker, &id).await,
        Step::Unpause(id) => docker.unpause(&id).await,
        Step::Stop(id) => docker.stop(&id).await,
        Step::Remove(id) => docker.remove(&id).await,
        Step::Rename(id) => docker.rename(&id, CONTAINER_NAME).await,
    };
    match outcome {
        Ok(()) => StepEnd::Changed,
        Err(error) if error.is_not_found() || error.is_conflict() => StepEnd::Changed,
        Err(error) => StepEnd::Failed(error.into()),
    }
}

async fn create(docker: &dyn Docker, new: NewConnector, agent: &AgentId) -> Result<StepEnd, StepError> {
    if new.name == CONTAINER_NAME
        && let Some(id) = renamed(docker, agent).await?
    {
        docker.rename(&id, CONTAINER_NAME).await?;
        return Ok(StepEnd::Changed);
    }
    match must_pull(&new.image, docker.has_image(&new.image).await?) {
        Pull::NotNeeded => {}
        Pull::Needed => return Ok(StepEnd::ImageMissing),
        Pull::Impossible => return Err(StepError::NoSuchImage(new.image)),
    }
    if is_own_network(&new.network) {
        docker.ensure_network(&new.network, &[(AGENT_LABEL, agent.as_str())]).await?;
    }
    docker.create_connector(&new).await?;
    Ok(StepEnd::Changed)
}

/// Finds a connector of ours that runs under a name of somebody's choice: it gets its own back instead of a twin.
async fn renamed(docker: &dyn Docker, agent: &AgentId) -> Result<Option<ContainerId>, DockerError> {
    let is_ours = |found: &Container| {
        let owner = found.labels.get(AGENT_LABEL);
        owner.is_some_and(|owner| owner == agent.as_str())
            && ![CONTAINER_NAME, NEXT_NAME].contains(&found.name.as_str())
    };
    Ok(docker.list_running().await?.into_iter().find(is_ours).map(|found| found.id))
}

/// A container that cannot be started as it is (its network was made anew, its image is broken) is removed, so
/// that the next step makes it again.
async fn start(docker: &dyn Docker, id: &ContainerId) -> Result<(), DockerError> {
    let Err(error) = docker.start(id).await else { return Ok(()) };
    if error.is_away() || error.is_conflict() {
        return Err(error);
    }
    docker.remove(id).await?;
    // "Not found" is about its network here: the container was there a moment ago.
    match error {
        DockerError::NotFound { what, message } => Err(DockerError::Refused { what, status: 404, message }),
        error => Err(error),
    }
}

/// False for the Engine's own modes, which are there or are none.
pub(super) fn is_own_network(network: &str) -> bool {
    !["host", "none", "bridge"].contains(&network)
}

/// Returns the label by which a person can tell which token a container was made with.
pub(super) fn token_label(token: &str) -> BTreeMap<String, String> {
    use sha2::{Digest, Sha256};

    let print = hex::encode(&Sha256::digest(token.as_bytes())[..6]);
    BTreeMap::from([("lightship.token-sha256".to_owned(), print)])
}
