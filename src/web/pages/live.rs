//! Tells open pages that something changed; they fetch their live part again.
//!
//! One stream per page. A burst of changes is one event; a slow page misses nothing, because the event says
//! only "look again".

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{SignedIn, protect};
use crate::actors::master::{Changes, MasterError};
use crate::db::read::find_signed_in;
use crate::web::error::ApiError;
use crate::web::session::Session;
use crate::web::state::{StreamGuard, WebState};

/// Changes within this time are one event, so a page looks again at most four times a second.
const BURST: Duration = Duration::from_millis(250);
/// A sign of life, so that nothing on the way closes a quiet stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Then the browser connects again, and the session is looked at again.
const LONGEST: Duration = Duration::from_secs(1800);

/// The page may be older than the stream, by much after the master was away: it looks again at once.
const HELLO: &[u8] = b"retry: 2000\nevent: changed\ndata: .\n\n";
const CHANGED: &[u8] = b"event: changed\ndata: .\n\n";
const TREE: &[u8] = b"event: tree\ndata: .\n\n";
const QUIET: &[u8] = b": .\n\n";

/// `GET /live`.
#[utoipa::path(get, path = "/live", tag = "pages", responses((status = 200), (status = 303), (status = 503)),
    security(("session" = [])))]
pub async fn live(
    person: SignedIn,
    req: HttpRequest,
    state: web::Data<WebState>,
) -> Result<HttpResponse, ApiError> {
    let guard = state.open_stream().ok_or(MasterError::Busy)?;
    let news = News { changes: state.master().subscribe(), tree: state.settings().tree_changes.clone() };
    let listener = Listener::new(news, state.stopping().clone());
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header(("x-accel-buffering", "no"))
        .insert_header(header::ContentEncoding::Identity);
    let mut answer = match *req.method() {
        // The head is not sent before there is something of the body, and of this one there never is.
        Method::HEAD => answer.finish(),
        _ => answer.streaming(events(listener, guard, WebState::clone(&state), person.session)),
    };
    protect(&mut answer);
    Ok(answer)
}

/// Ends with the session: a page of a browser that was signed out is told nothing.
fn events(
    listener: Listener,
    guard: StreamGuard,
    state: WebState,
    session: Session,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((listener, guard, state, session), |(mut listener, guard, state, session)| async move {
        let text = listener.next_event().await?;
        let is_open = find_signed_in(&state.master().db, session.id.as_deref()?).await;
        is_open.ok().flatten()?;
        Some((Ok(Bytes::from_static(text)), (listener, guard, state, session)))
    })
}

/// What a page may have to look at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    /// The supervision tree, which only the System page shows.
    Tree,
    /// Anything.
    All,
}

/// Where changes are heard of.
struct News {
    changes: Changes,
    tree: watch::Receiver<()>,
}

impl News {
    /// Returns what changed next; none once the master has gone.
    async fn next(&mut self) -> Option<Topic> {
        tokio::select! {
            note = self.changes.next() => note.map(|_| Topic::All),
            changed = self.tree.changed() => changed.is_ok().then_some(Topic::Tree),
        }
    }
}

struct Listener {
    news: News,
    stopping: CancellationToken,
    until: Instant,
    greeted: bool,
}

impl Listener {
    fn new(mut news: News, stopping: CancellationToken) -> Self {
        news.tree.mark_unchanged();
        Self { news, stopping, until: Instant::now() + LONGEST, greeted: false }
    }

