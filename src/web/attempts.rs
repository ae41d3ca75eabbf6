//! Counts failed attempts to sign in or to use a key, so that guessing gets slow.
//!
//! Nobody can lock somebody else out: failures are counted for the pair of source and name, and a browser
//! that signed in before has a counter of its own. A caller with a valid token is never asked.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Failures that are free.
const FREE: u32 = 5;
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

/// The counters.
#[derive(Debug, Default)]
pub struct Attempts {
    sign_ins: Mutex<HashMap<String, Tally>>,
    keys: Mutex<HashMap<std::net::IpAddr, Tally>>,
}

impl Attempts {
    /// Returns how long `who` still has to wait before the next try to sign in.
    pub fn must_wait(&self, who: &str) -> Option<Duration> {
        let tally = *self.sign_ins.lock().get(who)?;
        let over = tally.failures.checked_sub(FREE)?;
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(over.min(10))).min(LONGEST_WAIT);
        wait.checked_sub(tally.last.elapsed()).filter(|left| !left.is_zero())
    }

    /// Records that `who` failed to sign in.
    pub fn sign_in_failed(&self, who: String) {
        let mut tallies = self.sign_ins.lock();
        forget(&mut tallies);
        let now = Instant::now();
        let tally = tallies.entry(who).or_insert(Tally { failures: 0, since: now, last: now });
        tally.failures = tally.failures.saturating_add(1);
        tally.last = now;
    }

    /// Forgets the failures of `who`.
    pub fn signed_in(&self, who: &str) {
        self.sign_ins.lock().remove(who);
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
            assert_eq!(attempts.must_wait("a"), None);
            attempts.sign_in_failed("a".into());
        }
        assert_eq!(attempts.must_wait("a"), Some(FIRST_WAIT));
        attempts.sign_in_failed("a".into());
        assert_eq!(attempts.must_wait("a"), Some(FIRST_WAIT * 2));
        for _ in 0..40 {
            attempts.sign_in_failed("a".into());
        }
        assert_eq!(attempts.must_wait("a"), Some(LONGEST_WAIT));
        tokio::time::advance(LONGEST_WAIT).await;
        assert_eq!(attempts.must_wait("a"), None);
    }

    #[test]
    fn one_source_does_not_lock_out_another() {
        let attempts = Attempts::default();
        for _ in 0..100 {
            attempts.sign_in_failed("10.0.0.1/admin".into());
        }
        assert!(attempts.must_wait("10.0.0.1/admin").is_some());
        assert_eq!(attempts.must_wait("10.0.0.2/admin"), None);
        attempts.signed_in("10.0.0.1/admin");
        assert_eq!(attempts.must_wait("10.0.0.1/admin"), None);
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
            attempts.sign_in_failed(n.to_string());
        }
        assert!(attempts.sign_ins.lock().len() <= MOST);
    }
}
