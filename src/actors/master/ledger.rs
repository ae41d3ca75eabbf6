//! The one way to the database for what actors decide.

use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::error::MasterError;
use crate::actors::supervision::Inlet;
use crate::db::{Batch, CommitError, Committed, DbError};

/// How long a sender waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a sender waits for its commit, once it is queued.
const COMMIT_LIMIT: Duration = Duration::from_secs(20);

/// Commits a batch and answers through `reply`; dropped unanswered if the store restarts.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Commit {
    /// What is to be written.
    pub batch: Batch,
    /// How it went.
    pub reply: oneshot::Sender<Result<Committed, CommitError>>,
}

/// Why a commit did not succeed, or is not known to have.
#[derive(Debug, thiserror::Error)]
pub enum CommitFailed {
    /// Too much to write.
    #[error("the store has no room for another commit")]
    Full,
    /// The store restarted or took too long, or the engine did not confirm: the commit may or may not be written, so
    /// read again.
    #[error("the outcome of the commit is not known")]
    Unknown,
    /// It was not written, for this reason.
    #[error(transparent)]
    Refused(CommitError),
}

impl From<CommitError> for CommitFailed {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Unknown { .. } => Self::Unknown,
            refused => Self::Refused(refused),
        }
    }
}

impl From<CommitFailed> for MasterError {
    fn from(failed: CommitFailed) -> Self {
        match failed {
            CommitFailed::Full | CommitFailed::Unknown => Self::Busy,
            // The one that decided reads again and decides again; who still meets a conflict should come later.
            CommitFailed::Refused(CommitError::VersionConflict { .. } | CommitError::Claimed { .. }) => {
                Self::Busy
            }
            CommitFailed::Refused(CommitError::NotListed { .. } | CommitError::KeyRevoked { .. }) => {
                Self::KeyRevoked
            }
            CommitFailed::Refused(CommitError::TunnelTaken { by, .. }) => Self::TunnelTaken { by },
            CommitFailed::Refused(CommitError::KeyTaken { .. }) => Self::KeyMismatch,
            CommitFailed::Refused(error @ CommitError::TooLarge { .. }) => Self::TooMuch(error.to_string()),
            CommitFailed::Refused(CommitError::Db(DbError::Full { .. })) => Self::StorageFull,
            CommitFailed::Refused(error) => Self::Database(Box::new(error)),
        }
    }
}

/// What actors hold to commit.
#[derive(Clone)]
pub struct Ledger(Inlet<Commit>);

impl Ledger {
    /// Makes a handle to the store.
    pub fn new(store: Inlet<Commit>) -> Self {
        Self(store)
    }

    /// Returns once `batch` is written, or will not be.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitFailed> {
        let (reply, answer) = oneshot::channel();
        self.0.tell_wait(Commit { batch, reply }, PATIENCE).await.map_err(|_| CommitFailed::Full)?;
        match tokio::time::timeout(COMMIT_LIMIT, answer).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(_)) | Err(_) => Err(CommitFailed::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Stream;
    use crate::domain::id::AgentId;

    #[test]
    fn what_is_too_large_to_record_is_the_askers_to_change_and_named() {
        let stream = Stream::routes(&AgentId::new("a"));
        let refused = CommitError::TooLarge { stream, kind: "route_claimed".into(), size_bytes: 70_000 };
        let error = MasterError::from(CommitFailed::from(refused));
        assert_eq!((error.status(), error.code()), (400, "too_much"));
        assert!(
            error.to_string().contains("`route_claimed`") && error.to_string().contains("70000 bytes"),
            "{error}"
        );
    }
}
