//! A place for each key that one at a time works on: who comes second finds what the first one left.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// Keys that are kept; more are dropped, those first that nobody is using.
const MOST: usize = 10_000;

type Place<V> = Arc<tokio::sync::Mutex<Option<V>>>;

/// The places of one kind of thing. If whoever works on one is cut short, the next one does the work.
pub(super) struct Cells<K, V>(Mutex<HashMap<K, Place<V>>>);

impl<K: Eq + Hash + Clone, V: Clone> Cells<K, V> {
    pub fn new() -> Self {
        Self(Mutex::default())
    }

    /// Returns the place of a key; to lock it is to wait for one's turn.
    pub fn place(&self, key: &K) -> Place<V> {
        let mut places = self.0.lock();
        if let Some(place) = places.get(key) {
            return place.clone();
        }
        if places.len() >= MOST {
            let mut room = MOST / 10;
            places.retain(|_, place| {
                let stays = room == 0 || Arc::strong_count(place) > 1;
                room -= usize::from(!stays);
                stays
            });
        }
        places.entry(key.clone()).or_default().clone()
    }

    /// Puts something there, unless somebody works on it.
    pub fn put(&self, key: &K, value: V) {
        if let Ok(mut place) = self.place(key).try_lock() {
            *place = Some(value);
        }
    }

    /// Forgets those that match. Who works on one goes on, and nobody who comes later finds what that gives: it was asked
    /// for before.
    pub fn forget(&self, is_it: impl Fn(&K) -> bool) {
        self.0.lock().retain(|key, _| !is_it(key));
    }

    /// Returns all that is there.
    pub fn all(&self) -> Vec<(K, V)> {
        let places = self.0.lock();
        let value = |place: &Place<V>| place.try_lock().ok().and_then(|place| place.clone());
        places.iter().filter_map(|(key, place)| Some((key.clone(), value(place)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn there_are_never_too_many_and_one_in_use_stays() {
        let cells = Cells::<usize, usize>::new();
        let used = cells.place(&0);
        for key in 1..MOST + 100 {
            cells.put(&key, key);
        }
        assert!(cells.0.lock().len() <= MOST);
        assert!(Arc::ptr_eq(&used, &cells.place(&0)));
        cells.forget(|_| true);
        assert_eq!(cells.all(), []);
    }

    #[tokio::test]
    async fn what_was_under_way_when_it_was_forgotten_is_not_found_later() {
        let cells = Cells::<&str, u8>::new();
        let place = cells.place(&"app");
        let mut under_way = place.lock().await;

        cells.forget(|key| *key == "app");
        *under_way = Some(1);
        drop(under_way);

        assert_eq!(*cells.place(&"app").lock().await, None);
    }
}
