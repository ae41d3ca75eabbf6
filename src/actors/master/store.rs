//! Commits what actors decide, many at a time.
//!
//! While a commit runs, further ones wait in the mailbox; the next transaction takes all that have come by then.
//! So one commit alone waits for nobody, and many share the price of one write to disk. What is held in memory of
//! decisions follows each commit before it is answered.
//!
//! [`Ledger`] is what everybody else holds of it.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;
use tokio::sync::oneshot;

use super::error::MasterError;
use crate::actors::supervision::{Ctx, Inlet, supervised};
use crate::db::{Batch, CommitError, Committed, Db, DbError, Recorded};

/// How many commits may wait; beyond it senders wait a little, then give up.
pub const CAPACITY: usize = 1_024;
/// How long a sender waits for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a sender waits for its commit, once it is queued.
const COMMIT_LIMIT: Duration = Duration::from_secs(20);
/// How long the store waits before it tries again to read on.
const READ_AGAIN: Duration = Duration::from_millis(500);

// === the way to the store ===

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
            CommitFailed::Refused(
                CommitError::VersionConflict { .. }
                | CommitError::Claimed { .. }
                | CommitError::ClaimedByRule { .. },
            ) => Self::Busy,
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

// === the store ===

/// Writes batches together, and says for each how it went.
#[async_trait]
pub trait Writer: Send + Sync {
    /// As [`Db::commit_many`] says.
    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<Committed, CommitError>>;
}

#[async_trait]
impl Writer for Db {
    async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<Committed, CommitError>> {
        Self::commit_many(self, batches).await
    }
}

/// Follows what is written; is [`Follower`](super::follow::Follower), which holds what leads to the store.
#[async_trait]
pub trait Follow: Send + Sync {
    /// Follows what was just committed, in its order; false if that does not go on from what was followed before.
    fn follow(&self, recorded: &[Recorded]) -> bool;

    /// Reads on from the last event that was followed, once nobody writes any more that began before.
    async fn read_on(&self) -> Result<(), DbError>;
}

/// Commits what actors decide, many at a time.
pub struct Store {
    writer: Arc<dyn Writer>,
    follower: Arc<dyn Follow>,
    waiting: Vec<Commit>,
    /// True while memory may have missed something that was written.
    is_behind: bool,
}

/// Writes what has come by now.
#[derive(Message)]
#[rtype(result = "()")]
struct WriteNow;

/// Reads on what may have been written and was not followed.
#[derive(Message)]
#[rtype(result = "()")]
struct ReadOn;

impl Store {
    /// Makes a store that writes through `writer` and has `follower` follow.
    pub fn new(writer: Arc<dyn Writer>, follower: Arc<dyn Follow>) -> Self {
        // A run before this one may have ended between a commit and what follows from it.
        Self { writer, follower, waiting: Vec::new(), is_behind: true }
    }

    /// Says whether memory holds everything now; tries again later if not.
    fn caught_up(&mut self, is_so: bool, ctx: &mut Ctx<Self>) {
        self.is_behind = !is_so;
        if self.is_behind {
            ctx.notify_later(ReadOn, READ_AGAIN);
        }
    }
}

supervised!(Store);

impl Actor for Store {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        ctx.notify(ReadOn);
    }
}

impl Handler<ReadOn> for Store {
    type Result = ();

    fn handle(&mut self, _: ReadOn, ctx: &mut Ctx<Self>) {
        if self.is_behind {
            let follower = Arc::clone(&self.follower);
            let read = async move { read_on(&*follower).await };
            ctx.wait(read.into_actor(self).map(|is_so, store, ctx| store.caught_up(is_so, ctx)));
        }
    }
}

async fn read_on(follower: &dyn Follow) -> bool {
    let read = follower.read_on().await;
    if let Err(error) = &read {
        tracing::warn!(%error, "what was decided last could not be read; it is tried again");
    }
    read.is_ok()
}

/// Has memory follow what was written; reads on if that is not known, or not all of it.
async fn follow(
    follower: &dyn Follow,
    outcomes: &mut [Result<Committed, CommitError>],
    was_behind: bool,
) -> bool {
    let is_unknown = outcomes.iter().any(|outcome| matches!(outcome, Err(CommitError::Unknown { .. })));
    let recorded: Vec<_> =
        outcomes.iter().flatten().flat_map(|committed| committed.recorded.iter().cloned()).collect();
    if !was_behind && !is_unknown && follower.follow(&recorded) {
        return true;
    }
    let caught_up = read_on(follower).await;
    if !caught_up {
        // A revoked key would still open, and its revocation be called done.
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
            *outcome = Err(CommitError::Unknown { reason: "what was written cannot be read".into() });
        }
    }
    caught_up
}

impl Handler<Commit> for Store {
    type Result = ();

    fn handle(&mut self, commit: Commit, ctx: &mut Ctx<Self>) {
        // A caller that went away before its turn no longer wants it written.
        if commit.reply.is_closed() {
            return;
        }
        if self.waiting.is_empty() {
            // Handled after the mailbox is read empty: what else has come goes along.
            ctx.notify(WriteNow);
        }
        self.waiting.push(commit);
    }
}

impl Handler<WriteNow> for Store {
    type Result = ();

    fn handle(&mut self, _: WriteNow, ctx: &mut Ctx<Self>) {
        let (batches, replies): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).map(|commit| (commit.batch, commit.reply)).unzip();
        if batches.is_empty() {
            return;
        }
        metrics::histogram!("lightship_commit_batches").record(batches.len() as f64);
        let (writer, follower, was_behind) =
            (Arc::clone(&self.writer), Arc::clone(&self.follower), self.is_behind);
        let write = async move {
            let mut outcomes = writer.commit_many(batches).await;
            let caught_up = follow(&*follower, &mut outcomes, was_behind).await;
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // The caller may have given up; the commit stands.
                let _ = reply.send(outcome);
            }
            caught_up
        };
        // Waiting closes the mailbox meanwhile, so the port's bound holds for everything that is queued.
        ctx.wait(write.into_actor(self).map(|is_so, store, ctx| store.caught_up(is_so, ctx)));
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
