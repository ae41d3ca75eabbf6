//! `commands/`: every command is written down before it is carried out, and its result after, so that a crash
//! in between repeats it and a redelivery of a finished one does not.
//!
//! One file per command, `<number>-<id>.json`, mode 0600 because a command may hold a token; the token goes
//! when the command is done. The last [`HISTORY`] finished commands are remembered.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{StateError, files};
use crate::domain::command::Outcome;
use crate::domain::id::CommandId;
use crate::protocol::command::AgentCommand;

/// Largest file that is read, in bytes: an order of 8 MiB, which is a text within a text there.
const FILE_LIMIT: u64 = 32 * 1024 * 1024;
/// How many finished commands are remembered.
const HISTORY: usize = 500;

/// A command that just came.
#[derive(Debug, Clone)]
pub struct NewCommand {
    /// The master's id for it, or one of our own for a DockFlare Master's.
    pub id: CommandId,
    /// True if the master waits for its result.
    pub is_native: bool,
    /// When it came, by this host's clock.
    pub received_at: DateTime<Utc>,
    /// After this it is not begun, by this host's clock; `None` if it never expires.
    pub expires_at: Option<DateTime<Utc>>,
    /// What to do.
    pub command: AgentCommand,
}

/// What is known of a command that just came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing; it is written down now.
    New,
    /// It came before and is not finished.
    Unfinished,
    /// It came before and ended like this.
    Finished(Outcome),
}

/// A command that is to be carried out.
#[derive(Debug, Clone)]
pub struct UnfinishedCommand {
    /// Its id.
    pub id: CommandId,
    /// True if the master waits for its result.
    pub is_native: bool,
    /// After this it is not begun, by this host's clock.
    pub expires_at: Option<DateTime<Utc>>,
    /// What to do.
    pub command: AgentCommand,
}

/// The file. Holds the command until it is finished, and the outcome from then on.
#[derive(Serialize, Deserialize)]
struct Form {
    id: CommandId,
    native: bool,
    received_at: DateTime<Utc>,
    #[serde(default)]
    expires_at: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
}

pub(super) struct Journal {
    dir: PathBuf,
    next: u64,
    numbers: HashMap<CommandId, u64>,
    /// By number, which is the order in which they came.
    entries: BTreeMap<u64, Form>,
}

impl Journal {
    /// Reads the directory. Files that cannot be read are set aside and named in the log.
    pub(super) fn open(root: &Path) -> Result<Self, StateError> {
        let dir = root.join("commands");
        files::make_dir(&dir)?;
        let mut journal = Self { dir, next: 1, numbers: HashMap::new(), entries: BTreeMap::new() };
        for (number, path) in files::numbered(&journal.dir)? {
            journal.next = journal.next.max(number.saturating_add(1));
            match files::read_checked_up_to(&path, FILE_LIMIT, parse) {
                Ok(Some(form)) => {
                    journal.numbers.insert(form.id.clone(), number);
                    journal.entries.insert(number, form);
                }
                Ok(None) => {}
                // It was named when it was set aside; the master hands over or asks again.
                Err(StateError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(journal)
    }

    /// Fails if no command could be written down now.
    pub(super) fn check_writable(&self) -> Result<(), StateError> {
        files::check_writable(&self.dir)
    }

    pub(super) fn record(&mut self, commands: Vec<NewCommand>) -> Result<Vec<Recorded>, StateError> {
        let before = self.next;
        let mut known = Vec::with_capacity(commands.len());
        for command in commands {
            match self.record_one(command) {
                Ok(recorded) => known.push(recorded),
                Err(error) => {
                    self.forget_from(before);
                    return Err(error);
                }
            }
        }
        self.prune();
        Ok(known)
    }

    fn record_one(&mut self, new: NewCommand) -> Result<Recorded, StateError> {
        if let Some(form) = self.numbers.get(&new.id).and_then(|n| self.entries.get(n)) {
            return Ok(form.outcome.clone().map_or(Recorded::Unfinished, Recorded::Finished));
        }
        let form = Form {
            id: new.id,
            native: new.is_native,
            received_at: new.received_at,
            expires_at: new.expires_at,
            command: Some(new.command.form()),
            outcome: None,
        };
        let number = self.next;
        write(&self.path(number, &form.id), &form)?;
        self.next += 1;
        self.numbers.insert(form.id.clone(), number);
        self.entries.insert(number, form);
        Ok(Recorded::New)
    }

    /// Takes back what a batch wrote before one of its files failed: none of it is carried out.
    fn forget_from(&mut self, number: u64) {
        for (number, form) in self.entries.split_off(&number) {
            self.numbers.remove(&form.id);
            // Left on disk it would be carried out after the next start, which a redelivery finds done.
            let _ = files::remove(&self.path(number, &form.id));
        }
    }

    pub(super) fn unfinished(&self) -> Vec<UnfinishedCommand> {
        let unfinished = self.entries.values().filter(|form| form.outcome.is_none());
        unfinished
            .filter_map(|form| {
                Some(UnfinishedCommand {
                    id: form.id.clone(),
                    is_native: form.native,
                    expires_at: form.expires_at,
                    command: AgentCommand::read(form.command.as_ref()?),
                })
            })
            .collect()
    }

    pub(super) fn finish(&mut self, id: &CommandId, outcome: Outcome) -> Result<(), StateError> {
        let Some(number) = self.numbers.get(id).copied() else { return Ok(()) };
        let path = self.path(number, id);
        let Some(form) = self.entries.get_mut(&number) else { return Ok(()) };
        // The outcome counts for this process even if it cannot be written: the work is done.
        form.command = None;
        form.outcome = Some(outcome);
        write(&path, form)
    }

    fn prune(&mut self) {
        let finished: Vec<u64> =
            self.entries.iter().filter(|(_, f)| f.outcome.is_some()).map(|(n, _)| *n).collect();
        let surplus = finished.len().saturating_sub(HISTORY);
        for number in finished.into_iter().take(surplus) {
            if let Some(form) = self.entries.remove(&number) {
                self.numbers.remove(&form.id);
                if let Err(error) = files::remove(&self.path(number, &form.id)) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "an old command record could not be removed"
                    );
                }
            }
        }
    }

    fn path(&self, number: u64, id: &CommandId) -> PathBuf {
        self.dir.join(format!("{number:012}-{id}.json"))
    }
}

fn write(path: &Path, form: &Form) -> Result<(), StateError> {
    files::replace(path, &serde_json::to_vec(form).expect("texts and numbers always become JSON"))
}

fn parse(bytes: &[u8]) -> Result<Form, String> {
    let form: Form = files::from_json(bytes)?;
    if form.command.is_none() && form.outcome.is_none() {
        return Err("it holds neither a command nor its outcome".into());
    }
    Ok(form)
}
