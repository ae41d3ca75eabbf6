//! The one source of randomness: jitter, ids and keys, repeatable from a seed.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use uuid::Uuid;

use crate::clock::Clock;

/// A seeded, cryptographically strong generator that everything random comes from.
#[derive(Clone, Debug)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self(Arc::new(Mutex::new(StdRng::from_rng(&mut rand::rng()))))
    }

    /// Seeded by hand, so that a run repeats.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// Returns a number from 0 (included) to 1 (excluded).
    pub fn fraction(&self) -> f64 {
        self.0.lock().random()
    }

    /// Returns `base` changed by up to `share` of itself in either direction.
    pub fn jitter(&self, base: Duration, share: f64) -> Duration {
        base.mul_f64((1.0 + share * (2.0 * self.fraction() - 1.0)).max(0.0))
    }

    /// Fills `bytes`.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().fill_bytes(bytes);
    }

    /// Returns a random id (UUID version 4).
    pub fn uuid(&self) -> Uuid {
        let mut bytes = [0; 16];
        self.fill(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// Returns an id that sorts by time (UUID version 7).
    pub fn sorted_uuid(&self, clock: &Clock) -> Uuid {
        let mut bytes = [0; 10];
        self.fill(&mut bytes);
        let millis = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &bytes).into_uuid()
    }

    /// Returns 32 random bytes as 43 characters of base64url: the shape of an agent key.
    pub fn key(&self) -> String {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}
