//! Child specifications: what a supervisor is told about each of its children.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actix::dev::channel::channel;
use actix_rt::ArbiterHandle;

use super::envelope::short_name;
use super::handle::SupervisorHandle;
use super::node::{CloseOnDrop, Node};
use super::order::{Inbox, Link};
use super::policy::{Backoff, Intensity, Overflow, Restart, Strategy};
use super::port::{Port, Supervise};
use super::runner::{Runner, Seed};
use super::supervisor::Supervisor;
use super::tree::Tree;

/// Time an actor has to stop, unless its specification says otherwise.
const ACTOR_GRACE: Duration = Duration::from_secs(5);
/// Time a supervisor has at least to stop its children.
const SUPERVISOR_GRACE: Duration = Duration::from_secs(30);
/// Time a handler's future has, unless its specification says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);
/// What a supervisor adds to a child's grace before it calls the child's thread stuck.
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(1);

/// One child: an actor or a supervisor, and how its parent treats it.
pub struct ChildSpec {
    pub(super) node: Arc<Node>,
    pub(super) restart: Restart,
    pub(super) backoff: Backoff,
    grace: Option<Duration>,
    deadline: Duration,
    arbiter: Option<ArbiterHandle>,
    body: Body,
}

enum Body {
    Actor(Box<dyn FnOnce(Launch) + Send>),
    Supervisor(Box<SupSpec>, Arc<Inbox>),
}

/// What a child needs to come to life.
pub(super) struct Launch {
    pub(super) link: Link,
    pub(super) tree: Tree,
    pub(super) node: Arc<Node>,
    grace: Duration,
    deadline: Duration,
}

impl ChildSpec {
    /// Describes an actor and returns its port, which works from now on.
    ///
    /// `factory` runs at every start and gives the fresh state: it must be quick and free of side effects;
    /// opening things belongs in `started`. The mailbox takes `cap` messages.
    ///
    /// # Panics
    /// If `name` is empty or holds a `/`.
    pub fn actor<A: Supervise>(
        name: impl Into<String>,
        cap: usize,
        overflow: Overflow,
        factory: impl Fn() -> A + Send + Sync + 'static,
    ) -> (Self, Port<A>) {
        let node = Arc::new(Node::actor(checked(name.into()), short_name::<A>(), cap, overflow));
        // Unbounded for actix; the node's permits are the bound.
        let (sender, receiver) = channel(0);
        let port = Port::new(sender, node.clone());
        let close = CloseOnDrop(node.clone());
        let seed = Box::new((receiver, port.clone(), Box::new(factory)));
        let launch = move |launch: Launch| {
            let (receiver, port, factory) = *seed;
            let seed = Box::new(Seed { receiver, port, factory, deadline: launch.deadline });
            let runner = Runner::new(launch.link, seed, launch.tree, launch.grace, close);
            tokio::task::spawn_local(runner);
        };
        (Self::new(node, Body::Actor(Box::new(launch))), port)
    }

    /// Describes a supervisor.
    ///
    /// # Panics
    /// If `name` is empty or holds a `/`.
    pub fn supervisor(name: impl Into<String>, spec: SupSpec) -> Self {
        Self::supervisor_with_handle(name, spec).0
    }

    /// Describes a supervisor and returns the handle that adds and removes its children.
    ///
    /// # Panics
    /// If `name` is empty or holds a `/`.
    pub fn supervisor_with_handle(name: impl Into<String>, spec: SupSpec) -> (Self, SupervisorHandle) {
        let inbox = Arc::new(Inbox::default());
        let node = Arc::new(Node::supervisor(checked(name.into())));
        (Self::new(node, Body::Supervisor(Box::new(spec), inbox.clone())), SupervisorHandle::new(inbox))
    }

    fn new(node: Arc<Node>, body: Body) -> Self {
        Self {
            node,
            restart: Restart::Permanent,
            backoff: Backoff::default(),
            grace: None,
            deadline: DEADLINE,
            arbiter: None,
            body,
        }
    }

    /// Sets when the child is restarted (default: [`Restart::Permanent`]).
    #[must_use]
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// Sets how long the child may take to stop before it is killed.
    ///
    /// Default: 5 s for an actor; for a supervisor what its children may take together, 30 s at least.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// Sets the delays before restarts.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Has the child, and for a supervisor everything under it, run on another arbiter.
    #[must_use]
    pub fn on(mut self, arbiter: ArbiterHandle) -> Self {
        self.arbiter = Some(arbiter);
        self
    }

    /// Sets the metric label (default: the actor's type name).
    #[must_use]
    pub fn role(self, role: &'static str) -> Self {
        self.node.set_role(role);
        self
    }

