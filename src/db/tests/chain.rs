//! A record that somebody changed is noticed.

use sea_orm::ConnectionTrait;

use super::support::*;
use crate::db::Db;
use crate::domain::event::Stream;

async fn three_events(db: &Db) {
    commit(db, Stream::admin(), vec![setting("a", 1), setting("a", 2)]).await.unwrap();
    commit(db, Stream::keys(), vec![key_made("k1")]).await.unwrap();
}

#[tokio::test]
async fn an_untouched_record_is_sound() {
    on_every_engine(async |db| {
        three_events(&db).await;

        let report = db.verify_chain().await.unwrap();

        assert_eq!((report.events, report.streams), (3, 2));
        assert!(report.is_sound(), "{:?}", report.problems);
    })
    .await;
}

#[tokio::test]
async fn every_kind_of_tampering_is_found() {
    let cases = [
        (
            "UPDATE events SET payload = replace(payload, '1', '9') WHERE seq = 1",
            "event 1 of `admin` was changed",
        ),
        ("UPDATE events SET actor = 'nobody' WHERE seq = 2", "event 2 of `admin` was changed"),
        ("UPDATE events SET at = at + 1 WHERE seq = 3", "event 3 of `keys` was changed"),
        ("UPDATE events SET seq = 9 WHERE seq = 2", "event 9 of `admin` was changed"),
        ("DELETE FROM events WHERE seq = 1", "event 2 does not follow version 0 of `admin`"),
        ("DELETE FROM events WHERE seq = 2", "stream `admin` does not end at version 2"),
        ("DELETE FROM events WHERE stream = 'keys'", "stream `keys` does not end at version 1"),
        ("DELETE FROM streams WHERE stream = 'keys'", "stream `keys` has no head"),
    ];
    for (tampering, finding) in cases {
        on_every_engine(async |db| {
            three_events(&db).await;
            db.0.write.execute_unprepared(tampering).await.unwrap();

            let report = db.verify_chain().await.unwrap();

            assert_eq!(report.problems.first().map(String::as_str), Some(finding), "{tampering}");
        })
        .await;
    }
}
