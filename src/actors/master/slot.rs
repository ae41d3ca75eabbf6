//! What the master keeps in memory of one agent, for requests that change nothing.
//!
//! A slot answers heartbeats, equal reports and empty polls without crossing to an actor. All of it can be
//! rebuilt from the database and the agent's next words; identity is written by the registrar only.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::sync::Notify;

use crate::db::RowChange;
use crate::domain::agent::AgentStatus;
use crate::domain::id::{AgentId, KeyId};

/// How long two sources may take turns before that counts as two hosts.
const INTERLEAVING: TimeDelta = TimeDelta::minutes(10);
/// Changes of source within [`INTERLEAVING`] that a single host does not make.
const TURNS_OF_TWO_HOSTS: u32 = 3;

/// Where an agent's words come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Address of the connection, after trusted proxies.
    pub peer: IpAddr,
    /// Name of the machine, if the agent says it.
    pub host: Option<String>,
    /// When it was last heard from there.
    pub seen_at: DateTime<Utc>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "`{host}` ({})", self.peer),
            None => write!(f, "{}", self.peer),
        }
    }
}

/// Keys that open a slot: the one in force, and the one it replaces until that is used.
#[derive(Debug, Default)]
struct SlotKeys {
    current: Option<KeyId>,
    previous: Option<KeyId>,
}

#[derive(Debug, Default)]
struct Sources {
    latest: Option<Source>,
    other: Option<Source>,
    turns: u32,
    turns_since: Option<DateTime<Utc>>,
}

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
    /// When `last_seen` was last written to the database, in milliseconds.
    written_seen: AtomicI64,
    wake: Notify,
    session: Mutex<Option<NativeSession>>,
    sources: Mutex<Sources>,
}

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
            written_seen: AtomicI64::new(last_seen.map_or(0, |at| at.timestamp_millis())),
            wake: Notify::new(),
            session: Mutex::new(None),
            sources: Mutex::new(Sources::default()),
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

    /// Records that the agent was heard, and from where, so that two hosts on one key are noticed.
    pub fn touch_from(&self, now: DateTime<Utc>, peer: IpAddr) {
        self.touch(now);
        let is_native = self.is_native();
        let mut sources = self.sources.lock();
        if is_native {
            // Only the host that registered last knows the session.
            sources.moved(peer, now);
        } else {
            sources.see(peer, None, now);
        }
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

    /// Waits until a command may be fetched, at most `max`; true if one may.
    pub async fn wait_for_command(&self, max: Duration) -> bool {
        let waiting = async {
            loop {
                let woken = self.wake.notified();
                tokio::pin!(woken);
                // Listen first, look second: a command queued in between is not missed.
                woken.as_mut().enable();
                if self.pending_commands() {
                    return;
                }
                woken.await;
            }
        };
        tokio::time::timeout(max, waiting).await.is_ok()
    }

    /// True if the containers last committed have this digest.
    pub fn same_report(&self, digest: u64) -> bool {
        digest != 0 && self.containers_digest.load(Ordering::Acquire) == digest
    }

    /// True if the tunnel state last committed has this digest.
    pub fn same_tunnel(&self, digest: u64) -> bool {
        digest != 0 && self.tunnel_digest.load(Ordering::Acquire) == digest
    }

    /// Returns the two places the agent's words come from, if they take turns as two hosts would.
    pub fn two_hosts(&self) -> Option<[Source; 2]> {
        let sources = self.sources.lock();
        if sources.turns < TURNS_OF_TWO_HOSTS {
            return None;
        }
        Some([sources.latest.clone()?, sources.other.clone()?])
    }

    /// Returns where the agent was last heard from.
    pub fn source(&self) -> Option<Source> {
        self.sources.lock().latest.clone()
    }

    /// True if the agent speaks the native dialect in this session.
    pub fn has_session(&self, session: &str) -> bool {
        self.session.lock().as_ref().is_some_and(|open| open.id == session)
    }

    /// True if the agent spoke the native dialect when it last registered.
    pub fn is_native(&self) -> bool {
        self.session.lock().is_some()
    }

    /// Returns the number that the next report of this session should bear; none if the session is not open.
    pub fn next_seq(&self, session: &str) -> Option<u64> {
        self.session.lock().as_ref().filter(|open| open.id == session).map(|open| open.next_seq)
    }
}

/// What only the registrar, the router and the agent's own actors write.
impl Slot {
    pub(super) fn set_status(&self, status: AgentStatus) {
        self.status.store(status as u8, Ordering::Release);
    }

    pub(super) fn set_keys(&self, current: Option<KeyId>, previous: Option<KeyId>) {
        *self.keys.write() = SlotKeys { current, previous };
    }

