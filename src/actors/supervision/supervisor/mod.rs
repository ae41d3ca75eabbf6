//! A supervisor: a loop that gives its children orders and answers their reports.
//!
//! It has the same contract as an actor's runner (start, stop, close; up, exited, gone), so supervisors
//! nest. What must happen in order (starting, stopping, restarting a group) is a list of [`Step`]s, each
//! done before the next begins; what need not (restarts one for one, additions, removals) happens side by
//! side, so that one slow child holds up nobody who does not depend on it.

mod child;
mod failure;
mod requests;
mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use self::child::{Child, Standing};
use self::steps::Step;
use super::exit::Exit;
use super::node::Node;
use super::order::{Command, Inbox, Link, Mail, Report, Request, Verb, What};
use super::policy::{Intensity, Strategy, Window};
use super::spec::{GivenUp, Launch, SupSpec};
use super::tree::{Change, Tree};

/// The state of one supervisor.
pub(super) struct Supervisor {
    link: Link,
    inbox: Arc<Inbox>,
    tree: Tree,
    node: Arc<Node>,
    strategy: Strategy,
    intensity: Intensity,
    is_per_child: bool,
    given_up: Option<GivenUp>,
    /// By number; numbers grow, so this is the start order.
    children: BTreeMap<u32, Child>,
    names: HashMap<Box<str>, u32>,
    next_number: u32,
    /// When which child is due: to start again, or to be called stuck.
    dues: BTreeSet<(Instant, u32)>,
    timer: Option<Pin<Box<Sleep>>>,
    steps: VecDeque<Step>,
    phase: Phase,
    run: u32,
    /// Whether the parent still waits for the first start of this run.
    owes_up: bool,
    window: Window,
    seen: Command,
}

/// What the supervisor as a whole is doing.
#[derive(Clone, Debug)]
enum Phase {
    Parked,
    Running,
    /// Stopping its children; then it parks and reports this.
    Parking(Exit),
    /// Stopping its children for good; reports this if it was running.
    Ending(Option<Exit>),
}

enum Event {
    Ordered(Command),
    Mail(Mail),
    Due,
}

impl Supervisor {
    pub(super) fn new(launch: Launch, spec: SupSpec, inbox: Arc<Inbox>) -> Self {
        let mut supervisor = Self {
            link: launch.link,
            inbox,
            tree: launch.tree,
            node: launch.node,
            strategy: spec.strategy,
            intensity: spec.intensity,
            is_per_child: spec.is_per_child,
            given_up: spec.given_up,
            children: BTreeMap::new(),
            names: HashMap::new(),
            next_number: 0,
            dues: BTreeSet::new(),
            timer: None,
            steps: VecDeque::new(),
            phase: Phase::Parked,
            run: 0,
            owes_up: false,
            window: Window::default(),
            seen: Command { verb: Verb::Wait, run: 0 },
        };
        for child in spec.children {
            supervisor.install(child);
        }
        supervisor
    }

    /// Works until told to end for good and all children have.
    pub(super) async fn run(mut self) {
        loop {
            match poll_fn(|task| self.poll_event(task)).await {
                Event::Ordered(order) => self.on_order(order),
                Event::Mail(Mail::Report(report)) => self.on_report(report),
                Event::Mail(Mail::Request(request)) => match *request {
                    Request::Add(spec, reply) => self.on_add(spec, reply),
                    Request::Remove(name, reply) => self.on_remove(&name, reply),
                },
                Event::Due => self.on_due(),
            }
            self.advance();
            if matches!(self.phase, Phase::Ending(_)) && self.steps.is_empty() {
                break;
            }
        }
        self.inbox.close();
        if let Phase::Ending(Some(exit)) = self.phase {
            self.link.report(self.run, What::Exited(Box::new(exit)));
        }
    }

    fn poll_event(&mut self, task: &mut Context<'_>) -> Poll<Event> {
        self.link.order.register(task.waker());
        self.inbox.register(task.waker());
        let order = self.link.order.latest();
        if order != self.seen {
            self.seen = order;
            return Poll::Ready(Event::Ordered(order));
        }
        if let Some(mail) = self.inbox.pop() {
            return Poll::Ready(Event::Mail(mail));
        }
        let Some((at, _)) = self.dues.first() else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(*at)));
        if timer.deadline() != *at {
            timer.as_mut().reset(*at);
        }
        timer.as_mut().poll(task).map(|()| Event::Due)
    }

    fn on_order(&mut self, order: Command) {
        match order.verb {
            Verb::Wait => {}
            Verb::Start => self.begin(order.run),
            Verb::Stop => match self.phase {
                Phase::Running => self.begin_parking(Exit::Shutdown),
                // Told to start and to stop before it got round to either.
                Phase::Parked if order.run != self.run => {
                    self.run = order.run;
                    self.link.report(self.run, What::Exited(Box::new(Exit::Shutdown)));
                }
                Phase::Parked | Phase::Parking(_) | Phase::Ending(_) => {}
            },
            Verb::Close => self.begin_ending(Verb::Close),
            Verb::Kill => self.begin_ending(Verb::Kill),
        }
    }

    fn on_report(&mut self, report: Report) {
        let number = report.child;
        let Some(child) = self.children.get_mut(&number) else { return };
        match report.what {
            What::Gone => self.on_gone(number),
            // A report that crossed an order on its way.
            _ if report.run != child.run => {}
            What::Up => {
                if matches!(child.standing, Standing::Starting) {
                    child.standing = Standing::Up(Instant::now());
                    let restarts = child.node.count_start(self.tree.clock().now());
                    self.tree.emit(&child.node, Change::Started(restarts));
                    child.settle_add();
                }
            }
            What::Exited(exit) => self.on_exited(number, *exit),
        }
    }

    fn on_due(&mut self) {
        let now = Instant::now();
        while let Some(&(at, number)) = self.dues.first() {
            if at > now {
                break;
            }
            self.dues.pop_first();
            let Some(child) = self.children.get(&number) else { continue };
            match child.standing {
                Standing::Backoff(due) if due == at => self.start_child(number),
                Standing::Stopping(until) | Standing::Closing(until) if until == at => {
                    self.leave_behind(number)
                }
                _ => {}
            }
        }
    }
}
