//! Updates of all hosts, filtered and sorted, as pages and the API show them.
//!
//! An update is public if its image runs in a container behind a route that is published; it is protected if each of those
//! routes asks for a login.

use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query, SelectStatement};
use sea_orm::{
    ColumnTrait, DatabaseConnection, EntityTrait, FromQueryResult, JoinType, Order, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::database::{AT_ONCE, Db, limit};
use super::entities::{agent, host, route, route_status, scan, update, update_container};
use super::error::DbError;
use super::search::has_text;
use super::times::time;
use super::updates::{ScanRow, UpdateRow};
use super::words::word;
use crate::domain::agent::AgentStatus;
use crate::domain::id::{AgentId, UpdateId};
use crate::domain::publish::PublicState;
use crate::domain::route::RouteKey;
use crate::domain::update::{CURRENT, Kind, Severity, State, UNCHECKED};

/// Which updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateFilter {
    /// Of this host.
    pub agent: Option<AgentId>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// With this name.
    pub name: Option<String>,
    /// In these states; none: what somebody has something to do about, and what could not be checked.
    pub statuses: Vec<String>,
    /// Of this severity.
    pub severity: Option<Severity>,
    /// Whether they mend a hole.
    pub is_security: Option<bool>,
    /// Whether they are public.
    pub is_public: Option<bool>,
    /// Whether they are public without a login, or not.
    pub is_open: Option<bool>,
    /// First seen before this time.
    pub seen_before: Option<DateTime<Utc>>,
    /// Whose name or title has this in it, in any case.
    pub search: Option<String>,
    /// Also on hosts that nobody hears any more.
    pub also_silenced: bool,
}

/// How a list is ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UpdateOrder {
    /// Public ones first, of those the unprotected, then by severity, then the oldest.
    #[default]
    Risk,
    /// By name.
    Name,
    /// By host.
    Agent,
    /// The oldest first.
    Age,
    /// The worst first.
    Severity,
}

/// Every word that a state of [`UpdateFilter::statuses`] may be.
pub fn is_status(word: &str) -> bool {
    State::parse(word).is_some() || word == CURRENT || word == UNCHECKED
}

/// All those words.
pub fn all_statuses() -> Vec<String> {
    State::ALL.into_iter().map(State::as_str).chain([CURRENT, UNCHECKED]).map(str::to_owned).collect()
}

/// An update as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateView {
    /// The update.
    pub row: UpdateRow,
    /// Name of its host.
    pub agent: String,
    /// True if a published route leads to it.
    pub is_public: bool,
    /// True if it is public and each of those routes asks for a login.
    pub is_protected: bool,
}

/// One package or image over all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateGroup {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What people call it.
    pub title: Option<String>,
    /// On how many hosts.
    pub hosts: u64,
    /// Of how many of them it could not be checked.
    pub unchecked: u64,
    /// The version on offer, and on how many versions they differ.
    pub available_version: Option<String>,
    /// How many versions are on offer.
    pub versions: u64,
    /// The worst.
    pub severity: Severity,
    /// True if it mends a hole on any of them.
    pub is_security: bool,
    /// True if it is public on any.
    pub is_public: bool,
    /// True if it is public without a login on any.
    pub is_open: bool,
    /// When it was seen first.
    pub first_seen_at: DateTime<Utc>,
    /// Its id, if it is on one host only.
    pub only_id: Option<UpdateId>,
}

