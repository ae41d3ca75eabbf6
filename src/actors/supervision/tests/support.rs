//! An actor that fails on request, and a tree that records its events.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use chrono::DateTime;
use parking_lot::Mutex;
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::super::*;
use crate::chance::Chance;
use crate::clock::Clock;

/// Long enough for anything under moved time.
pub(super) const LONG: Duration = Duration::from_secs(3600);

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs a test on one thread under moved time.
pub(super) fn paused<F: Future>(test: F) -> F::Output {
    quiet_panics();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

/// Lines such as `100 +root/a` with the milliseconds since the start.
#[derive(Clone)]
pub(super) struct Log {
    start: Instant,
    lines: Arc<Mutex<Vec<(u64, String)>>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), lines: Arc::default() }
    }

    pub(super) fn write(&self, line: impl Into<String>) {
        let at = u64::try_from(self.start.elapsed().as_millis()).expect("a short test");
        self.lines.lock().push((at, line.into()));
    }

    /// Takes the lines, without times.
    pub(super) fn take(&self) -> Vec<String> {
        self.lines.lock().drain(..).map(|(_, line)| line).collect()
    }

    /// Takes the lines, with times.
    pub(super) fn take_timed(&self) -> Vec<String> {
        self.lines.lock().drain(..).map(|(at, line)| format!("{at} {line}")).collect()
    }

    /// Waits until a line is there.
    pub(super) async fn until(&self, line: &str) {
        let wait = async {
            while !self.lines.lock().iter().any(|(_, l)| l == line) {
                sleep(ms(1)).await;
            }
        };
        let waited = tokio::time::timeout(LONG, wait).await;
        assert!(waited.is_ok(), "`{line}` did not come: {:?}", self.lines.lock());
    }
}

/// `+a` started, `-a reason` ended, `^a` escalated, `!a` gave up, `?a` left behind, `xa` removed.
pub(super) fn line(event: &TreeEvent) -> Option<String> {
    let path = event.path.strip_prefix("root/").unwrap_or(&event.path);
    Some(match &event.change {
        Change::Started(_) => format!("+{path}"),
        Change::Exited(exit) => format!("-{path} {exit}"),
        Change::RestartIn(delay) => format!("~{path} {}", delay.as_millis()),
        Change::Escalated(_) => format!("^{path}"),
        Change::LeftBehind => format!("?{path}"),
        Change::GaveUp(_) => format!("!{path}"),
        Change::Removed => format!("x{path}"),
        Change::Added => return None,
    })
}

/// A tree whose events go to a log.
pub(super) fn tree() -> (Tree, Log) {
    seeded_tree(1)
}

pub(super) fn seeded_tree(seed: u64) -> (Tree, Log) {
    let log = Log::new();
    let sink = log.clone();
    let clock = Clock::moved(DateTime::UNIX_EPOCH);
    let tree = Tree::new(clock, Chance::seeded(seed), move |event| {
        if let Some(line) = line(event) {
            sink.write(line);
        }
    });
    (tree, log)
}

/// 100 ms doubled, without jitter.
pub(super) fn steady() -> Backoff {
    Backoff { min: ms(100), max: Duration::from_secs(10), jitter: 0.0, reset_after: Duration::from_secs(60) }
}

/// An actor that does what it is told, and writes down what it saw.
pub(super) struct Puppet {
    log: Log,
    /// Numbers seen by this run.
    seen: Vec<u32>,
    habit: Habit,
    flushed: bool,
    timer: SpawnHandle,
}

#[derive(Clone, Default)]
pub(super) struct Habit {
    /// How many more starts panic.
    pub(super) failing_starts: Arc<Mutex<u32>>,
    /// How many more times the factory panics.
    pub(super) failing_makes: Arc<Mutex<u32>>,
    /// Time the flush on stopping takes.
    pub(super) flush: Option<Duration>,
    /// Time every number takes to handle.
    pub(super) slow: Option<Duration>,
}

impl Puppet {
    fn new(log: Log, habit: Habit) -> Self {
        count_down(&habit.failing_makes, "make");
        Self { log, seen: Vec::new(), habit, flushed: false, timer: SpawnHandle::default() }
    }
}

/// Panics while the count lasts.
fn count_down(failing: &Mutex<u32>, what: &str) {
    let mut left = failing.lock();
    if *left > 0 {
        *left -= 1;
        drop(left);
        panic!("{what}");
    }
}

impl Actor for Puppet {
    type Context = Ctx<Self>;

    fn started(&mut self, _: &mut Ctx<Self>) {
        count_down(&self.habit.failing_starts, "start");
    }

    fn stopping(&mut self, ctx: &mut Ctx<Self>) -> Running {
        let Some(flush) = self.habit.flush.filter(|_| !self.flushed && ctx.is_stopping()) else {
            return Running::Stop;
        };
        self.flushed = true;
        ctx.run_later(flush, |this, ctx| {
            this.log.write(format!("{} flushed", ctx.path()));
            ctx.stop();
        });
        Running::Continue
    }
}

