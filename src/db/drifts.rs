//! What others changed of ours at Cloudflare, and what a person said yes to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::database::{AT_ONCE, Db, limit};
use super::entities::{drift, reviewed_route};
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::drift::{Drift, DriftState};
use crate::domain::id::{AccountId, AgentId, TunnelId};
use crate::domain::owned::OwnedKind;
use crate::domain::route::Service;

/// What was found last of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftRow {
    /// Its account.
    pub account_id: AccountId,
    /// What was found.
    pub drift: Drift,
    /// In the work for which tunnel.
    pub tunnel_id: TunnelId,
    /// When.
    pub found_at: DateTime<Utc>,
    /// Where it stands.
    pub state: DriftState,
}

fn row(row: drift::Model) -> Result<DriftRow, DbError> {
    let unreadable = |what: &str| DbError::Unreadable {
        kind: "drift",
        id: row.name.clone(),
        reason: format!("`{what}` is no word of this release"),
    };
    let kind = OwnedKind::parse(&row.kind).ok_or_else(|| unreadable(&row.kind))?;
    let state = DriftState::parse(&row.state).ok_or_else(|| unreadable(&row.state))?;
    Ok(DriftRow {
        account_id: AccountId::new(row.account_id),
        drift: Drift { kind, name: row.name, wanted: row.wanted, found: row.found },
        tunnel_id: TunnelId::new(row.tunnel_id),
        found_at: time(row.found_at),
        state,
    })
}

/// What a row about a thing is found by.
pub(super) fn drift_key(account: &AccountId, kind: OwnedKind, name: &str) -> (String, String, String) {
    (account.as_str().to_owned(), kind.as_str().to_owned(), name.to_owned())
}

/// Returns what was found last of one thing.
pub async fn find_drift(
    db: &Db,
    account: &AccountId,
    kind: OwnedKind,
    name: &str,
) -> Result<Option<DriftRow>, DbError> {
    let key = drift_key(account, kind, name);
    db.read(move |conn| async move { drift::Entity::find_by_id(key).one(&conn).await?.map(row).transpose() })
        .await
}

/// Returns what was found in an account and is not put right yet.
pub async fn open_drifts(db: &Db, account: &AccountId) -> Result<Vec<DriftRow>, DbError> {
    let account = account.as_str().to_owned();
    db.read(move |conn| async move {
        let query = drift::Entity::find()
            .filter(drift::Column::AccountId.eq(account))
            .filter(drift::Column::State.ne(DriftState::Healed.as_str()))
            .order_by_asc(drift::Column::Kind)
            .order_by_asc(drift::Column::Name);
        query.all(&conn).await?.into_iter().map(row).collect()
    })
    .await
}

/// Returns the newest findings of these names, at most `max`.
pub async fn drifts_of_names(db: &Db, names: &[String], max: u64) -> Result<Vec<DriftRow>, DbError> {
    let names: Vec<String> = names.iter().take(AT_ONCE).cloned().collect();
    db.read(move |conn| async move {
        let query = drift::Entity::find()
            .filter(drift::Column::Name.is_in(names))
            .order_by_desc(drift::Column::FoundAt)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(row).collect()
    })
    .await
}

/// Returns the newest findings of policies, at most `max`.
pub async fn policy_drifts(db: &Db, max: u64) -> Result<Vec<DriftRow>, DbError> {
    db.read(move |conn| async move {
        let query = drift::Entity::find()
            .filter(drift::Column::Kind.eq(OwnedKind::Policy.as_str()))
            .order_by_desc(drift::Column::FoundAt)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(row).collect()
    })
    .await
}

/// Returns findings that were put right before a time, at most `max`.
pub async fn healed_before(db: &Db, before: DateTime<Utc>, max: u64) -> Result<Vec<DriftRow>, DbError> {
    db.read(move |conn| async move {
        let query = drift::Entity::find()
            .filter(drift::Column::State.eq(DriftState::Healed.as_str()))
            .filter(drift::Column::FoundAt.lt(super::times::micros(before)))
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(row).collect()
    })
    .await
}

/// Returns the hosts of which a person said yes to something.
pub async fn reviewed_agents(db: &Db) -> Result<Vec<AgentId>, DbError> {
    db.read(move |conn| async move {
        let agents =
            reviewed_route::Entity::find().select_only().column(reviewed_route::Column::AgentId).distinct();
        let agents: Vec<String> = agents.into_tuple().all(&conn).await?;
        Ok(agents.into_iter().map(AgentId::new).collect())
    })
    .await
}

/// Returns what a person said yes to of what the labels on these hosts ask for.
pub async fn reviewed_of_agents(
    db: &Db,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<Service>>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<AgentId, Vec<Service>>::new();
        for chunk in agents.chunks(AT_ONCE) {
            let query = reviewed_route::Entity::find()
                .filter(reviewed_route::Column::AgentId.is_in(chunk))
                .order_by_asc(reviewed_route::Column::Hostname)
                .order_by_asc(reviewed_route::Column::Path);
            for row in query.all(&conn).await? {
                let service = json("reviewed route", &row.hostname, &row.service)?;
                found.entry(AgentId::new(row.agent_id)).or_default().push(service);
            }
        }
        Ok(found)
    })
    .await
}
