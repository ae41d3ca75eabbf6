//! Opens a database, and looks at a SQLite file before anything may write to it.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use lightship_migrations::{Migrator, MigratorTrait};
use parking_lot::Mutex;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, Statement};

use super::database::{Db, Inner};
use super::error::{DbError, SqliteFault};
use super::place::{Place, place_of};
use super::writer_lock::{self, Claim};
use crate::io::{Io, is_link};

/// How long a write waits for another process to finish its own.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a caller waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections for reads.
const READERS: u32 = 4;
/// Files up to this size are read whole before they are used: about a tenth of a second.
const FULL_CHECK_BYTES: u64 = 64 << 20;

/// Opens the database that `url` names.
pub(super) async fn open(url: &str, io: Io) -> Result<Db, DbError> {
    let place = place_of(url)?;
    let (at, claim) = (place.clone(), Claim::default());
    let of_writer = claim.clone();
    let (write, read) = io
        .run(async move {
            match &at {
                Place::Memory => {
                    let only = connect(memory_options()).await?;
                    Ok((only.clone(), only))
                }
                Place::File(path) => open_file(path).await,
                Place::Server { name, url } => open_server(name, url, of_writer).await,
            }
        })
        .await?;
    Ok(Db(std::sync::Arc::new(Inner {
        write,
        read,
        place,
        io,
        key: OnceLock::new(),
        claim,
        lock: Mutex::new(None),
    })))
}

async fn connect(options: ConnectOptions) -> Result<DatabaseConnection, DbErr> {
    Database::connect(options).await
}

fn common_options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .sqlx_logging(false);
    options
}

fn memory_options() -> ConnectOptions {
    let mut options = common_options("sqlite::memory:", 1);
    // The database is the connection: it must never be exchanged for a new one.
    options.idle_timeout(None).max_lifetime(None).test_before_acquire(false);
    options.map_sqlx_sqlite_opts(|sqlite| sqlite.foreign_keys(true));
    options
}

fn server_options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = common_options(url, connections);
    options.connect_timeout(ACQUIRE_TIMEOUT);
    options
}

/// The one session that writes: the writer's lock is its own, so it is kept as long as it lasts.
fn writer_options(url: &str, claim: Claim) -> ConnectOptions {
    let mut options = server_options(url, 1);
    options.idle_timeout(None).max_lifetime(None);
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let claim = claim.clone();
        pool.after_connect(move |session, _| {
            let again = claim.stands().then(writer_lock::statement_of_a_new_session);
            Box::pin(async move {
                if let Some(again) = again {
                    session.execute(AssertSqlSafe(again)).await?;
                }
                Ok(())
            })
        })
    });
    options
}

async fn open_server(
    name: &str,
    url: &str,
    claim: Claim,
) -> Result<(DatabaseConnection, DatabaseConnection), DbError> {
    let opened = async {
        let write = connect(writer_options(url, claim)).await?;
        Ok((write, connect(server_options(url, READERS)).await?))
    };
    let error: DbErr = match opened.await {
        Ok(both) => return Ok(both),
        Err(error) => error,
    };
    // The pool tries again until its time is over, and then keeps the reason to itself.
    let alone = tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect(url)).await;
    let reason = match alone {
        Ok(Err(reason)) => reason.to_string(),
        Ok(Ok(_)) => error.to_string(),
        Err(_) => format!("no answer within {} s", ACQUIRE_TIMEOUT.as_secs()),
    };
    Err(DbError::Unreachable { name: name.to_owned(), reason })
}

fn file_options(path: &Path, connections: u32, writable: bool) -> ConnectOptions {
    let mut options = common_options("sqlite::memory:", connections);
    options.idle_timeout(None).max_lifetime(None).test_before_acquire(false);
    let path = path.to_owned();
    options.map_sqlx_sqlite_opts(move |sqlite| {
        let sqlite = sqlite.in_memory(false).shared_cache(false).filename(&path).busy_timeout(BUSY_TIMEOUT);
        if !writable {
            return sqlite.read_only(true).create_if_missing(false);
        }
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
    });
    // A full disk makes SQLite undo a transaction by itself. The driver then fails to undo it, counts it on, and would
    // nest all that is written later in a transaction that nobody ends: such a connection is exchanged for a new one.
    options.map_sqlx_sqlite_pool_opts(|pool| {
        pool.after_release(|connection, _| {
            Box::pin(async move {
                // Answered after what is under way, such as undoing.
                connection.ping().await?;
                Ok(!connection.is_in_transaction())
            })
        })
    });
    options
}

async fn open_file(path: &Path) -> Result<(DatabaseConnection, DatabaseConnection), DbError> {
    make_folder(path)?;
    refuse_links(path)?;
    refuse_damage(path).await?;
    let is_new = make_private(path)?;
    let opened = open_sound_file(path).await;
    if is_new && opened.is_err() {
        // Later nobody could tell it from a database that lost its content.
        let _ = std::fs::remove_file(path);
    }
    opened
}

async fn open_sound_file(path: &Path) -> Result<(DatabaseConnection, DatabaseConnection), DbError> {
    let blame = |error: DbErr| blame_file(path, error);
    let write = connect(file_options(path, 1, true)).await.map_err(blame)?;
    // Taking the write lock once shows a read-only file or a full disk now, not at the first decision.
    if let Err(error) = write.execute_unprepared("BEGIN IMMEDIATE; ROLLBACK").await
        // Another writer may hold the lock just now; whether it may is the writer lock's to decide.
        && SqliteFault::of(&error) != Some(SqliteFault::Busy)
    {
        return Err(blame(error));
    }
    let read = connect(file_options(path, READERS, true)).await.map_err(blame)?;
    Ok((write, read))
}

