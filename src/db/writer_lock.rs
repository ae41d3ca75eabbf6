//! One writer at a time: a second master on the same database is noticed before it does harm.
//!
//! The lock belongs to an open file (or a PostgreSQL session), so the system drops it when the process ends,
//! killed or not. The file itself stays and means nothing.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use super::Place;
use super::error::DbError;
use crate::io::open_lock_file;

/// Any number that no other program is likely to use on the same server.
pub(super) const POSTGRES_WRITER_LOCK: i64 = 0x6c69_6768_7473;

/// Held as long as this process may write.
pub(super) enum WriterLock {
    /// A database in memory has no second user.
    Nobody,
    /// The locked file.
    File(#[expect(dead_code, reason = "held for its lock")] File),
    /// The session that has the lock.
    Session(#[expect(dead_code, reason = "held for its lock")] DatabaseConnection),
}

/// Takes the lock or says who has it.
pub(super) async fn acquire(place: &Place) -> Result<WriterLock, DbError> {
    match place {
        Place::Memory => Ok(WriterLock::Nobody),
        Place::File(path) => lock_file(path).map(WriterLock::File),
        Place::Server { name, url } => lock_session(name, url).await.map(WriterLock::Session),
    }
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

async fn lock_session(name: &str, url: &str) -> Result<DatabaseConnection, DbError> {
    let mut options = super::open::server_options(url, 1);
    options.idle_timeout(None).max_lifetime(None);
    let session = sea_orm::Database::connect(options).await?;
    let ask = format!("SELECT pg_try_advisory_lock({POSTGRES_WRITER_LOCK})");
    let row = session.query_one_raw(Statement::from_string(session.get_database_backend(), ask)).await?;
    let got: bool = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(false);
    if got {
        return Ok(session);
    }
    Err(DbError::InUse { place: name.into(), holder: "another lightship".into() })
}
