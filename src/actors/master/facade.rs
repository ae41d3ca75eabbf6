//! The master as pages, API and command line see it.

use std::sync::Arc;
use std::time::Duration;

use super::directory::{Directory, KeyAccess};
use super::error::MasterError;
use super::plan::{ApplyReport, Plan};
use super::requests::{
    DeliveredCommand, Dialect, Enrolled, Incoming, KeyDropped, KeyRef, NewKey, RegisterInput, Registered,
    RemovedAgent,
};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::domain::command::{Command, Outcome};
use crate::domain::id::{AgentId, CommandId, TunnelId};

/// Handle to the master: cheap to clone, safe to share. Reads go to `db`, changes go through here.
#[derive(Clone)]
pub struct Master {
    /// Keys and slots, for requests that change nothing.
    pub directory: Arc<Directory>,
    /// The time of day.
    pub clock: Clock,
    /// Randomness.
    pub chance: Chance,
}

impl Master {
    /// Registers an agent, or greets one that is known.
    pub async fn register(
        &self,
        _key: Arc<KeyAccess>,
        _input: RegisterInput,
    ) -> Result<Registered, MasterError> {
        Err(MasterError::Busy)
    }

    /// Takes in what an agent reports; returns after the commit, with the number the next item should bear
    /// (0 for DockFlare events). Heartbeats and equal reports cross to no actor.
    pub async fn report(&self, _agent: &AgentId, _reports: impl Into<Incoming>) -> Result<u64, MasterError> {
        Err(MasterError::Busy)
    }

    /// Hands over commands; committed before it returns.
    pub async fn lease_commands(
        &self,
        _agent: &AgentId,
        _max: usize,
        _dialect: Dialect,
    ) -> Result<Vec<DeliveredCommand>, MasterError> {
        Err(MasterError::Busy)
    }

    /// Records that the agent has a command.
    pub async fn acknowledge(&self, _agent: &AgentId, _command: &CommandId) -> Result<(), MasterError> {
        Err(MasterError::Busy)
    }

    /// Records how a command ended; a second time changes nothing.
    pub async fn finish(
        &self,
        _agent: &AgentId,
        _command: &CommandId,
        _outcome: Outcome,
    ) -> Result<(), MasterError> {
        Err(MasterError::Busy)
    }

    /// Makes an agent key.
    pub async fn generate_key(&self, _owner: &str, _by: &str) -> Result<NewKey, MasterError> {
        Err(MasterError::Busy)
    }

    /// Revokes a key; its agent is not heard any more, its tunnel and routes stay.
    pub async fn revoke_key(&self, _key: KeyRef, _by: &str) -> Result<KeyDropped, MasterError> {
        Err(MasterError::Busy)
    }

    /// Drops a revoked key from the list.
    pub async fn delete_key(&self, _key: KeyRef, _by: &str) -> Result<KeyDropped, MasterError> {
        Err(MasterError::Busy)
    }

    /// Drops every revoked key from the list.
    pub async fn delete_revoked_keys(&self, _by: &str) -> Result<Vec<KeyDropped>, MasterError> {
        Err(MasterError::Busy)
    }

    /// Gives an agent a new key. The old one works until the agent registers with the new one.
    pub async fn roll_key(&self, _agent: &AgentId, _by: &str) -> Result<NewKey, MasterError> {
        Err(MasterError::Busy)
    }

    /// Gives an agent a tunnel, found by name or made, and queues the command that starts it.
    pub async fn enroll(
        &self,
        _agent: &AgentId,
        _tunnel_name: &str,
        _by: &str,
    ) -> Result<Enrolled, MasterError> {
        Err(MasterError::Busy)
    }

    /// Queues a command that replaces the agent's connector.
    pub async fn redeploy(&self, _agent: &AgentId, _by: &str) -> Result<Command, MasterError> {
        Err(MasterError::Busy)
    }

    /// Names an agent; the name it gives itself no longer counts.
    pub async fn rename(&self, _agent: &AgentId, _display_name: &str, _by: &str) -> Result<(), MasterError> {
        Err(MasterError::Busy)
    }

    /// Revokes every key of an agent.
    pub async fn revoke(&self, _agent: &AgentId, _by: &str) -> Result<(), MasterError> {
        Err(MasterError::Busy)
    }

    /// Takes an agent off the list: stops its tunnel, withdraws its routes, revokes its key.
    pub async fn remove(&self, _agent: &AgentId, _by: &str) -> Result<RemovedAgent, MasterError> {
        Err(MasterError::Busy)
    }

    /// Says what would be done at Cloudflare.
    pub async fn plan(&self) -> Result<Plan, MasterError> {
        Err(MasterError::Busy)
    }

    /// Confirms what waits for a person and carries it out; returns when the calls are done, or after `max`.
    pub async fn apply(&self, _by: &str, _max: Duration) -> Result<ApplyReport, MasterError> {
        Err(MasterError::Busy)
    }

    /// Writes this agent's wanted rules to its tunnel now; returns the version of the configuration.
    pub async fn put_agent_rules(&self, _agent: &AgentId, _tunnel: &TunnelId) -> Result<i64, MasterError> {
        Err(MasterError::Busy)
    }

    /// Makes the first administrator; refused if there is one.
    pub async fn set_up_admin(&self, _name: &str, _password_hash: &str) -> Result<(), MasterError> {
        Err(MasterError::Busy)
    }

    /// Sets an administrator's password.
    pub async fn set_admin_password(
        &self,
        _name: &str,
        _password_hash: &str,
        _by: &str,
    ) -> Result<(), MasterError> {
        Err(MasterError::Busy)
    }

    /// Changes a setting.
    pub async fn change_setting(
        &self,
        _key: &str,
        _value: serde_json::Value,
        _by: &str,
    ) -> Result<(), MasterError> {
        Err(MasterError::Busy)
    }
}
