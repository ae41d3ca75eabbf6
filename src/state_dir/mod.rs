//! The agent's files: who it is, which tunnel it runs, which commands it has, which results wait.
//!
//! Every write is a new file put in the old one's place, so that a crash leaves one or the other. A file that
//! cannot be read is set aside as `<name>.corrupt-<n>` and never overwritten. Only [`StateDir::open`] blocks
//! its caller (start-up, a few small files); everything else runs on blocking threads of the `io` runtime.

mod error;
mod files;
mod journal;
mod label_prefix;
mod last_scan;
mod order_keys;
mod outbox;
mod plans;
mod runs;
mod tunnel_state;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::command::Outcome;
use crate::domain::id::{AgentId, CommandId};
use crate::io::{Io, open_lock_file};

pub use error::StateError;
pub use files::make_lasting_dir;
pub use journal::{NewCommand, Recorded, UnfinishedCommand};
pub use label_prefix::{keep_label_prefix, kept_label_prefix};
pub use last_scan::{LastScan, read_last_scan, replace_file, replace_file_in, write_last_scan};
pub use order_keys::{AgentIs, KnownOrders, OrderKeys, RefusedKey, TakenOrder};
pub use outbox::{Spooled, SpooledItem};
pub use plans::{keep_plan, kept_plan};
pub use runs::{RunLock, Runs, read_end};
pub use tunnel_state::{DesiredState, TunnelState};

use journal::Journal;
use outbox::Outbox;

const AGENT_ID: &str = "agent_id.txt";
/// The key that the master made for this agent when it came with a registration token.
const AGENT_KEY: &str = "agent_key.txt";
const TUNNEL_STATE: &str = "tunnel_state.json";
const LOCK: &str = "agent.lock";

/// The agent's state directory, held by one process at a time.
#[derive(Clone)]
pub struct StateDir(Arc<Inner>);

struct Inner {
    root: PathBuf,
    io: Io,
    /// Taken on blocking threads only.
    spool: Mutex<Spool>,
    /// Held as long as the directory is in use; the system frees it when the process dies.
    _lock: File,
}

struct Spool {
    journal: Journal,
    outbox: Outbox,
}

impl StateDir {
    /// Opens the directory, makes it if it is not there, and reads which commands and results it holds.
    ///
    /// Fails with [`StateError::InUse`] if another agent has it, and with [`StateError::NotWritable`] or
    /// [`StateError::Full`] if nothing could be kept in it: an agent that can keep nothing may carry out
    /// nothing. Connectors need no agent to serve on, and whoever runs the agent starts it again.
    pub fn open(root: impl Into<PathBuf>, io: Io) -> Result<Self, StateError> {
        let root = root.into();
        files::make_dir(&root)?;
        let lock = lock(&root)?;
        files::check_writable(&root)?;
        let (journal, outbox) = (Journal::open(&root)?, Outbox::open(&root)?);
        let spool = Mutex::new(Spool { journal, outbox });
        Ok(Self(Arc::new(Inner { root, io, spool, _lock: lock })))
    }

    /// Returns where the directory is.
    pub fn path(&self) -> &Path {
        &self.0.root
    }

    /// Returns the id the agent was given; `None` if it never registered.
    ///
    /// Fails with [`StateError::Corrupt`] if the file holds something else; it is then set aside, and the
    /// next call returns `None`. The master gives an agent that comes without an id its own one back.
    pub async fn agent_id(&self) -> Result<Option<AgentId>, StateError> {
        let path = self.0.root.join(AGENT_ID);
        self.blocking(move |_| files::read_checked(&path, read_agent_id)).await
    }

    /// Keeps the id, in the file a DockFlare agent uses.
    pub async fn put_agent_id(&self, id: &AgentId) -> Result<(), StateError> {
        let (path, id) = (self.0.root.join(AGENT_ID), id.clone());
        self.blocking(move |_| files::replace(&path, id.as_str().as_bytes())).await
    }

    /// Keeps the key that the master made for this agent: the token that it came with opens nothing any more.
    pub async fn put_agent_key(&self, key: SecretString) -> Result<(), StateError> {
        let path = self.0.root.join(AGENT_KEY);
        self.blocking(move |_| files::replace(&path, key.expose_secret().as_bytes())).await
    }

    /// Returns the tunnel this host ran last; `None` if there never was one.
    ///
    /// Fails with [`StateError::Corrupt`] like [`StateDir::agent_id`].
    pub async fn tunnel_state(&self) -> Result<Option<TunnelState>, StateError> {
        let path = self.0.root.join(TUNNEL_STATE);
        self.blocking(move |_| files::read_checked(&path, TunnelState::from_json)).await
    }

