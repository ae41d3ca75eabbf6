//! How the host was last looked at: an equal scan is told from what was written down without a query.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use chrono::{DateTime, TimeDelta, Utc};
use parking_lot::Mutex;

use crate::domain::update::{Kind, Scanned};

/// So long an equal scan is not written down again; how old what it read is may be told that late after a restart.
const WRITTEN_EVERY: TimeDelta = TimeDelta::minutes(15);

/// The last scan, as far as it matters for the next one.
#[derive(Debug, Default)]
pub(super) struct Scans(Mutex<Memory>);

#[derive(Debug, Default)]
struct Memory {
    digest: Option<u64>,
    written_at: Option<DateTime<Utc>>,
    as_of: BTreeMap<Kind, DateTime<Utc>>,
    at: Option<DateTime<Utc>>,
    wanted: BTreeSet<Kind>,
}

/// What was read may be newer without anything having changed.
fn digest(scan: &Scanned) -> u64 {
    let mut hasher = DefaultHasher::new();
    for one in &scan.scanners {
        (one.kind, one.ok, one.is_complete, &one.digest, one.count, one.pending).hash(&mut hasher);
        one.problem.as_ref().map(|problem| (&problem.reason, &problem.way_out)).hash(&mut hasher);
    }
    hasher.finish()
}

impl Memory {
    fn read(&mut self, scan: &Scanned, now: DateTime<Utc>) {
        self.at = Some(now);
        self.as_of.extend(scan.scanners.iter().filter_map(|one| Some((one.kind, one.as_of?))));
    }
}

impl Scans {
    /// True if the scan says what was written down not long ago, and nothing of it is waited for. How old what it read
    /// is, is noted.
    pub(super) fn is_same(&self, scan: &Scanned, now: DateTime<Utc>) -> bool {
        let mut memory = self.0.lock();
        let is_fresh = memory.written_at.is_some_and(|at| now - at < WRITTEN_EVERY);
        let is_same = is_fresh && memory.digest == Some(digest(scan)) && memory.wanted.is_empty();
        if is_same {
            memory.read(scan, now);
        }
        is_same
    }

    pub(super) fn note(&self, scan: &Scanned, wanted: &[Kind], now: DateTime<Utc>) {
        let mut memory = self.0.lock();
        memory.digest = Some(digest(scan));
        memory.written_at = Some(now);
        memory.wanted = wanted.iter().copied().collect();
        memory.read(scan, now);
    }

    pub(super) fn note_findings(&self, kind: Kind) {
        self.0.lock().wanted.remove(&kind);
    }

    pub(super) fn wanted(&self) -> Vec<Kind> {
        self.0.lock().wanted.iter().copied().collect()
    }

    pub(super) fn at(&self) -> Option<DateTime<Utc>> {
        self.0.lock().at
    }

    pub(super) fn as_of(&self, kind: Kind) -> Option<DateTime<Utc>> {
        self.0.lock().as_of.get(&kind).copied()
    }

    pub(super) fn forget(&self) {
        *self.0.lock() = Memory::default();
    }
}
