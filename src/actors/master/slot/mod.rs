//! What the master keeps in memory of one agent, for requests that change nothing.
//!
//! A slot answers heartbeats, equal reports and empty polls without crossing to an actor. All of it can be
//! rebuilt from the database and the agent's next words; identity follows the record of decisions.

mod lists;
mod scans;
mod sources;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use self::lists::Lists;
use self::scans::Scans;
pub use self::sources::Source;
use self::sources::Sources;
use crate::db::RowChange;
use crate::domain::agent::AgentStatus;
use crate::domain::container::Container;
use crate::domain::delivery::Dialect;
use crate::domain::event::AgentStream;
use crate::domain::id::{AgentId, KeyId};
use crate::domain::registration::Place;
use crate::domain::update::{Kind, Scanned};

/// Keys that open a slot: the one in force, and the one it replaces until that is used.
#[derive(Debug, Default)]
struct SlotKeys {
    current: Option<KeyId>,
    previous: Option<KeyId>,
}

/// Where the agent's streams end, as far as the record was followed; 0 if nothing was added since the start.
#[derive(Debug, Default)]
struct Ends {
    standing: AtomicU64,
    commands: AtomicU64,
    routes: AtomicU64,
}

impl Ends {
    fn of(&self, stream: AgentStream) -> &AtomicU64 {
        match stream {
            AgentStream::Standing => &self.standing,
            AgentStream::Commands => &self.commands,
            AgentStream::Routes => &self.routes,
        }
    }
}

/// A session that is open.
#[derive(Debug)]
struct NativeSession {
    id: String,
    next_seq: u64,
}

/// One agent, as requests see it.
#[derive(Debug)]
pub struct Slot {
    id: AgentId,
    status: AtomicU8,
    keys: RwLock<SlotKeys>,
    /// Milliseconds since the epoch; 0 if never heard.
    last_seen: AtomicI64,
    /// True once the sweep wrote the agent down as offline.
    offline: AtomicBool,
    /// Digest of the containers last committed; 0 if unknown.
    containers_digest: AtomicU64,
    /// Digest of the tunnel state last committed; 0 if unknown.
    tunnel_digest: AtomicU64,
    /// Digest of name and version as they are committed.
    identity: AtomicU64,
    queued: AtomicUsize,
    recorded: Ends,
    /// When `last_seen` was last written to the database, in milliseconds.
    written_seen: AtomicI64,
    wake: Notify,
    /// What it speaks; known before it begins a session.
    dialect: AtomicU8,
    session: Mutex<Option<NativeSession>>,
    sources: Sources,
    lists: Lists,
    scans: Scans,
    /// What was wrong with the last report, until a list of containers is taken again.
    flaw: Mutex<Option<String>>,
    /// Whether anything came from it since a registration token let it in.
    word: AtomicU8,
}

/// It was let in before this master started, if it was.
const UNKNOWN: u8 = 0;
/// It was let in, and nothing came since: it may never have got its answer.
const LET_IN: u8 = 1;
/// It spoke since.
const SPOKEN: u8 = 2;

impl Slot {
    /// Makes a slot that has not been heard since `last_seen`.
    pub fn new(
        id: AgentId,
        status: AgentStatus,
        key: Option<KeyId>,
        last_seen: Option<DateTime<Utc>>,
    ) -> Self {
        Self {
            id,
            status: AtomicU8::new(status as u8),
            keys: RwLock::new(SlotKeys { current: key, previous: None }),
            last_seen: AtomicI64::new(last_seen.map_or(0, |at| at.timestamp_millis())),
            offline: AtomicBool::new(false),
            containers_digest: AtomicU64::new(0),
            tunnel_digest: AtomicU64::new(0),
            identity: AtomicU64::new(0),
            queued: AtomicUsize::new(0),
            recorded: Ends::default(),
            written_seen: AtomicI64::new(last_seen.map_or(0, |at| at.timestamp_millis())),
            wake: Notify::new(),
            dialect: AtomicU8::new(Dialect::V2 as u8),
            session: Mutex::new(None),
            sources: Sources::default(),
            lists: Lists::default(),
            scans: Scans::default(),
            flaw: Mutex::default(),
            word: AtomicU8::new(UNKNOWN),
        }
    }

