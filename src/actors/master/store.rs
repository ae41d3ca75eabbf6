//! Commits what actors decide, many at a time.
//!
//! While a commit runs, further ones wait in the mailbox; the next transaction takes all that have come by then.
//! So one commit alone waits for nobody, and many share the price of one write to disk. What is held in memory of
//! decisions follows each commit before it is answered.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;

use super::follow::Follower;
use super::ledger::Commit;
use crate::actors::supervision::{Ctx, supervised};
use crate::db::{Batch, CommitError, Committed, Db};

/// How many commits may wait; beyond it senders wait a little, then give up.
pub const CAPACITY: usize = 1_024;
/// How long the store waits before it tries again to read on.
const READ_AGAIN: Duration = Duration::from_millis(500);

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

/// Commits what actors decide, many at a time.
pub struct Store {
    writer: Arc<dyn Writer>,
    follower: Follower,
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
    pub fn new(writer: Arc<dyn Writer>, follower: Follower) -> Self {
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
            let follower = self.follower.clone();
            let read = async move { read_on(&follower).await };
            ctx.wait(read.into_actor(self).map(|is_so, store, ctx| store.caught_up(is_so, ctx)));
        }
    }
}

async fn read_on(follower: &Follower) -> bool {
    let read = follower.read_on().await;
    if let Err(error) = &read {
        tracing::warn!(%error, "what was decided last could not be read; it is tried again");
    }
    read.is_ok()
}

/// Has memory follow what was written; reads on if that is not known, or not all of it.
async fn follow(
    follower: &Follower,
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
            (Arc::clone(&self.writer), self.follower.clone(), self.is_behind);
        let write = async move {
            let mut outcomes = writer.commit_many(batches).await;
            let caught_up = follow(&follower, &mut outcomes, was_behind).await;
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
