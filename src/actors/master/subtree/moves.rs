//! How updates move with plans and runs, and how that is committed.

use std::collections::{BTreeMap, BTreeSet};

use super::own::Own;
use super::updates::Keeper;
use crate::actors::master::bus::Note;
use crate::actors::master::commands::queued;
use crate::actors::master::error::MasterError;
use crate::actors::master::store::CommitFailed;
use crate::db::updates::{decisions_of, updates_of};
use crate::db::{self, Batch, CommitError, Expected, RowChange};
use crate::domain::command::Command;
use crate::domain::event::Stream;
use crate::domain::update::{Change, Changes, Happening, Kind, OnHost, after_happening, concerns};

/// How often a decision is taken again after somebody else was faster.
pub(super) const TRIES: usize = 5;

/// Where the streams end that are written together.
pub(super) struct Ends {
    /// Of what is decided about updates.
    pub(super) updates: u64,
    /// Of commands.
    pub(super) commands: u64,
}

impl Keeper {
    /// Moves updates by their kinds and names, in a commit of its own.
    pub(super) async fn move_named(
        &self,
        names: &[(Kind, String)],
        what: Happening,
    ) -> Result<(), MasterError> {
        let batch = self.moved_named(self.batch(), names, what).await?;
        if !batch.rows.is_empty() {
            self.own.env.ledger.commit(batch).await?;
            self.own.env.notices.announce(Note::Updates(self.own.agent.clone()));
        }
        Ok(())
    }

    /// Moves updates by their kinds and names.
    pub(super) async fn moved_named(
        &self,
        batch: Batch,
        names: &[(Kind, String)],
        what: Happening,
    ) -> Result<Batch, MasterError> {
        let mut by_kind = BTreeMap::<Kind, BTreeSet<String>>::new();
        for (kind, name) in names {
            by_kind.entry(*kind).or_default().insert(name.clone());
        }
        self.moved_of(batch, by_kind, what).await
    }

    /// Moves the updates that a plan settles.
    pub(super) async fn moved(
        &self,
        batch: Batch,
        changes: &Changes,
        on_host: &OnHost,
        what: Happening,
    ) -> Result<Batch, MasterError> {
        self.moved_of(batch, concerns(changes, on_host), what).await
    }

    async fn moved_of(
        &self,
        mut batch: Batch,
        names: BTreeMap<Kind, BTreeSet<String>>,
        what: Happening,
    ) -> Result<Batch, MasterError> {
        let Own { env, agent } = &self.own;
        let now = env.now();
        for (kind, names) in names {
            let known = updates_of(&env.db, agent, kind).await?;
            let decisions = decisions_of(&env.db, agent, kind).await?;
            let named = known.into_iter().filter(|(name, _)| names.contains(name));
            let moved: Vec<Change> = named
                .filter_map(|(name, update)| after_happening(&update, what, decisions.get(&name), now))
                .map(|update| Change::Put(Box::new(update)))
                .collect();
            if !moved.is_empty() {
                batch = batch.row(RowChange::PutUpdates { agent_id: agent.clone(), kind, changes: moved });
            }
        }
        Ok(batch)
    }

    /// Commits; false if somebody else was faster, and it is to be decided again.
    pub(super) async fn commit(&self, batch: Batch) -> Result<bool, MasterError> {
        match self.own.env.ledger.commit(batch).await {
            Ok(_) => {
                self.own.env.notices.announce(Note::Updates(self.own.agent.clone()));
                Ok(true)
            }
            Err(CommitFailed::Refused(CommitError::VersionConflict { .. })) => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Where the streams end that are written together. Read before what is decided on them.
    pub(super) async fn ends(&self) -> Result<Ends, MasterError> {
        let Own { env, agent } = &self.own;
        Ok(Ends {
            updates: db::events::stream_version(&env.db, &Stream::updates(agent)).await?,
            commands: db::events::stream_version(&env.db, &Stream::commands(agent)).await?,
        })
    }
    /// Queues a command with what is written.
    pub(super) fn with_command(&self, batch: Batch, ends: &Ends, command: &Command) -> Batch {
        let agent = &self.own.agent;
        let expected = Expected::Version(ends.commands);
        batch.append(Stream::commands(agent), expected, vec![queued(agent, command)])
    }
}
