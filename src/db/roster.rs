//! Who is who, as the tables say it: what memory begins with at a start.

use super::agents::{AgentRow, load_agents};

use super::database::Db;
use super::error::DbError;
use super::events::stream_version;
use super::keys::load_keys;
use crate::domain::agent::KeyStatus;
use crate::domain::event::Stream;
use crate::domain::roster::{Member, OpenKey, Roster};

/// Keys and agents, with what else is known of the agents.
pub struct Loaded {
    /// Who is who.
    pub roster: Roster,
    /// Version of the stream of keys, or an older one.
    pub keys_version: u64,
    /// Every agent, removed ones too.
    pub agents: Vec<AgentRow>,
}

/// Reads keys and agents.
pub async fn load_roster(db: &Db) -> Result<Loaded, DbError> {
    // The version first: what is written after it shows as a conflict.
    let keys_version = stream_version(db, &Stream::keys()).await?;
    let agents = load_agents(db).await?;
    let mut roster = Roster::default();
    for key in load_keys(db).await?.into_iter().filter(|key| key.status == KeyStatus::Active) {
        let open =
            OpenKey { owner: key.owner, sha256: key.sha256, agent: key.bound_agent_id, seats: key.seats };
        roster.put_key(key.id, open);
    }
    for row in &agents {
        let member = Member {
            status: row.status,
            key: row.key_id.clone(),
            shared_key: row.shared_key_id.clone(),
            display_name: row.display_name.clone(),
            custom_name: row.custom_name,
            version: row.version.clone(),
            tunnel: row.tunnel_id.clone(),
            moving_from: row.moving_from.clone(),
            is_offline: row.offline_since.is_some(),
        };
        roster.put_member(row.id.clone(), member);
    }
    Ok(Loaded { roster, keys_version, agents })
}