/// Makes the file if it is absent, for its owner only; returns true if it was. SQLite gives the files beside it the
/// same mode.
fn make_private(path: &Path) -> Result<bool, DbError> {
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Err(DbError::Full { place: path.display().to_string() })
        }
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(DbError::NotWritable { path: path.into(), reason: error.to_string() })
        }
        made => Ok(made.is_ok()),
    }
}

fn make_folder(path: &Path) -> Result<(), DbError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
        return Ok(());
    };
    std::fs::create_dir_all(folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::StorageFull => DbError::Full { place: folder.display().to_string() },
        _ => DbError::NotWritable { path: folder.into(), reason: error.to_string() },
    })
}

/// Fails if SQLite would make a file, or write one of its own beside the database, through a symbolic link. The database
/// itself may be one that leads to a file.
fn refuse_links(path: &Path) -> Result<(), DbError> {
    let beside = ["-wal", "-shm", "-journal"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    });
    let leads_nowhere = (is_link(path) && !path.exists()).then(|| path.to_owned());
    match beside.into_iter().find(|path| is_link(path)).or(leads_nowhere) {
        None => Ok(()),
        Some(path) => Err(DbError::NotWritable { path, reason: "it is a symbolic link; remove it".into() }),
    }
}

/// Reads a file that is there with a connection that cannot write, so that a damaged one stays as it is.
async fn refuse_damage(path: &Path) -> Result<(), DbError> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => {
            return Err(DbError::NotWritable { path: path.into(), reason: "it is not a file".into() });
        }
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(DbError::NotWritable { path: path.into(), reason: error.to_string() }),
    };
    if size == 0 {
        return Ok(());
    }
    let blame = |error: DbErr| blame_file(path, error);
    let look = connect(file_options(path, 1, false)).await.map_err(blame)?;
    let found = first_damage(&look, size).await.map_err(blame);
    // The look is over either way; a failing close has nothing to lose.
    let _ = look.close().await;
    match found? {
        None => Ok(()),
        Some(detail) => Err(DbError::Damaged { path: path.into(), detail }),
    }
}

async fn first_damage(look: &DatabaseConnection, size: u64) -> Result<Option<String>, DbErr> {
    let backend = look.get_database_backend();
    // Reads the header and the whole schema.
    look.query_one_raw(Statement::from_string(backend, "SELECT count(*) FROM sqlite_master")).await?;
    if size > FULL_CHECK_BYTES {
        return Ok(None);
    }
    let row = look.query_one_raw(Statement::from_string(backend, "PRAGMA quick_check(1)")).await?;
    let verdict: String = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or_default();
    Ok((verdict != "ok").then_some(verdict))
}

fn blame_file(path: &Path, error: DbErr) -> DbError {
    let reason = error.to_string();
    match SqliteFault::of(&error) {
        Some(SqliteFault::Full) => DbError::Full { place: path.display().to_string() },
        Some(SqliteFault::Damaged) => DbError::Damaged { path: path.into(), detail: reason },
        Some(SqliteFault::NotWritable) => DbError::NotWritable { path: path.into(), reason },
        _ => DbError::Engine(error),
    }
}

/// Brings the tables to this release's shape.
pub(super) async fn migrate(db: &Db) -> Result<(), DbError> {
    refuse_later_release(&db.0.write).await?;
    let blame = |error: DbErr| match &db.0.place {
        Place::File(path) => blame_file(path, error),
        _ => DbError::from(error),
    };
    Migrator::up(&db.0.write, None).await.map_err(blame)
}

/// Fails unless every migration of this release ran, and no other.
pub(super) async fn check_migrated(db: &Db) -> Result<(), DbError> {
    refuse_later_release(&db.0.read).await?;
    let applied = applied_migrations(&db.0.read).await?.len();
    let missing = Migrator::migrations().len().saturating_sub(applied);
    if missing > 0 { Err(DbError::NotMigrated { missing }) } else { Ok(()) }
}

async fn refuse_later_release(conn: &DatabaseConnection) -> Result<(), DbError> {
    let known: Vec<String> = Migrator::migrations().iter().map(|m| m.name().to_owned()).collect();
    match applied_migrations(conn).await?.into_iter().find(|name| !known.contains(name)) {
        Some(migration) => Err(DbError::TooNew { migration }),
        None => Ok(()),
    }
}

/// Names of the migrations that ran, read without making the table that lists them.
async fn applied_migrations(conn: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    let backend = conn.get_database_backend();
    let exists = match backend {
        sea_orm::DbBackend::Postgres => "SELECT 1 WHERE to_regclass('seaql_migrations') IS NOT NULL",
        _ => "SELECT 1 FROM sqlite_master WHERE name = 'seaql_migrations'",
    };
    if conn.query_one_raw(Statement::from_string(backend, exists)).await?.is_none() {
        return Ok(Vec::new());
    }
    let rows = conn
        .query_all_raw(Statement::from_string(
            backend,
            "SELECT version FROM seaql_migrations ORDER BY version",
        ))
        .await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect()
}
