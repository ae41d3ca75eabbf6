//! Where passwords are hashed and compared: one after the other.
//!
//! Each takes 19 MiB and a processor for tens of milliseconds, and anybody may ask for one by signing in. Agents and
//! signed-in people do not wait for that, and the memory of the master does not grow with it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::password;
use crate::chance::Chance;

/// Most that wait for their turn.
const MOST: usize = 32;
/// Most of one source among them, so that one cannot keep all others out.
const MOST_OF_ONE: usize = 4;

/// See the module. Clones share the queue.
#[derive(Clone)]
pub struct Hashing {
    turn: Arc<Semaphore>,
    waiting: Arc<Mutex<HashMap<String, usize>>>,
}

impl Default for Hashing {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), waiting: Arc::default() }
    }
}

impl Hashing {
    /// Waits until it is the turn of `source`; none at once if too many wait already.
    pub async fn turn(&self, source: &str) -> Option<Turn> {
        let _place = self.place(source)?;
        let turn = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        Some(Turn(Arc::new(turn)))
    }

    fn place(&self, source: &str) -> Option<Place> {
        let mut waiting = self.waiting.lock();
        let own = waiting.get(source).copied().unwrap_or(0);
        if own >= MOST_OF_ONE || waiting.values().sum::<usize>() >= MOST {
            return None;
        }
        waiting.insert(source.to_owned(), own + 1);
        Some(Place { waiting: Arc::clone(&self.waiting), source: source.to_owned() })
    }
}

/// A place in the queue; free again when it is dropped.
struct Place {
    waiting: Arc<Mutex<HashMap<String, usize>>>,
    source: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        let left = waiting.get(&self.source).map_or(0, |own| own - 1);
        if left == 0 {
            waiting.remove(&self.source);
        } else {
            waiting.insert(std::mem::take(&mut self.source), left);
        }
    }
}

/// Nobody else's turn while it lives. What was begun is finished even if its caller has gone.
pub struct Turn(Arc<OwnedSemaphorePermit>);

impl Turn {
    /// Hashes a password.
    pub async fn hash(&self, password: String, chance: Chance) -> Result<SecretString, ApiError> {
        self.apart(move || password::hash(&password, &chance).into()).await
    }

    /// Compares a password with a hash.
    pub async fn verify(&self, password: String, hash: String) -> Result<bool, ApiError> {
        self.apart(move || password::fits(&password, &hash)).await
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let turn = Arc::clone(&self.0);
        let work = move || {
            let _turn = turn;
            work()
        };
        actix_web::web::block(work).await.map_err(ApiError::internal)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[actix_web::test]
    async fn only_the_right_password_opens() {
        let turn = Hashing::default().turn("a").await.unwrap();
        let hash = password::hash("correct horse", &Chance::seeded(1));
        assert!(turn.verify("correct horse".into(), hash.clone()).await.unwrap());
        assert!(!turn.verify("wrong horse".into(), hash).await.unwrap());
        assert!(!turn.verify("correct horse".into(), "not a hash".into()).await.unwrap());
    }

    #[actix_web::test]
    async fn one_source_takes_few_places_and_all_together_a_bounded_number() {
        // given: somebody's turn
        let hashing = Hashing::default();
        let first = hashing.turn("a").await.unwrap();
        // when: more of one source, then of ever new ones
        let mut own: Vec<_> = (0..MOST_OF_ONE).map(|_| Box::pin(hashing.turn("a"))).collect();
        for one in &mut own {
            assert!(poll!(one).is_pending());
        }
        assert!(hashing.turn("a").await.is_none());
        let names: Vec<String> = (MOST_OF_ONE..MOST).map(|n| format!("b{n}")).collect();
        let mut others: Vec<_> = names.iter().map(|name| Box::pin(hashing.turn(name))).collect();
        for other in &mut others {
            assert!(poll!(other).is_pending());
        }
        // then
        assert!(hashing.turn("c").await.is_none());
        // and who goes away leaves the place
        drop(others);
        drop(first);
        assert!(own.remove(0).await.is_some());
        drop(own);
        assert!(hashing.turn("a").await.is_some());
        assert!(hashing.waiting.lock().is_empty());
    }
}
