//! What registries said outlasts a process: until when one wants to be left alone, what tags hold, and what is in that.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::io::Io;
use crate::registry::{Answer, Ask, Kept, Lookup, Registries, RegistryClient};
use crate::state_dir::replace_file_in;

/// Largest file that is read.
const SIZE_LIMIT: u64 = 32 << 20;

/// A client of registries that writes down what it knows, and begins with what was known before. The file can be lost: then
/// registries are asked again.
#[derive(Clone)]
pub struct KnownRegistries(Arc<Inner>);

struct Inner {
    client: RegistryClient,
    dir: PathBuf,
    name: &'static str,
    every: TimeDelta,
    clock: Clock,
    io: Io,
    written: Mutex<Written>,
}

/// What the file has.
#[derive(Default)]
struct Written {
    at: Option<DateTime<Utc>>,
    refusals: u64,
}

impl KnownRegistries {
    /// Takes up what is in the file `name` of `dir`. What is learned is written there at most once in `every`, and always
    /// after a registry asked to wait. Blocks.
    pub fn open(
        client: RegistryClient,
        dir: &Path,
        name: &'static str,
        every: TimeDelta,
        clock: Clock,
        io: Io,
    ) -> Self {
        let (dir, written) = (dir.to_owned(), Mutex::default());
        let inner = Inner { client, dir, name, every, clock, io, written };
        if let Some(kept) = inner.read() {
            inner.client.resume(kept);
        }
        Self(Arc::new(inner))
    }

    /// Writes down what is known. Blocks.
    pub fn keep(&self) {
        self.0.keep();
    }

    async fn keep_if_due(&self) {
        let inner = Arc::clone(&self.0);
        if !inner.is_due() {
            return;
        }
        let handle = self.0.io.handle().clone();
        // If that panics, or everything is ending, it is as if it was not due.
        let _ = handle.spawn_blocking(move || inner.keep()).await;
    }
}

impl Inner {
    fn is_due(&self) -> bool {
        let (now, written) = (self.clock.now(), self.written.lock());
        let is_new = written.at.is_none_or(|at| at > now || now - at >= self.every);
        is_new || written.refusals != self.client.refusals()
    }

    fn keep(&self) {
        let mut written = self.written.lock();
        *written = Written { at: Some(self.clock.now()), refusals: self.client.refusals() };
        // Another process may have the same file: somebody who scans beside the agent.
        if let Some(kept) = self.read() {
            self.client.take_clocks(kept);
        }
        let json = serde_json::to_vec(&self.client.keep()).expect("it holds nothing that JSON cannot");
        if let Err(error) = replace_file_in(&self.dir, self.name, &json) {
            tracing::warn!(%error, "what registries said is not kept; they are asked again after the next start");
        }
    }

    fn read(&self) -> Option<Kept> {
        let path = self.dir.join(self.name);
        let found = path.metadata().ok().filter(|found| found.is_file() && found.len() <= SIZE_LIMIT);
        serde_json::from_slice(&std::fs::read(&path).ok().filter(|_| found.is_some())?).ok()
    }
}

#[async_trait]
impl Lookup for KnownRegistries {
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        if asks.is_empty() {
            return Vec::new();
        }
        let answers = self.0.client.look_up(asks).await;
        self.keep_if_due().await;
        answers
    }
}

impl Registries for KnownRegistries {
    fn forget(&self, registry: &str, repository: &str) {
        self.0.client.forget(registry, repository);
        // The file still has it.
        self.0.written.lock().at = None;
    }

    fn forget_registry(&self, registry: &str) {
        self.0.client.forget_registry(registry);
        self.0.written.lock().at = None;
    }
}
