//! What goes with an agent that ends.

use tokio::time::Instant;

use super::look::{Settling, look, next_step};
use super::step::{StepEnd, StepError, carry_out};
use crate::docker::{Docker, DockerError};
use crate::domain::agent_tunnel::{Desired, NextStep};
use crate::domain::id::AgentId;

/// More steps than a removal takes from any state.
const STEPS: usize = 12;

/// Stops and removes what is ours; returns whether anything was.
pub(super) async fn retire(docker: &dyn Docker, agent: &AgentId) -> Result<bool, DockerError> {
    let settling = Settling::default();
    for number in 0..STEPS {
        let sight = look(docker).await?;
        match next_step(agent, &Desired::Stopped, &sight, &settling, Instant::now()) {
            NextStep::Do { step, .. } => match carry_out(docker, step, None, agent).await {
                StepEnd::Failed(StepError::Docker(error)) => return Err(error),
                StepEnd::Failed(_) | StepEnd::Changed | StepEnd::ImageMissing => {}
            },
            NextStep::Nothing | NextStep::Wait { .. } | NextStep::Refuse { .. } => return Ok(number > 0),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::agent::testing::{FakeEngine, paused};
    use crate::docker::NewConnector;
    use crate::domain::agent_tunnel::{CONTAINER_NAME, ConnectorOptions, own_labels};

    async fn engine_with_connector_of(agent: &AgentId) -> FakeEngine {
        let engine = FakeEngine::default();
        let connector = NewConnector {
            name: CONTAINER_NAME.into(),
            image: "cloudflared".into(),
            command: Vec::new(),
            metrics: String::new(),
            options: ConnectorOptions::default(),
            network: "edge-net".into(),
            labels: own_labels(agent, None),
            token: "t1".to_owned().into(),
        };
        let id = engine.create_connector(&connector).await.unwrap();
        engine.start(&id).await.unwrap();
        engine
    }

    #[test]
    fn only_what_is_ours_is_removed_and_called_so() {
        paused(async {
            let (us, another) = (AgentId::new("us"), AgentId::new("another"));

            let engine = engine_with_connector_of(&another).await;
            assert!(!retire(&engine, &us).await.unwrap());
            assert_eq!(engine.tokens(), ["t1"]);

            let engine = engine_with_connector_of(&us).await;
            assert!(retire(&engine, &us).await.unwrap());
            assert!(engine.tokens().is_empty());
        });
    }
}
