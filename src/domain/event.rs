//! Decisions, as they are written down for good. No event holds a secret.
//!
//! A stream has one owner: `keys` and `agent/<id>` belong to the registrar, `agent/<id>/commands` to that
//! agent's dispatcher, `agent/<id>/routes` to its container mirror, `agent/<id>/presence` to its shard,
//! `tunnel/<id>` to the Cloudflare account, `admin` to the registrar.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::command::{CommandKind, Outcome};
use super::id::{AccountId, AgentId, CommandId, ContainerId, KeyId, SecretId, TunnelId, ZoneId};
use super::role::Role;
use super::route::{Release, RouteKey, Service};

/// Name of a stream of events.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stream(pub String);

impl Stream {
    /// Agent keys.
    pub fn keys() -> Self {
        Self("keys".into())
    }

    /// Administrators and settings.
    pub fn admin() -> Self {
        Self("admin".into())
    }

    /// Who an agent is and which tunnel it has.
    pub fn agent(id: &AgentId) -> Self {
        Self(format!("agent/{id}"))
    }

    /// An agent's commands.
    pub fn commands(id: &AgentId) -> Self {
        Self(format!("agent/{id}/commands"))
    }

    /// An agent's routes.
    pub fn routes(id: &AgentId) -> Self {
        Self(format!("agent/{id}/routes"))
    }

    /// When an agent went and came back.
    pub fn presence(id: &AgentId) -> Self {
        Self(format!("agent/{id}/presence"))
    }

    /// What a person decided about a tunnel, and what was given up of it.
    pub fn tunnel(id: &TunnelId) -> Self {
        Self(format!("tunnel/{id}"))
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A decision. The tag is the event's type in the database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A key was made; `sha256` is the hex digest of 32 random bytes in base64url.
    KeyGenerated { key_id: KeyId, owner: String, sha256: String, rolled_from: Option<KeyId> },
    /// Agents that use the key may claim these hostnames only; none: any.
    KeyLimited { key_id: KeyId, hostname_patterns: Vec<String> },
    /// A key no longer opens anything.
    KeyRevoked { key_id: KeyId },
    /// A revoked key was dropped from the list.
    KeyDeleted { key_id: KeyId },

    /// An agent was heard for the first time; it waits for a person.
    AgentRegistered {
        agent_id: AgentId,
        key_id: KeyId,
        display_name: String,
        version: Option<String>,
        key_owner: String,
    },
    /// An agent came with another version or another name of its own.
    AgentUpdated { agent_id: AgentId, display_name: String, version: Option<String> },
    /// A person named the agent; its own name no longer counts.
    AgentRenamed { agent_id: AgentId, display_name: String },
    /// An agent may claim these hostnames only, whatever its key permits; none: any.
    AgentLimited { agent_id: AgentId, hostname_patterns: Vec<String> },
    /// An agent may publish, though it has no tunnel yet: without a Cloudflare token its routes are planned.
    AgentApproved { agent_id: AgentId },
    /// An agent got a tunnel; its routes may be published.
    AgentEnrolled {
        agent_id: AgentId,
        account_id: AccountId,
        tunnel_id: TunnelId,
        tunnel_name: String,
        secret_id: SecretId,
        /// Ids of the connectors that served the tunnel already; none if Cloudflare did not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connectors: Option<Vec<String>>,
    },
    /// The names of an agent that was just enrolled stay in the tunnel that it had until the new one's connector is seen.
    AgentMoving { agent_id: AgentId, from: TunnelId, to: TunnelId },
    /// That connector was seen, or a person did not want to wait: the names move.
    AgentMoved { agent_id: AgentId, from: TunnelId, to: TunnelId },
    /// An agent's key was revoked: it is not heard until it has a new one.
    AgentRevoked { agent_id: AgentId, key_id: KeyId },
    /// An agent got another key.
    AgentKeyRolled { agent_id: AgentId, key_id: KeyId },
    /// An agent was taken off the list; routes and tunnel go with it.
    AgentRemoved { agent_id: AgentId },

    /// Nothing was heard from an agent for the time-out.
    AgentOffline { agent_id: AgentId, last_seen: DateTime<Utc> },
    /// It is heard again.
    AgentBack { agent_id: AgentId },

    /// A command waits for its agent.
    CommandQueued {
        agent_id: AgentId,
        command_id: CommandId,
        command: CommandKind,
        expires_at: DateTime<Utc>,
    },
    /// A command was handed over; written before the answer was sent.
    CommandDelivered { agent_id: AgentId, command_id: CommandId, attempt: u32, lease_until: DateTime<Utc> },
    /// The agent has it.
    CommandAcknowledged { agent_id: AgentId, command_id: CommandId },
    /// It goes back to the queue: nobody confirmed it in time.
    CommandRequeued { agent_id: AgentId, command_id: CommandId },
    /// The wall clock leapt, and its life moves with it.
    CommandPostponed { agent_id: AgentId, command_id: CommandId, expires_at: DateTime<Utc> },
    /// It came to its end.
    CommandFinished { agent_id: AgentId, command_id: CommandId, outcome: Outcome },
    /// It was not done in time, or nobody ever confirmed it.
    CommandExpired { agent_id: AgentId, command_id: CommandId },

    /// A container's labels claimed a route, and nobody else held it.
    RouteClaimed { agent_id: AgentId, container_id: ContainerId, container_name: String, service: Service },
    /// Its labels ask for something else now, or another container carries it.
    RouteChanged { agent_id: AgentId, container_id: ContainerId, container_name: String, service: Service },
    /// Its container is gone; the grace period runs. `explained` if the Engine said itself that the container ended,
    /// and it was not only missing from a list.
    RouteLost {
        agent_id: AgentId,
        route: RouteKey,
        due_at: DateTime<Utc>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        explained: bool,
    },
    /// Its container is back.
    RouteRestored { agent_id: AgentId, route: RouteKey, container_id: ContainerId },
    /// Too much would go at once: it stays until a person confirms.
    RouteHeld { agent_id: AgentId, route: RouteKey },
    /// It is withdrawn; the name is free for others.
    RouteReleased {
        agent_id: AgentId,
        route: RouteKey,
        #[serde(default, skip_serializing_if = "Release::is_unexplained")]
        why: Release,
    },

    /// A person agreed to what `foreign` rules were found in a tunnel; we may write to it.
    TunnelConfirmed { tunnel_id: TunnelId, by: String },
    /// The tunnel that an agent was enrolled with was not there before: we made it.
    TunnelMade { tunnel_id: TunnelId },
    /// A tunnel of our making was deleted: its agent is removed, and nobody is connected to it.
    TunnelDeleted { tunnel_id: TunnelId },
    /// A DNS record of ours cannot be deleted, because its zone left the account: it is no longer counted as ours.
    DnsRecordForgotten { tunnel_id: TunnelId, zone_id: ZoneId, name: String },

    /// The first administrator, or another one.
    AdminCreated {
        name: String,
        #[serde(default, skip_serializing_if = "Role::is_admin")]
        role: Role,
    },
    /// An administrator has another password; the hash is in table `secrets`.
    AdminPasswordChanged { name: String },
    /// A setting was changed on the page or over the API.
    SettingChanged { key: String, value: serde_json::Value },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_is_read_and_written_as_it_was_stored_from_the_beginning() {
        for stored in include_str!("../../tests/fixtures/events.jsonl").lines() {
            let event: Event =
                serde_json::from_str(stored).unwrap_or_else(|error| panic!("{error}: {stored}"));
            assert_eq!(serde_json::to_string(&event).unwrap(), stored);
        }
    }
}
