//! Places that cannot be used are refused by name, and a damaged file is left as it is.

use std::path::Path;

use sea_orm::ConnectionTrait;

use super::support::*;
use crate::db::settings::find_setting;
use crate::db::{Db, DbError};
use crate::domain::event::Stream;
use crate::io::Io;

async fn open(path: &Path) -> Result<Db, DbError> {
    Db::open(&url_of(path), Io::current()).await
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/lightship.db");
    let db = file_db(&path).await;
    commit(&db, Stream::admin(), vec![setting("a", 1)]).await.unwrap();
    db.close().await.unwrap();
    assert!(!folder.path().join("new/folder/lightship.db-wal").exists(), "the log is folded in");

    let db = file_db(&path).await;

    assert!(find_setting(&db, "a").await.unwrap().is_some());
}

#[tokio::test]
async fn a_new_file_is_for_its_owner_only_and_a_reader_makes_none() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");

    let absent = Db::open_existing(&url_of(&path), Io::current()).await.unwrap_err();
    assert!(matches!(&absent, DbError::Absent { path: at } if *at == path), "{absent}");
    assert!(!path.exists());

    let db = file_db(&path).await;
    commit(&db, Stream::admin(), vec![setting("a", 1)]).await.unwrap();
    for file in ["lightship.db", "lightship.db-wal"] {
        let mode = std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert!(Db::open_existing(&url_of(&path), Io::current()).await.is_ok());
}

#[tokio::test]
async fn files_as_a_killed_process_leaves_them_hold_all_that_was_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");
    let db = file_db(&path).await;
    for n in 0..20 {
        commit(&db, Stream::admin(), vec![setting("a", n)]).await.unwrap();
    }
    let later = folder.path().join("later.db");
    std::fs::copy(&path, &later).unwrap();
    std::fs::copy(folder.path().join("lightship.db-wal"), folder.path().join("later.db-wal")).unwrap();

    let db = file_db(&later).await;

    let report = db.verify_chain().await.unwrap();
    assert_eq!((report.events, report.is_sound()), (20, true));
    commit(&db, Stream::admin(), vec![setting("a", 21)]).await.unwrap();
}

