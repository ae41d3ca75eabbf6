//! The database: decisions as events, what is derived from them, observations, secrets.
//!
//! Writes go through [`Db::commit_many`] and nothing else; reads are functions of the topic's module, and
//! [`read`] has what pages show. Rows leave as plain structs; the mapper's types stay inside. The same code runs
//! on SQLite and on PostgreSQL.

use std::future::Future;
use std::path::Path;

use crate::chance::Chance;
use crate::io::Io;

pub mod access;
pub mod agents;
pub mod approvals;
pub mod batch;
pub mod cloudflare;
pub mod commands;
pub mod conditions;
pub mod containers;
pub mod drifts;
pub mod due;
pub mod error;
pub mod events;
pub mod failed_images;
pub mod keys;
pub mod manual_rules;
pub mod notifications;
pub mod order_keys;
pub mod plans;
pub mod read;
pub mod refresh_tokens;
pub mod registry_logins;
pub mod removals;
pub mod roster;
pub mod routes;
pub mod runs;
pub mod search;
pub mod secrets;
pub mod sessions;
pub mod settings;
pub mod story;
pub mod tokens;
pub mod tunnels;
pub mod update_counts;
pub mod update_lists;
pub mod update_logs;
pub mod updates;

mod changes;
mod commit;
mod database;
mod entities;
mod event_store;
mod needs;
mod notification_changes;
mod open;
mod place;
mod projections;
mod rebuild;
mod secret_key;
mod table;
mod times;
mod unit;
mod words;
mod writer_lock;

#[cfg(test)]
mod tests;

pub use batch::{Append, Assumption, Batch, CommitError, Committed, Expected, RowChange, SaidBy};
pub use database::{ALL, Db};
pub use error::DbError;
pub use event_store::ChainReport;
pub use events::Recorded;
pub use secret_key::{SecretError, SecretKey};

impl Db {
    /// Opens the database that `url` names, without changing its tables.
    ///
    /// `sqlite://<file>` makes the file if it is absent; a damaged one is left untouched and refused.
    pub async fn open(url: &str, io: Io) -> Result<Self, DbError> {
        open::open(url, io).await
    }

    /// [`Db::open`] for somebody who only reads: fails if there is no such file.
    pub async fn open_existing(url: &str, io: Io) -> Result<Self, DbError> {
        place::must_exist(url)?;
        open::open(url, io).await
    }

    /// Fails if `url` is none that [`Db::open`] knows.
    pub fn check_url(url: &str) -> Result<(), DbError> {
        place::place_of(url).map(drop)
    }

    /// Fails if the file that `url` names lost its content: it is empty although `key`, the file that is made after
    /// the first tables, is there. Opening it would begin anew without a word.
    pub fn must_not_be_emptied(url: &str, key: &Path) -> Result<(), DbError> {
        place::must_not_be_emptied(url, key)
    }

    /// A migrated, empty database in memory with a random secret key: for tests and trials.
    pub async fn in_memory(io: Io) -> Result<Self, DbError> {
        let db = Self::open("sqlite::memory:", io).await?;
        db.migrate().await?;
        db.unlock_secrets(SecretKey::random(Chance::system())).await?;
        Ok(db)
    }

    /// Brings the tables to this release's shape, as the only writer meanwhile.
    pub async fn migrate(&self) -> Result<(), DbError> {
        let db = self.clone();
        self.as_writer(async move { open::migrate(&db).await }).await
    }

    /// Fails unless the tables have this release's shape; for commands that only read.
    pub async fn check_migrated(&self) -> Result<(), DbError> {
        let db = self.clone();
        self.0.io.run(async move { open::check_migrated(&db).await }).await
    }

    /// Makes this process the only writer until it closes; fails with [`DbError::InUse`] if there is another.
    ///
    /// The lock goes with the process, however it ends, so nothing stale is left to clean up.
    pub async fn become_writer(&self) -> Result<(), DbError> {
        let db = self.clone();
        self.write_detached(async move { db.take_lock().await.map(drop) }).await
    }

    /// Runs work as the only writer; gives the place up again unless it was this process's before.
    async fn as_writer<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbError>> + Send + 'static,
    {
        let db = self.clone();
        self.write_detached(async move {
            let is_new = db.take_lock().await?;
            let outcome = work.await;
            if is_new {
                db.give_up_lock().await?;
            }
            outcome
        })
        .await
    }