    /// Returns whose slot it is.
    pub fn id(&self) -> &AgentId {
        &self.id
    }

    /// Returns where the agent stands.
    pub fn status(&self) -> AgentStatus {
        status_of(self.status.load(Ordering::Acquire))
    }

    /// Returns the key in force.
    pub fn key_id(&self) -> Option<KeyId> {
        self.keys.read().current.clone()
    }

    /// Returns the key that is being replaced and still works.
    pub fn previous_key_id(&self) -> Option<KeyId> {
        self.keys.read().previous.clone()
    }

    /// True if this key opens the slot.
    pub fn accepts(&self, key: &KeyId) -> bool {
        let keys = self.keys.read();
        keys.current.as_ref() == Some(key) || keys.previous.as_ref() == Some(key)
    }

    /// Records that the agent was heard.
    pub fn touch(&self, now: DateTime<Utc>) {
        self.last_seen.store(now.timestamp_millis(), Ordering::Relaxed);
    }

    /// Returns when the agent was last heard.
    pub fn last_seen(&self) -> Option<DateTime<Utc>> {
        match self.last_seen.load(Ordering::Relaxed) {
            0 => None,
            millis => DateTime::from_timestamp_millis(millis),
        }
    }

    /// True if a command waits to be fetched.
    pub fn pending_commands(&self) -> bool {
        self.queued.load(Ordering::Acquire) > 0
    }

    /// Waits until a command may be fetched or this key opens the slot no more, at most `max`; false if neither came.
    pub async fn wait_for_command(&self, key: &KeyId, max: Duration) -> bool {
        let waiting = async {
            loop {
                let woken = self.wake.notified();
                tokio::pin!(woken);
                // Listen first, look second: a command queued in between is not missed.
                woken.as_mut().enable();
                if self.pending_commands() || !self.accepts(key) {
                    return;
                }
                woken.await;
            }
        };
        tokio::time::timeout(max, waiting).await.is_ok()
    }

    /// Keeps what was wrong with a report: not all that it said is known, and people have to see that.
    pub fn report_flawed(&self, flaw: String) {
        *self.flaw.lock() = Some(flaw);
    }

    /// A list of containers, or of updates where there are no containers, was taken: what was wrong before is overtaken.
    pub fn list_taken(&self) {
        *self.flaw.lock() = None;
    }

    /// Returns why what is known of the agent may be old.
    pub fn flaw(&self) -> Option<String> {
        self.flaw.lock().clone()
    }

    /// True if the containers last committed have this digest.
    pub fn same_report(&self, digest: u64) -> bool {
        digest != 0 && self.containers_digest.load(Ordering::Acquire) == digest
    }

    /// True if the tunnel state last committed has this digest.
    pub fn same_tunnel(&self, digest: u64) -> bool {
        digest != 0 && self.tunnel_digest.load(Ordering::Acquire) == digest
    }
}

/// How the host was last looked at for updates.
impl Slot {
    /// True if a scan says what was written down not long ago.
    pub(super) fn same_scan(&self, scan: &Scanned, now: DateTime<Utc>) -> bool {
        self.scans.is_same(scan, now)
    }

    /// Notes a scan that was written down, and whose findings are to be sent.
    pub(super) fn note_scan(&self, scan: &Scanned, wanted: &[Kind], now: DateTime<Utc>) {
        self.scans.note(scan, wanted, now);
    }

    /// Notes that the findings of a scanner are here.
    pub(super) fn note_findings(&self, kind: Kind) {
        self.scans.note_findings(kind);
    }

    /// Returns whose findings the agent is to send.
    pub fn wanted_findings(&self) -> Vec<Kind> {
        self.scans.wanted()
    }

    /// Returns when the host was last looked at, if it was told since the start.
    pub fn scanned_at(&self) -> Option<DateTime<Utc>> {
        self.scans.at()
    }

    /// Returns how old what a scanner read is, if it was told since the start.
    pub fn checked_as_of(&self, kind: Kind) -> Option<DateTime<Utc>> {
        self.scans.as_of(kind)
    }
}

