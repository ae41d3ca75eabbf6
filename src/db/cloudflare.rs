//! What is ours at Cloudflare, and what Cloudflare made of what we asked.

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{AT_ONCE, Db, limit};
use super::entities::{
    access_application, access_policy, applied_rule, call_budget, dns_record, route, route_status, tunnel,
    tunnel_connectors, tunnel_status,
};
use super::error::DbError;
use super::times::time;
use super::words::json;
use crate::domain::connector::Listed;
use crate::domain::id::{AccountId, AgentId, RecordId, TunnelId, ZoneId};
use crate::domain::publish::Cause;
use crate::domain::route::RouteKey;

/// Stands in the place of an agent in what is said of a rule that a person made.
pub(super) const NOBODYS: &str = "";

/// An ingress rule that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedRule {
    /// Hostname and path.
    #[serde(flatten)]
    pub key: RouteKey,
    /// The rule as it was sent.
    pub rule: serde_json::Value,
}

/// A DNS record that is ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecordRow {
    /// Its zone.
    pub zone_id: ZoneId,
    /// Its full name.
    pub name: String,
    /// Its id; none while the call that makes it is under way.
    pub record_id: Option<RecordId>,
    /// The tunnel it leads to.
    pub tunnel_id: TunnelId,
    /// What it points at.
    pub content: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// False from before a call that makes, changes or deletes it until its outcome is known: what Cloudflare has is
    /// looked at before anything is said of it.
    pub is_settled: bool,
}

/// What Cloudflare made of a route, or why it was not asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatusRow {
    /// Whose route; a refused second claim has a row of its own. None for a rule that a person made.
    pub agent_id: Option<AgentId>,
    /// Hostname and path.
    #[serde(flatten)]
    pub key: RouteKey,
    /// One word, such as `planned` or `published`.
    pub state: String,
    /// Why, in words for a person.
    pub reason: Option<String>,
    /// Why, in a word for decisions.
    pub cause: Option<Cause>,
    /// Last answer of Cloudflare.
    pub answer: Option<String>,
    /// When this was found.
    pub updated_at: DateTime<Utc>,
}

/// What Cloudflare made of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelStatusRow {
    /// The tunnel.
    pub tunnel_id: TunnelId,
    /// One word, such as `applied` or `waiting`.
    pub state: String,
    /// Why, in words for a person.
    pub reason: Option<String>,
    /// Why, in a word for decisions.
    pub cause: Option<Cause>,
    /// Last answer of Cloudflare.
    pub answer: Option<String>,
    /// Version of the configuration after our last write or read.
    pub config_version: Option<i64>,
    /// Rules and keys in it that are not ours.
    pub foreign_rules: serde_json::Value,
    /// When this was found.
    pub updated_at: DateTime<Utc>,
    /// Since when the configuration has its version; what is written says nothing of it.
    pub version_since: Option<DateTime<Utc>>,
    /// False from before a write of its configuration until the outcome is known.
    pub is_settled: bool,
}

/// Who serves a tunnel, as Cloudflare lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelConnectorsRow {
    /// The tunnel.
    pub tunnel_id: TunnelId,
    /// Its connectors.
    pub listed: Listed,
    /// Version that was made to have a connector take its configuration; none while no connector is behind.
    pub written_again: Option<i64>,
}

impl TunnelConnectorsRow {
    fn of(row: tunnel_connectors::Model) -> Result<Self, DbError> {
        let connectors = json("connectors of tunnel", &row.tunnel_id, &row.connectors)?;
        Ok(Self {
            listed: Listed { connectors, at: time(row.listed_at) },
            tunnel_id: TunnelId::new(row.tunnel_id),
            written_again: row.written_again,
        })
    }
}

/// How many calls an account may still make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallBudgetRow {
    /// The account.
    pub account_id: AccountId,
    /// Calls that could be made at that time; fewer than none if some were made in advance.
    pub calls_left: i64,
    /// When that was so.
    pub noted_at: DateTime<Utc>,
    /// Until when Cloudflare asked to make none at all.
    pub blocked_until: Option<DateTime<Utc>>,
}

impl RouteStatusRow {
    pub(super) fn of(row: route_status::Model) -> Self {
        Self {
            agent_id: Some(row.agent_id).filter(|id| id != NOBODYS).map(AgentId::new),
            key: RouteKey { hostname: row.hostname, path: row.path },
            state: row.state,
            reason: row.reason,
            cause: row.cause.as_deref().and_then(Cause::parse),
            answer: row.answer,
            updated_at: time(row.updated_at),
        }
    }
}

