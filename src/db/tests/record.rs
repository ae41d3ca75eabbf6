//! The record of decisions as people look through it, and what is found by a part of its name.

use chrono::{DateTime, Utc};

use super::support::*;
use crate::db::events::{EventFilter, EventRow, find_earlier, find_events, list_events};
use crate::db::search::{search_agents, search_refused, search_routes};
use crate::db::{Batch, Db, Expected};
use crate::domain::activity::Earlier;
use crate::domain::event::{AgentEvent, Event, Stream};

async fn decide(db: &Db, by: &str, time: DateTime<Utc>, stream: Stream, events: Vec<Event>) {
    db.commit(Batch::new(by, time).append(stream, Expected::Head, events)).await.unwrap();
}

fn renamed(id: &str, name: &str) -> Event {
    Event::Agent(AgentEvent::Renamed { agent_id: agent(id), display_name: name.into() })
}

fn seqs(rows: &[EventRow]) -> Vec<u64> {
    rows.iter().map(|row| row.seq).collect()
}

/// Six decisions of four, minutes apart.
async fn some(db: &Db) {
    decide(db, "agent:a", at(0), Stream::agent(&agent("a")), vec![registered("a", "k1")]).await;
    decide(db, "ann", at(60), Stream::agent(&agent("a")), vec![renamed("a", "100%_sure")]).await;
    decide(db, "system", at(120), Stream::admin(), vec![setting("grace", 1)]).await;
    decide(db, "ann", at(180), Stream::admin(), vec![setting("grace", 2)]).await;
    decide(db, "token", at(240), Stream::admin(), vec![setting("other", 1)]).await;
    decide(db, "ann", at(300), Stream::agent(&agent("a")), vec![renamed("a", "Anders")]).await;
}

#[tokio::test]
async fn events_are_found_by_who_what_text_and_time() {
    on_every_engine(async |db| {
        some(&db).await;
        let all = EventFilter::default;
        for (filter, expected) in [
            (all(), vec![1, 2, 3, 4, 5, 6]),
            (EventFilter { actor: Some("ann".into()), ..all() }, vec![2, 4, 6]),
            (EventFilter { actor: Some("an".into()), ..all() }, vec![]),
            (EventFilter { people_only: true, ..all() }, vec![2, 4, 5, 6]),
            (EventFilter { kinds: vec!["agent_".into()], ..all() }, vec![1, 2, 6]),
            (
                EventFilter { kinds: vec!["agent_renamed".into(), "setting_".into()], ..all() },
                vec![2, 3, 4, 5, 6],
            ),
            (EventFilter { kinds: vec!["agentX".into()], ..all() }, vec![]),
            (EventFilter { text: Some("aNDERS".into()), ..all() }, vec![6]),
            (EventFilter { text: Some("0%_s".into()), ..all() }, vec![2]),
            (EventFilter { text: Some("0%s".into()), ..all() }, vec![]),
            (EventFilter { text: Some("admin".into()), ..all() }, vec![3, 4, 5]),
            (EventFilter { since: Some(at(180)), ..all() }, vec![4, 5, 6]),
            (EventFilter { until: Some(at(60)), ..all() }, vec![1, 2]),
            (
                EventFilter { since: Some(at(60)), until: Some(at(180)), actor: Some("ann".into()), ..all() },
                vec![2, 4],
            ),
        ] {
            assert_eq!(seqs(&list_events(&db, &filter, 10).await.unwrap()), expected, "{filter:?}");
            let found = find_events(&db, &filter, 10, 100).await.unwrap();
            assert_eq!(
                (seqs(&found.rows), found.next, found.is_cut),
                (expected.clone(), None, false),
                "{filter:?}"
            );
            let newest = EventFilter { newest_first: true, ..filter };
            let found = find_events(&db, &newest, 10, 100).await.unwrap();
            assert_eq!(seqs(&found.rows), expected.into_iter().rev().collect::<Vec<_>>(), "{newest:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_look_has_an_end_and_says_where_to_go_on() {
    on_every_engine(async |db| {
        some(&db).await;
        for newest_first in [false, true] {
            for (most, look) in [(1, 100), (2, 100), (2, 1), (10, 2), (3, 3)] {
                let mut filter =
                    EventFilter { actor: Some("ann".into()), newest_first, ..EventFilter::default() };
                let (mut all, mut turns) = (Vec::new(), 0);
                loop {
                    let found = find_events(&db, &filter, most, look).await.unwrap();
                    assert!(found.rows.len() as u64 <= most && (!found.is_cut || found.next.is_some()));
                    all.extend(seqs(&found.rows));
                    turns += 1;
                    match found.next {
                        Some(next) if newest_first => filter.before_seq = Some(next),
                        Some(next) => filter.after_seq = next,
                        None => break,
                    }
                    assert!(turns < 20, "it goes on: {filter:?}");
                }
                let expected: Vec<u64> = if newest_first { vec![6, 4, 2] } else { vec![2, 4, 6] };
                assert_eq!(all, expected, "{most} {look}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_said_of_a_thing_before_is_found_in_its_stream() {
    on_every_engine(async |db| {
        some(&db).await;
        let rows = list_events(&db, &EventFilter::default(), 10).await.unwrap();
        let earlier = async |seq: u64| {
            let row = rows.iter().find(|row| row.seq == seq).unwrap();
            find_earlier(&db, row).await.unwrap().map(|found| match found {
                Earlier::Was(row) => row.seq,
                Earlier::Nothing => 0,
                Earlier::NotLookedUp => u64::MAX,
            })
        };
        for (seq, expected) in
            [(1, Some(0)), (2, Some(1)), (3, Some(0)), (4, Some(3)), (5, Some(0)), (6, Some(2))]
        {
            assert_eq!(earlier(seq).await, expected, "{seq}");
        }
    })
    .await;
}

#[tokio::test]
async fn names_are_found_by_a_part_of_them_the_nearest_first() {
    on_every_engine(async |db| {
        let events = vec![
            claimed("a", "app.shop.test", ""),
            claimed("a", "shop.test", ""),
            claimed("a", "shop.test.io", ""),
        ];
        commit(&db, Stream::agent(&agent("a")), vec![registered("a", "k1"), renamed("a", "My_Shop 100%")])
            .await
            .unwrap();
        commit(&db, Stream::routes(&agent("a")), events).await.unwrap();
        let texts = |text: &str| vec![text.to_owned()];
        let routes = async |text: &str, max| {
            let found = search_routes(&db, &texts(text), max).await.unwrap();
            found.into_iter().map(|row| row.route.spec.key.hostname).collect::<Vec<_>>()
        };
        assert_eq!(routes("SHOP.test", 10).await, ["shop.test", "shop.test.io", "app.shop.test"]);
        assert_eq!(routes("shop.test", 2).await, ["shop.test", "shop.test.io"]);
        assert!(routes("%", 10).await.is_empty() && routes("shop_test", 10).await.is_empty());
        let agents = async |text: &str| search_agents(&db, &texts(text), 10).await.unwrap().len();
        for (text, number) in [("my_shop", 1), ("100%", 1), ("my shop", 0), ("xyz", 0)] {
            assert_eq!(agents(text).await, number, "{text}");
        }
        assert!(search_refused(&db, &texts("shop"), 10).await.unwrap().is_empty());
    })
    .await;
}