    /// Returns true if it was not held before.
    async fn take_lock(&self) -> Result<bool, DbError> {
        if self.0.lock.lock().is_some() {
            return Ok(false);
        }
        let lock = writer_lock::acquire(&self.0.place, &self.0.write, &self.0.claim).await?;
        Ok(self.0.lock.lock().replace(lock).is_none())
    }

    async fn give_up_lock(&self) -> Result<(), DbError> {
        let held = self.0.lock.lock().take();
        match held {
            Some(lock) => writer_lock::release(lock, &self.0.write, &self.0.claim).await,
            None => Ok(()),
        }
    }

    /// Takes the key that secrets are sealed with; fails if stored ones were sealed with another.
    pub async fn unlock_secrets(&self, key: SecretKey) -> Result<(), DbError> {
        secrets::check_key(self, &key).await?;
        // A second call with the same key changes nothing; another key was refused above or seals nothing yet.
        let _ = self.0.key.set(key);
        Ok(())
    }

    /// Fails if secrets are stored whose key is in no file `key`, before a new one is made there.
    pub async fn must_not_miss_key(&self, key: &Path) -> Result<(), DbError> {
        secrets::must_not_miss_key(self, key).await
    }

    /// Writes batches in one transaction and says for each how it went; a refused one harms no other.
    ///
    /// The work goes on if the caller stops waiting, so that no transaction is cut half way.
    pub async fn commit_many(&self, batches: Vec<Batch>) -> Vec<Result<Committed, CommitError>> {
        let asked = batches.len();
        let db = self.clone();
        let work = async move { Ok(commit::commit_many(&db, &batches).await) };
        match self.write_detached(work).await {
            Ok(results) => results,
            // The process ends while it is written, perhaps just after.
            Err(error) => {
                let unknown = CommitError::Unknown { reason: error.to_string() };
                (0..asked).map(|_| Err(unknown.clone())).collect()
            }
        }
    }

    /// Returns once every commit that was begun before has come to its end, whatever became of its caller.
    pub async fn settle(&self) -> Result<(), DbError> {
        let db = self.clone();
        self.write_detached(async move {
            commit::begin(&db).await?.rollback().await?;
            Ok(())
        })
        .await
    }

    /// Writes one batch.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, CommitError> {
        let mut results = self.commit_many(vec![batch]).await;
        results.pop().expect("one answer for one batch")
    }

    /// Empties the tables that are derived from events and fills them again; returns the number of events.
    pub async fn rebuild(&self) -> Result<u64, DbError> {
        let db = self.clone();
        self.as_writer(async move { rebuild::rebuild(&db).await }).await
    }

    /// Checks the hash chain of every stream against its events and its head.
    pub async fn verify_chain(&self) -> Result<ChainReport, DbError> {
        self.read(move |conn| async move { event_store::verify_chain(&conn).await }).await
    }

    /// Closes the connections, so that SQLite folds its log into the file, and gives up the writer's place.
    pub async fn close(&self) -> Result<(), DbError> {
        let db = self.clone();
        self.write_detached(async move {
            db.0.read.close_by_ref().await?;
            if db.is_postgres() {
                // By word, before its end is noticed. A session that does not answer has lost it already.
                let _ = db.give_up_lock().await;
            }
            db.0.write.close_by_ref().await?;
            db.give_up_lock().await
        })
        .await
    }

    /// Keeps everybody from writing until it is dropped, for tests of who comes first; in memory from reading too.
    #[cfg(test)]
    pub async fn hold(&self) -> sea_orm::DatabaseTransaction {
        let db = self.clone();
        let begin = async move { commit::begin(&db).await };
        self.0.io.run(begin).await.expect("nobody else writes for ever")
    }

    /// Runs a statement as it is, for tests that take a table away.
    #[cfg(test)]
    pub async fn run_statement(&self, statement: &'static str) {
        use sea_orm::ConnectionTrait;

        let db = self.clone();
        let run = async move { db.0.write.execute_unprepared(statement).await };
        self.0.io.run(run).await.expect("a statement that runs");
    }
}
