//! Agents as their events left them, with when they were last heard.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{AT_ONCE, Db, limit};
use super::entities::{agent, agent_key, agent_observed};
use super::error::DbError;
use super::events::stream_version;
use super::times::time;
use super::words::{json, word};
use crate::domain::agent::AgentStatus;
use crate::domain::event::Stream;
use crate::domain::id::{AccountId, AgentId, KeyId, SecretId, TunnelId};
use crate::domain::limits::Limits;
use crate::domain::machine::OtherMachine;

/// An agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// Name for people.
    pub display_name: String,
    /// True if a person gave the name; the agent's own no longer counts.
    pub custom_name: bool,
    /// Version it runs, as it says.
    pub version: Option<String>,
    /// Where it stands.
    pub status: AgentStatus,
    /// Key it uses; none after removal.
    pub key_id: Option<KeyId>,
    /// The key of another agent that it shares, or shared until it used its own; it still opens.
    pub shared_key_id: Option<KeyId>,
    /// Owner written on the key it registered with.
    pub key_owner: String,
    /// Account of its tunnel.
    pub account_id: Option<AccountId>,
    /// Its tunnel.
    pub tunnel_id: Option<TunnelId>,
    /// Name of its tunnel.
    pub tunnel_name: Option<String>,
    /// The tunnel that its names are still in, while the connector of its new one was not seen.
    pub moving_from: Option<TunnelId>,
    /// Where the tunnel's token is kept.
    pub secret_id: Option<SecretId>,
    /// When it was heard for the first time.
    pub registered_at: DateTime<Utc>,
    /// When it last got a tunnel.
    pub enrolled_at: Option<DateTime<Utc>>,
    /// When its key was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was taken off the list.
    pub removed_at: Option<DateTime<Utc>>,
    /// Last time it was heard before it was noted as offline; none while it is not.
    pub offline_since: Option<DateTime<Utc>>,
    /// When a copy of what renews its access was used.
    pub credential_reused_at: Option<DateTime<Utc>>,
    /// What shows that it reports from another machine than the one that a person said yes to.
    pub other_machine: Option<OtherMachine>,
    /// Hostnames that it may claim, whatever its key permits; none: any.
    pub hostname_patterns: Vec<String>,
    /// Last time it was heard, up to a minute old: presence is the fleet's to know.
    pub last_seen: Option<DateTime<Utc>>,
    /// Host name it gave.
    pub hostname: Option<String>,
    /// Address it came from.
    pub peer: Option<String>,
    /// Wire dialect it speaks.
    pub dialect: Option<String>,
    /// What a person should know, such as two hosts on one key.
    pub problem: Option<String>,
}

impl AgentRow {
    /// Returns the tunnel that its names are published in.
    pub fn publishes_in(&self) -> Option<&TunnelId> {
        self.moving_from.as_ref().or(self.tunnel_id.as_ref())
    }

    /// True if it has no key but the one of another agent.
    pub fn shares_key(&self) -> bool {
        self.shared_key_id.is_some() && self.shared_key_id == self.key_id
    }

    pub(super) fn of(row: agent::Model, seen: Option<agent_observed::Model>) -> Result<Self, DbError> {
        let status = word("agent", &row.id, &row.status)?;
        let hostname_patterns = json("agent", &row.id, &row.hostname_patterns)?;
        let other_machine =
            row.other_machine.as_deref().map(|text| json("agent", &row.id, text)).transpose()?;
        let seen = seen.unwrap_or_else(|| agent_observed::Model::unseen(&row.id));
        Ok(Self {
            id: AgentId::new(row.id),
            display_name: row.display_name,
            custom_name: row.custom_name,
            version: row.version,
            status,
            key_id: row.key_id.map(KeyId::new),
            shared_key_id: row.shared_key_id.map(KeyId::new),
            key_owner: row.key_owner,
            account_id: row.account_id.map(AccountId::new),
            tunnel_id: row.tunnel_id.map(TunnelId::new),
            tunnel_name: row.tunnel_name,
            moving_from: row.moving_from.map(TunnelId::new),
            secret_id: row.secret_id.map(SecretId::new),
            registered_at: time(row.registered_at),
            enrolled_at: row.enrolled_at.map(time),
            revoked_at: row.revoked_at.map(time),
            removed_at: row.removed_at.map(time),
            offline_since: row.offline_since.map(time),
            credential_reused_at: row.credential_reused_at.map(time),
            other_machine,
            hostname_patterns,
            last_seen: seen.last_seen_at.map(time),
            hostname: seen.hostname,
            peer: seen.peer,
            dialect: seen.dialect,
            problem: seen.problem,
        })
    }
}

impl agent_observed::Model {
    /// What is known of an agent that was not heard yet.
    pub(super) fn unseen(agent_id: &str) -> Self {
        Self {
            agent_id: agent_id.into(),
            last_seen_at: None,
            hostname: None,
            peer: None,
            dialect: None,
            problem: None,
        }
    }
}