    async fn next_event(&mut self) -> Option<&'static [u8]> {
        if !std::mem::replace(&mut self.greeted, true) {
            return Some(HELLO);
        }
        let mut topic = tokio::select! {
            topic = self.news.next() => topic?,
            () = self.stopping.cancelled() => return None,
            () = sleep_until(self.until) => return None,
            () = sleep(KEEP_ALIVE) => return Some(QUIET),
        };
        let burst = sleep(BURST);
        tokio::pin!(burst);
        loop {
            tokio::select! {
                () = &mut burst => return Some(if topic == Topic::All { CHANGED } else { TREE }),
                () = self.stopping.cancelled() => return None,
                more = self.news.next() => topic = topic.max(more?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::prelude::*;
    use chrono::DateTime;
    use tokio::sync::broadcast;
    use tokio::task::LocalSet;

    use super::*;
    use crate::actors::master::Note;
    use crate::actors::supervision::{
        Backoff, ChildSpec, Ctx, Info, Overflow, Port, Root, State, SupSpec, Tree, install_panic_hook,
    };
    use crate::chance::Chance;
    use crate::clock::Clock;
    use crate::supervised;

    /// An actor deep in the tree that fails when it is told to.
    struct Child;

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Fail;

    impl Actor for Child {
        type Context = Ctx<Self>;
    }

    supervised!(Child);

    impl Handler<Fail> for Child {
        type Result = ();

        fn handle(&mut self, _: Fail, _: &mut Ctx<Self>) {
            panic!("it was told to");
        }
    }

    /// A page that listens to a tree `master/fleet/child`.
    struct Scene {
        page: Listener,
        child: Port<Child>,
        tree: Tree,
        notes: broadcast::Sender<Note>,
        _root: Root,
    }

    impl Scene {
        async fn start() -> Self {
            install_panic_hook();
            let (changed, tree_changes) = watch::channel(());
            let tree = Tree::new(Clock::moved(DateTime::UNIX_EPOCH), Chance::seeded(1), move |_| {
                changed.send_replace(());
            });
            let (spec, child) = ChildSpec::actor("child", 4, Overflow::DropNewest, || Child);
            let soon = Duration::from_millis(10);
            let spec = spec.backoff(Backoff { min: soon, max: soon, jitter: 0.0, reset_after: soon });
            let fleet = SupSpec::one_for_one().intensity(1000, Duration::from_secs(1)).child(spec);
            let master = SupSpec::one_for_one().child(ChildSpec::supervisor("fleet", fleet));
            let root = Root::start(tree.clone(), "master", master).await;
            let notes = broadcast::channel(8).0;
            let news = News { changes: Changes::of(&notes), tree: tree_changes };
            let mut page = Listener::new(news, CancellationToken::new());
            assert_eq!(page.next_event().await, Some(HELLO));
            Self { page, child, tree, notes, _root: root }
        }

        fn child_info(&self) -> Info {
            self.tree.snapshot_under("master/fleet/child").remove(0)
        }
    }

    /// Runs a test on one thread under moved time.
    async fn moved(test: impl Future<Output = ()>) {
        LocalSet::new().run_until(test).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_anywhere_in_the_tree_wakes_the_page_that_shows_it() {
        moved(async {
            // given: a tree in which nothing happens
            let mut scene = Scene::start().await;
            assert_eq!(scene.page.next_event().await, Some(QUIET));
            // when
            scene.child.tell(Fail).unwrap();
            // then: it looks again when the actor is up again
            let at = Instant::now();
            assert_eq!(scene.page.next_event().await, Some(TREE));
            assert_eq!(at.elapsed(), BURST);
            let child = scene.child_info();
            assert_eq!((child.state, child.restarts), (State::Running, 1));
            assert_eq!(scene.page.next_event().await, Some(QUIET));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_tree_that_never_rests_is_told_of_four_times_a_second() {
        moved(async {
            // given: an actor that fails whenever it is up
            let mut scene = Scene::start().await;
            let child = scene.child.clone();
            let storm = tokio::task::spawn_local(async move {
                loop {
                    let _ = child.tell(Fail);
                    sleep(Duration::from_millis(5)).await;
                }
            });
            // when
            let began = Instant::now();
            let mut events = 0;
            while began.elapsed() < Duration::from_secs(60) {
                assert_eq!(scene.page.next_event().await, Some(TREE));
                events += 1;
            }
            storm.abort();
            // then
            let restarts = scene.child_info().restarts;
            assert!(restarts > 60 * 10 && events <= 60 * 4, "{events} events of {restarts} restarts");
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_every_page_shows_is_told_to_every_page_whatever_else_happens() {
        moved(async {
            let mut scene = Scene::start().await;
            scene.child.tell(Fail).unwrap();
            scene.notes.send(Note::Keys).unwrap();
            assert_eq!(scene.page.next_event().await, Some(CHANGED));
        })
        .await;
    }
}
