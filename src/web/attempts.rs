//! Counts failed attempts to sign in or to use a key, so that guessing gets slow.
//!
//! Nobody can lock somebody else out: failures are counted for the pair of source and name, and a browser
//! that signed in before has a counter of its own. Behind a proxy that is not trusted all share its address, and what
//! it says of theirs may be made up: they are told apart by that, and only many failures of all of them together make
//! all wait. A caller with a valid token is never asked.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures that are free.
const FREE: u32 = 5;
/// Failures that are free to all who come through one proxy that is not trusted, for one name.
const FREE_TO_ALL: u32 = 100;
/// First wait; doubles with every further failure.
const FIRST_WAIT: Duration = Duration::from_secs(15);
/// Longest wait, and how long a failure is remembered.
const LONGEST_WAIT: Duration = Duration::from_secs(900);
/// Failed keys and tokens per source and minute before the answer is 429.
const KEYS_PER_MINUTE: u32 = 300;
/// Most sources that are remembered; the quietest are forgotten first.
const MOST: usize = 10_000;

#[derive(Debug, Clone, Copy)]
struct Tally {
    failures: u32,
    since: Instant,
    last: Instant,
}

/// Who tries to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// As whom its failures are counted.
    who: String,
    /// As whom they are counted together with those of others, if its address may be made up.
    all: Option<String>,
}

impl Guest {
    /// One that is told apart by `who`.
    pub fn new(who: impl Into<String>) -> Self {
        Self { who: who.into(), all: None }
    }

    /// Counts the failures for `all`, too.
    #[must_use]
    pub fn among(mut self, all: impl Into<String>) -> Self {
        self.all = Some(all.into());
        self
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Attempts {
    sign_ins: Mutex<HashMap<String, Tally>>,
    keys: Mutex<HashMap<std::net::IpAddr, Tally>>,
}

impl Attempts {
    /// Returns how long `guest` still has to wait before the next try to sign in.
    pub fn must_wait(&self, guest: &Guest) -> Option<Duration> {
        let tallies = self.sign_ins.lock();
        let own = wait_of(tallies.get(&guest.who), FREE);
        own.max(wait_of(guest.all.as_ref().and_then(|all| tallies.get(all)), FREE_TO_ALL))
    }

    /// Records that `guest` failed to sign in.
    pub fn sign_in_failed(&self, guest: &Guest) {
        let mut tallies = self.sign_ins.lock();
        let now = Instant::now();
        for who in std::iter::once(&guest.who).chain(&guest.all) {
            forget(&mut tallies);
            let tally = tallies.entry(who.clone()).or_insert(Tally { failures: 0, since: now, last: now });
            tally.failures = tally.failures.saturating_add(1);
            tally.last = now;
        }
    }

    /// Forgets the failures of `guest`, but not those of others.
    pub fn signed_in(&self, guest: &Guest) {
        self.sign_ins.lock().remove(&guest.who);
    }

    /// Records a wrong key or token; returns how long to wait if there were too many from this source.
    pub fn key_failed(&self, source: std::net::IpAddr) -> Option<Duration> {
        let mut tallies = self.keys.lock();
        let now = Instant::now();
        if tallies.len() >= MOST && !tallies.contains_key(&source) {
            forget(&mut tallies);
        }
        let tally = tallies.entry(source).or_insert(Tally { failures: 0, since: now, last: now });
        if now - tally.since >= Duration::from_secs(60) {
            *tally = Tally { failures: 0, since: now, last: now };
        }
        tally.failures = tally.failures.saturating_add(1);
        tally.last = now;
        (tally.failures > KEYS_PER_MINUTE).then(|| Duration::from_secs(60).saturating_sub(now - tally.since))
    }
}

fn wait_of(tally: Option<&Tally>, free: u32) -> Option<Duration> {
    let tally = tally?;
    let over = tally.failures.checked_sub(free)?;
    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(over.min(10))).min(LONGEST_WAIT);
    wait.checked_sub(tally.last.elapsed()).filter(|left| !left.is_zero())
}

fn forget<K: Clone + Eq + std::hash::Hash>(tallies: &mut HashMap<K, Tally>) {
    if tallies.len() < MOST {
        return;
    }
    tallies.retain(|_, tally| tally.last.elapsed() < LONGEST_WAIT);
    if tallies.len() >= MOST {
        let mut by_age: Vec<_> = tallies.iter().map(|(key, tally)| (tally.last, key.clone())).collect();
        by_age.sort_by_key(|(last, _)| *last);
        for (_, key) in by_age.into_iter().take(MOST / 10) {
            tallies.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn waits_grow_with_failures_and_end() {
        tokio::time::pause();
        let attempts = Attempts::default();
        for _ in 0..FREE {
            assert_eq!(attempts.must_wait(&Guest::new("a")), None);
            attempts.sign_in_failed(&Guest::new("a"));
        }
        assert_eq!(attempts.must_wait(&Guest::new("a")), Some(FIRST_WAIT));
        attempts.sign_in_failed(&Guest::new("a"));
        assert_eq!(attempts.must_wait(&Guest::new("a")), Some(FIRST_WAIT * 2));
        for _ in 0..40 {
            attempts.sign_in_failed(&Guest::new("a"));
        }
        assert_eq!(attempts.must_wait(&Guest::new("a")), Some(LONGEST_WAIT));
        tokio::time::advance(LONGEST_WAIT).await;
        assert_eq!(attempts.must_wait(&Guest::new("a")), None);
    }

    #[test]
    fn one_source_does_not_lock_out_another() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            attempts.sign_in_failed(&Guest::new("10.0.0.1/admin"));
        }
        assert!(attempts.must_wait(&Guest::new("10.0.0.1/admin")).is_some());
        assert_eq!(attempts.must_wait(&Guest::new("10.0.0.2/admin")), None);
        attempts.signed_in(&Guest::new("10.0.0.1/admin"));
        assert_eq!(attempts.must_wait(&Guest::new("10.0.0.1/admin")), None);
    }

    #[test]
    fn guests_of_a_proxy_that_is_not_trusted_wait_for_themselves_until_all_of_them_failed_often() {
        let attempts = Attempts::default();
        let guest = |n: u32| Guest::new(format!("proxy/{n}/ann")).among("proxy/ann");
        for _ in 0..20 {
            attempts.sign_in_failed(&guest(0));
        }
        assert!(attempts.must_wait(&guest(0)).is_some());
        assert_eq!(attempts.must_wait(&guest(1)), None);
        // Addresses that are made up do not make guessing free.
        for n in 2..FREE_TO_ALL {
            attempts.sign_in_failed(&guest(n));
        }
        assert!(attempts.must_wait(&guest(FREE_TO_ALL)).is_some());
        attempts.signed_in(&guest(1));
        assert!(attempts.must_wait(&guest(1)).is_some());
    }

    #[actix_web::test]
    async fn wrong_keys_are_refused_after_a_while_and_heard_again_later() {
        tokio::time::pause();
        let (attempts, source) = (Attempts::default(), "10.0.0.1".parse().unwrap());
        for _ in 0..KEYS_PER_MINUTE {
            assert_eq!(attempts.key_failed(source), None);
        }
        assert!(attempts.key_failed(source).is_some());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert_eq!(attempts.key_failed(source), None);
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = Attempts::default();
        for n in 0..MOST + 5_000 {
            attempts.sign_in_failed(&Guest::new(n.to_string()));
        }
        assert!(attempts.sign_ins.lock().len() <= MOST);
    }
}
