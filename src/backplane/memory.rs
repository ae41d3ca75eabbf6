//! The backplane of a single master: maps in memory, gone with the process.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::expiring::{Expiring, WhenFull};
use super::{Backplane, BackplaneError, Wakes};
use crate::domain::id::{AgentId, CommandId};

/// Longest key.
const MAX_KEY_BYTES: usize = 512;
/// How long pending ids are believed without being set again.
const PENDING_TTL: Duration = Duration::from_secs(24 * 3_600);

/// How much a [`MemoryBackplane`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Agents whose presence or pending ids are kept.
    pub agents: usize,
    /// Pending ids of one agent.
    pub pending_per_agent: usize,
    /// Cached values.
    pub values: usize,
    /// Size of one cached value.
    pub value_bytes: usize,
    /// Counters.
    pub counters: usize,
    /// Leases.
    pub leases: usize,
    /// Wake-ups that a slow listener may be behind.
    pub wakes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            agents: 50_000,
            pending_per_agent: 1_000,
            values: 4_096,
            value_bytes: 256 << 10,
            counters: 50_000,
            leases: 1_024,
            wakes: 1_024,
        }
    }
}

/// A backplane in memory. Ends are measured on the monotonic clock, so that a jump of the wall clock ends nothing.
#[derive(Debug)]
pub struct MemoryBackplane {
    limits: Limits,
    presence: Mutex<Expiring<AgentId, DateTime<Utc>>>,
    pending: Mutex<Expiring<AgentId, Vec<CommandId>>>,
    values: Mutex<Expiring<String, Bytes>>,
    counters: Mutex<Expiring<String, u64>>,
    leases: Mutex<Expiring<String, String>>,
    wakes: broadcast::Sender<AgentId>,
}

impl Default for MemoryBackplane {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl MemoryBackplane {
    /// An empty backplane that never holds more than `limits`.
    pub fn new(limits: Limits) -> Self {
        Self {
            presence: Mutex::new(Expiring::new(limits.agents, WhenFull::DropSoonest)),
            pending: Mutex::new(Expiring::new(limits.agents, WhenFull::DropSoonest)),
            values: Mutex::new(Expiring::new(limits.values, WhenFull::DropSoonest)),
            counters: Mutex::new(Expiring::new(limits.counters, WhenFull::DropSoonest)),
            leases: Mutex::new(Expiring::new(limits.leases, WhenFull::Refuse)),
            wakes: broadcast::Sender::new(limits.wakes.max(1)),
            limits,
        }
    }
}

/// The end of something that begins now; an endless time is cut to a century.
fn end(now: Instant, ttl: Duration) -> Instant {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    now + ttl.min(CENTURY)
}

fn fits(what: &'static str, size_bytes: usize, limit_bytes: usize) -> Result<(), BackplaneError> {
    if size_bytes <= limit_bytes {
        Ok(())
    } else {
        Err(BackplaneError::TooLarge { what, size_bytes, limit_bytes })
    }
}

#[async_trait]
impl Backplane for MemoryBackplane {
    async fn note_presence(
        &self,
        seen: &[(AgentId, DateTime<Utc>)],
        ttl: Duration,
    ) -> Result<(), BackplaneError> {
        let now = Instant::now();
        let mut presence = self.presence.lock();
        for (agent, at) in seen {
            let at = presence.get(agent, now).map_or(*at, |(noted, _)| *noted.max(at));
            presence.put(agent.clone(), at, end(now, ttl), now);
        }
        Ok(())
    }

    async fn presence(&self, agent: &AgentId) -> Result<Option<DateTime<Utc>>, BackplaneError> {
        Ok(self.presence.lock().get(agent, Instant::now()).map(|(at, _)| *at))
    }

    async fn wake(&self, agent: &AgentId) -> Result<(), BackplaneError> {
        // Fails if nobody listens, and then there is nobody to wake.
        let _ = self.wakes.send(agent.clone());
        Ok(())
    }

    async fn wakes(&self) -> Result<Wakes, BackplaneError> {
        Ok(Wakes::new(self.wakes.subscribe()))
    }

    async fn set_pending(&self, agent: &AgentId, commands: &[CommandId]) -> Result<(), BackplaneError> {
        let limit = self.limits.pending_per_agent;
        let mut pending = self.pending.lock();
        if commands.is_empty() {
            pending.remove(agent);
            return Ok(());
        }
        if commands.len() > limit {
            // A list that is cut would be believed; one that is absent is asked for.
            pending.remove(agent);
            return Err(BackplaneError::Full { what: "pending commands of an agent", limit });
        }
        let now = Instant::now();
        pending.put(agent.clone(), commands.to_vec(), end(now, PENDING_TTL), now);
        Ok(())
    }