/// Returns the routes that lead to the image of `update_containers`, as a part of a larger query.
fn routes_to_it(columns: SelectStatement, without_login: bool) -> SelectStatement {
    let same = |one: (Alias, Alias), other: (Alias, Alias)| Expr::col(one).equals(other);
    let at = |table: &str, column: &str| (Alias::new(table), Alias::new(column));
    let mut query = columns;
    query
        .from(update_container::Entity)
        .join(
            JoinType::InnerJoin,
            route::Entity,
            same(at("routes", "agent_id"), at("update_containers", "agent_id"))
                .and(same(at("routes", "container_id"), at("update_containers", "container_id"))),
        )
        .join(
            JoinType::InnerJoin,
            route_status::Entity,
            same(at("route_status", "agent_id"), at("routes", "agent_id"))
                .and(same(at("route_status", "hostname"), at("routes", "hostname")))
                .and(same(at("route_status", "path"), at("routes", "path"))),
        )
        .and_where(route_status::Column::State.is_in(reachable()))
        .and_where(same(at("update_containers", "agent_id"), at("updates", "agent_id")))
        .and_where(same(at("update_containers", "package_name"), at("updates", "package_name")))
        .and_where(Expr::col(at("updates", "package_type")).eq(Kind::DockerImage.as_str()));
    if without_login {
        query.and_where(route::Column::Service.not_like(KEEPS_OUT));
    }
    query
}

/// How a route that keeps somebody out is stored.
pub(super) const KEEPS_OUT: &str = "%\"has_access_labels\":true%";

/// States in which a name may be reached.
fn reachable() -> [&'static str; 4] {
    [PublicState::Published, PublicState::PendingDeletion, PublicState::Held, PublicState::Failed]
        .map(PublicState::as_str)
}

fn public() -> Expr {
    Expr::exists(routes_to_it(Query::select().expr(Expr::val(1)).to_owned(), false))
}

fn open() -> Expr {
    Expr::exists(routes_to_it(Query::select().expr(Expr::val(1)).to_owned(), true))
}

fn as_number(condition: Expr) -> Expr {
    Expr::case(condition, Expr::val(1)).finally(Expr::val(0)).into()
}

fn severity_rank() -> Expr {
    let is = |severity: Severity| update::Column::Severity.eq(severity.as_str());
    Expr::case(is(Severity::Critical), Expr::val(3))
        .case(is(Severity::Important), Expr::val(2))
        .case(is(Severity::Moderate), Expr::val(1))
        .finally(Expr::val(0))
        .into()
}

fn severity_of(rank: i32) -> Severity {
    match rank {
        3 => Severity::Critical,
        2 => Severity::Important,
        1 => Severity::Moderate,
        _ => Severity::Low,
    }
}

/// States that are listed unless others are asked for.
fn open_states() -> Vec<String> {
    let open = State::ALL.into_iter().filter(|state| state.is_open()).map(State::as_str);
    open.chain([UNCHECKED]).map(str::to_owned).collect()
}

/// Agents of which nothing counts any more: nobody hears them, so that what was found on their hosts may be long past.
fn silenced() -> SelectStatement {
    let statuses = [AgentStatus::Revoked, AgentStatus::Removed].map(AgentStatus::as_str);
    Query::select()
        .column(agent::Column::Id)
        .from(agent::Entity)
        .and_where(agent::Column::Status.is_in(statuses))
        .to_owned()
}

/// All updates that count.
pub(super) fn updates_in_force() -> Select<update::Entity> {
    update::Entity::find().filter(update::Column::AgentId.not_in_subquery(silenced()))
}

