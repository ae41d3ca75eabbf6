//! A map whose entries end, and that never holds more than it may.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use tokio::time::Instant;

/// What to do with a new entry when the map is full of entries that have not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// Drop the entry that ends first: it can be rebuilt.
    DropSoonest,
    /// Refuse the new one.
    Refuse,
}

/// Entries by key, each with its end.
#[derive(Debug)]
pub(super) struct Expiring<K, V> {
    entries: HashMap<K, (V, Instant)>,
    ends: BTreeSet<(Instant, K)>,
    capacity: usize,
    when_full: WhenFull,
}

impl<K: Hash + Ord + Clone, V> Expiring<K, V> {
    pub(super) fn new(capacity: usize, when_full: WhenFull) -> Self {
        Self { entries: HashMap::new(), ends: BTreeSet::new(), capacity, when_full }
    }

    /// Returns an entry that has not ended, with its end.
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<(&V, Instant)> {
        self.entries.get(key).filter(|(_, end)| *end > now).map(|(value, end)| (value, *end))
    }

    /// Stores an entry; false if the map is full and refuses.
    pub(super) fn put(&mut self, key: K, value: V, end: Instant, now: Instant) -> bool {
        self.remove(&key);
        self.drop_ended(now);
        if self.entries.len() >= self.capacity {
            if self.when_full == WhenFull::Refuse || self.capacity == 0 {
                return false;
            }
            self.drop_soonest();
        }
        self.ends.insert((end, key.clone()));
        self.entries.insert(key, (value, end));
        true
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some((_, end)) = self.entries.remove(key) {
            self.ends.remove(&(end, key.clone()));
        }
    }

    /// Number of entries that are held, ended ones included until the next [`Expiring::put`].
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn drop_ended(&mut self, now: Instant) {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            self.drop_soonest();
        }
    }

    fn drop_soonest(&mut self) {
        if let Some((_, key)) = self.ends.pop_first() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_map_drops_what_ends_first_or_refuses() {
        let now = Instant::now();
        let end = |secs| now + Duration::from_secs(secs);
        let mut dropping = Expiring::new(2, WhenFull::DropSoonest);
        let mut refusing = Expiring::new(2, WhenFull::Refuse);
        for map in [&mut dropping, &mut refusing] {
            assert!(
                map.put("a", 1, end(9), now) && map.put("b", 2, end(5), now) && map.put("a", 3, end(8), now)
            );
        }

        assert!(dropping.put("c", 4, end(7), now));
        assert!(!refusing.put("c", 4, end(7), now));

        assert_eq!(dropping.get(&"b", now), None);
        assert_eq!(dropping.get(&"a", now), Some((&3, end(8))));
        assert_eq!((dropping.len(), dropping.ends.len()), (2, 2));
        assert!(refusing.put("c", 4, end(30), end(6)), "`b` has ended by then");
        assert_eq!((refusing.len(), refusing.ends.len()), (2, 2));
        refusing.remove(&"c");
        assert_eq!((refusing.len(), refusing.ends.len()), (1, 1));
    }
}
