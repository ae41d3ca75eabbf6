//! Where passwords are hashed and compared: one after the other, in one block of memory.
//!
//! Each takes 19 MiB and a processor for tens of milliseconds, and anybody may ask for one by signing in. Agents and
//! signed-in people do not wait for that; the block is given back when nobody waits for it. Who is known has a place
//! of its own, however many strangers wait.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::SecretString;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::password::{self, Memory};
use crate::chance::Chance;

/// Most strangers that wait for their turn, and as many of those who are known.
const MOST: usize = 32;
/// Most of one asker among them, so that one cannot keep all others out.
const MOST_OF_ONE: usize = 4;

/// Who waits for a turn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Asker {
    /// A browser that signed in before, or somebody who showed a token.
    Known(String),
    /// Anybody at this address.
    Stranger(String),
}

impl Asker {
    fn is_known(&self) -> bool {
        matches!(self, Self::Known(_))
    }
}

/// See the module. Clones share the queue and the block.
#[derive(Clone)]
pub struct Hashing {
    turn: Arc<Semaphore>,
    /// One stranger at a time stands in line for a turn, so that who is known waits for few.
    strangers: Arc<Semaphore>,
    waiting: Arc<Mutex<HashMap<Asker, usize>>>,
    memory: Arc<Mutex<Memory>>,
}

impl Default for Hashing {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { turn: one(), strangers: one(), waiting: Arc::default(), memory: Arc::default() }
    }
}

impl Hashing {
    /// Waits until it is the turn of `asker`; none at once if too many of its kind wait already.
    pub async fn turn(&self, asker: Asker) -> Option<Turn> {
        let _place = self.place(&asker)?;
        let _first = match asker.is_known() {
            true => None,
            false => Some(self.strangers.acquire().await.ok()?),
        };
        let permit = Arc::clone(&self.turn).acquire_owned().await.ok()?;
        Some(Turn { permit: Arc::new(permit), hashing: self.clone() })
    }

    fn place(&self, asker: &Asker) -> Option<Place> {
        let mut waiting = self.waiting.lock();
        let own = waiting.get(asker).copied().unwrap_or(0);
        let of_its_kind = waiting.iter().filter(|(other, _)| other.is_known() == asker.is_known());
        if own >= MOST_OF_ONE || of_its_kind.map(|(_, count)| count).sum::<usize>() >= MOST {
            return None;
        }
        waiting.insert(asker.clone(), own + 1);
        Some(Place { waiting: Arc::clone(&self.waiting), asker: asker.clone() })
    }
}

/// A place in the queue; free again when it is dropped.
struct Place {
    waiting: Arc<Mutex<HashMap<Asker, usize>>>,
    asker: Asker,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.waiting.lock();
        match waiting.get(&self.asker).map_or(0, |own| own - 1) {
            0 => waiting.remove(&self.asker),
            left => waiting.insert(self.asker.clone(), left),
        };
    }
}

/// Nobody else's turn while it lives. What was begun is finished even if its caller has gone.
pub struct Turn {
    permit: Arc<OwnedSemaphorePermit>,
    hashing: Hashing,
}

impl Turn {
    /// Hashes a password.
    pub async fn hash(&self, password: String, chance: Chance) -> Result<SecretString, ApiError> {
        self.apart(move |memory| password::hash(&password, &chance, memory).into()).await
    }

    /// Compares a password with a hash.
    pub async fn verify(&self, password: String, hash: String) -> Result<bool, ApiError> {
        self.apart(move |memory| password::fits(&password, &hash, memory)).await
    }

    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (turn, hashing) = (Arc::clone(&self.permit), self.hashing.clone());
        let work = move || {
            let _turn = turn;
            let mut memory = hashing.memory.lock();
            let done = work(&mut memory);
            // The next one in line works in it.
            if hashing.waiting.lock().is_empty() {
                *memory = Memory::default();
            }
            done
        };
        actix_web::web::block(work).await.map_err(ApiError::internal)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    fn stranger(name: &str) -> Asker {
        Asker::Stranger(name.into())
    }

    #[actix_web::test]
    async fn only_the_right_password_opens() {
        let turn = Hashing::default().turn(stranger("a")).await.unwrap();
        let hash = password::hash("correct horse", &Chance::seeded(1), &mut Memory::default());
        assert!(turn.verify("correct horse".into(), hash.clone()).await.unwrap());
        assert!(!turn.verify("wrong horse".into(), hash).await.unwrap());
        assert!(!turn.verify("correct horse".into(), "not a hash".into()).await.unwrap());
    }

    #[actix_web::test]
    async fn one_source_takes_few_places_and_all_together_a_bounded_number() {
        // given: somebody's turn
        let hashing = Hashing::default();
        let first = hashing.turn(stranger("a")).await.unwrap();
        // when: more of one source, then of ever new ones
        let mut own: Vec<_> = (0..MOST_OF_ONE).map(|_| Box::pin(hashing.turn(stranger("a")))).collect();
        for one in &mut own {
            assert!(poll!(one).is_pending());
        }
        assert!(hashing.turn(stranger("a")).await.is_none());
        let mut others: Vec<_> =
            (MOST_OF_ONE..MOST).map(|n| Box::pin(hashing.turn(stranger(&format!("b{n}"))))).collect();
        for other in &mut others {
            assert!(poll!(other).is_pending());
        }
        // then
        assert!(hashing.turn(stranger("c")).await.is_none());
        // and who goes away leaves the place
        drop(others);
        drop(first);
        assert!(own.remove(0).await.is_some());
        drop(own);
        assert!(hashing.turn(stranger("a")).await.is_some());
        assert!(hashing.waiting.lock().is_empty());
    }

    #[actix_web::test]
    async fn who_is_known_has_a_place_among_any_number_of_strangers_and_waits_for_few() {
        // given: forty strangers from as many addresses, and somebody's turn
        let hashing = Hashing::default();
        let running = hashing.turn(stranger("first")).await.unwrap();
        let mut crowd: Vec<_> = (0..40).map(|n| Box::pin(hashing.turn(stranger(&format!("s{n}"))))).collect();
        let mut refused = 0;
        for one in &mut crowd {
            refused += usize::from(poll!(one).is_ready());
        }
        assert_eq!(refused, 40 - MOST);
        // when
        let mut owner = Box::pin(hashing.turn(Asker::Known("owner".into())));
        assert!(poll!(&mut owner).is_pending());
        drop(running);
        // then: after the one stranger that was in line before
        let mut turns_of_strangers = 0;
        loop {
            if poll!(&mut owner).is_ready() {
                break;
            }
            for one in &mut crowd[..MOST] {
                if let std::task::Poll::Ready(turn) = poll!(one) {
                    drop(turn.unwrap());
                    turns_of_strangers += 1;
                    break;
                }
            }
        }
        assert!(turns_of_strangers <= 1, "{turns_of_strangers}");
    }

    #[actix_web::test]
    async fn the_block_is_used_again_while_somebody_waits_and_given_back_after() {
        // given: a turn, and one that waits for it
        let hashing = Hashing::default();
        let first = hashing.turn(stranger("a")).await.unwrap();
        let mut second = Box::pin(hashing.turn(stranger("b")));
        assert!(poll!(&mut second).is_pending());
        // when, then
        first.hash("correct horse".into(), Chance::seeded(1)).await.unwrap();
        assert!(hashing.memory.lock().is_held());
        drop(first);
        second.await.unwrap().hash("correct horse".into(), Chance::seeded(1)).await.unwrap();
        assert!(!hashing.memory.lock().is_held());
    }
}