pub(super) fn filtered(filter: &UpdateFilter) -> Select<update::Entity> {
    let statuses = if filter.statuses.is_empty() { open_states() } else { filter.statuses.clone() };
    let all = if filter.also_silenced { update::Entity::find() } else { updates_in_force() };
    let mut query = all.filter(update::Column::Status.is_in(statuses));
    if let Some(agent) = &filter.agent {
        query = query.filter(update::Column::AgentId.eq(agent.as_str()));
    }
    if let Some(kind) = filter.kind {
        query = query.filter(update::Column::PackageType.eq(kind.as_str()));
    }
    if let Some(name) = &filter.name {
        query = query.filter(update::Column::PackageName.eq(name.as_str()));
    }
    if let Some(severity) = filter.severity {
        query = query.filter(update::Column::Severity.eq(severity.as_str()));
    }
    query = match filter.is_security {
        Some(true) => query.filter(update::Column::IsSecurity.eq(true)),
        Some(false) => {
            let is_none = update::Column::IsSecurity.is_null();
            query.filter(is_none.or(update::Column::IsSecurity.eq(false)))
        }
        None => query,
    };
    for (wanted, condition) in [(filter.is_public, public as fn() -> Expr), (filter.is_open, open)] {
        query = match wanted {
            Some(true) => query.filter(condition()),
            Some(false) => query.filter(condition().not()),
            None => query,
        };
    }
    if let Some(before) = filter.seen_before {
        query = query.filter(update::Column::CreatedAt.lt(super::times::micros(before)));
    }
    if let Some(search) = filter.search.as_deref().map(str::trim).filter(|text| !text.is_empty()) {
        let has = |column: update::Column| has_text((update::Entity, column), search);
        query = query.filter(has(update::Column::PackageName).or(has(update::Column::Title)));
    }
    query
}

#[derive(FromQueryResult)]
struct Listed {
    agent_id: String,
    package_type: String,
    package_name: String,
    id: String,
    title: Option<String>,
    current_version: Option<String>,
    available_version: Option<String>,
    severity: String,
    is_security: Option<bool>,
    standing: String,
    status: String,
    metadata: String,
    created_at: i64,
    changed_at: i64,
    due_at: Option<i64>,
    agent: Option<String>,
    is_public: i32,
    is_open: i32,
}

impl Listed {
    fn view(self) -> Result<UpdateView, DbError> {
        let (is_public, is_open) = (self.is_public != 0, self.is_open != 0);
        let agent = self.agent.unwrap_or_else(|| self.agent_id.clone());
        let row = update::Model {
            agent_id: self.agent_id,
            package_type: self.package_type,
            package_name: self.package_name,
            id: self.id,
            title: self.title,
            current_version: self.current_version,
            available_version: self.available_version,
            severity: self.severity,
            is_security: self.is_security,
            standing: self.standing,
            status: self.status,
            metadata: self.metadata,
            created_at: self.created_at,
            changed_at: self.changed_at,
            due_at: self.due_at,
        };
        Ok(UpdateView { row: UpdateRow::of(&row)?, agent, is_public, is_protected: is_public && !is_open })
    }
}

/// Returns updates in an order, from the `skip`th on, at most `max`.
pub async fn list_updates(
    db: &Db,
    filter: &UpdateFilter,
    order: UpdateOrder,
    skip: u64,
    max: u64,
) -> Result<Vec<UpdateView>, DbError> {
    let name_of_agent = Query::select()
        .column(agent::Column::DisplayName)
        .from(agent::Entity)
        .and_where(
            Expr::col((agent::Entity, agent::Column::Id)).equals((update::Entity, update::Column::AgentId)),
        )
        .to_owned();
    let name = Expr::SubQuery(None, Box::new(name_of_agent.into()));
    let query = filtered(filter)
        .expr_as(name.clone(), "agent")
        .expr_as(as_number(public()), "is_public")
        .expr_as(as_number(open()), "is_open");
    let by = |query: Select<update::Entity>, column: &str, order: Order| {
        query.order_by(Expr::col(Alias::new(column)), order)
    };
    let query = match order {
        UpdateOrder::Risk => {
            let query = by(by(query, "is_open", Order::Desc), "is_public", Order::Desc);
            query.order_by(severity_rank(), Order::Desc).order_by_asc(update::Column::CreatedAt)
        }
        UpdateOrder::Name => query.order_by_asc(update::Column::PackageName),
        UpdateOrder::Agent => by(query, "agent", Order::Asc).order_by_asc(update::Column::PackageName),
        UpdateOrder::Age => query.order_by_asc(update::Column::CreatedAt),
        UpdateOrder::Severity => query.order_by(severity_rank(), Order::Desc),
    };
    // The last word makes the order one, so that pages neither repeat nor leave out.
    let query = query.order_by_asc(update::Column::PackageName).order_by_asc(update::Column::Id);
    let query = query.offset(limit(skip)).limit(limit(max));
    db.read(move |conn| async move {
        query.into_model::<Listed>().all(&conn).await?.into_iter().map(Listed::view).collect()
    })
    .await
}

