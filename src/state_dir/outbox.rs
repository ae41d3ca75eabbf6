//! `outbox/`: what the master does not have yet and nobody can observe again, sent in the order it was made: results of
//! commands, plans that it asked for, runs that ended.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StateError, files};
use crate::domain::command::Outcome;
use crate::domain::id::CommandId;
use crate::protocol::v3::{PlanTold, RunTold};

/// Most that waits. No further command is begun before the master took some.
const LIMIT: usize = 1000;
/// Most bytes of it: a plan may have eight million.
const BYTES_LIMIT: u64 = 64 * 1024 * 1024;
/// Largest file that is read, in bytes: a run holds its plan and its log.
const FILE_LIMIT: u64 = 32 * 1024 * 1024;

/// Something that waits.
#[derive(Debug, Clone, PartialEq)]
pub struct Spooled {
    /// Its place in the order.
    pub number: u64,
    /// What it is.
    pub item: SpooledItem,
}

/// What waits for the master.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum SpooledItem {
    /// How a command ended.
    Result {
        /// Which.
        id: CommandId,
        /// How.
        outcome: Outcome,
    },
    /// What the host worked out for a command.
    Plan {
        /// It.
        plan: Box<PlanTold>,
    },
    /// A run that ended.
    Run {
        /// It.
        run: Box<RunTold>,
    },
}

impl SpooledItem {
    /// Its name after its number; one of the same name is the same thing.
    fn name(&self) -> String {
        match self {
            Self::Result { id, .. } => format!("{id}.json"),
            // No id of a command holds this sign.
            Self::Plan { plan } => format!("plan@{}.json", plan.command),
            Self::Run { run } => format!("run@{}.json", run.run.id),
        }
    }
}

pub(super) struct Outbox {
    dir: PathBuf,
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
}

struct Waiting {
    path: PathBuf,
    bytes: u64,
}

impl Outbox {
    pub(super) fn open(root: &Path) -> Result<Self, StateError> {
        let dir = root.join("outbox");
        files::make_dir(&dir)?;
        let waiting = |(number, path): (u64, PathBuf)| {
            let bytes = fs::metadata(&path).map_or(0, |about| about.len());
            (number, Waiting { path, bytes })
        };
        let waiting: BTreeMap<u64, Waiting> = files::numbered(&dir)?.into_iter().map(waiting).collect();
        let next = waiting.last_key_value().map_or(1, |(n, _)| n.saturating_add(1));
        Ok(Self { dir, next, waiting })
    }

    /// Fails if there is no room for the result of another command.
    pub(super) fn check_room(&self) -> Result<(), StateError> {
        if self.waiting.len() < LIMIT && self.bytes() < BYTES_LIMIT {
            Ok(())
        } else {
            Err(StateError::SpoolFull { dir: self.dir.clone(), count: self.waiting.len() })
        }
    }

    fn bytes(&self) -> u64 {
        self.waiting.values().map(|waiting| waiting.bytes).sum()
    }

    /// Adds something. The same thing, if it waits already, is enough. A result always has room: its command had to find
    /// some. Of the rest no more is taken than there is room for.
    pub(super) fn push(&mut self, item: &SpooledItem) -> Result<(), StateError> {
        let own_name = item.name();
        let is_same = |waiting: &Waiting| {
            let name = waiting.path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
            name.split_once('-').is_some_and(|(_, rest)| rest == own_name)
        };
        if self.waiting.values().any(is_same) {
            return Ok(());
        }
        let json = serde_json::to_vec(item).expect("texts and numbers always become JSON");
        let bytes = json.len() as u64;
        if !matches!(item, SpooledItem::Result { .. }) {
            self.check_room()?;
            if self.bytes() + bytes > BYTES_LIMIT || bytes > FILE_LIMIT {
                return Err(StateError::SpoolFull { dir: self.dir.clone(), count: self.waiting.len() });
            }
        }
        let path = self.dir.join(format!("{:012}-{own_name}", self.next));
        files::replace(&path, &json)?;
        self.waiting.insert(self.next, Waiting { path, bytes });
        self.next += 1;
        Ok(())
    }

    /// Returns the oldest thing. One that cannot be read is set aside, named in the log, and skipped.
    pub(super) fn first(&mut self) -> Result<Option<Spooled>, StateError> {
        while let Some((&number, Waiting { path, .. })) = self.waiting.first_key_value() {
            match files::read_checked_up_to(path, FILE_LIMIT, files::from_json) {
                Ok(Some(item)) => return Ok(Some(Spooled { number, item })),
                Ok(None) => {}
                // It was named when it was set aside; the master hands over or asks again.
                Err(StateError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
            self.waiting.remove(&number);
        }
        Ok(None)
    }

    pub(super) fn remove(&mut self, number: u64) -> Result<(), StateError> {
        if let Some(Waiting { path, .. }) = self.waiting.get(&number) {
            files::remove(path)?;
            self.waiting.remove(&number);
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::update::{Plan, Run, RunId};

    fn result(id: &str) -> SpooledItem {
        let outcome = Outcome { succeeded: true, message: "done".into(), finished_at: None };
        SpooledItem::Result { id: CommandId::new(id), outcome }
    }

    fn run(id: &str, log: usize) -> SpooledItem {
        let at = "2026-01-31T12:00:00Z".parse().unwrap();
        let run = Run::new(RunId::parse(id).unwrap(), Plan::nothing(), "ann", at);
        SpooledItem::Run { run: Box::new(RunTold { run, failed_images: Vec::new(), log: "x".repeat(log) }) }
    }

    fn plan(command: &str) -> SpooledItem {
        let plan = PlanTold { command: CommandId::new(command), plan: Some(Plan::nothing()), problem: None };
        SpooledItem::Plan { plan: Box::new(plan) }
    }

    fn all(outbox: &mut Outbox) -> Vec<SpooledItem> {
        let mut all = Vec::new();
        while let Some(spooled) = outbox.first().unwrap() {
            outbox.remove(spooled.number).unwrap();
            all.push(spooled.item);
        }
        all
    }

    #[test]
    fn plans_runs_and_results_wait_in_one_order_each_once_also_over_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        let items = [plan("c1"), result("c1"), run("r1", 10), result("c2")];
        for item in items.iter().chain(&items) {
            outbox.push(item).unwrap();
        }
        let mut outbox = Outbox::open(dir.path()).unwrap();
        assert_eq!(all(&mut outbox), items);
    }

    #[test]
    fn runs_take_no_more_room_than_there_is_and_results_always_find_some() {
        let dir = tempfile::tempdir().unwrap();
        let mut outbox = Outbox::open(dir.path()).unwrap();
        let large = BYTES_LIMIT as usize / 4 - 10_000;
        for name in ["a", "b", "c", "d"] {
            outbox.push(&run(name, large)).unwrap();
        }
        assert!(matches!(outbox.push(&run("e", 50_000)), Err(StateError::SpoolFull { .. })));
        outbox.push(&result("c1")).unwrap();
        assert_eq!(outbox.len(), 5);
    }
}