/// Returns an agent, removed ones too.
pub async fn find_agent(db: &Db, id: &AgentId) -> Result<Option<AgentRow>, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        let Some(row) = agent::Entity::find_by_id(&id).one(&conn).await? else {
            return Ok(None);
        };
        let seen = agent_observed::Entity::find_by_id(&id).one(&conn).await?;
        AgentRow::of(row, seen).map(Some)
    })
    .await
}

/// Returns an agent; fails with [`DbError::Missing`] if there is none.
pub async fn get_agent(db: &Db, id: &AgentId) -> Result<AgentRow, DbError> {
    find_agent(db, id).await?.ok_or_else(|| DbError::Missing { kind: "agent", id: id.to_string() })
}

/// Where an agent stands, with the version of its stream that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Version of the agent's own stream: a batch that assumes it is refused once somebody decided anew.
    pub version: u64,
    /// Where it stands; an agent that is not known stands like a removed one.
    pub status: AgentStatus,
    /// Its tunnel, with the name and the place of the token.
    pub tunnel: Option<(TunnelId, String, SecretId)>,
}

/// Returns where an agent stands.
pub async fn find_standing(db: &Db, id: &AgentId) -> Result<Standing, DbError> {
    // The version first: what is decided after it shows as a conflict.
    let version = stream_version(db, &Stream::agent(id)).await?;
    let row = find_agent(db, id).await?;
    let status = row.as_ref().map_or(AgentStatus::Removed, |row| row.status);
    let tunnel = row.and_then(|row| Some((row.tunnel_id?, row.tunnel_name?, row.secret_id?)));
    Ok(Standing { version, status, tunnel })
}

/// Returns which hostnames an agent may claim: its own patterns and those of the key it uses.
pub async fn find_limits(db: &Db, id: &AgentId) -> Result<Limits, DbError> {
    let id = id.as_str().to_owned();
    db.read(move |conn| async move {
        let Some(row) = agent::Entity::find_by_id(&id).one(&conn).await? else {
            return Ok(Limits::default());
        };
        let key = match &row.key_id {
            Some(key) => agent_key::Entity::find_by_id(key).one(&conn).await?,
            None => None,
        };
        Ok(Limits {
            agent: json("agent", &row.id, &row.hostname_patterns)?,
            key: key.map_or(Ok(Vec::new()), |key| json("key", &key.id, &key.hostname_patterns))?,
        })
    })
    .await
}

/// Returns agents that were not removed, by id, after `after`, at most `max`.
pub async fn list_agents(db: &Db, after: Option<&AgentId>, max: u64) -> Result<Vec<AgentRow>, DbError> {
    let after = after.map(|id| id.as_str().to_owned());
    db.read(move |conn| async move {
        let mut query = agent::Entity::find()
            .filter(agent::Column::Status.ne(AgentStatus::Removed.as_str()))
            .order_by_asc(agent::Column::Id)
            .limit(limit(max));
        if let Some(after) = after {
            query = query.filter(agent::Column::Id.gt(after));
        }
        let rows = query.all(&conn).await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let seen = agent_observed::Entity::find()
            .filter(agent_observed::Column::AgentId.between(&first.id, &last.id))
            .all(&conn)
            .await?;
        joined(rows, seen)
    })
    .await
}

/// Returns the names of those of these agents that were not removed.
pub async fn agent_names(db: &Db, agents: &[AgentId]) -> Result<HashMap<AgentId, String>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut names = HashMap::new();
        for chunk in agents.chunks(AT_ONCE) {
            let rows: Vec<(String, String)> = agent::Entity::find()
                .select_only()
                .columns([agent::Column::Id, agent::Column::DisplayName])
                .filter(agent::Column::Id.is_in(chunk))
                .filter(agent::Column::Status.ne(AgentStatus::Removed.as_str()))
                .into_tuple()
                .all(&conn)
                .await?;
            names.extend(rows.into_iter().map(|(id, name)| (AgentId::new(id), name)));
        }
        Ok(names)
    })
    .await
}

/// Returns every agent, removed ones too: what the fleet loads at start.
pub async fn load_agents(db: &Db) -> Result<Vec<AgentRow>, DbError> {
    db.read(move |conn| async move {
        let seen = agent_observed::Entity::find().all(&conn).await?;
        joined(agent::Entity::find().order_by_asc(agent::Column::Id).all(&conn).await?, seen)
    })
    .await
}

/// Puts what was decided of agents and what was seen of them together.
fn joined(rows: Vec<agent::Model>, seen: Vec<agent_observed::Model>) -> Result<Vec<AgentRow>, DbError> {
    let mut seen: HashMap<_, _> = seen.into_iter().map(|row| (row.agent_id.clone(), row)).collect();
    rows.into_iter()
        .map(|row| {
            let seen = seen.remove(&row.id);
            AgentRow::of(row, seen)
        })
        .collect()
}