#[derive(FromQueryResult)]
struct Grouped {
    package_type: String,
    package_name: String,
    title: Option<String>,
    hosts: i64,
    unchecked: i64,
    available: Option<String>,
    versions: i64,
    rank: i32,
    security: i32,
    is_public: i32,
    is_open: i32,
    first_seen: i64,
    one_id: String,
}

impl Grouped {
    fn group(self) -> Result<UpdateGroup, DbError> {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        Ok(UpdateGroup {
            kind: word("update", &self.package_name, &self.package_type)?,
            name: self.package_name,
            title: self.title,
            hosts: count(self.hosts),
            unchecked: count(self.unchecked),
            available_version: self.available,
            versions: count(self.versions),
            severity: severity_of(self.rank),
            is_security: self.security != 0,
            is_public: self.is_public != 0,
            is_open: self.is_open != 0,
            first_seen_at: time(self.first_seen),
            only_id: (self.hosts == 1).then(|| UpdateId::new(self.one_id)),
        })
    }
}

/// Returns packages and images over all hosts, by risk, from the `skip`th on, at most `max`.
pub async fn list_update_groups(
    db: &Db,
    filter: &UpdateFilter,
    skip: u64,
    max: u64,
) -> Result<Vec<UpdateGroup>, DbError> {
    use update::Column;
    let column = |column: Column| Expr::col((update::Entity, column));
    let query = filtered(filter)
        .select_only()
        .columns([Column::PackageType, Column::PackageName])
        .expr_as(column(Column::Title).max(), "title")
        .expr_as(column(Column::AgentId).count_distinct(), "hosts")
        .expr_as(as_number(Column::Standing.eq("unchecked")).sum().cast_as("bigint"), "unchecked")
        .expr_as(column(Column::AvailableVersion).max(), "available")
        .expr_as(column(Column::AvailableVersion).count_distinct(), "versions")
        .expr_as(severity_rank().max(), "rank")
        .expr_as(as_number(Column::IsSecurity.eq(true)).max(), "security")
        .expr_as(as_number(public()).max(), "is_public")
        .expr_as(as_number(open()).max(), "is_open")
        .expr_as(column(Column::CreatedAt).min(), "first_seen")
        .expr_as(column(Column::Id).min(), "one_id")
        .group_by(Column::PackageType)
        .group_by(Column::PackageName);
    let by = |name: &str| Expr::col(Alias::new(name));
    let query = query
        .order_by(by("is_open"), Order::Desc)
        .order_by(by("is_public"), Order::Desc)
        .order_by(by("rank"), Order::Desc)
        .order_by(by("first_seen"), Order::Asc)
        .order_by_asc(Column::PackageName)
        .order_by_asc(Column::PackageType)
        .offset(limit(skip))
        .limit(limit(max));
    db.read(move |conn| async move {
        query.into_model::<Grouped>().all(&conn).await?.into_iter().map(Grouped::group).collect()
    })
    .await
}

/// How many updates there are, by what matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdateTotals {
    /// Published routes.
    pub public_services: u64,
    /// Of those, how many run images with newer versions.
    pub outdated_services: u64,
    /// Of those, how many ask for no login.
    pub open_outdated_services: u64,
    /// Published routes whose images could not be checked.
    pub unchecked_services: u64,
    /// Published routes whose images nobody looked at.
    pub unknown_services: u64,
    /// Updates that somebody has something to do about.
    pub pending: u64,
    /// Of those, how many mend a hole.
    pub security: u64,
    /// Hosts that want to be started anew.
    pub reboots: u64,
    /// Hosts with a scanner that could not look.
    pub troubled_hosts: u64,
    /// Hosts that were looked at.
    pub scanned_hosts: u64,
}

