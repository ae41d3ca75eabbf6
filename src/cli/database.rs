//! Opens the database for verbs that need no master, and for the master itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::common::Common;
use super::sources;
use crate::chance::Chance;
use crate::config::{Role, Settings};
use crate::db::{Db, SecretKey};
use crate::io::{Io, IoRuntime};

/// What a verb does with the database.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// It may run beside a master.
    Read,
    /// Refused while a master runs.
    Write,
}

/// Opens the database, runs `work`, closes it.
pub(super) fn with(
    common: &Common,
    access: Access,
    work: impl AsyncFnOnce(Db) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    let settings = sources::load(common, Role::Client)?.settings;
    let dir = settings.state.dir.clone().context("no state directory")?;
    let runtime = IoRuntime::start()?;
    let io = runtime.io();
    let here = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    here.block_on(async {
        let url = url(&settings, &dir);
        Db::must_not_be_emptied(&url, &key_file(&dir))?;
        let db = match access {
            Access::Write => Db::open(&url, io).await?,
            Access::Read => Db::open_existing(&url, io).await?,
        };
        match access {
            Access::Write => db.become_writer().await?,
            Access::Read => db.check_migrated().await?,
        }
        let code = work(db.clone()).await;
        db.close().await?;
        code
    })
}

/// Opens the database as the one writer, brings it up to date and unlocks its secrets.
pub(super) async fn open_for_master(
    settings: &Settings,
    dir: &Path,
    io: Io,
    chance: Chance,
) -> anyhow::Result<Db> {
    let (url, key_file, given) = (url(settings, dir), key_file(dir), settings.security.secret_key.get());
    Db::must_not_be_emptied(&url, &key_file)?;
    let db = Db::open(&url, io).await?;
    db.become_writer().await?;
    db.migrate().await?;
    if given.is_none() {
        db.must_not_miss_key(&key_file).await?;
    }
    let key = SecretKey::load(&key_file, given, chance)?;
    db.unlock_secrets(key).await?;
    Ok(db)
}

/// Where the key of the secrets is kept.
pub(super) fn key_file(dir: &Path) -> PathBuf {
    dir.join("secret.key")
}

/// Where the database is.
pub(super) fn url(settings: &Settings, dir: &Path) -> String {
    match settings.database.url.expose() {
        Some(url) => url.to_owned(),
        None => format!("sqlite://{}", dir.join("lightship.db").display()),
    }
}
