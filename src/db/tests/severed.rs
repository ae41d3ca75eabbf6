//! The line to PostgreSQL is cut at the worst moments: at a commit, and while another master waits for the place.

use std::sync::Arc;

use parking_lot::Mutex;
use sea_orm::{ConnectionTrait, Database};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};

use super::postgres::Lease;
use super::support::*;
use crate::db::settings::find_setting;
use crate::db::{CommitError, Db, DbError};
use crate::domain::event::Stream;
use crate::io::Io;

/// What happens to the next commit on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// It does not reach the server.
    Order,
    /// It reaches the server, and its confirmation comes to nobody.
    Confirmation,
}

/// A line to the server of a lease that is cut at the next `COMMIT` when it is told to.
struct Line {
    port: u16,
    next: Arc<Mutex<Option<Cut>>>,
}

impl Line {
    async fn to(lease: &Lease) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let next = Arc::<Mutex<Option<Cut>>>::default();
        let (socket, told) = (lease.socket(), next.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(carry(client, server, told.clone()));
            }
        });
        Self { port, next }
    }
}

async fn carry(mut client: TcpStream, mut server: UnixStream, next: Arc<Mutex<Option<Cut>>>) {
    let (mut asked, mut answered) = ([0; 16 << 10], [0; 16 << 10]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let is_commit = asked[..count].windows(6).any(|word| word == b"COMMIT");
                let cut = next.lock().take_if(|_| is_commit);
                if cut == Some(Cut::Order) {
                    return;
                }
                server.write_all(&asked[..count]).await.unwrap();
                if cut == Some(Cut::Confirmation) {
                    // Has come when this returns, and is not handed on.
                    let _ = server.read(&mut answered).await;
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_line_is_cut_is_unknown_whether_it_was_written_or_not() {
    for (cut, is_written) in [(Cut::Order, false), (Cut::Confirmation, true)] {
        // given
        let lease = Lease::migrated();
        let line = Line::to(&lease).await;
        let db = writer_at(&lease.url_at(line.port)).await;
        commit(&db, Stream::admin(), vec![setting("before", 1)]).await.unwrap();
        // when
        *line.next.lock() = Some(cut);
        let group =
            vec![batch(Stream::admin(), vec![setting("a", 1)]), batch(Stream::keys(), vec![key_made("k")])];
        let outcomes = db.commit_many(group).await;
        // then: for each of the group the answer is the same, and reading tells
        for outcome in outcomes {
            assert!(matches!(outcome, Err(CommitError::Unknown { .. })), "{cut:?}: {outcome:?}");
        }
        assert_eq!(find_setting(&db, "a").await.unwrap().is_some(), is_written, "{cut:?}");
        // and the next commit has a new line
        commit(&db, Stream::admin(), vec![setting("after", 1)]).await.unwrap();
        assert!(db.verify_chain().await.unwrap().is_sound());
        db.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_is_ended_before_its_commit_wrote_nothing_for_certain() {
    let lease = Lease::migrated();
    let db = writer_at(&lease.url()).await;
    let other = Database::connect(lease.url()).await.unwrap();
    other
        .execute_unprepared(
            "CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS \
               $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$; \
             CREATE TRIGGER ends BEFORE INSERT ON settings FOR EACH ROW EXECUTE FUNCTION end_session()",
        )
        .await
        .unwrap();

    let outcome = commit(&db, Stream::admin(), vec![setting("a", 1)]).await;

    assert!(matches!(outcome, Err(CommitError::Db(_))), "{outcome:?}");
    assert!(find_setting(&db, "a").await.unwrap().is_none());
    db.close().await.unwrap();
}

#[tokio::test]
async fn a_writer_whose_session_ended_is_the_writer_again_unless_another_took_its_place() {
    // given
    let lease = Lease::migrated();
    let first = writer_at(&lease.url()).await;
    let other = Database::connect(lease.url()).await.unwrap();
    let end_first = async || {
        other
            .execute_unprepared(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks \
                 WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            .await
            .unwrap();
    };
    // when it writes before anybody asks
    end_first().await;
    commit(&first, Stream::admin(), vec![setting("a", 1)]).await.unwrap();
    // then
    let second = Db::open(&lease.url(), Io::current()).await.unwrap();
    assert!(matches!(second.become_writer().await, Err(DbError::InUse { .. })));
    // when another is first
    end_first().await;
    second.become_writer().await.unwrap();
    let refused = commit(&first, Stream::admin(), vec![setting("b", 1)]).await;
    // then
    assert!(matches!(refused, Err(CommitError::Db(DbError::InUse { .. }))), "{refused:?}");
    assert!(find_setting(&second, "b").await.unwrap().is_none());
    commit(&second, Stream::admin(), vec![setting("c", 1)]).await.unwrap();
    // and when that one is gone
    second.close().await.unwrap();
    commit(&first, Stream::admin(), vec![setting("b", 2)]).await.unwrap();
    first.close().await.unwrap();
}