#[derive(FromQueryResult)]
struct Service {
    service: String,
    outdated: i32,
    unchecked: i32,
    known: i32,
}

/// Counts for the first page.
pub async fn update_totals(db: &Db) -> Result<UpdateTotals, DbError> {
    db.read(move |conn| async move {
        let mut totals = UpdateTotals::default();
        for service in services(&conn).await? {
            totals.public_services += 1;
            if service.outdated != 0 {
                totals.outdated_services += 1;
                let has_login = service.service.contains(KEEPS_OUT.trim_matches('%'));
                totals.open_outdated_services += u64::from(!has_login);
            }
            totals.unchecked_services += u64::from(service.unchecked != 0);
            totals.unknown_services += u64::from(service.known == 0);
        }
        let open = open_states().into_iter().filter(|state| state != UNCHECKED);
        let pending = updates_in_force().filter(update::Column::Status.is_in(open));
        totals.pending = count(&conn, pending.clone()).await?;
        totals.security = count(&conn, pending.filter(update::Column::IsSecurity.eq(true))).await?;
        let hosts = host::Entity::find().filter(host::Column::AgentId.not_in_subquery(silenced()));
        totals.reboots = count(&conn, hosts.filter(host::Column::RebootWanted.eq(true))).await?;
        let scans = || scan::Entity::find().filter(scan::Column::AgentId.not_in_subquery(silenced()));
        let by_host = || scans().select_only().column(scan::Column::AgentId).distinct();
        totals.troubled_hosts = rows(&conn, by_host().filter(scan::Column::Ok.eq(false))).await?;
        totals.scanned_hosts = rows(&conn, by_host()).await?;
        Ok(totals)
    })
    .await
}

async fn services(conn: &DatabaseConnection) -> Result<Vec<Service>, DbError> {
    let open: Vec<String> = open_states().iter().map(|state| format!("'{state}'")).collect();
    let reachable: Vec<String> = reachable().iter().map(|state| format!("'{state}'")).collect();
    let (image, open, reachable) = (Kind::DockerImage.as_str(), open.join(", "), reachable.join(", "));
    let (revoked, removed) = (AgentStatus::Revoked.as_str(), AgentStatus::Removed.as_str());
    // Words of our own only.
    let sql = format!(
        "SELECT r.service AS service, \
           COALESCE(MAX(CASE WHEN u.status IN ({open}) AND u.status <> '{UNCHECKED}' THEN 1 ELSE 0 END), 0) AS outdated, \
           COALESCE(MAX(CASE WHEN u.standing = 'unchecked' THEN 1 ELSE 0 END), 0) AS unchecked, \
           COALESCE(MAX(CASE WHEN u.id IS NULL THEN 0 ELSE 1 END), 0) AS known \
         FROM routes r \
         JOIN route_status s ON s.agent_id = r.agent_id AND s.hostname = r.hostname AND s.path = r.path \
           AND s.state IN ({reachable}) \
         LEFT JOIN update_containers c ON c.agent_id = r.agent_id AND c.container_id = r.container_id \
         LEFT JOIN updates u ON u.agent_id = c.agent_id AND u.package_type = '{image}' \
           AND u.package_name = c.package_name \
           AND u.agent_id NOT IN (SELECT id FROM agents WHERE status IN ('{revoked}', '{removed}')) \
         GROUP BY r.hostname, r.path, r.service"
    );
    let statement = sea_orm::Statement::from_string(conn.get_database_backend(), sql);
    Ok(Service::find_by_statement(statement).all(conn).await?)
}

async fn count<E: EntityTrait>(conn: &DatabaseConnection, query: Select<E>) -> Result<u64, DbError>
where
    E::Model: FromQueryResult + Send + Sync,
{
    use sea_orm::PaginatorTrait;

    Ok(query.count(conn).await?)
}

