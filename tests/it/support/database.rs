//! The engine that masters under test write to: SQLite, or what `LIGHTSHIP_TEST_DATABASE` names.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use lightship::chance::Chance;
use lightship::db::{Db, SecretKey};
use lightship::io::Io;
use parking_lot::Mutex;

use super::postgres::Lease;

/// A database of one test, empty and ready.
pub struct TestDatabase {
    db: Db,
    _lease: Option<Lease>,
}

impl TestDatabase {
    pub async fn open(io: Io) -> Self {
        if !on_postgres() {
            return Self { db: Db::in_memory(io).await.unwrap(), _lease: None };
        }
        let lease = Lease::migrated();
        let db = Db::open(&lease.url(), io).await.unwrap();
        db.become_writer().await.unwrap();
        db.unlock_secrets(SecretKey::random(Chance::system())).await.unwrap();
        Self { db, _lease: Some(lease) }
    }
}

impl Deref for TestDatabase {
    type Target = Db;

    fn deref(&self) -> &Db {
        &self.db
    }
}

/// The database of whoever has his files in `dir`, if it is not one of those files; it is there as long as `dir`.
pub fn url_for(dir: &Path) -> Option<String> {
    static LEASES: Mutex<Option<HashMap<PathBuf, Lease>>> = Mutex::new(None);
    if !on_postgres() {
        return None;
    }
    let mut leases = LEASES.lock();
    let leases = leases.get_or_insert_default();
    leases.retain(|dir, _| dir.exists());
    Some(leases.entry(dir.to_owned()).or_insert_with(Lease::empty).url())
}

fn on_postgres() -> bool {
    match std::env::var("LIGHTSHIP_TEST_DATABASE").as_deref() {
        Err(_) | Ok("sqlite") => false,
        Ok("postgres") => true,
        Ok(other) => panic!("LIGHTSHIP_TEST_DATABASE is `sqlite` or `postgres`, not `{other}`"),
    }
}
