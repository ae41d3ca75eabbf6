//! Browsers that are signed in.

use super::support::*;
use crate::db::sessions::{MOST_SESSIONS, SessionRow, find_signed_in};
use crate::db::{Batch, Db, RowChange};
use crate::domain::event::{AdminEvent, Event, Stream};
use crate::domain::role::Role;

fn created(name: &str, role: Role) -> Event {
    Event::Admin(AdminEvent::Created { name: name.into(), role })
}

async fn open(db: &Db, id: &str, secs: i64) {
    open_for(db, "ann", id, secs).await;
}

async fn open_for(db: &Db, admin: &str, id: &str, secs: i64) {
    let session = SessionRow { id: id.into(), admin: admin.into(), version: 1, opened_at: at(secs) };
    db.commit(Batch::new("ann", at(secs)).row(RowChange::OpenSession(session))).await.unwrap();
}

async fn whose(db: &Db, id: &str) -> Option<String> {
    find_signed_in(db, id).await.unwrap().map(|admin| admin.name)
}

#[tokio::test]
async fn a_session_is_open_until_it_ends_or_the_password_changes() {
    on_every_engine(async |db| {
        commit(&db, Stream::admin(), vec![created("ann", Role::Admin)]).await.unwrap();
        for id in ["a", "b"] {
            open(&db, id, 1).await;
        }
        assert_eq!(whose(&db, "a").await.as_deref(), Some("ann"));
        assert_eq!(whose(&db, "nothing").await, None);

        db.commit(Batch::new("ann", at(2)).row(RowChange::EndSession { id: "a".into() })).await.unwrap();
        assert_eq!((whose(&db, "a").await, whose(&db, "b").await), (None, Some("ann".into())));

        let changed = Event::Admin(AdminEvent::PasswordChanged { name: "ann".into() });
        commit(&db, Stream::admin(), vec![changed]).await.unwrap();
        assert_eq!(whose(&db, "b").await, None);
    })
    .await;
}

#[tokio::test]
async fn of_one_administrator_only_the_newest_sessions_are_kept() {
    on_every_engine(async |db| {
        commit(&db, Stream::admin(), vec![created("ann", Role::Admin)]).await.unwrap();
        for n in 0..=MOST_SESSIONS {
            open(&db, &n.to_string(), n as i64).await;
        }
        assert_eq!(whose(&db, "0").await, None);
        assert!(whose(&db, "1").await.is_some());
        assert!(whose(&db, &MOST_SESSIONS.to_string()).await.is_some());
    })
    .await;
}

#[tokio::test]
async fn a_session_has_the_role_of_its_administrator() {
    on_every_engine(async |db| {
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            commit(&db, Stream::admin(), vec![created(role.as_str(), role)]).await.unwrap();
            open_for(&db, role.as_str(), role.as_str(), 1).await;
            assert_eq!(find_signed_in(&db, role.as_str()).await.unwrap().map(|admin| admin.role), Some(role));
        }
    })
    .await;
}