/// What only the directory, the router and the agent's own actors write.
impl Slot {
    pub(super) fn set_status(&self, status: AgentStatus) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Sets the keys that open it; parked polls with another one are let go.
    pub(super) fn set_keys(&self, current: Option<KeyId>, previous: Option<KeyId>) {
        *self.keys.write() = SlotKeys { current, previous };
        self.wake.notify_waiters();
    }

    /// Sets how many commands may be fetched, and wakes parked polls if there are any.
    pub(super) fn set_queued(&self, queued: usize) {
        self.queued.store(queued, Ordering::Release);
        if queued > 0 {
            self.wake.notify_waiters();
        }
    }

    /// A command was queued: poll for it. How many there are the dispatcher counts when it looks.
    pub(super) fn note_queued(&self) {
        self.set_queued(self.queued.load(Ordering::Acquire).max(1));
    }

    /// Notes that a stream of the agent ends at `version` now.
    pub(super) fn set_recorded(&self, stream: AgentStream, version: u64) {
        self.recorded.of(stream).fetch_max(version, Ordering::AcqRel);
    }

    /// True if what was read when a stream of the agent ended at `version` is not all of it any more.
    pub(super) fn has_more(&self, stream: AgentStream, version: u64) -> bool {
        self.recorded.of(stream).load(Ordering::Acquire) > version
    }

