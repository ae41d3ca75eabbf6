//! One writer at a time: a second master on the same database is noticed before it does harm.
//!
//! The lock belongs to an open file, or to the PostgreSQL session that writes, so the system drops it when the process
//! ends, killed or not. The file itself stays and means nothing. A session may be cut while the process lives: the next
//! one takes the lock again, and as long as somebody else has it nothing is written.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbErr, Statement};

use super::error::DbError;
use super::place::Place;
use crate::io::open_lock_file;

/// Any number that no other program is likely to use on the same server.
const WRITER: i64 = 0x6c69_6768_7473;
/// Held for one transaction.
const TRANSACTION: i64 = WRITER + 1;
/// How long the session of a process that ended may take to go.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// Held as long as this process may write.
pub(super) enum WriterLock {
    /// A database in memory has no second user.
    Nobody,
    /// The locked file.
    File(#[expect(dead_code, reason = "held for its lock")] File),
    /// The connection that writes has the lock.
    Session,
}

/// Whether the session that writes is to have the lock, now and after it was cut. Shared with the connection's pool.
#[derive(Clone, Default)]
pub(super) struct Claim(Arc<AtomicBool>);

impl Claim {
    /// True if it is.
    pub(super) fn stands(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn set(&self, stands: bool) {
        self.0.store(stands, Ordering::SeqCst);
    }
}

/// Takes the lock or says who has it.
pub(super) async fn acquire(
    place: &Place,
    write: &DatabaseConnection,
    claim: &Claim,
) -> Result<WriterLock, DbError> {
    match place {
        Place::Memory => Ok(WriterLock::Nobody),
        Place::File(path) => lock_file(path).map(WriterLock::File),
        Place::Server { name, .. } => lock_session(name, write, claim).await.map(|()| WriterLock::Session),
    }
}

/// Gives it up before the process ends.
pub(super) async fn release(
    lock: WriterLock,
    write: &DatabaseConnection,
    claim: &Claim,
) -> Result<(), DbError> {
    if matches!(lock, WriterLock::Session) {
        claim.set(false);
        ask(write, format!("SELECT pg_advisory_unlock({WRITER})")).await?;
    }
    Ok(())
}

/// What a new session runs first to have the lock again. Whether it got it shows when it writes.
pub(super) fn statement_of_a_new_session() -> String {
    format!("SELECT pg_try_advisory_lock({WRITER})")
}

/// Keeps other transactions waiting until this one is over; false if somebody else has become the writer.
pub(super) async fn hold_for_transaction(
    transaction: &impl ConnectionTrait,
    claim: &Claim,
) -> Result<bool, DbErr> {
    // Passes if the own session has the lock, and holds it for the transaction if nobody has.
    let is_ours = if claim.stands() { format!("pg_try_advisory_xact_lock({WRITER})") } else { "true".into() };
    // The text is one that can be read from a row; what the lock returns is nothing.
    ask(
        transaction,
        format!("SELECT {is_ours} FROM (SELECT pg_advisory_xact_lock({TRANSACTION})::text) AS held"),
    )
    .await
}

async fn ask(conn: &impl ConnectionTrait, question: String) -> Result<bool, DbErr> {
    let row = conn.query_one_raw(Statement::from_string(conn.get_database_backend(), question)).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(false))
}

/// The file next to the database that is locked.
fn lock_path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

fn lock_file(database: &Path) -> Result<File, DbError> {
    let path = lock_path(database);
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::StorageFull => DbError::Full { place: path.display().to_string() },
        _ => DbError::NotWritable { path: path.clone(), reason: error.to_string() },
    };
    let mut file = open_lock_file(&path).map_err(fail)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // Only for the message: an unreadable note still means that somebody holds the lock.
            let _ = (&file).take(20).read_to_string(&mut pid);
            let pid = pid.trim();
            let holder = if pid.is_empty() { "another process".into() } else { format!("process {pid}") };
            return Err(DbError::InUse { place: database.display().to_string(), holder });
        }
        Err(error) => return Err(fail(error.into())),
    }
    let note = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    note(&mut file).map_err(fail)?;
    Ok(file)
}

async fn lock_session(name: &str, write: &DatabaseConnection, claim: &Claim) -> Result<(), DbError> {
    let due = tokio::time::Instant::now() + PATIENCE;
    while !ask(write, format!("SELECT pg_try_advisory_lock({WRITER})")).await? {
        if tokio::time::Instant::now() >= due {
            return Err(DbError::InUse { place: name.into(), holder: "another lightship".into() });
        }
        tokio::time::sleep(PAUSE).await;
    }
    claim.set(true);
    Ok(())
}
