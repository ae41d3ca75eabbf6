//! What can go wrong with the database, told so that a person knows what to do next.

use std::path::PathBuf;

use sea_orm::{DbErr, RuntimeErr, SqlxError};

/// A failure of the database or of its surroundings. Cheap to clone: one failed group answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DbError {
    /// The URL names no engine we have.
    #[error("`{url}` is not a database: give `sqlite://<file>` or `postgres://<user>@<host>/<name>`")]
    UnknownUrl {
        /// The URL without its password.
        url: String,
    },
    /// The file or its folder cannot be made or written.
    #[error(
        "cannot write `{}`: {reason}; make its folder writable for this user, or set LIGHTSHIP_STATE_DIR or \
         DATABASE_URL to a place that is", path.display()
    )]
    NotWritable {
        /// The database file or its folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// No space is left.
    #[error("no space is left for `{place}`; free some: nothing that was answered with success is lost")]
    Full {
        /// The database file, or `the database`.
        place: String,
    },
    /// There is no such file.
    #[error(
        "there is no database `{}`; a master makes one when it starts: name its folder with --state-dir or \
         LIGHTSHIP_STATE_DIR", path.display()
    )]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The file lost its content.
    #[error(
        "database `{}` is empty, but `{}` shows that it once held something; put a backup in its place, or, for a \
         fresh start, move that key to another folder", path.display(), key.display()
    )]
    Emptied {
        /// The database file.
        path: PathBuf,
        /// The file with the key of its secrets.
        key: PathBuf,
    },
    /// The server of the database cannot be used.
    #[error(
        "database `{name}` cannot be opened: {reason}; check that PostgreSQL runs there, and DATABASE_URL"
    )]
    Unreachable {
        /// Its URL without the password.
        name: String,
        /// What the server or the system said.
        reason: String,
    },
    /// The file is not a sound SQLite database.
    #[error(
        "database `{}` is damaged ({detail}); it was left as it is and nothing was written: move it (with its \
         `-wal` and `-shm` files) to another folder, then put a backup in its place, \
         or start again without it for an empty one", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first thing that is wrong.
        detail: String,
    },
    /// The database became unreadable while it was in use.
    #[error("the database reports damage ({detail}); stop lightship and put a backup in its place")]
    DamagedInUse {
        /// What the engine said.
        detail: String,
    },
    /// Another process writes to it.
    #[error("database `{place}` is in use by {holder}; stop that one first, or use its API")]
    InUse {
        /// The file, or the PostgreSQL database.
        place: String,
        /// Who, as far as it is known.
        holder: String,
    },
    /// Migrations are missing.
    #[error("the database lacks {missing} migrations; run `lightship migrate`")]
    NotMigrated {
        /// How many.
        missing: usize,
    },
    /// It was written by a later release.
    #[error(
        "the database was migrated by a later release (`{migration}`); run that release, or restore a backup"
    )]
    TooNew {
        /// A migration this release does not know.
        migration: String,
    },
    /// A row that must exist does not.
    #[error("{kind} `{id}` does not exist")]
    Missing {
        /// What was asked for.
        kind: &'static str,
        /// Which one.
        id: String,
    },
    /// A row does not hold what its table promises.
    #[error(
        "{kind} `{id}` cannot be read: {reason}; `lightship migrate --rebuild` makes derived tables anew"
    )]
    Unreadable {
        /// What it should be.
        kind: &'static str,
        /// Which one.
        id: String,
        /// What is wrong.
        reason: String,
    },
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Secret(#[from] super::secret_key::SecretError),
    /// The work was cut off: the process is stopping.
    #[error("the database is closing; try again after the restart")]
    Closing,
    /// Anything else the engine says.
    #[error("the database failed; see the cause")]
    Engine(#[source] DbErr),
}

impl DbError {
    /// True if trying the same again, alone, may do better: the data was refused, not the whole database.
    pub(super) fn is_about_the_data(&self) -> bool {
        matches!(
            self,
            Self::Unreadable { .. } | Self::Secret(_) | Self::Engine(DbErr::Exec(_) | DbErr::Query(_))
        )
    }
}

impl From<DbErr> for DbError {
    fn from(error: DbErr) -> Self {
        match SqliteFault::of(&error) {
            Some(SqliteFault::Full) => Self::Full { place: "the database".into() },
            Some(SqliteFault::Damaged) => Self::DamagedInUse { detail: error.to_string() },
            _ => Self::Engine(error),
        }
    }
}

/// The failures of SQLite that need an answer of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqliteFault {
    Full,
    Damaged,
    NotWritable,
    Busy,
}

impl SqliteFault {
    /// Reads the primary result code; extended codes keep it in their low byte.
    pub(super) fn of(error: &DbErr) -> Option<Self> {
        let (DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error))) = error
        else {
            return None;
        };
        let SqlxError::Database(database) = error.as_ref() else {
            return None;
        };
        // PostgreSQL: class 53100 is a full disk; its other codes have five characters and a letter or a class of
        // their own, none of which reads as one of SQLite's small numbers.
        let code = database.code()?;
        if code == "53100" {
            return Some(Self::Full);
        }
        if code.len() >= 5 {
            return None;
        }
        match code.parse::<u32>().ok()? & 0xff {
            13 => Some(Self::Full),
            11 | 26 => Some(Self::Damaged),
            8 | 14 => Some(Self::NotWritable),
            5 | 6 => Some(Self::Busy),
            _ => None,
        }
    }
}
