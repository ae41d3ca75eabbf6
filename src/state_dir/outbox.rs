//! `outbox/`: results of commands that the master does not have yet, sent in the order they were made.
//!
//! Only what cannot be observed again waits here; containers and the tunnel are simply looked at once more.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StateError, files};
use crate::domain::command::Outcome;
use crate::domain::id::CommandId;

/// Most results that wait. No further command is begun before the master took some.
const LIMIT: usize = 1000;

/// A result that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpooledResult {
    /// Its place in the order.
    pub number: u64,
    /// Of which command.
    pub id: CommandId,
    /// How it ended.
    pub outcome: Outcome,
}

#[derive(Serialize, Deserialize)]
struct Form {
    id: CommandId,
    outcome: Outcome,
}

pub(super) struct Outbox {
    dir: PathBuf,
    next: u64,
    waiting: BTreeMap<u64, PathBuf>,
}

impl Outbox {
    pub(super) fn open(root: &Path) -> Result<Self, StateError> {
        let dir = root.join("outbox");
        files::make_dir(&dir)?;
        let waiting: BTreeMap<u64, PathBuf> = files::numbered(&dir)?.into_iter().collect();
        let next = waiting.last_key_value().map_or(1, |(n, _)| n.saturating_add(1));
        Ok(Self { dir, next, waiting })
    }

    /// Fails if there is no room for the result of another command.
    pub(super) fn check_room(&self) -> Result<(), StateError> {
        if self.waiting.len() < LIMIT {
            Ok(())
        } else {
            Err(StateError::SpoolFull { dir: self.dir.clone(), count: self.waiting.len() })
        }
    }

    /// Adds a result. One of the same command that waits already is enough.
    pub(super) fn push(&mut self, id: &CommandId, outcome: &Outcome) -> Result<(), StateError> {
        let of_same = format!("{id}.json");
        let is_same = |path: &PathBuf| {
            let name = path.file_name().map(|n| n.to_string_lossy()).unwrap_or_default();
            name.split_once('-').is_some_and(|(_, rest)| rest == of_same)
        };
        if self.waiting.values().any(is_same) {
            return Ok(());
        }
        let path = self.dir.join(format!("{:012}-{id}.json", self.next));
        let form = Form { id: id.clone(), outcome: outcome.clone() };
        files::replace(&path, &serde_json::to_vec(&form).expect("texts and numbers always become JSON"))?;
        self.waiting.insert(self.next, path);
        self.next += 1;
        Ok(())
    }

    /// Returns the oldest result. One that cannot be read is set aside, named in the log, and skipped.
    pub(super) fn first(&mut self) -> Result<Option<SpooledResult>, StateError> {
        while let Some((&number, path)) = self.waiting.first_key_value() {
            match files::read_checked(path, files::from_json::<Form>) {
                Ok(Some(form)) => {
                    return Ok(Some(SpooledResult { number, id: form.id, outcome: form.outcome }));
                }
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
        if let Some(path) = self.waiting.get(&number) {
            files::remove(path)?;
            self.waiting.remove(&number);
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}
