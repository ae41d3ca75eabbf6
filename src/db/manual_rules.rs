//! Rules that people made.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::cloudflare::{NOBODYS, RouteStatusRow};
use super::database::{AT_ONCE, Db, limit};
use super::entities::{claim, manual_rule, route_status};
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::manual_rule::ManualRule;
use crate::domain::route::RouteKey;

/// A rule, and who set it.
#[derive(Debug, Clone, PartialEq)]
pub struct ManualRuleRow {
    /// The rule.
    pub rule: ManualRule,
    /// When it was set.
    pub set_at: DateTime<Utc>,
    /// Who set it.
    pub set_by: String,
}

/// Whose a hostname is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimant {
    /// An agent's, one of whose containers asked for it.
    Agent(AgentId),
    /// A person made a rule for it, in this tunnel.
    Rule(TunnelId),
}

pub(super) fn row(row: manual_rule::Model) -> Result<ManualRuleRow, DbError> {
    let id = format!("{}{}", row.hostname, row.path);
    let spec = json("rule", &id, &row.service)?;
    let rule = ManualRule { tunnel_id: TunnelId::new(row.tunnel_id), spec };
    Ok(ManualRuleRow { rule, set_at: time(row.set_at), set_by: row.set_by })
}

/// Returns a rule, if a person made one for just this.
pub async fn find_rule(db: &Db, key: &RouteKey) -> Result<Option<ManualRuleRow>, DbError> {
    let key = (key.hostname.clone(), key.path.clone());
    db.read(
        move |conn| async move { manual_rule::Entity::find_by_id(key).one(&conn).await?.map(row).transpose() },
    )
    .await
}

/// Returns the rules of these hostnames, by hostname and path.
pub async fn rules_of_names(db: &Db, hostnames: &[String]) -> Result<Vec<ManualRuleRow>, DbError> {
    let hostnames = hostnames.to_vec();
    db.read(move |conn| async move {
        let mut found = Vec::new();
        for chunk in hostnames.chunks(AT_ONCE) {
            let query = manual_rule::Entity::find()
                .filter(manual_rule::Column::Hostname.is_in(chunk))
                .order_by_asc(manual_rule::Column::Hostname)
                .order_by_asc(manual_rule::Column::Path);
            for model in query.all(&conn).await? {
                found.push(row(model)?);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the rules of these tunnels, each by hostname and path.
pub async fn rules_of_tunnels(
    db: &Db,
    tunnels: &[TunnelId],
) -> Result<HashMap<TunnelId, Vec<ManualRule>>, DbError> {
    let tunnels: Vec<String> = tunnels.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<TunnelId, Vec<ManualRule>>::new();
        for chunk in tunnels.chunks(AT_ONCE) {
            let query = manual_rule::Entity::find()
                .filter(manual_rule::Column::TunnelId.is_in(chunk))
                .order_by_asc(manual_rule::Column::Hostname)
                .order_by_asc(manual_rule::Column::Path);
            for model in query.all(&conn).await? {
                let rule = row(model)?.rule;
                found.entry(rule.tunnel_id.clone()).or_default().push(rule);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns rules after `after` by hostname and path, at most `max`.
pub async fn list_rules(db: &Db, after: Option<&RouteKey>, max: u64) -> Result<Vec<ManualRuleRow>, DbError> {
    use manual_rule::Column;
    let after = after.cloned();
    db.read(move |conn| async move {
        let mut query = manual_rule::Entity::find()
            .order_by_asc(Column::Hostname)
            .order_by_asc(Column::Path)
            .limit(limit(max));
        if let Some(after) = after {
            let same_name = Column::Hostname.eq(&after.hostname).and(Column::Path.gt(&after.path));
            query = query.filter(Column::Hostname.gt(&after.hostname).or(same_name));
        }
        query.all(&conn).await?.into_iter().map(row).collect()
    })
    .await
}

/// Counts the rules.
pub async fn count_rules(db: &Db) -> Result<u64, DbError> {
    db.read(move |conn| async move { Ok(manual_rule::Entity::find().count(&conn).await?) }).await
}

/// Returns what is said of the rules of these hostnames.
pub async fn status_of_rules(db: &Db, hostnames: &[String]) -> Result<Vec<RouteStatusRow>, DbError> {
    let hostnames = hostnames.to_vec();
    db.read(move |conn| async move {
        let mut found = Vec::new();
        for chunk in hostnames.chunks(AT_ONCE) {
            let query = route_status::Entity::find()
                .filter(route_status::Column::AgentId.eq(NOBODYS))
                .filter(route_status::Column::Hostname.is_in(chunk));
            found.extend(query.all(&conn).await?.into_iter().map(RouteStatusRow::of));
        }
        Ok(found)
    })
    .await
}

/// Returns whose a hostname is; none if it is free.
pub async fn find_claimant(db: &Db, hostname: &str) -> Result<Option<Claimant>, DbError> {
    let hostname = hostname.to_owned();
    db.read(move |conn| async move {
        if let Some(row) = claim::Entity::find_by_id(&hostname).one(&conn).await? {
            return Ok(Some(Claimant::Agent(AgentId::new(row.agent_id))));
        }
        let query = manual_rule::Entity::find().filter(manual_rule::Column::Hostname.eq(&hostname));
        let rule = query.one(&conn).await?;
        Ok(rule.map(|row| Claimant::Rule(TunnelId::new(row.tunnel_id))))
    })
    .await
}
