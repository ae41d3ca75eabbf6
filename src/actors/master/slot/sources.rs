//! Where an agent's words come from, so that two hosts on one key are noticed.
//!
//! Nearly every word comes from where the last one came from. That costs one comparison; only what differs is looked
//! at under a lock.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::domain::registration::Place;

/// How long two sources may take turns before that counts as two hosts.
const INTERLEAVING: TimeDelta = TimeDelta::minutes(10);
/// Changes of source within [`INTERLEAVING`] that a single host does not make.
const TURNS_OF_TWO_HOSTS: u32 = 3;
/// Stands for no address.
const NOT_SETTLED: u64 = 0;

/// Where an agent's words come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Address of the connection, after trusted proxies.
    pub peer: IpAddr,
    /// Name of the machine, if the agent says it.
    pub host: Option<String>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "`{host}` ({})", self.peer),
            None => write!(f, "{}", self.peer),
        }
    }
}

/// The places of one slot.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Fingerprint of the address from which another word says nothing new.
    settled: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    latest: Option<Source>,
    other: Option<Source>,
    turns: u32,
    turns_since: Option<DateTime<Utc>>,
}

impl Sources {
    /// True if another word from there says nothing new.
    pub(super) fn is_settled(&self, peer: IpAddr) -> bool {
        self.settled.load(Ordering::Relaxed) == fingerprint(peer)
    }

    /// Notes a word of the host that is known by its session.
    pub(super) fn moved(&self, peer: IpAddr) {
        self.change(|seen| seen.moved(peer));
    }

    /// Notes a word, and under which name if it says one.
    pub(super) fn see(&self, peer: IpAddr, host: Option<&str>, now: DateTime<Utc>) {
        self.change(|seen| seen.see(peer, host, now));
    }

    /// Returns two places whose words take turns as those of two hosts would.
    pub(super) fn of_two_hosts(&self) -> Option<[Source; 2]> {
        let seen = self.seen.lock();
        if seen.turns < TURNS_OF_TWO_HOSTS {
            return None;
        }
        Some([seen.latest.clone()?, seen.other.clone()?])
    }

    /// Compares with where the last word came from.
    pub(super) fn place(&self, peer: IpAddr, host: Option<&str>) -> Place {
        match &self.seen.lock().latest {
            None => Place::Unknown,
            Some(latest) => {
                let same_host = latest.host.is_none() || host.is_none() || latest.host.as_deref() == host;
                if latest.peer == peer && same_host { Place::Here } else { Place::Elsewhere }
            }
        }
    }

    /// Returns where the last word came from.
    pub(super) fn latest(&self) -> Option<Source> {
        self.seen.lock().latest.clone()
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        let mut seen = self.seen.lock();
        change(&mut seen);
        // While turns are counted every word counts, and be it to notice that they are over.
        let settled = seen.latest.as_ref().filter(|_| seen.turns_since.is_none());
        self.settled.store(settled.map_or(NOT_SETTLED, |source| fingerprint(source.peer)), Ordering::Relaxed);
    }
}

/// Returns a number that tells addresses apart; never [`NOT_SETTLED`].
fn fingerprint(peer: IpAddr) -> u64 {
    match peer {
        IpAddr::V4(ip) => u64::from(ip.to_bits()) | 1 << 32,
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            let (network, host) = ((bits >> 64) as u64, bits as u64);
            // An odd factor keeps networks apart; the top bit keeps clear of IPv4 and of nothing.
            (network.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ host) | 1 << 63
        }
    }
}

impl Seen {
    /// Notes that the same host, known by its session, speaks from here now.
    fn moved(&mut self, peer: IpAddr) {
        if let Some(latest) = &mut self.latest {
            latest.peer = peer;
        }
    }

    /// Notes a source. Two that take turns are two hosts; one that replaces another is a host that moved.
    fn see(&mut self, peer: IpAddr, host: Option<&str>, now: DateTime<Utc>) {
        let Some(latest) = &mut self.latest else {
            self.latest = Some(Source { peer, host: host.map(str::to_owned) });
            return;
        };
        // A request other than a registration names no host: only its address can tell.
        let same_host = host.is_none() || latest.host.is_none() || latest.host.as_deref() == host;
        if latest.peer == peer && same_host {
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
        self.other = self.latest.replace(Source { peer, host });
        self.turns = if comes_back { self.turns + 1 } else { 1 };
        self.turns_since = Some(now);
    }
}
