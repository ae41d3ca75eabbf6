//! Where a database is, and whether it is there.

use std::path::{Path, PathBuf};

use super::error::DbError;

/// Where the database is.
#[derive(Clone)]
pub(super) enum Place {
    Memory,
    File(PathBuf),
    Server { name: String, url: String },
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::File(path) => path.display().fmt(f),
            Self::Server { name, .. } => f.write_str(name),
        }
    }
}

/// Reads a database URL.
pub(super) fn place_of(url: &str) -> Result<Place, DbError> {
    if let Some(rest) = url.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        let path = path.split('?').next().unwrap_or_default();
        return match path {
            "" => Err(DbError::UnknownUrl { url: url.into() }),
            ":memory:" => Ok(Place::Memory),
            path => Ok(Place::File(PathBuf::from(path))),
        };
    }
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Place::Server { name: without_password(url), url: url.into() });
    }
    Err(DbError::UnknownUrl { url: without_password(url) })
}

/// A URL that may be shown.
fn without_password(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut parsed) => {
            // Fails for URLs that cannot have a password, which is as good.
            let _ = parsed.set_password(None);
            parsed.set_query(None);
            parsed.into()
        }
        Err(_) => url.split(':').next().unwrap_or_default().into(),
    }
}

/// Fails if `url` names a file that is not there.
pub(super) fn must_exist(url: &str) -> Result<(), DbError> {
    match place_of(url)? {
        Place::File(path) if !path.exists() => Err(DbError::Absent { path }),
        _ => Ok(()),
    }
}

/// Fails if `url` names a file that is empty although the file `key` is there.
pub(super) fn must_not_be_emptied(url: &str, key: &Path) -> Result<(), DbError> {
    let Place::File(path) = place_of(url)? else { return Ok(()) };
    let size = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.len()).ok();
    let mut log = path.clone().into_os_string();
    log.push("-wal");
    let holds_nothing = size(&path) == Some(0) && size(Path::new(&log)).unwrap_or(0) == 0;
    if holds_nothing && key.exists() {
        return Err(DbError::Emptied { path, key: key.to_owned() });
    }
    Ok(())
}
