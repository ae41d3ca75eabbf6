//! What was decided about an agent that stands elsewhere by now is not written.

use super::support::*;
use crate::db::containers::list_containers;
use crate::db::order_keys::list_order_keys;
use crate::db::routes::find_claim;
use crate::db::{ALL, Assumption, Batch, CommitError, Db, Expected, RowChange};
use crate::domain::container::Container;
use crate::domain::event::{AdminEvent, AgentEvent, Event, Stream};
use crate::domain::id::ContainerId;
use crate::domain::order::SigningKey;

fn web() -> Container {
    Container {
        id: ContainerId::new("c1"),
        name: "web".into(),
        labels: Default::default(),
        image: None,
        status: None,
        networks: None,
    }
}

/// What a mirror decides that saw `web` run while the agent's stream ended at `version`.
fn claim(version: u64) -> Batch {
    Batch::new("agent:a", at(1))
        .assume(Assumption::StandsAt { agent_id: agent("a"), version })
        .append(Stream::routes(&agent("a")), Expected::Version(0), vec![claimed("a", "a.example.com", "")])
        .row(RowChange::PutContainer { agent_id: agent("a"), container: web(), problems: vec![] })
}

fn removal() -> Batch {
    batch(Stream::agent(&agent("a")), vec![Event::Agent(AgentEvent::Removed { agent_id: agent("a") })])
}

async fn enrolled_agent(db: &Db) {
    commit(db, Stream::keys(), vec![key_made("k")]).await.unwrap();
    let events = vec![registered("a", "k"), enrolled("a", "t")];
    commit(db, Stream::agent(&agent("a")), events).await.unwrap();
}

async fn nothing_was_written(db: &Db) {
    for _ in 0..2 {
        assert_eq!(find_claim(db, "a.example.com").await.unwrap(), None);
        assert!(crate::db::routes::list_routes(db, None, ALL).await.unwrap().is_empty());
        assert!(list_containers(db, &agent("a")).await.unwrap().is_empty());
        // The same from the events alone.
        db.rebuild().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_decided_before_a_removal_is_not_written_after_it() {
    on_every_engine(async |db| {
        enrolled_agent(&db).await;
        db.commit(removal()).await.unwrap();
        let refused = db.commit(claim(2)).await;
        assert!(
            matches!(&refused, Err(CommitError::VersionConflict { expected: 2, actual: 3, .. })),
            "{refused:?}"
        );
        nothing_was_written(&db).await;
    })
    .await;
}

#[tokio::test]
async fn a_removal_in_the_same_transaction_counts() {
    on_every_engine(async |db| {
        enrolled_agent(&db).await;
        let results = db.commit_many(vec![removal(), claim(2)]).await;
        assert!(results[0].is_ok());
        assert!(matches!(results[1], Err(CommitError::VersionConflict { .. })), "{:?}", results[1]);
        nothing_was_written(&db).await;
    })
    .await;
}

#[tokio::test]
async fn rows_without_events_are_refused_as_well() {
    on_every_engine(async |db| {
        enrolled_agent(&db).await;
        let rows = |assumption| {
            let row = RowChange::PutContainer { agent_id: agent("a"), container: web(), problems: vec![] };
            Batch::new("agent:a", at(1)).assume(assumption).row(row)
        };
        let is_listed = || Assumption::IsListed { agent_id: agent("a") };
        db.commit(rows(is_listed())).await.unwrap();
        let forget = RowChange::ForgetAgent { agent_id: agent("a") };
        db.commit(removal().row(forget)).await.unwrap();

        let refused = db.commit(rows(is_listed())).await;
        assert!(matches!(&refused, Err(CommitError::NotListed { .. })), "{refused:?}");
        let stands = Assumption::StandsAt { agent_id: agent("a"), version: 2 };
        let refused = db.commit(rows(stands)).await;
        assert!(matches!(&refused, Err(CommitError::VersionConflict { .. })), "{refused:?}");
        nothing_was_written(&db).await;
        // It comes back with another key, and is listed again.
        commit(&db, Stream::keys(), vec![key_made("k2")]).await.unwrap();
        commit(&db, Stream::agent(&agent("a")), vec![registered("a", "k2")]).await.unwrap();
        db.commit(rows(is_listed())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_row_that_a_refused_batch_would_have_replaced_stays() {
    on_every_engine(async |db| {
        let key = SigningKey::from_seed(&[1; 32]).public();
        let set = || vec![Event::Admin(AdminEvent::OrderKeySet { key: key.clone(), endorsed: None })];
        commit(&db, Stream::admin(), set()).await.unwrap();
        let before = list_order_keys(&db).await.unwrap();

        let refused = Batch::new("ann", at(9)).append(Stream::admin(), Expected::Head, set());
        let refused = refused.append(Stream::keys(), Expected::Version(7), vec![setting("x", 1)]);
        // Beside it one that is written, so that the transaction is.
        let written = batch(Stream::admin(), vec![setting("y", 1)]);
        let outcomes = db.commit_many(vec![refused, written]).await;

        assert!(outcomes[0].is_err() && outcomes[1].is_ok());
        assert_eq!(list_order_keys(&db).await.unwrap(), before);
    })
    .await;
}
