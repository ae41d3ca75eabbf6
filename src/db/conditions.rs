//! What people may have to be told, as the rows have it now: who is offline, which tunnel is not well, who is in
//! conflict.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};

use super::cloudflare::{RouteStatusRow, TunnelStatusRow};
use super::database::{AT_ONCE, Db};
use super::entities::{agent, route_status, tunnel, tunnel_observed, tunnel_status};
use super::error::DbError;
use super::times::time;
use super::tunnels::TunnelObservedRow;
use super::words::word;
use crate::domain::agent::AgentStatus;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::publish::{Cause, PublicState};
use crate::domain::tunnel::TunnelReport;

/// An agent and whether it is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hearing {
    /// Which one.
    pub id: AgentId,
    /// Its name for people.
    pub name: String,
    /// Where it stands.
    pub status: AgentStatus,
    /// Its tunnel.
    pub tunnel_id: Option<TunnelId>,
    /// Since when nothing is heard of it.
    pub offline_since: Option<DateTime<Utc>>,
}

/// Returns agents on the list that are offline, and those of `also` whether they are or not.
pub async fn hearings(db: &Db, also: &BTreeSet<AgentId>) -> Result<Vec<Hearing>, DbError> {
    let also: Vec<String> = also.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let listed = agent::Column::Status.ne(AgentStatus::Removed.as_str());
        let silent = agent::Entity::find()
            .filter(listed.clone())
            .filter(agent::Column::OfflineSince.is_not_null())
            .all(&conn)
            .await?;
        let mut found = silent.into_iter().map(hearing).collect::<Result<Vec<_>, _>>()?;
        for chunk in also.chunks(AT_ONCE) {
            let query = agent::Entity::find()
                .filter(listed.clone())
                .filter(agent::Column::OfflineSince.is_null())
                .filter(agent::Column::Id.is_in(chunk));
            for row in query.all(&conn).await? {
                found.push(hearing(row)?);
            }
        }
        Ok(found)
    })
    .await
}

fn hearing(row: agent::Model) -> Result<Hearing, DbError> {
    Ok(Hearing {
        status: word("agent", &row.id, &row.status)?,
        id: AgentId::new(row.id),
        name: row.display_name,
        tunnel_id: row.tunnel_id.map(TunnelId::new),
        offline_since: row.offline_since.map(time),
    })
}

/// The word of an agent about its tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TunnelWord {
    /// Who says so.
    pub agent: Hearing,
    /// The tunnel that it is to serve.
    pub tunnel_id: TunnelId,
    /// What that is called.
    pub tunnel_name: Option<String>,
    /// What it says.
    pub report: TunnelReport,
}

/// Returns the words of agents that have a tunnel, those about a tunnel of `also`, and those that do not say that all is
/// well.
pub async fn tunnel_words(db: &Db, also: &BTreeSet<TunnelId>) -> Result<Vec<TunnelWord>, DbError> {
    let also: BTreeSet<String> = also.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let listed = agent::Column::Status.ne(AgentStatus::Removed.as_str());
        let mut found = Vec::new();
        // Most say that all is well, and what they say is not read.
        let well = tunnel_observed::Column::Report.contains("\"health\":\"running\"");
        let odd: Vec<tunnel_observed::Model> =
            tunnel_observed::Entity::find().filter(well.not()).all(&conn).await?;
        let ids: Vec<&str> = odd.iter().map(|row| row.agent_id.as_str()).collect();
        let mut agents = Vec::new();
        for chunk in ids.chunks(AT_ONCE) {
            let query = agent::Entity::find()
                .filter(listed.clone())
                .filter(agent::Column::TunnelId.is_not_null())
                .filter(agent::Column::Id.is_in(chunk.iter().copied()));
            agents.extend(query.all(&conn).await?);
        }
        let also: Vec<&String> = also.iter().collect();
        for chunk in also.chunks(AT_ONCE) {
            let query = agent::Entity::find()
                .filter(listed.clone())
                .filter(agent::Column::TunnelId.is_in(chunk.iter().copied()));
            agents.extend(query.all(&conn).await?);
        }
        let mut words: BTreeMap<String, tunnel_observed::Model> =
            odd.into_iter().map(|row| (row.agent_id.clone(), row)).collect();
        let well: Vec<&str> =
            agents.iter().map(|row| row.id.as_str()).filter(|id| !words.contains_key(*id)).collect();
        let mut others = Vec::new();
        for chunk in well.chunks(AT_ONCE) {
            let query = tunnel_observed::Entity::find()
                .filter(tunnel_observed::Column::AgentId.is_in(chunk.iter().copied()));
            others.extend(query.all(&conn).await?);
        }
        words.extend(others.into_iter().map(|row| (row.agent_id.clone(), row)));
        for row in agents {
            let Some(tunnel_id) = row.tunnel_id.clone().map(TunnelId::new) else { continue };
            // Taken out: an agent may be among those of both queries.
            let Some(observed) = words.remove(&row.id) else { continue };
            let tunnel_name = row.tunnel_name.clone();
            let report = TunnelObservedRow::of(observed)?.report;
            found.push(TunnelWord { agent: hearing(row)?, tunnel_id, tunnel_name, report });
        }
        Ok(found)
    })
    .await
}

/// Returns what is said of tunnels that are gone or were written to by others, and of those of `also`; each with its name.
pub async fn tunnel_troubles(
    db: &Db,
    also: &BTreeSet<TunnelId>,
) -> Result<Vec<(TunnelStatusRow, Option<String>)>, DbError> {
    use tunnel_status::Column;
    let also: Vec<String> = also.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let causes = [Cause::TunnelGone, Cause::WrittenBetween].map(Cause::as_str);
        let mut rows = tunnel_status::Entity::find().filter(Column::Cause.is_in(causes)).all(&conn).await?;
        for chunk in also.chunks(AT_ONCE) {
            let query = tunnel_status::Entity::find()
                .filter(Column::TunnelId.is_in(chunk))
                .filter(Column::Cause.is_null().or(Column::Cause.is_not_in(causes)));
            rows.extend(query.all(&conn).await?);
        }
        let mut names = BTreeMap::<String, String>::new();
        for chunk in rows.chunks(AT_ONCE) {
            let query = tunnel::Entity::find()
                .select_only()
                .columns([tunnel::Column::Id, tunnel::Column::Name])
                .filter(tunnel::Column::Id.is_in(chunk.iter().map(|row| row.tunnel_id.as_str())));
            names.extend(query.into_tuple::<(String, String)>().all(&conn).await?);
        }
        let named = |row: tunnel_status::Model| {
            let name = names.get(&row.tunnel_id).cloned();
            Ok((TunnelStatusRow::of(row)?, name))
        };
        rows.into_iter().map(named).collect()
    })
    .await
}

/// Returns what is said of routes that somebody else has the name of.
pub async fn conflicts(db: &Db) -> Result<Vec<RouteStatusRow>, DbError> {
    db.read(move |conn| async move {
        let query = route_status::Entity::find()
            .filter(route_status::Column::State.eq(PublicState::Conflict.as_str()));
        Ok(query.all(&conn).await?.into_iter().map(RouteStatusRow::of).collect())
    })
    .await
}
