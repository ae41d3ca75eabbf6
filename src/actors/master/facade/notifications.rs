//! Where people are told what happened.

use std::time::Duration;

use super::Master;
use crate::actors::master::error::MasterError;
use crate::actors::master::notifier::SendTest;
use crate::actors::master::registrar;
use crate::actors::supervision::AskError;
use crate::domain::id::TargetId;
use crate::domain::notify::Draft;

/// Longest wait for a test: an attempt has a limit of its own, and its outcome is written down.
const TEST: Duration = Duration::from_secs(28);

impl Master {
    /// Makes a target, or puts it in the place of the one that has its id.
    pub async fn set_target(&self, draft: Draft, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::SetTarget { draft, by: by.into() }).await
    }

    /// Removes a target, with all that waits for it.
    pub async fn remove_target(&self, id: &TargetId, by: &str) -> Result<(), MasterError> {
        self.decide(registrar::RemoveTarget { id: id.clone(), by: by.into() }).await
    }

    /// Sends a test to a target; returns once the target took it.
    pub async fn test_target(&self, id: &TargetId, by: &str) -> Result<(), MasterError> {
        let Some(notifier) = &self.notifier else { return Err(MasterError::Busy) };
        match notifier.ask(SendTest { target: id.clone(), by: by.into() }, TEST).await {
            Ok(answer) => answer,
            Err(AskError::Full | AskError::Closed | AskError::Timeout | AskError::Lost) => {
                Err(MasterError::Busy)
            }
        }
    }
}
