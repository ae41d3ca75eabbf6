//! What the world may know of one actor or supervisor: its place, its counters, its state and the
//! exact bound of its mailbox. Shared by ports, envelopes, the supervisor and the snapshot.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::exit::Exit;
use super::metrics::RoleMetrics;
use super::policy::Overflow;
use super::snapshot::{Info, Kind, State};

/// One node of the tree.
pub(super) struct Node {
    name: String,
    kind: Kind,
    role: Mutex<&'static str>,
    place: OnceLock<Place>,
    life: Mutex<Life>,
    mailbox: Option<Box<Mailbox>>,
}

/// Where a node is; known once its supervisor has taken it in.
struct Place {
    path: Arc<str>,
    metrics: Arc<RoleMetrics>,
}

/// What its supervisor last saw. Only the supervisor writes it.
struct Life {
    state: State,
    since: DateTime<Utc>,
    starts: u32,
    last_exit: Option<Box<str>>,
}

/// The bound: a permit per waiting message, so that depth = cap - free permits, whoever sends.
struct Mailbox {
    permits: Semaphore,
    cap: u32,
    overflow: Overflow,
    /// How many of the oldest waiting messages are to give way; they hold no permit.
    skip: AtomicU32,
    /// Messages that left the queue, one way or another, and messages in it.
    left: AtomicU64,
    queued: AtomicU64,
    /// Messages that are being handled, until their answers are done.
    at_work: AtomicU32,
    handled: AtomicU64,
    dropped: AtomicU64,
    is_closed: AtomicBool,
}

/// How a message may enter.
pub(super) enum Entry {
    Admitted,
    InPlaceOfOldest,
    Dropped,
    Full,
    Closed,
}

impl Node {
    /// A supervisor's node.
    pub(super) fn supervisor(name: String) -> Self {
        Self::new(name, Kind::Supervisor, "supervisor", None)
    }