    /// Sets how many commands may be fetched, and wakes parked polls if there are any.
    pub(super) fn set_queued(&self, queued: usize) {
        self.queued.store(queued, Ordering::Release);
        if queued > 0 {
            self.wake.notify_waiters();
        }
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

    pub(super) fn set_written_seen(&self, seen: DateTime<Utc>) {
        self.written_seen.store(seen.timestamp_millis(), Ordering::Relaxed);
    }

    pub(super) fn offline(&self) -> bool {
        self.offline.load(Ordering::Relaxed)
    }

    pub(super) fn set_offline(&self, offline: bool) {
        self.offline.store(offline, Ordering::Relaxed);
    }

    /// True if another session was begun since.
    pub fn is_replaced(&self, session: &str) -> bool {
        self.session.lock().as_ref().is_some_and(|open| open.id != session)
    }

    /// Begins a native session; an earlier one is over.
    pub(super) fn open_session(&self, id: String) {
        *self.session.lock() = Some(NativeSession { id, next_seq: 0 });
    }

    pub(super) fn close_session(&self) {
        *self.session.lock() = None;
    }

    /// Records that everything before `next_seq` was committed; never goes back.
    pub(super) fn advance(&self, session: &str, next_seq: u64) {
        if let Some(open) = self.session.lock().as_mut().filter(|open| open.id == session) {
            open.next_seq = open.next_seq.max(next_seq);
        }
    }

    /// Where the agent speaks from, as it is kept for people.
    pub(super) fn peer_row(&self) -> Option<RowChange> {
        let source = self.source()?;
        let problem = self.two_hosts().map(|[one, other]| {
            format!("two hosts use this key: {one} and {other}; give one of them a key of its own")
        });
        Some(RowChange::PutAgentPeer {
            agent_id: self.id.clone(),
            hostname: source.host,
            peer: Some(source.peer.to_string()),
            dialect: Some(if self.is_native() { "native" } else { "v2" }.into()),
            problem,
        })
    }

    pub(super) fn registered_from(&self, now: DateTime<Utc>, peer: IpAddr, host: Option<&str>) {
        self.touch(now);
        self.sources.lock().see(peer, host, now);
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

impl Sources {
    /// Notes that the same host, known by its session, speaks from here now.
    fn moved(&mut self, peer: IpAddr, now: DateTime<Utc>) {
        if let Some(latest) = &mut self.latest {
            latest.peer = peer;
            latest.seen_at = now;
        }
    }

    /// Notes a source. Two that take turns are two hosts; one that replaces another is a host that moved.
    fn see(&mut self, peer: IpAddr, host: Option<&str>, now: DateTime<Utc>) {
        let Some(latest) = &mut self.latest else {
            self.latest = Some(Source { peer, host: host.map(str::to_owned), seen_at: now });
            return;
        };
        // A request other than a registration names no host: only its address can tell.
        let same_host = host.is_none() || latest.host.is_none() || latest.host.as_deref() == host;
        if latest.peer == peer && same_host {
            latest.seen_at = now;
            if host.is_some() {
                latest.host = host.map(str::to_owned);
            }
        } else {
            self.take_turn(peer, host, now);
        }
        if self.turns_since.is_some_and(|since| now - since > INTERLEAVING) {
            self.turns = 0;
            self.turns_since = None;
        }
    }

    fn take_turn(&mut self, peer: IpAddr, host: Option<&str>, now: DateTime<Utc>) {
        let comes_back = self.other.as_ref().is_some_and(|other| {
            other.peer == peer && (host.is_none() || other.host.is_none() || other.host.as_deref() == host)
        });
        let known_host = if comes_back { self.other.take().and_then(|other| other.host) } else { None };
        let host = host.map(str::to_owned).or(known_host);
        self.other = self.latest.replace(Source { peer, host, seen_at: now });
        self.turns = if comes_back { self.turns + 1 } else { 1 };
        self.turns_since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    use super::*;

    fn slot() -> Slot {
        Slot::new(AgentId::new("a1"), AgentStatus::Pending, Some(KeyId::new("k1")), None)
    }

    fn at(secs: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + secs, 0).unwrap()
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn a_key_and_the_one_it_replaces_both_open_the_slot() {
        let slot = slot();
        slot.set_keys(Some(KeyId::new("k2")), Some(KeyId::new("k1")));
        assert!(slot.accepts(&KeyId::new("k1")) && slot.accepts(&KeyId::new("k2")));
        slot.set_keys(Some(KeyId::new("k2")), None);
        assert!(!slot.accepts(&KeyId::new("k1")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_poll_wakes_when_a_command_is_queued() {
        let slot = Arc::new(slot());
        let poll = tokio::spawn({
            let slot = Arc::clone(&slot);
            async move { slot.wait_for_command(Duration::from_secs(50)).await }
        });
        tokio::task::yield_now().await;
        slot.set_queued(1);
        assert!(poll.await.unwrap());
        slot.set_queued(0);
        assert!(!slot.wait_for_command(Duration::from_secs(50)).await);
    }

    #[test]
    fn sequence_numbers_belong_to_one_session_and_never_go_back() {
        let slot = slot();
        slot.open_session("s1".into());
        slot.advance("s1", 5);
        slot.advance("s1", 3);
        assert_eq!(slot.next_seq("s1"), Some(5));
        slot.open_session("s2".into());
        assert_eq!((slot.next_seq("s1"), slot.next_seq("s2")), (None, Some(0)));
    }

    #[test]
    fn two_hosts_that_take_turns_are_noticed() {
        let slot = slot();
        for turn in 0..6 {
            slot.touch_from(at(turn * 15), ip(1 + (turn % 2) as u8));
        }
        let peers = slot.two_hosts().unwrap().map(|source| source.peer);
        assert!(peers.contains(&ip(1)) && peers.contains(&ip(2)));
    }

    #[test]
    fn two_hosts_behind_one_address_are_told_apart_by_their_names() {
        let slot = slot();
        for turn in 0..6 {
            let host = if turn % 2 == 0 { "web-1" } else { "web-2" };
            slot.registered_from(at(turn), ip(1), Some(host));
            slot.touch_from(at(turn), ip(1));
        }
        assert!(slot.two_hosts().is_some());
    }

    #[test]
    fn a_host_that_moved_once_is_one_host() {
        let slot = slot();
        slot.registered_from(at(0), ip(1), Some("web-1"));
        slot.touch_from(at(30), ip(2));
        slot.touch_from(at(60), ip(2));
        assert_eq!(slot.two_hosts(), None);
        assert_eq!(slot.source().unwrap().peer, ip(2));
    }
}