impl TunnelStatusRow {
    pub(super) fn of(row: tunnel_status::Model) -> Result<Self, DbError> {
        Ok(Self {
            foreign_rules: json("tunnel", &row.tunnel_id, &row.foreign_rules)?,
            tunnel_id: TunnelId::new(row.tunnel_id),
            state: row.state,
            reason: row.reason,
            cause: row.cause.as_deref().and_then(Cause::parse),
            answer: row.answer,
            config_version: row.config_version,
            updated_at: time(row.updated_at),
            version_since: row.version_since.map(time),
            is_settled: row.settled,
        })
    }
}

/// What a row about a route is found by.
pub(super) fn status_key(agent_id: Option<&AgentId>, key: &RouteKey) -> (String, String, String) {
    let agent_id = agent_id.map_or(NOBODYS, AgentId::as_str);
    (agent_id.to_owned(), key.hostname.clone(), key.path.clone())
}

pub(super) fn dns_record(row: dns_record::Model) -> DnsRecordRow {
    DnsRecordRow {
        zone_id: ZoneId::new(row.zone_id),
        name: row.name,
        record_id: row.record_id.map(RecordId::new),
        tunnel_id: TunnelId::new(row.tunnel_id),
        content: row.content,
        created_at: time(row.created_at),
        is_settled: row.settled,
    }
}

/// Returns the rules of a tunnel that are ours, by hostname and path.
pub async fn list_applied_rules(db: &Db, tunnel: &TunnelId) -> Result<Vec<AppliedRule>, DbError> {
    let mut found = applied_rules_of(db, std::slice::from_ref(tunnel)).await?;
    Ok(found.remove(tunnel).unwrap_or_default())
}

