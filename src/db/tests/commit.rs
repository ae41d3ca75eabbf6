//! Versions, groups, refusals and cut-off writers.

use std::time::Duration;

use futures_util::FutureExt;
use sea_orm::{ConnectionTrait, TransactionTrait};

use super::support::*;
use crate::db::events::{EventFilter, list_events, list_stream, list_stream_since, stream_version};
use crate::db::settings::find_setting;
use crate::db::{Batch, CommitError, Db, DbError, Expected, RowChange};
use crate::domain::event::{AdminEvent, Event, KeyEvent, Stream};
use crate::domain::id::SecretId;

async fn seqs(db: &Db) -> Vec<u64> {
    list_events(db, &EventFilter::default(), 1_000).await.unwrap().iter().map(|row| row.seq).collect()
}

#[tokio::test]
async fn a_stream_counts_its_versions_and_refuses_a_stale_writer() {
    on_every_engine(async |db| {
        let first = commit(&db, Stream::admin(), vec![setting("a", 1), setting("a", 2)]).await.unwrap();
        assert_eq!(first.versions, [(Stream::admin(), 2)]);

        let next = |expected| {
            Batch::new("tester", at(1)).append(
                Stream::admin(),
                Expected::Version(expected),
                vec![setting("a", 3)],
            )
        };
        let stale = db.commit(next(1)).await.unwrap_err();
        let fresh = db.commit(next(2)).await.unwrap();

        assert!(matches!(stale, CommitError::VersionConflict { expected: 1, actual: 2, .. }), "{stale:?}");
        assert_eq!((fresh.versions[0].1, fresh.last_seq), (3, 3));
        assert_eq!(stream_version(&db, &Stream::admin()).await.unwrap(), 3);
        assert_eq!(list_stream(&db, &Stream::admin(), 2, 10).await.unwrap()[0].event, setting("a", 3));
    })
    .await;
}