    /// An actor's node with a mailbox of `cap` messages.
    pub(super) fn actor(name: String, role: &'static str, cap: usize, overflow: Overflow) -> Self {
        let cap = u32::try_from(cap.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30))).expect("clamped");
        let mailbox = Mailbox {
            permits: Semaphore::new(cap as usize),
            cap,
            overflow,
            skip: AtomicU32::new(0),
            left: AtomicU64::new(0),
            queued: AtomicU64::new(0),
            at_work: AtomicU32::new(0),
            handled: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
        };
        Self::new(name, Kind::Actor, role, Some(Box::new(mailbox)))
    }

    fn new(name: String, kind: Kind, role: &'static str, mailbox: Option<Box<Mailbox>>) -> Self {
        let life = Life { state: State::Stopped, since: DateTime::UNIX_EPOCH, starts: 0, last_exit: None };
        Self { name, kind, role: Mutex::new(role), place: OnceLock::new(), life: Mutex::new(life), mailbox }
    }

    /// Gives the node its path; only the first call counts.
    pub(super) fn put(&self, path: Arc<str>, metrics: Arc<RoleMetrics>) {
        let _ = self.place.set(Place { path, metrics });
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The path, or the bare name before the node has its place.
    pub(super) fn path(&self) -> &str {
        self.place.get().map_or(&self.name, |place| &place.path)
    }

    /// The shared path, or nothing before the node has its place.
    pub(super) fn shared_path(&self) -> Option<&Arc<str>> {
        self.place.get().map(|place| &place.path)
    }

    pub(super) fn role(&self) -> &'static str {
        *self.role.lock()
    }

    pub(super) fn set_role(&self, role: &'static str) {
        *self.role.lock() = role;
    }

    pub(super) fn metrics(&self) -> Option<&RoleMetrics> {
        self.place.get().map(|place| &*place.metrics)
    }

    /// Records a state.
    pub(super) fn set_state(&self, state: State, at: DateTime<Utc>) {
        let mut life = self.life.lock();
        life.state = state;
        life.since = at;
    }

    /// Records a start; returns how many restarts that makes.
    pub(super) fn count_start(&self, at: DateTime<Utc>) -> u32 {
        let mut life = self.life.lock();
        life.state = State::Running;
        life.since = at;
        life.starts = life.starts.saturating_add(1);
        life.starts - 1
    }

    /// Records why the last run ended.
    pub(super) fn set_exit(&self, exit: &Exit) {
        self.life.lock().last_exit = Some(exit.to_string().into());
    }

    /// Returns the row of the snapshot.
    pub(super) fn info(&self) -> Info {
        let life = self.life.lock();
        let mailbox = self.mailbox.as_deref();
        Info {
            path: self.path().to_owned(),
            role: self.role(),
            kind: self.kind,
            state: life.state,
            restarts: life.starts.saturating_sub(1),
            depth: self.depth(),
            cap: mailbox.map_or(0, |m| m.cap as usize),
            handled: mailbox.map_or(0, |m| m.handled.load(Ordering::Relaxed)),
            dropped: mailbox.map_or(0, |m| m.dropped.load(Ordering::Relaxed)),
            last_exit: life.last_exit.as_deref().map(str::to_owned),
            since: life.since,
        }
    }

    /// Returns role, state and depth: what the gauges need, without a row.
    pub(super) fn gauge(&self) -> (&'static str, State, usize) {
        (self.role(), self.life.lock().state, self.depth())
    }

    fn depth(&self) -> usize {
        self.mailbox
            .as_deref()
            .map_or(0, |m| m.cap as usize - m.permits.available_permits().min(m.cap as usize))
    }

    fn mailbox(&self) -> &Mailbox {
        self.mailbox.as_deref().expect("only actors have ports and envelopes")
    }

    // === the bound ===

    /// Decides whether a message may enter now.
    pub(super) fn admit(&self) -> Entry {
        let mailbox = self.mailbox();
        if self.is_closed() {
            return Entry::Closed;
        }
        if let Ok(permit) = mailbox.permits.try_acquire() {
            permit.forget();
            return Entry::Admitted;
        }
        match mailbox.overflow {
            Overflow::Reject => Entry::Full,
            Overflow::DropOldest if mailbox.raise_skip() => Entry::InPlaceOfOldest,
            Overflow::DropOldest | Overflow::DropNewest => {
                self.count_dropped(mailbox.overflow.label());
                Entry::Dropped
            }
        }
    }

    /// Waits until a message may enter, whatever the policy.
    pub(super) async fn admit_later(&self) -> Entry {
        match self.mailbox().permits.acquire().await {
            Ok(permit) if !self.is_closed() => {
                permit.forget();
                Entry::Admitted
            }
            _ => Entry::Closed,
        }
    }

    /// Counts a message that entered the queue.
    pub(super) fn count_queued(&self) {
        self.mailbox().queued.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether nothing waits and nothing is being handled. Whoever asks from another thread sees a message in one of
    /// the two places: it is at work before it leaves the queue.
    pub(super) fn is_idle(&self) -> bool {
        self.depth() == 0 && self.mailbox().at_work.load(Ordering::Acquire) == 0
    }

    /// A message leaves the queue: gives back its permit, or gives way to a newer one (`false`).
    pub(super) fn leave(&self) -> bool {
        let mailbox = self.mailbox();
        mailbox.queued.fetch_sub(1, Ordering::AcqRel);
        mailbox.left.fetch_add(1, Ordering::AcqRel);
        let gave_way =
            mailbox.skip.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| n.checked_sub(1)).is_ok();
        if !gave_way {
            mailbox.permits.add_permits(1);
        }
        !gave_way
    }

    pub(super) fn count_handled(&self) {
        self.mailbox().handled.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a message nobody handled; `why` is a metric label.
    pub(super) fn count_dropped(&self, why: &'static str) {
        self.mailbox().dropped.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("actor_dropped_total", "role" => self.role(), "policy" => why).increment(1);
    }

    /// How many messages have left once everything queued now has.
    pub(super) fn drain_mark(&self) -> u64 {
        let mailbox = self.mailbox();
        // A message that leaves between the two reads makes the mark one too high; `is_drained` also
        // takes an empty queue for an answer, and a closed mailbox gets empty.
        let queued = mailbox.queued.load(Ordering::Acquire);
        mailbox.left.load(Ordering::Acquire) + queued
    }

    /// Whether what was queued at the time of `mark` has left.
    pub(super) fn is_drained(&self, mark: u64) -> bool {
        let mailbox = self.mailbox();
        mailbox.left.load(Ordering::Acquire) >= mark || mailbox.queued.load(Ordering::Acquire) == 0
    }

    /// Refuses every later message; waiting senders get theirs back.
    pub(super) fn close(&self) {
        if let Some(mailbox) = self.mailbox.as_deref() {
            mailbox.is_closed.store(true, Ordering::Release);
            mailbox.permits.close();
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.mailbox().is_closed.load(Ordering::Acquire)
    }
}

impl Mailbox {
    /// Lets one more of the oldest give way, up to `cap` of them: memory stays within twice the bound.
    fn raise_skip(&self) -> bool {
        let raise = |n: u32| (n < self.cap).then_some(n + 1);
        self.skip.fetch_update(Ordering::AcqRel, Ordering::Acquire, raise).is_ok()
    }
}

/// Work on a message or on its answer, until it is dropped.
pub(super) struct AtWork(Arc<Node>);

impl AtWork {
    pub(super) fn begin(node: &Arc<Node>) -> Self {
        node.mailbox().at_work.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(node))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.mailbox().at_work.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Closes the node's mailbox when the last owner of its receiving end goes, launched or not.
pub(super) struct CloseOnDrop(pub(super) Arc<Node>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
