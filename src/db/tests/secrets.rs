//! Secrets are sealed, bound to their row, and their key is guarded.

use std::os::unix::fs::PermissionsExt;

use sea_orm::ConnectionTrait;
use secrecy::{ExposeSecret, SecretString};

use super::support::*;
use crate::chance::Chance;
use crate::db::secrets::{find_secret, get_secret};
use crate::db::{Batch, CommitError, Db, DbError, RowChange, SecretError, SecretKey};
use crate::domain::id::SecretId;
use crate::io::Io;

const TOKEN: &str = "eyJhIjoi-very-secret";

fn store(id: &str, plain: &str) -> Batch {
    Batch::new("system", at(0)).row(RowChange::PutSecret {
        id: SecretId::new(id),
        purpose: "tunnel token".into(),
        plain: SecretString::from(plain),
    })
}

#[tokio::test]
async fn a_secret_is_stored_sealed_and_read_back() {
    on_every_engine(async |db| {
        db.commit(store("s1", "first")).await.unwrap();
        db.commit(store("s1", TOKEN)).await.unwrap();

        let read = get_secret(&db, &SecretId::new("s1")).await.unwrap();
        assert_eq!(read.expose_secret(), TOKEN);
        assert!(!format!("{read:?} {:?}", store("s1", TOKEN)).contains("very-secret"));

        db.commit(Batch::new("system", at(1)).row(RowChange::DeleteSecret { id: SecretId::new("s1") }))
            .await
            .unwrap();
        assert!(find_secret(&db, &SecretId::new("s1")).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_copy_of_the_files_does_not_hold_the_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");
    let db = file_db(&path).await;
    db.commit(store("s1", TOKEN)).await.unwrap();
    db.close().await.unwrap();

    let bytes = std::fs::read(&path).unwrap();

    assert!(bytes.windows(2).any(|two| two == b"s1"), "the row is in the file");
    assert!(!bytes.windows(11).any(|part| part == b"very-secret"));
}

#[tokio::test]
async fn rows_of_two_secrets_cannot_be_exchanged() {
    on_every_engine(async |db| {
        db.commit_many(vec![store("s1", TOKEN), store("s2", "other")]).await;
        db.0.write
            .execute_unprepared(
                "UPDATE secrets SET nonce = (SELECT nonce FROM secrets WHERE id = 's1'), \
                 ciphertext = (SELECT ciphertext FROM secrets WHERE id = 's1') WHERE id = 's2'",
            )
            .await
            .unwrap();

        let error = find_secret(&db, &SecretId::new("s2")).await.unwrap_err();

        assert!(matches!(error, DbError::Secret(SecretError::Broken { .. })), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn another_key_is_refused_with_the_file_and_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lightship.db");
    let db = file_db(&path).await;
    db.commit(store("s1", TOKEN)).await.unwrap();
    db.close().await.unwrap();
    let db = Db::open(&url_of(&path), Io::current()).await.unwrap();
    let key = SecretKey::load(&folder.path().join("secret.key"), None, Chance::system()).unwrap();

    let error = db.unlock_secrets(key.clone()).await.unwrap_err().to_string();

    assert!(
        error.contains("secret.key") && error.contains(key.id()) && error.contains("put back"),
        "{error}"
    );
}

#[tokio::test]
async fn a_key_that_is_gone_is_named_before_another_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let db = file_db(&folder.path().join("lightship.db")).await;
    let file = folder.path().join("secret.key");
    assert!(db.must_not_miss_key(&file).await.is_ok(), "nothing is stored yet");
    db.commit(store("s1", TOKEN)).await.unwrap();

    let error = db.must_not_miss_key(&file).await.unwrap_err().to_string();

    assert!(error.contains("secret.key` is not there") && error.contains("put it back"), "{error}");
    assert!(!file.exists());
    std::fs::write(&file, "any").unwrap();
    assert!(db.must_not_miss_key(&file).await.is_ok());
}

#[tokio::test]
async fn without_a_key_nothing_is_sealed() {
    let db = Db::open("sqlite::memory:", Io::current()).await.unwrap();
    db.migrate().await.unwrap();

    let error = db.commit(store("s1", TOKEN)).await.unwrap_err();

    assert!(matches!(error, CommitError::Db(DbError::Secret(SecretError::NoKey))), "{error:?}");
}

#[test]
fn the_key_file_is_made_once_for_this_user_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state/secret.key");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let load = || SecretKey::load(&file, None, Chance::system()).unwrap().id().to_owned();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });

    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path().join("state")).unwrap().count(), 1, "no draft stays");
}

#[test]
fn a_key_may_be_hex_or_base64_and_nothing_else() {
    let load =
        |text: &str| SecretKey::load("unused".as_ref(), Some(&SecretString::from(text)), Chance::system());
    let hex = load(&"ab".repeat(32)).unwrap();
    let base64 = load("q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n").unwrap();
    assert_eq!(hex.id(), base64.id());
    assert!(!format!("{hex:?}").contains("abab"));

    for bad in ["", "short", &"ab".repeat(31), &"zz".repeat(32)] {
        let error = load(bad).unwrap_err().to_string();
        assert!(error.contains("LIGHTSHIP_SECRET_KEY is not 64 hex digits"), "{error}");
    }
}

#[test]
fn a_damaged_or_unreachable_key_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret.key");
    std::fs::write(&file, b"\xff\xfe garbage").unwrap();
    let garbage = SecretKey::load(&file, None, Chance::system()).unwrap_err().to_string();
    assert!(garbage.contains("secret.key") && garbage.contains("put back"), "{garbage}");
    assert_eq!(std::fs::read(&file).unwrap(), b"\xff\xfe garbage", "never replaced");

    let below_a_file =
        SecretKey::load(&file.join("secret.key"), None, Chance::system()).unwrap_err().to_string();
    assert!(below_a_file.contains("secret.key/secret.key"), "{below_a_file}");
}