    async fn pending(&self, agent: &AgentId) -> Result<Option<Vec<CommandId>>, BackplaneError> {
        Ok(self.pending.lock().get(agent, Instant::now()).map(|(commands, _)| commands.clone()))
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), BackplaneError> {
        fits("a key", key.len(), MAX_KEY_BYTES)?;
        fits("a value", value.len(), self.limits.value_bytes)?;
        let now = Instant::now();
        // The part of a larger buffer would keep all of it alive.
        let value = Bytes::copy_from_slice(&value);
        self.values.lock().put(key.into(), value, end(now, ttl), now);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, BackplaneError> {
        Ok(self.values.lock().get(&key.to_owned(), Instant::now()).map(|(value, _)| value.clone()))
    }

    async fn forget(&self, key: &str) -> Result<(), BackplaneError> {
        self.values.lock().remove(&key.to_owned());
        Ok(())
    }

    async fn count(&self, key: &str, by: u64, window: Duration) -> Result<u64, BackplaneError> {
        fits("a key", key.len(), MAX_KEY_BYTES)?;
        let now = Instant::now();
        let mut counters = self.counters.lock();
        let (count, ends) =
            counters.get(&key.to_owned(), now).map_or((0, end(now, window)), |(count, ends)| (*count, ends));
        let count = count.saturating_add(by);
        counters.put(key.into(), count, ends, now);
        Ok(count)
    }

    async fn lease(&self, name: &str, holder: &str, ttl: Duration) -> Result<bool, BackplaneError> {
        fits("a key", name.len(), MAX_KEY_BYTES)?;
        fits("a holder", holder.len(), MAX_KEY_BYTES)?;
        let now = Instant::now();
        let mut leases = self.leases.lock();
        if leases.get(&name.to_owned(), now).is_some_and(|(has, _)| has != holder) {
            return Ok(false);
        }
        if leases.put(name.into(), holder.into(), end(now, ttl), now) {
            return Ok(true);
        }
        Err(BackplaneError::Full { what: "leases", limit: self.limits.leases })
    }

    async fn release(&self, name: &str, holder: &str) -> Result<bool, BackplaneError> {
        let mut leases = self.leases.lock();
        let name = name.to_owned();
        if leases.get(&name, Instant::now()).is_none_or(|(has, _)| has != holder) {
            return Ok(false);
        }
        leases.remove(&name);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Wake;
    use crate::backplane::contract;

    #[tokio::test(start_paused = true)]
    async fn it_keeps_the_contract() {
        contract::run(async || MemoryBackplane::default(), async |time| tokio::time::advance(time).await)
            .await;
    }

    fn small() -> MemoryBackplane {
        let two = Limits {
            agents: 2,
            pending_per_agent: 2,
            values: 2,
            value_bytes: 4,
            counters: 2,
            leases: 2,
            wakes: 2,
        };
        MemoryBackplane::new(two)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_never_holds_more_than_it_may() {
        let small = small();
        for n in 0..100_u32 {
            let key = n.to_string();
            let agent = AgentId::new(&key);
            let ttl = MINUTE + Duration::from_secs(n.into());
            small.put(&key, Bytes::from_static(b"1234"), ttl).await.unwrap();
            small.count(&key, 1, ttl).await.unwrap();
            small.note_presence(&[(agent.clone(), DateTime::UNIX_EPOCH)], ttl).await.unwrap();
            small.set_pending(&agent, &[CommandId::new("c")]).await.unwrap();
        }

        assert_eq!((small.values.lock().len(), small.counters.lock().len()), (2, 2));
        assert_eq!((small.presence.lock().len(), small.pending.lock().len()), (2, 2));
        assert!(small.get("99").await.unwrap().is_some(), "the newest stays");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_large_is_refused_by_name() {
        let small = small();
        let error = small.put("k", Bytes::from_static(b"12345"), MINUTE).await.unwrap_err();
        assert_eq!(error.to_string(), "a value has 5 bytes; at most 4 are kept");
        assert!(small.count(&"x".repeat(600), 1, MINUTE).await.is_err());

        let agent = AgentId::new("a");
        small.set_pending(&agent, &[CommandId::new("c")]).await.unwrap();
        let three = ["c", "d", "e"].map(CommandId::new);
        assert!(matches!(
            small.set_pending(&agent, &three).await,
            Err(BackplaneError::Full { limit: 2, .. })
        ));
        assert_eq!(small.pending(&agent).await.unwrap(), None, "an incomplete list is not believed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_never_dropped_for_a_newer_one() {
        let small = small();
        assert!(
            small.lease("l1", "me", MINUTE).await.unwrap() && small.lease("l2", "me", MINUTE).await.unwrap()
        );

        assert!(matches!(small.lease("l3", "me", MINUTE).await, Err(BackplaneError::Full { .. })));

        assert!(!small.lease("l1", "you", MINUTE).await.unwrap());
        tokio::time::advance(MINUTE).await;
        assert!(small.lease("l3", "you", MINUTE).await.unwrap());
    }

    #[tokio::test]
    async fn a_listener_that_falls_behind_is_told_so() {
        let small = small();
        let mut wakes = small.wakes().await.unwrap();
        for n in 0..5 {
            small.wake(&AgentId::new(n.to_string())).await.unwrap();
        }

        assert_eq!(wakes.next().await, Some(Wake::Resync));
        assert_eq!(wakes.next().await, Some(Wake::Agent(AgentId::new("3"))));
        drop(small);
        assert_eq!(wakes.next().await, Some(Wake::Agent(AgentId::new("4"))));
        assert_eq!(wakes.next().await, None);
    }
}
