//! The watcher under moved time.