/// Returns the rules of these tunnels that are ours, each by hostname and path.
pub async fn applied_rules_of(
    db: &Db,
    tunnels: &[TunnelId],
) -> Result<HashMap<TunnelId, Vec<AppliedRule>>, DbError> {
    let tunnels = texts(tunnels);
    db.read(move |conn| async move {
        let mut found = HashMap::<TunnelId, Vec<AppliedRule>>::new();
        for chunk in tunnels.chunks(AT_ONCE) {
            let query = applied_rule::Entity::find()
                .filter(applied_rule::Column::TunnelId.is_in(chunk))
                .order_by_asc(applied_rule::Column::Hostname)
                .order_by_asc(applied_rule::Column::Path);
            for row in query.all(&conn).await? {
                let rule = json("applied rule", &row.hostname, &row.rule)?;
                let rule = AppliedRule { key: RouteKey { hostname: row.hostname, path: row.path }, rule };
                found.entry(TunnelId::new(row.tunnel_id)).or_default().push(rule);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the tunnels that have rules of ours for a hostname.
pub async fn tunnels_with_rules(db: &Db, hostname: &str) -> Result<BTreeSet<TunnelId>, DbError> {
    let hostname = hostname.to_owned();
    db.read(move |conn| async move {
        let query = applied_rule::Entity::find()
            .select_only()
            .column(applied_rule::Column::TunnelId)
            .distinct()
            .filter(applied_rule::Column::Hostname.eq(hostname));
        let found: Vec<String> = query.into_tuple().all(&conn).await?;
        Ok(found.into_iter().map(TunnelId::new).collect())
    })
    .await
}

/// Returns our DNS records that lead to these tunnels, each by zone and name.
pub async fn dns_records_of(
    db: &Db,
    tunnels: &[TunnelId],
) -> Result<HashMap<TunnelId, Vec<DnsRecordRow>>, DbError> {
    let tunnels = texts(tunnels);
    db.read(move |conn| async move {
        let mut found = HashMap::<TunnelId, Vec<DnsRecordRow>>::new();
        for chunk in tunnels.chunks(AT_ONCE) {
            let query = dns_record::Entity::find()
                .filter(dns_record::Column::TunnelId.is_in(chunk))
                .order_by_asc(dns_record::Column::ZoneId)
                .order_by_asc(dns_record::Column::Name);
            for row in query.all(&conn).await?.into_iter().map(dns_record) {
                found.entry(row.tunnel_id.clone()).or_default().push(row);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns our DNS records that lead to these targets, whoever is to have them, each by zone and name.
pub async fn dns_records_to(
    db: &Db,
    targets: &[String],
) -> Result<HashMap<String, Vec<DnsRecordRow>>, DbError> {
    let targets = targets.to_vec();
    db.read(move |conn| async move {
        let mut found = HashMap::<String, Vec<DnsRecordRow>>::new();
        for chunk in targets.chunks(AT_ONCE) {
            let query = dns_record::Entity::find()
                .filter(dns_record::Column::Content.is_in(chunk))
                .order_by_asc(dns_record::Column::ZoneId)
                .order_by_asc(dns_record::Column::Name);
            for row in query.all(&conn).await?.into_iter().map(dns_record) {
                found.entry(row.content.clone()).or_default().push(row);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns what Cloudflare made of these tunnels.
pub async fn tunnel_status_of(
    db: &Db,
    tunnels: &[TunnelId],
) -> Result<HashMap<TunnelId, TunnelStatusRow>, DbError> {
    let tunnels = texts(tunnels);
    db.read(move |conn| async move {
        let mut found = HashMap::new();
        for chunk in tunnels.chunks(AT_ONCE) {
            let query = tunnel_status::Entity::find().filter(tunnel_status::Column::TunnelId.is_in(chunk));
            for row in query.all(&conn).await? {
                let row = TunnelStatusRow::of(row)?;
                found.insert(row.tunnel_id.clone(), row);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the state of each route of these agents, each by hostname and path.
pub async fn route_status_of(
    db: &Db,
    agents: &[AgentId],
) -> Result<HashMap<AgentId, Vec<RouteStatusRow>>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = HashMap::<AgentId, Vec<RouteStatusRow>>::new();
        for chunk in agents.chunks(AT_ONCE) {
            let query = route_status::Entity::find()
                .filter(route_status::Column::AgentId.is_in(chunk))
                .order_by_asc(route_status::Column::Hostname)
                .order_by_asc(route_status::Column::Path);
            for row in query.all(&conn).await? {
                let agent = AgentId::new(row.agent_id.clone());
                found.entry(agent).or_default().push(RouteStatusRow::of(row));
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the names that have a record of ours.
pub async fn names_with_records(db: &Db) -> Result<HashSet<String>, DbError> {
    db.read(move |conn| async move {
        let names = dns_record::Entity::find().select_only().column(dns_record::Column::Name);
        Ok(names.into_tuple::<String>().all(&conn).await?.into_iter().collect())
    })
    .await
}

/// True if a name has a record of ours, in whatever zone.
pub async fn has_dns_record(db: &Db, name: &str) -> Result<bool, DbError> {
    let name = name.to_owned();
    db.read(move |conn| async move {
        let query = dns_record::Entity::find().filter(dns_record::Column::Name.eq(name));
        Ok(query.one(&conn).await?.is_some())
    })
    .await
}

fn texts(tunnels: &[TunnelId]) -> Vec<String> {
    tunnels.iter().map(|id| id.as_str().to_owned()).collect()
}

/// Returns our DNS record of a name.
pub async fn find_dns_record(db: &Db, zone: &ZoneId, name: &str) -> Result<Option<DnsRecordRow>, DbError> {
    let key = (zone.as_str().to_owned(), name.to_owned());
    db.read(
        move |conn| async move { Ok(dns_record::Entity::find_by_id(key).one(&conn).await?.map(dns_record)) },
    )
    .await
}

/// Returns our DNS records that lead to a tunnel, by zone and name.
pub async fn list_dns_records(db: &Db, tunnel: &TunnelId) -> Result<Vec<DnsRecordRow>, DbError> {
    let mut found = dns_records_of(db, std::slice::from_ref(tunnel)).await?;
    Ok(found.remove(tunnel).unwrap_or_default())
}

/// Returns the state of each route of one agent, or of all, at most `max`.
pub async fn list_route_status(
    db: &Db,
    agent: Option<&AgentId>,
    max: u64,
) -> Result<Vec<RouteStatusRow>, DbError> {
    let agent = agent.map(|id| id.as_str().to_owned());
    db.read(move |conn| async move {
        let mut query = route_status::Entity::find()
            .order_by_asc(route_status::Column::AgentId)
            .order_by_asc(route_status::Column::Hostname)
            .order_by_asc(route_status::Column::Path)
            .limit(limit(max));
        if let Some(agent) = agent {
            query = query.filter(route_status::Column::AgentId.eq(agent));
        }
        Ok(query.all(&conn).await?.into_iter().map(RouteStatusRow::of).collect())
    })
    .await
}

/// Returns the agents that have a route of one of these hostnames in this state. At most 1,000 hostnames count.
pub async fn list_agents_with_route_state(
    db: &Db,
    state: &str,
    hostnames: &[String],
) -> Result<Vec<AgentId>, DbError> {
    let (state, hostnames) = (state.to_owned(), hostnames.iter().take(1_000).cloned().collect::<Vec<_>>());
    db.read(move |conn| async move {
        let ids: Vec<String> = route_status::Entity::find()
            .select_only()
            .column(route_status::Column::AgentId)
            .distinct()
            .filter(route_status::Column::State.eq(state))
            .filter(route_status::Column::AgentId.ne(NOBODYS))
            .filter(route_status::Column::Hostname.is_in(hostnames))
            .into_tuple()
            .all(&conn)
            .await?;
        Ok(ids.into_iter().map(AgentId::new).collect())
    })
    .await
}

/// Returns what Cloudflare made of a tunnel.
pub async fn find_tunnel_status(db: &Db, tunnel: &TunnelId) -> Result<Option<TunnelStatusRow>, DbError> {
    Ok(tunnel_status_of(db, std::slice::from_ref(tunnel)).await?.remove(tunnel))
}

/// Returns how many calls an account could make when that was noted last.
pub async fn find_call_budget(db: &Db, account: &AccountId) -> Result<Option<CallBudgetRow>, DbError> {
    let account = account.as_str().to_owned();
    db.read(move |conn| async move {
        let row = call_budget::Entity::find_by_id(account).one(&conn).await?;
        Ok(row.map(|row| CallBudgetRow {
            account_id: AccountId::new(row.account_id),
            calls_left: row.calls_left,
            noted_at: time(row.noted_at),
            blocked_until: row.blocked_until.map(time),
        }))
    })
    .await
}

/// Returns the state of every tunnel, by id, at most `max`.
pub async fn list_tunnel_status(db: &Db, max: u64) -> Result<Vec<TunnelStatusRow>, DbError> {
    db.read(move |conn| async move {
        let query =
            tunnel_status::Entity::find().order_by_asc(tunnel_status::Column::TunnelId).limit(limit(max));
        query.all(&conn).await?.into_iter().map(TunnelStatusRow::of).collect()
    })
    .await
}

/// Returns who serves a tunnel; none if Cloudflare was never asked.
pub async fn find_tunnel_connectors(
    db: &Db,
    tunnel: &TunnelId,
) -> Result<Option<TunnelConnectorsRow>, DbError> {
    let tunnel = tunnel.as_str().to_owned();
    db.read(move |conn| async move {
        let row = tunnel_connectors::Entity::find_by_id(tunnel).one(&conn).await?;
        row.map(TunnelConnectorsRow::of).transpose()
    })
    .await
}

/// Returns the state of tunnels by id, after `after`, at most `max`.
pub async fn tunnel_status_after(
    db: &Db,
    after: Option<&TunnelId>,
    max: u64,
) -> Result<Vec<TunnelStatusRow>, DbError> {
    let after = after.map(|id| id.as_str().to_owned());
    db.read(move |conn| async move {
        let mut query =
            tunnel_status::Entity::find().order_by_asc(tunnel_status::Column::TunnelId).limit(limit(max));
        if let Some(after) = after {
            query = query.filter(tunnel_status::Column::TunnelId.gt(after));
        }
        query.all(&conn).await?.into_iter().map(TunnelStatusRow::of).collect()
    })
    .await
}

/// Returns who serves these tunnels.
pub async fn tunnel_connectors_of(
    db: &Db,
    tunnels: &[TunnelId],
) -> Result<HashMap<TunnelId, TunnelConnectorsRow>, DbError> {
    let tunnels = texts(tunnels);
    db.read(move |conn| async move {
        let mut found = HashMap::new();
        for chunk in tunnels.chunks(AT_ONCE) {
            let query =
                tunnel_connectors::Entity::find().filter(tunnel_connectors::Column::TunnelId.is_in(chunk));
            for row in query.all(&conn).await? {
                let row = TunnelConnectorsRow::of(row)?;
                found.insert(row.tunnel_id.clone(), row);
            }
        }
        Ok(found)
    })
    .await
}

/// True for a state without a claimed route of its agent.
pub(super) fn refused() -> Expr {
    let claimed = Query::select()
        .expr(Expr::val(1))
        .from(route::Entity)
        .and_where(same(route::Column::AgentId, route_status::Column::AgentId))
        .and_where(same(route::Column::Hostname, route_status::Column::Hostname))
        .and_where(same(route::Column::Path, route_status::Column::Path))
        .to_owned();
    // Of a rule that a person made something is said only while it is there.
    Expr::exists(claimed).not().and(route_status::Column::AgentId.ne(NOBODYS))
}

fn same(claimed: route::Column, said: route_status::Column) -> Expr {
    Expr::col((route::Entity, claimed)).equals((route_status::Entity, said))
}

/// How many things of ours are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owned {
    /// Tunnels, also those that others made and we publish in.
    pub tunnels: u64,
    /// DNS records.
    pub records: u64,
    /// Applications of Access.
    pub applications: u64,
    /// Reusable policies of Access.
    pub policies: u64,
}

/// Counts what is ours at Cloudflare.
pub async fn count_owned(db: &Db) -> Result<Owned, DbError> {
    db.read(move |conn| async move {
        Ok(Owned {
            tunnels: tunnel::Entity::find().count(&conn).await?,
            records: dns_record::Entity::find().count(&conn).await?,
            applications: access_application::Entity::find().count(&conn).await?,
            policies: access_policy::Entity::find().count(&conn).await?,
        })
    })
    .await
}