    /// Keeps the tunnel's token, id, name and wanted state, in the file a DockFlare agent uses.
    pub async fn put_tunnel_state(&self, state: &TunnelState) -> Result<(), StateError> {
        let (path, json) = (self.0.root.join(TUNNEL_STATE), state.to_json());
        self.blocking(move |_| files::replace(&path, &json)).await
    }

    /// Fails if commands could not be written down now. For a master that forgets what it handed over.
    pub async fn check_room(&self) -> Result<(), StateError> {
        self.blocking(|spool| spool.journal.check_writable()).await
    }

    /// Writes down commands before they are carried out, all or none of the new ones, and says for each
    /// what is known of it.
    ///
    /// Fails with [`StateError::SpoolFull`] when too many results wait already to add those of these commands.
    pub async fn record_commands(&self, commands: Vec<NewCommand>) -> Result<Vec<Recorded>, StateError> {
        self.blocking(move |spool| {
            if commands.iter().any(|command| command.is_native) {
                spool.outbox.check_room()?;
            }
            spool.journal.record(commands)
        })
        .await
    }

    /// Returns the commands that were written down and not finished, in the order they came.
    pub async fn unfinished_commands(&self) -> Result<Vec<UnfinishedCommand>, StateError> {
        self.blocking(|spool| Ok(spool.journal.unfinished())).await
    }

    /// Writes down how a command ended. With `report`, the result also waits in the outbox from then on.
    ///
    /// The result is spooled first: after a crash in between, the redelivered command is carried out again,
    /// which every command allows, but its result is never lost.
    pub async fn record_outcome(
        &self,
        id: &CommandId,
        outcome: Outcome,
        report: bool,
    ) -> Result<(), StateError> {
        let id = id.clone();
        self.blocking(move |spool| {
            if report {
                spool.outbox.push(&SpooledItem::Result { id: id.clone(), outcome: outcome.clone() })?;
            }
            spool.journal.finish(&id, outcome)
        })
        .await
    }

    /// Lets a plan or a run wait in the outbox.
    ///
    /// Fails with [`StateError::SpoolFull`] when too much waits already.
    pub async fn spool(&self, item: SpooledItem) -> Result<(), StateError> {
        self.blocking(move |spool| spool.outbox.push(&item)).await
    }

    /// Returns what has waited longest.
    pub async fn next_spooled(&self) -> Result<Option<Spooled>, StateError> {
        self.blocking(|spool| spool.outbox.first()).await
    }

    /// Removes what the master has.
    pub async fn drop_spooled(&self, number: u64) -> Result<(), StateError> {
        self.blocking(move |spool| spool.outbox.remove(number)).await
    }

    /// Returns how much waits.
    pub async fn count_spooled(&self) -> Result<usize, StateError> {
        self.blocking(|spool| Ok(spool.outbox.len())).await
    }

    /// Runs `work` on a blocking thread. It is finished even if the caller goes away in between.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Spool) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let inner = Arc::clone(&self.0);
        let done = self.0.io.handle().spawn_blocking(move || work(&mut inner.spool.lock())).await;
        match done {
            Ok(result) => result,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime is going away: so is the process.
            Err(_) => std::future::pending().await,
        }
    }
}

impl std::fmt::Debug for StateDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StateDir").field(&self.0.root).finish()
    }
}

/// Returns the key that was kept in the directory `root`, if any, or in words why it cannot be read; the file stays as it is. Blocks.
pub fn find_agent_key(root: &Path) -> Result<Option<SecretString>, String> {
    files::peek(&root.join(AGENT_KEY), |bytes| {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?.trim();
        let is_key = (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| SecretString::from(text.to_owned())).ok_or_else(|| "it is no key".to_owned())
    })
}

/// What is written in a state directory that may be another process's. Of each file: what it holds, none if it is not there,
/// or in words why it cannot be read.
#[derive(Debug)]
pub struct Peek {
    /// Who its agent is.
    pub agent: Result<Option<AgentId>, String>,
    /// The tunnel that it is to run.
    pub tunnel: Result<Option<TunnelState>, String>,
}

/// Looks into the directory `root` without taking it: an agent may have it. What cannot be read is left as it is. Blocks.
pub fn peek(root: &Path) -> Peek {
    Peek {
        agent: files::peek(&root.join(AGENT_ID), read_agent_id),
        tunnel: files::peek(&root.join(TUNNEL_STATE), TunnelState::from_json),
    }
}

fn read_agent_id(bytes: &[u8]) -> Result<AgentId, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    AgentId::parse(text.trim()).map_err(|e| e.to_string())
}

fn lock(root: &Path) -> Result<File, StateError> {
    let path = root.join(LOCK);
    let file = open_lock_file(&path).map_err(|e| StateError::from_io(&path, "opened", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::InUse { dir: root.to_owned() }),
        Err(TryLockError::Error(source)) => Err(StateError::from_io(&path, "locked", source)),
    }
}

#[cfg(test)]
mod tests;