supervised!(Puppet);

/// Adds a number; answers with all this run saw.
#[derive(Message, Clone, Debug, PartialEq)]
#[rtype(result = "Vec<u32>")]
pub(super) struct Number(pub(super) u32);

impl Handler<Number> for Puppet {
    type Result = AtomicResponse<Self, Vec<u32>>;

    fn handle(&mut self, Number(number): Number, _: &mut Ctx<Self>) -> Self::Result {
        let slow = self.habit.slow;
        let work = async move {
            if let Some(slow) = slow {
                sleep(slow).await;
            }
        };
        AtomicResponse::new(Box::pin(work.into_actor(self).map(move |(), this, _| {
            this.seen.push(number);
            this.log.write(format!("saw {number}"));
            this.seen.clone()
        })))
    }
}

/// Fails in the way it names.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub(super) enum Fail {
    Panic,
    Error,
    Future,
    Timer,
    AfterAwait,
    Stop,
    Hang,
}

impl Handler<Fail> for Puppet {
    type Result = ();

    fn handle(&mut self, fail: Fail, ctx: &mut Ctx<Self>) {
        match fail {
            Fail::Panic => panic!("handler"),
            Fail::Error => ctx.fail("no more"),
            Fail::Future => {
                ctx.spawn(async { panic!("future") }.into_actor(self));
            }
            Fail::Timer => {
                ctx.run_later(ms(10), |_, _| panic!("timer"));
            }
            Fail::AfterAwait => ctx.wait(sleep(ms(1)).into_actor(self).map(|(), _, _| panic!("after await"))),
            Fail::Stop => ctx.stop(),
            Fail::Hang => ctx.wait(std::future::pending::<()>().into_actor(self)),
        }
    }
}

/// Answers after a while; other messages are handled meanwhile.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub(super) struct Slowly(pub(super) Duration);

impl Handler<Slowly> for Puppet {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Slowly(time): Slowly, _: &mut Ctx<Self>) -> Self::Result {
        Box::pin(sleep(time).into_actor(self))
    }
}

/// Leaves a timer that writes a line.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "()")]
pub(super) struct Leave(pub(super) &'static str, pub(super) Duration);

impl Handler<Leave> for Puppet {
    type Result = ();

    fn handle(&mut self, Leave(line, after): Leave, ctx: &mut Ctx<Self>) {
        self.timer = ctx.run_later(after, move |this, _| this.log.write(line));
    }
}

/// Cancels the last timer.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Cancel;

impl Handler<Cancel> for Puppet {
    type Result = ();

    fn handle(&mut self, _: Cancel, ctx: &mut Ctx<Self>) {
        assert!(ctx.cancel_future(self.timer), "there was a timer");
        assert!(!ctx.cancel_future(self.timer), "now there is none");
    }
}

/// Cancels the last timer and fails: in plain actix this cancels a timer of the next run.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct CancelAndFail;

impl Handler<CancelAndFail> for Puppet {
    type Result = ();

    fn handle(&mut self, _: CancelAndFail, ctx: &mut Ctx<Self>) {
        ctx.cancel_future(self.timer);
        ctx.fail("cancelled");
    }
}

/// Holds something in a future that does not end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Hold(pub(super) Arc<()>);

impl Handler<Hold> for Puppet {
    type Result = ();

    fn handle(&mut self, Hold(guard): Hold, ctx: &mut Ctx<Self>) {
        let held = async move {
            std::future::pending::<()>().await;
            drop(guard);
        };
        ctx.spawn(held.into_actor(self));
    }
}

/// Does nothing.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Nothing;

impl Handler<Nothing> for Puppet {
    type Result = ();

    fn handle(&mut self, _: Nothing, _: &mut Ctx<Self>) {}
}

/// A puppet's specification with a steady backoff.
pub(super) fn puppet(name: &str, log: &Log) -> (ChildSpec, Port<Puppet>) {
    puppet_with(name, log, Habit::default())
}

pub(super) fn puppet_with(name: &str, log: &Log, habit: Habit) -> (ChildSpec, Port<Puppet>) {
    puppet_of(name, log, habit, 16, Overflow::Reject)
}

pub(super) fn puppet_of(
    name: &str,
    log: &Log,
    habit: Habit,
    cap: usize,
    overflow: Overflow,
) -> (ChildSpec, Port<Puppet>) {
    let log = log.clone();
    let (spec, port) = ChildSpec::actor(name, cap, overflow, move || Puppet::new(log.clone(), habit.clone()));
    (spec.backoff(steady()), port)
}

/// A tree of one puppet, `root/a`.
pub(super) async fn one() -> (Root, Log, Port<Puppet>) {
    let (tree, log) = tree();
    let (a, port) = puppet("a", &log);
    let root = Root::start(tree, "root", SupSpec::one_for_one().child(a)).await;
    log.take();
    (root, log, port)
}

/// Keeps the panics of puppets out of the test output; the tests assert on the exits.
pub(super) fn quiet_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(install_panic_hook);
}