async fn rows(conn: &DatabaseConnection, query: Select<scan::Entity>) -> Result<u64, DbError> {
    let ids: Vec<String> = query.into_tuple().all(conn).await?;
    Ok(ids.len() as u64)
}

/// A route that leads to an image.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
struct RouteTo {
    agent_id: String,
    package_name: String,
    hostname: String,
    path: String,
}

/// Returns the published routes behind which the images with this name stand, by host.
pub async fn routes_behind(db: &Db, name: &str) -> Result<Vec<(AgentId, RouteKey)>, DbError> {
    let name = name.to_owned();
    db.read(move |conn| async move {
        let query = update_container::Entity::find()
            .select_only()
            .columns([update_container::Column::AgentId, update_container::Column::PackageName])
            .column_as(route::Column::Hostname, "hostname")
            .column_as(route::Column::Path, "path")
            .join(
                JoinType::InnerJoin,
                update_container::Entity::belongs_to(route::Entity)
                    .from((update_container::Column::AgentId, update_container::Column::ContainerId))
                    .to((route::Column::AgentId, route::Column::ContainerId))
                    .into(),
            )
            .filter(update_container::Column::PackageName.eq(name))
            .order_by_asc(route::Column::Hostname)
            .order_by_asc(route::Column::Path);
        let rows = query.into_model::<RouteTo>().all(&conn).await?;
        let read =
            |row: RouteTo| (AgentId::new(row.agent_id), RouteKey { hostname: row.hostname, path: row.path });
        Ok(rows.into_iter().map(read).collect())
    })
    .await
}

/// Returns how the scanners of these hosts came out.
pub async fn scans_of_agents(db: &Db, agents: &[AgentId]) -> Result<Vec<ScanRow>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = Vec::new();
        for chunk in agents.chunks(AT_ONCE) {
            let query = scan::Entity::find()
                .filter(scan::Column::AgentId.is_in(chunk))
                .order_by_asc(scan::Column::AgentId)
                .order_by_asc(scan::Column::PackageType);
            for row in query.all(&conn).await? {
                found.push(ScanRow::of(row)?);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the hosts that could not be looked at whole, with their names.
pub async fn hosts_in_trouble(db: &Db) -> Result<Vec<(AgentId, String)>, DbError> {
    db.read(move |conn| async move {
        let query = scan::Entity::find().select_only().column(scan::Column::AgentId).distinct();
        let ids: Vec<String> = query.filter(scan::Column::Ok.eq(false)).into_tuple().all(&conn).await?;
        named(&conn, ids).await
    })
    .await
}

/// Returns the hosts that want to be started anew, with their names.
pub async fn hosts_to_reboot(db: &Db) -> Result<Vec<(AgentId, String)>, DbError> {
    db.read(move |conn| async move {
        let ids: Vec<String> = host::Entity::find()
            .select_only()
            .column(host::Column::AgentId)
            .filter(host::Column::RebootWanted.eq(true))
            .into_tuple()
            .all(&conn)
            .await?;
        named(&conn, ids).await
    })
    .await
}

/// These agents by name, without those that nobody hears any more.
async fn named(conn: &DatabaseConnection, ids: Vec<String>) -> Result<Vec<(AgentId, String)>, DbError> {
    let mut found = Vec::new();
    for chunk in ids.chunks(AT_ONCE) {
        let query = agent::Entity::find()
            .select_only()
            .columns([agent::Column::Id, agent::Column::DisplayName])
            .filter(agent::Column::Id.is_in(chunk))
            .filter(agent::Column::Id.not_in_subquery(silenced()));
        let rows: Vec<(String, String)> = query.into_tuple().all(conn).await?;
        found.extend(rows.into_iter().map(|(id, name)| (AgentId::new(id), name)));
    }
    found.sort_by(|one, other| one.1.cmp(&other.1));
    Ok(found)
}
