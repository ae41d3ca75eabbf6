//! One at a time on each public name: two tunnels that exchange a name must not undo each other's record.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Above this, names that nobody holds are forgotten.
const TIDY_ABOVE: usize = 256;

/// Locks by name.
#[derive(Debug, Default)]
pub(super) struct NameLocks(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

impl NameLocks {
    /// Returns once nobody else works on `name`.
    pub async fn lock(&self, name: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            if locks.len() > TIDY_ABOVE {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(locks.entry(name.to_owned()).or_default())
        };
        lock.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_held_by_one_and_others_are_free() {
        let locks = NameLocks::default();
        let held = locks.lock("a").await;
        drop(locks.lock("b").await);
        assert!(futures_util::poll!(std::pin::pin!(locks.lock("a"))).is_pending());
        drop(held);
        drop(locks.lock("a").await);
    }

    #[tokio::test]
    async fn names_that_nobody_holds_are_forgotten() {
        let locks = NameLocks::default();
        let held = locks.lock("held").await;
        for number in 0..=2 * TIDY_ABOVE {
            drop(locks.lock(&number.to_string()).await);
        }
        assert!(locks.0.lock().len() <= TIDY_ABOVE + 2);
        assert!(locks.0.lock().contains_key("held"));
        drop(held);
    }
}