#[tokio::test]
async fn the_latest_events_of_a_stream_are_found_from_its_end() {
    on_every_engine(async |db| {
        // More than are read at a time, one a second; and another stream, which is none of ours.
        for second in 0..150 {
            let (own, other) = (vec![setting("a", second)], vec![key_made(&format!("k{second}"))]);
            let batch = Batch::new("tester", at(second)).append(Stream::admin(), Expected::Head, own).append(
                Stream::keys(),
                Expected::Head,
                other,
            );
            db.commit(batch).await.unwrap();
        }
        for (since, expected) in [(-10, 150), (0, 150), (22, 128), (86, 64), (140, 10), (150, 0)] {
            let found = list_stream_since(&db, &Stream::admin(), at(since)).await.unwrap();
            assert_eq!(found.len(), expected, "since {since}");
            assert!(found.iter().zip((0..150).rev()).all(|(row, second)| row.event == setting("a", second)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_batch_leaves_nothing_and_harms_no_neighbour() {
    on_every_engine(async |db| {
        let refused = Batch::new("tester", at(0))
            .append(Stream::admin(), Expected::Head, vec![setting("b", 1), setting("c", 1)])
            .append(Stream::keys(), Expected::Version(7), vec![key_made("k")])
            .row(RowChange::DeleteSecret { id: SecretId::new("none") });
        let group = vec![
            batch(Stream::admin(), vec![setting("a", 1)]),
            refused,
            batch(Stream::admin(), vec![setting("d", 1)]),
        ];

        let outcomes = db.commit_many(group).await;

        assert_eq!(outcomes[0].as_ref().unwrap().last_seq, 1);
        assert!(matches!(outcomes[1], Err(CommitError::VersionConflict { expected: 7, actual: 0, .. })));
        assert_eq!(outcomes[2].as_ref().unwrap().versions, [(Stream::admin(), 2)]);
        assert_eq!(seqs(&db).await, [1, 2]);
        assert!(find_setting(&db, "b").await.unwrap().is_none());
        assert!(find_setting(&db, "d").await.unwrap().is_some());
        assert!(db.verify_chain().await.unwrap().is_sound());
    })
    .await;
}

#[tokio::test]
async fn rows_that_the_engine_itself_refuses_fail_alone() {
    on_every_engine(async |db| {
        let same_digest = |key: &str| {
            let Event::Key(KeyEvent::Generated { key_id, owner, .. }) = key_made(key) else { unreachable!() };
            Event::Key(KeyEvent::Generated { key_id, owner, sha256: "the same".into(), rolled_from: None })
        };
        let group = vec![
            batch(Stream::keys(), vec![same_digest("k1")]),
            batch(Stream::keys(), vec![same_digest("k2")]),
            batch(Stream::admin(), vec![setting("a", 1)]),
        ];

        let outcomes = db.commit_many(group).await;

        assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
        assert!(matches!(&outcomes[1], Err(CommitError::Db(DbError::Engine(_)))), "{:?}", outcomes[1]);
        assert_eq!(seqs(&db).await, [1, 2]);
        assert!(db.verify_chain().await.unwrap().is_sound());
    })
    .await;
}

#[tokio::test]
async fn eight_writers_at_once_lose_nothing() {
    on_every_engine(async |db| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let db = db.clone();
                tokio::spawn(async move {
                    for n in 0..20 {
                        let own = Stream(format!("writer/{writer}"));
                        let both = batch(own.clone(), vec![setting("x", n)]).append(
                            Stream::admin(),
                            Expected::Head,
                            vec![setting(&format!("{writer}"), n)],
                        );
                        let alone = Batch::new("tester", at(n)).append(
                            own,
                            Expected::Version(2 * u64::try_from(n).unwrap() + 1),
                            vec![setting("y", n)],
                        );
                        for outcome in db.commit_many(vec![both, alone]).await {
                            outcome.unwrap();
                        }
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }

        assert_eq!(seqs(&db).await, (1..=480).collect::<Vec<_>>());
        assert_eq!(stream_version(&db, &Stream::admin()).await.unwrap(), 160);
        assert!(db.verify_chain().await.unwrap().is_sound());
    })
    .await;
}

#[tokio::test]
async fn a_transaction_that_is_dropped_half_way_leaves_nothing() {
    on_every_engine(async |db| {
        let half = db.0.write.begin().await.unwrap();
        half.execute_unprepared("INSERT INTO claims (hostname, agent_id, claimed_at) VALUES ('x', 'a', 1)")
            .await
            .unwrap();
        drop(half);

        commit(&db, Stream::routes(&agent("b")), vec![claimed("b", "x", "")]).await.unwrap();

        let holder = crate::db::routes::find_claim(&db, "x").await.unwrap();
        assert_eq!(holder, Some(agent("b")));
    })
    .await;
}

#[tokio::test]
async fn a_commit_is_finished_although_its_caller_stopped_waiting() {
    on_every_engine(async |db| {
        let waiting = db.commit(batch(Stream::admin(), vec![setting("a", 1)]));
        assert!(waiting.now_or_never().is_none(), "asked once, then dropped");

        let done = async {
            while find_setting(&db, "a").await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), done).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn an_event_of_more_than_64_kib_is_refused_by_name() {
    let db = Db::in_memory(crate::io::Io::current()).await.unwrap();
    let huge = Event::Admin(AdminEvent::SettingChanged { key: "a".into(), value: "x".repeat(70_000).into() });

    let error = commit(&db, Stream::admin(), vec![huge]).await.unwrap_err();

    assert!(error.to_string().contains("`setting_changed` for `admin` has 700"), "{error}");
    assert!(seqs(&db).await.is_empty());
}

#[tokio::test]
async fn a_group_of_thousands_is_written_whole() {
    on_every_engine(async |db| {
        let group: Vec<Batch> = (0..1_500)
            .map(|n| {
                let name = format!("a{n}");
                batch(Stream::agent(&agent(&name)), vec![registered(&name, &format!("k{n}"))])
            })
            .collect();

        let outcomes = db.commit_many(group).await;

        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(outcomes[1_499].as_ref().unwrap().last_seq, 1_500);
        assert_eq!(crate::db::agents::load_agents(&db).await.unwrap().len(), 1_500);
    })
    .await;
}

#[tokio::test]
async fn a_full_database_says_so_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let db = file_db(&folder.path().join("lightship.db")).await;
    commit(&db, Stream::admin(), vec![setting("a", 1)]).await.unwrap();
    db.0.write.execute_unprepared("PRAGMA max_page_count = 1").await.unwrap();

    let value =
        Event::Admin(AdminEvent::SettingChanged { key: "b".into(), value: "x".repeat(60_000).into() });
    let group = vec![batch(Stream::admin(), vec![value.clone()]), batch(Stream::keys(), vec![value])];
    let outcomes = db.commit_many(group).await;

    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(matches!(error, CommitError::Db(DbError::Full { .. })), "{error:?}");
        assert!(error.to_string().contains("lightship.db"), "{error}");
    }
    assert_eq!(seqs(&db).await, [1]);
    db.0.write.execute_unprepared("PRAGMA max_page_count = 100000").await.unwrap();
    commit(&db, Stream::admin(), vec![setting("b", 2)]).await.unwrap();
}
