//! The handle to a database: its connections, and how work gets to them.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use sea_orm::{DatabaseConnection, DbBackend};

use super::error::DbError;
use super::place::Place;
use super::secret_key::SecretKey;
use super::writer_lock::{Claim, WriterLock};
use crate::io::Io;

/// A database and the runtime its connections live on. Cheap to clone.
#[derive(Clone)]
pub struct Db(pub(super) Arc<Inner>);

pub(super) struct Inner {
    /// One connection: SQLite has one writer anyway, and writes are ordered by it.
    pub(super) write: DatabaseConnection,
    /// Several connections, so that a long commit delays no page.
    pub(super) read: DatabaseConnection,
    pub(super) place: Place,
    pub(super) io: Io,
    pub(super) key: OnceLock<SecretKey>,
    pub(super) claim: Claim,
    pub(super) lock: Mutex<Option<WriterLock>>,
}

impl Db {
    /// Runs a query on the `io` runtime; ends with its caller.
    pub(super) async fn read<T, W, F>(&self, work: W) -> Result<T, DbError>
    where
        T: Send + 'static,
        W: FnOnce(DatabaseConnection) -> F,
        F: Future<Output = Result<T, DbError>> + Send + 'static,
    {
        self.0.io.run(work(self.0.read.clone())).await
    }

    /// Runs work on the `io` runtime to its end, whether or not the caller still waits.
    pub(super) async fn write_detached<T, F>(&self, work: F) -> Result<T, DbError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbError>> + Send + 'static,
    {
        match self.0.io.handle().spawn(work).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(DbError::Closing),
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.0.write.get_database_backend() == DbBackend::Postgres
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Db({})", self.0.place)
    }
}

/// Asks for all rows: a list that leaves some out must say so, and most have no words for that. What one agent may
/// have is bounded where it comes in.
pub const ALL: u64 = i64::MAX as u64;

/// Keys in one condition of a list that is read at once.
pub(super) const AT_ONCE: usize = 400;

/// The largest number the engines take.
pub(super) fn limit(asked: u64) -> u64 {
    asked.min(ALL)
}