    pub(super) fn set_containers_digest(&self, digest: u64) {
        self.containers_digest.store(digest, Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn containers_digest(&self) -> u64 {
        self.containers_digest.load(Ordering::Acquire)
    }

    pub(super) fn set_tunnel_digest(&self, digest: u64) {
        self.tunnel_digest.store(digest, Ordering::Release);
    }

    /// Forgets what was reported, so that the next report is looked at in any case.
    pub(super) fn forget_reports(&self) {
        self.set_containers_digest(0);
        self.set_tunnel_digest(0);
        self.scans.forget();
    }

    pub(super) fn set_identity(&self, digest: u64) {
        self.identity.store(digest, Ordering::Release);
    }

    /// True if name and version are committed as this digest says.
    pub(super) fn same_identity(&self, digest: u64) -> bool {
        self.identity.load(Ordering::Acquire) == digest
    }

    /// Returns when the agent was last heard, if the database does not know it yet.
    pub(super) fn unwritten_seen(&self) -> Option<DateTime<Utc>> {
        let seen = self.last_seen.load(Ordering::Relaxed);
        (seen != self.written_seen.load(Ordering::Relaxed))
            .then(|| DateTime::from_timestamp_millis(seen))
            .flatten()
    }

    /// Takes when the agent was last heard from the database.
    pub(super) fn set_last_seen(&self, at: DateTime<Utc>) {
        self.last_seen.store(at.timestamp_millis(), Ordering::Relaxed);
        self.set_written_seen(at);
    }

    pub(super) fn set_written_seen(&self, seen: DateTime<Utc>) {
        self.written_seen.store(seen.timestamp_millis(), Ordering::Relaxed);
    }

    pub(super) fn offline(&self) -> bool {
        self.offline.load(Ordering::Relaxed)
    }

    pub(super) fn set_offline(&self, offline: bool) {
        self.offline.store(offline, Ordering::Relaxed);
    }
}

/// The native session: the dialect it speaks, and which report comes next.
impl Slot {
    /// True if the agent speaks the native dialect in this session.
    pub fn has_session(&self, session: &str) -> bool {
        self.session.lock().as_ref().is_some_and(|open| open.id == session)
    }

    /// Returns what the agent spoke when it last registered, be it with the master that ran before this one. The
    /// database says the same.
    pub fn dialect(&self) -> Dialect {
        match self.dialect.load(Ordering::Acquire) {
            word if word == Dialect::Native as u8 => Dialect::Native,
            word if word == Dialect::RedFlag as u8 => Dialect::RedFlag,
            _ => Dialect::V2,
        }
    }

    pub(super) fn set_dialect(&self, dialect: Dialect) {
        self.dialect.store(dialect as u8, Ordering::Release);
    }

    fn has_any_session(&self) -> bool {
        self.session.lock().is_some()
    }

    /// Returns the number that the next report of this session should bear; none if the session is not open.
    pub fn next_seq(&self, session: &str) -> Option<u64> {
        self.session.lock().as_ref().filter(|open| open.id == session).map(|open| open.next_seq)
    }

    /// Begins a native session; an earlier one is over.
    pub(super) fn open_session(&self, id: String) {
        *self.session.lock() = Some(NativeSession { id, next_seq: 0 });
        self.lists.forget();
    }

    pub(super) fn close_session(&self) {
        *self.session.lock() = None;
    }

    /// Records that everything before `next_seq` was committed; never goes back. Returns the number that the next
    /// report should bear; none if the session is over.
    pub(super) fn advance(&self, session: &str, next_seq: u64) -> Option<u64> {
        let mut open = self.session.lock();
        let open = open.as_mut().filter(|open| open.id == session)?;
        open.next_seq = open.next_seq.max(next_seq);
        Some(open.next_seq)
    }
}

/// Where its words come from.
impl Slot {
    /// Records that the agent was heard, and from where.
    pub fn touch_from(&self, now: DateTime<Utc>, peer: IpAddr) {
        self.touch(now);
        self.spoke();
        if self.sources.is_settled(peer) {
            return;
        }
        // Only the host that registered last knows a session.
        if self.has_any_session() {
            self.sources.moved(peer);
        } else {
            self.sources.see(peer, None, now);
        }
    }

    /// Records that the agent registered, from where and under which name.
    pub(super) fn registered_from(&self, now: DateTime<Utc>, peer: IpAddr, host: Option<&str>) {
        self.touch(now);
        self.spoke();
        self.sources.see(peer, host, now);
    }

    /// Records that the agent has what it was given.
    pub(super) fn spoke(&self) {
        if self.word.load(Ordering::Relaxed) != SPOKEN {
            self.word.store(SPOKEN, Ordering::Relaxed);
        }
    }

    /// Records that a registration token let the agent in; whether the answer arrives is not known.
    pub(super) fn let_in(&self) {
        self.word.store(LET_IN, Ordering::Relaxed);
    }

    /// Says whether anything came from the agent since it was let in; none if nobody remembers.
    pub(super) fn has_spoken(&self) -> Option<bool> {
        match self.word.load(Ordering::Relaxed) {
            UNKNOWN => None,
            word => Some(word == SPOKEN),
        }
    }

    /// Returns the two places the agent's words come from, if they take turns as two hosts would.
    pub fn two_hosts(&self) -> Option<[Source; 2]> {
        self.sources.of_two_hosts()
    }

    /// Says whether the agent speaks from where a registration comes from.
    pub fn place(&self, peer: IpAddr, host: Option<&str>) -> Place {
        self.sources.place(peer, host)
    }

    /// Returns where the agent was last heard from.
    pub fn source(&self) -> Option<Source> {
        self.sources.latest()
    }

    /// Where the agent speaks from, as it is kept for people.
    pub(super) fn peer_row(&self) -> Option<RowChange> {
        let source = self.source()?;
        let by_place = self.two_hosts().map(|[one, other]| {
            format!("two hosts use this key: {one} and {other}; give one of them a key of its own")
        });
        let by_list = || {
            self.two_lists().map(|[one, other]| {
                format!(
                    "two hosts use this key from one address: one runs {one}, the other {other}; give one of them a key \
                     of its own"
                )
            })
        };
        Some(RowChange::PutAgentPeer {
            agent_id: self.id.clone(),
            hostname: source.host,
            peer: Some(source.peer.to_string()),
            problem: by_place.or_else(by_list),
        })
    }
}

/// What its lists of containers say.
impl Slot {
    /// Notes which containers a DockFlare agent says are all that run.
    pub(super) fn note_list(&self, containers: &[Container]) {
        self.lists.note(containers);
    }

    /// Returns a container of each of the two hosts that the agent's lists come from, if they take turns as those of
    /// two hosts would.
    pub fn two_lists(&self) -> Option<[String; 2]> {
        self.lists.of_two_hosts()
    }
}

fn status_of(value: u8) -> AgentStatus {
    match value {
        0 => AgentStatus::Pending,
        1 => AgentStatus::Enrolled,
        2 => AgentStatus::Revoked,
        _ => AgentStatus::Removed,
    }
}