#[tokio::test]
async fn sqlite_writes_are_on_disk_before_they_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let db = file_db(&folder.path().join("lightship.db")).await;
    let ask = async |pragma: &str| -> String {
        let backend = db.0.write.get_database_backend();
        let statement = sea_orm::Statement::from_string(backend, format!("PRAGMA {pragma}"));
        let row = db.0.write.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<String>(0)
            .unwrap_or_else(|_| row.try_get_by_index::<i64>(0).unwrap().to_string())
    };

    assert_eq!(ask("journal_mode").await, "wal");
    assert_eq!(ask("synchronous").await, "2", "2 is FULL");
    assert_eq!(ask("foreign_keys").await, "1");
    assert_eq!(ask("busy_timeout").await, "5000");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");
    let garbage = b"this is not a database, but somebody may want it back".repeat(100);
    std::fs::write(&path, &garbage).unwrap();

    let error = open(&path).await.unwrap_err();

    assert!(matches!(error, DbError::Damaged { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("lightship.db") && text.contains("put a backup in its place"), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), garbage);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_database_with_a_damaged_page_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");
    let db = file_db(&path).await;
    for n in 0..50 {
        commit(&db, Stream::admin(), vec![setting(&"k".repeat(200), n)]).await.unwrap();
    }
    db.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let page_of_events = bytes.len() - 3 * 4_096;
    bytes[page_of_events..page_of_events + 2_048].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();

    let error = open(&path).await.unwrap_err();

    assert!(matches!(error, DbError::Damaged { .. }), "{error:?}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named_with_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();

    for path in [file.join("lightship.db"), file.join("deeper/lightship.db")] {
        let error = open(&path).await.unwrap_err();
        assert!(matches!(error, DbError::NotWritable { .. }), "{error:?}");
        assert!(error.to_string().contains("LIGHTSHIP_STATE_DIR"), "{error}");
    }
    let error = open(folder.path()).await.unwrap_err();
    assert!(matches!(error, DbError::NotWritable { .. }), "a folder is no file: {error:?}");
}

#[tokio::test]
async fn a_second_writer_is_refused_until_the_first_is_gone() {
    on_every_lasting_engine(async |url| {
        let first = writer_at(url).await;
        commit(&first, Stream::admin(), vec![setting("a", 1)]).await.unwrap();
        let second = Db::open(url, Io::current()).await.unwrap();
        assert!(find_setting(&second, "a").await.unwrap().is_some(), "reading is allowed");
        second.check_migrated().await.unwrap();

        let (migrated, rebuilt, became) =
            tokio::join!(second.migrate(), second.rebuild(), second.become_writer());
        for refused in [migrated, rebuilt.map(|_| ()), became] {
            let error = refused.unwrap_err();
            assert!(matches!(error, DbError::InUse { .. }), "{error:?}");
            let is_postgres = url.starts_with("postgres");
            let holder = if is_postgres { "another lightship".into() } else { own_process() };
            assert!(error.to_string().contains(&format!("in use by {holder}")), "{error}");
        }

        first.close().await.unwrap();
        second.become_writer().await.unwrap();
        second.close().await.unwrap();
    })
    .await;
}

fn own_process() -> String {
    format!("process {}", std::process::id())
}

#[tokio::test]
async fn migrating_and_rebuilding_hold_the_writers_place_only_meanwhile() {
    on_every_lasting_engine(async |url| {
        let tool = Db::open(url, Io::current()).await.unwrap();

        tool.migrate().await.unwrap();
        let master = writer_at(url).await;
        commit(&master, Stream::admin(), vec![setting("a", 1)]).await.unwrap();

        assert!(matches!(tool.rebuild().await, Err(DbError::InUse { .. })), "a master runs");
        master.close().await.unwrap();
        assert_eq!(tool.rebuild().await.unwrap(), 1);
        // and what the writer itself migrates leaves it the writer
        let master = writer_at(url).await;
        master.migrate().await.unwrap();
        assert!(matches!(tool.migrate().await, Err(DbError::InUse { .. })));
        master.close().await.unwrap();
        tool.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_lock_that_a_killed_process_left_behind_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");
    std::fs::write(folder.path().join("lightship.db.lock"), "1\n").unwrap();

    open(&path).await.unwrap().become_writer().await.unwrap();
}

#[tokio::test]
async fn a_database_that_was_not_migrated_or_by_a_later_release_is_refused() {
    on_every_lasting_engine(async |url| {
        let db = Db::open(url, Io::current()).await.unwrap();
        let error = db.check_migrated().await.unwrap_err();
        assert!(error.to_string().contains("run `lightship migrate`"), "{error}");

        db.migrate().await.unwrap();
        db.migrate().await.unwrap();
        db.check_migrated().await.unwrap();
        db.0.write
            .execute_unprepared("INSERT INTO seaql_migrations VALUES ('m9999_from_the_future', 1)")
            .await
            .unwrap();

        for refused in [db.check_migrated().await, db.migrate().await] {
            assert!(matches!(refused, Err(DbError::TooNew { .. })), "{refused:?}");
        }
        db.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_unknown_url_is_refused_without_its_password() {
    for url in ["mysql://root:hunter2@db/x", "lightship.db", "sqlite:", ""] {
        let error = Db::open(url, Io::current()).await.unwrap_err();
        assert!(matches!(error, DbError::UnknownUrl { .. }), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_was_emptied_is_refused_while_the_key_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (path, key) = (folder.path().join("lightship.db"), folder.path().join("secret.key"));
    let check = || Db::must_not_be_emptied(&url_of(&path), &key);
    std::fs::write(&path, "").unwrap();
    assert!(check().is_ok(), "nothing was ever kept here");

    std::fs::write(&key, "a key").unwrap();

    let error = check().unwrap_err().to_string();
    for part in ["lightship.db` is empty", "secret.key", "put a backup in its place", "for a fresh start"] {
        assert!(error.contains(part), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(check().is_ok(), "somebody took it away to begin anew");
    let db = file_db(&path).await;
    assert!(check().is_ok());
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_leaves_no_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");
    std::fs::create_dir(folder.path().join("lightship.db-wal")).unwrap();

    open(&path).await.unwrap_err();

    assert!(!path.exists());
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_with_the_reason_and_without_the_password() {
    // Nobody is given port 0.
    let error = Db::open("postgres://ship:pa55@127.0.0.1:0/ships", Io::current()).await.unwrap_err();

    let text = error.to_string();
    assert!(matches!(error, DbError::Unreachable { .. }), "{error:?}");
    assert!(text.contains("postgres://ship@127.0.0.1:0/ships") && text.contains("DATABASE_URL"), "{text}");
    assert!(!text.contains("pa55") && !text.contains("pool timed out"), "{text}");
}

#[tokio::test]
async fn no_file_is_made_through_a_symbolic_link() {
    let other = tempfile::tempdir().unwrap();
    let victim = other.path().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    let absent = other.path().join("absent");
    for (name, target) in [
        ("lightship.db.lock", &victim),
        ("lightship.db-wal", &victim),
        ("lightship.db-shm", &absent),
        ("lightship.db", &absent),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();

        let refused = match open(&folder.path().join("lightship.db")).await {
            Ok(db) => db.become_writer().await.unwrap_err(),
            Err(error) => error,
        };

        let refused = refused.to_string();
        assert!(refused.contains(name) && refused.contains("symbolic link"), "{name}: {refused}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious", "{name}");
        assert!(!absent.exists(), "{name}");
    }
}

#[tokio::test]
async fn a_database_that_is_a_link_to_a_file_is_used() {
    let (folder, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(file_db(&disk.path().join("real.db")).await);
    std::os::unix::fs::symlink(disk.path().join("real.db"), folder.path().join("lightship.db")).unwrap();

    open(&folder.path().join("lightship.db")).await.unwrap().check_migrated().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_others_may_open_is_closed_to_them() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("lightship.db.lock");
    std::fs::write(&lock, "1\n").unwrap();
    std::fs::set_permissions(&lock, std::fs::Permissions::from_mode(0o666)).unwrap();

    open(&folder.path().join("lightship.db")).await.unwrap().become_writer().await.unwrap();

    assert_eq!(std::fs::metadata(&lock).unwrap().permissions().mode() & 0o777, 0o600);
}