    /// Sets how long the future of a handler may take (default 60 s) before the actor is restarted.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    pub(super) fn name(&self) -> &str {
        self.node.name()
    }

    /// The time the child has to stop.
    pub(super) fn stop_time(&self) -> Duration {
        match (&self.body, self.grace) {
            (_, Some(grace)) => grace,
            (Body::Actor(_), None) => ACTOR_GRACE,
            (Body::Supervisor(spec, _), None) => spec.stop_time().max(SUPERVISOR_GRACE),
        }
    }

    /// The inbox of a supervisor.
    pub(super) fn inbox(&self) -> Option<&Arc<Inbox>> {
        match &self.body {
            Body::Actor(_) => None,
            Body::Supervisor(_, inbox) => Some(inbox),
        }
    }

    /// Brings the child to life, parked. If its arbiter has ended, the link's drop reports it gone.
    pub(super) fn launch(self, link: Link, tree: Tree) {
        let grace = self.stop_time();
        let launch = Launch { link, tree, node: self.node, grace, deadline: self.deadline };
        let start: Box<dyn FnOnce() + Send> = match self.body {
            Body::Actor(start) => Box::new(move || start(launch)),
            Body::Supervisor(spec, inbox) => Box::new(move || {
                tokio::task::spawn_local(Supervisor::new(launch, *spec, inbox).run());
            }),
        };
        match self.arbiter {
            None => start(),
            Some(arbiter) => {
                arbiter.spawn_fn(start);
            }
        }
    }
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec").field("name", &self.name()).field("restart", &self.restart).finish()
    }
}

/// Returns whether `name` can be a segment of a path.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/')
}

fn checked(name: String) -> String {
    assert!(is_name(&name), "`{name}` cannot name a child: a name is not empty and holds no `/`");
    name
}

/// Called with the name and the reason when a child of a wide supervisor is given up.
pub(super) type GivenUp = Box<dyn Fn(&str, &str) + Send>;

/// A supervisor: its strategy, its limit and its children in start order.
pub struct SupSpec {
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) is_per_child: bool,
    pub(super) children: Vec<ChildSpec>,
    pub(super) given_up: Option<GivenUp>,
}

impl SupSpec {
    /// Children fail alone.
    pub fn one_for_one() -> Self {
        Self::new(Strategy::OneForOne)
    }

    /// Children restart together.
    pub fn one_for_all() -> Self {
        Self::new(Strategy::OneForAll)
    }

    /// A child restarts together with those that start after it.
    pub fn rest_for_one() -> Self {
        Self::new(Strategy::RestForOne)
    }

    fn new(strategy: Strategy) -> Self {
        let intensity = Intensity { restarts: 5, period: Duration::from_secs(60) };
        Self { strategy, intensity, is_per_child: false, children: Vec::new(), given_up: None }
    }

    /// Sets how many failures within `period` are answered with a restart (default: 5 in 60 s); one more
    /// escalates. The period must exceed the delays before that many restarts, or it is never reached.
    #[must_use]
    pub fn intensity(mut self, restarts: usize, period: Duration) -> Self {
        self.intensity = Intensity { restarts, period };
        self
    }

    /// Counts failures per child, for wide supervisors whose children do not know each other.
    ///
    /// A child over the limit is removed instead of escalating, and children stop side by side. Goes with
    /// [`one_for_one`](Self::one_for_one).
    #[must_use]
    pub fn per_child(mut self) -> Self {
        self.is_per_child = true;
        self.strategy = Strategy::OneForOne;
        self
    }

    /// With [`per_child`](Self::per_child): `hook` gets the name and the reason of a child that was given
    /// up, after it is gone. It runs inside the supervisor and must be quick.
    #[must_use]
    pub fn when_given_up(mut self, hook: impl Fn(&str, &str) + Send + 'static) -> Self {
        self.given_up = Some(Box::new(hook));
        self
    }

    /// Appends a child.
    ///
    /// # Panics
    /// If there is a child of that name.
    #[must_use]
    pub fn child(mut self, spec: ChildSpec) -> Self {
        let is_taken = self.children.iter().any(|child| child.name() == spec.name());
        assert!(!is_taken, "the supervisor already has a child `{}`", spec.name());
        self.children.push(spec);
        self
    }

    /// The time the children have to stop.
    fn stop_time(&self) -> Duration {
        let times = self.children.iter().map(|child| child.stop_time() + STUCK_AFTER);
        if self.is_per_child { times.max().unwrap_or_default() } else { times.sum() }
    }
}

impl fmt::Debug for SupSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SupSpec")
            .field("strategy", &self.strategy)
            .field("children", &self.children)
            .finish_non_exhaustive()
    }
}
