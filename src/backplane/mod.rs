//! Presence, wake-ups and caches that can be rebuilt.
