//! Updates of hosts, how their scanners came out, and the machines themselves: kept by difference, read by their owner.
//!
//! What pages and the API list is in [`super::update_lists`].

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::batch::RowChange;
use super::database::{Db, limit};
use super::entities::{host, scan, update, update_container, update_decision};
use super::error::DbError;
use super::plans::HostPlanRow;
use super::times::{micros, time};
use super::unit::Unit;
use super::words::{json, to_json, word};
use crate::domain::host::Host;
use crate::domain::id::{AgentId, UpdateId};
use crate::domain::update::{Change, Checked, Decision, Finding, Kind, Problem, Standing, State, Update};

/// How a scanner of a host came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRow {
    /// Whose host.
    pub agent_id: AgentId,
    /// How it came out.
    pub checked: Checked,
    /// When, by the master's clock.
    pub checked_at: DateTime<Utc>,
}

impl ScanRow {
    pub(super) fn of(row: scan::Model) -> Result<Self, DbError> {
        let way_out = row.way_out;
        Ok(Self {
            checked: Checked {
                kind: word("scan", &row.agent_id, &row.package_type)?,
                ok: row.ok,
                as_of: row.as_of.map(time),
                problem: row.problem.map(|reason| Problem { reason, way_out }),
                is_complete: row.is_complete,
                digest: row.digest,
                count: usize::try_from(row.found).unwrap_or(0),
                pending: usize::try_from(row.pending).unwrap_or(0),
            },
            checked_at: time(row.checked_at),
            agent_id: AgentId::new(row.agent_id),
        })
    }
}

/// The machine behind an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct HostRow {
    /// Whose.
    pub agent_id: AgentId,
    /// What it is.
    pub host: Host,
    /// Since when it is like this.
    pub changed_at: DateTime<Utc>,
}

impl HostRow {
    fn of(row: host::Model) -> Result<Self, DbError> {
        Ok(Self {
            host: json("host", &row.agent_id, &row.facts)?,
            changed_at: time(row.changed_at),
            agent_id: AgentId::new(row.agent_id),
        })
    }
}

/// Reads a stored update.
pub(super) fn update_of(row: &update::Model) -> Result<Update, DbError> {
    let finding: Finding = json("update", &row.id, &row.metadata)?;
    Ok(Update {
        id: UpdateId::new(row.id.clone()),
        finding,
        state: State::parse(&row.status),
        first_seen_at: time(row.created_at),
        changed_at: time(row.changed_at),
        due_at: row.due_at.map(time),
    })
}

fn standing_word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Newer => "newer",
        Standing::RestartNeeded => "restart_needed",
        Standing::Same => "same",
        Standing::Untracked { .. } => "untracked",
        Standing::Unchecked { .. } => "unchecked",
    }
}

fn model(agent: &AgentId, kind: Kind, update: &Update) -> update::Model {
    let finding = &update.finding;
    update::Model {
        agent_id: agent.as_str().into(),
        package_type: kind.as_str().into(),
        package_name: finding.name.clone(),
        id: update.id.as_str().into(),
        title: finding.title.clone(),
        current_version: finding.current_version.clone(),
        available_version: finding.available_version.clone(),
        severity: finding.severity.as_str().into(),
        is_security: finding.is_security,
        standing: standing_word(&finding.standing).into(),
        status: update.status().into(),
        metadata: to_json(finding),
        created_at: micros(update.first_seen_at),
        changed_at: micros(update.changed_at),
        due_at: update.due_at.map(micros),
    }
}

/// Applies a change of what is kept of a host's updates.
pub(super) fn apply(unit: &mut Unit, at: i64, change: &RowChange) {
    match change {
        RowChange::PutUpdates { agent_id, kind, changes } => {
            changes.iter().for_each(|change| put(unit, agent_id, *kind, change));
        }
        RowChange::PutScan { agent_id, checked } => {
            let problem = checked.problem.as_ref();
            unit.scans.put(scan::Model {
                agent_id: agent_id.as_str().into(),
                package_type: checked.kind.as_str().into(),
                ok: checked.ok,
                as_of: checked.as_of.map(micros),
                problem: problem.map(|problem| problem.reason.clone()),
                way_out: problem.and_then(|problem| problem.way_out.clone()),
                is_complete: checked.is_complete,
                digest: checked.digest.clone(),
                found: i32::try_from(checked.count).unwrap_or(i32::MAX),
                pending: i32::try_from(checked.pending).unwrap_or(i32::MAX),
                checked_at: at,
            });
        }
        RowChange::PutHost { agent_id, host } => unit.hosts.put(host::Model {
            agent_id: agent_id.as_str().into(),
            facts: to_json(host),
            machine_id: host.machine_id.clone(),
            reboot_wanted: host.reboot.as_ref().is_some_and(|reboot| reboot.wanted),
            changed_at: at,
            hostname: host.hostname.as_deref().map(str::to_lowercase),
        }),
        _ => {}
    }
}

fn put(unit: &mut Unit, agent: &AgentId, kind: Kind, change: &Change) {
    let key = |name: &str| (agent.as_str().to_owned(), kind.as_str().to_owned(), name.to_owned());
    match change {
        Change::Put(update) => {
            unit.updates.put(model(agent, kind, update));
            if kind == Kind::DockerImage {
                // What is gone runs in no container.
                let is_gone = update.state == Some(State::Resolved);
                let containers = if is_gone { &[][..] } else { &update.finding.containers };
                put_containers(unit, agent, &update.finding.name, containers);
            }
        }
        Change::Forget(name) => {
            unit.updates.delete(&key(name));
            if kind == Kind::DockerImage {
                put_containers(unit, agent, name, &[]);
            }
        }
    }
}

fn put_containers(unit: &mut Unit, agent: &AgentId, name: &str, containers: &[String]) {
    let first = (agent.as_str().to_owned(), name.to_owned(), String::new());
    let is_own = |row: &&update_container::Model| row.agent_id == agent.as_str() && row.package_name == name;
    let stored: Vec<String> =
        unit.update_containers.from(&first).take_while(is_own).map(|row| row.container_id.clone()).collect();
    for id in stored.into_iter().filter(|id| !containers.contains(id)) {
        unit.update_containers.delete(&(agent.as_str().into(), name.into(), id));
    }
    for container_id in containers {
        unit.update_containers.put(update_container::Model {
            agent_id: agent.as_str().into(),
            package_name: name.into(),
            container_id: container_id.clone(),
        });
    }
}

/// Forgets all that is kept of a host.
pub(super) fn forget(unit: &mut Unit, agent: &str) {
    for row in unit.updates.all(|row| row.agent_id == agent) {
        unit.updates.delete(&(row.agent_id, row.package_type, row.package_name));
    }
    for row in unit.update_containers.all(|row| row.agent_id == agent) {
        unit.update_containers.delete(&(row.agent_id, row.package_name, row.container_id));
    }
    for row in unit.scans.all(|row| row.agent_id == agent) {
        unit.scans.delete(&(row.agent_id, row.package_type));
    }
    unit.hosts.delete(&agent.into());
}

/// Returns what is kept of one kind on a host, by name.
pub async fn updates_of(db: &Db, agent: &AgentId, kind: Kind) -> Result<BTreeMap<String, Update>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = update::Entity::find()
            .filter(update::Column::AgentId.eq(agent))
            .filter(update::Column::PackageType.eq(kind.as_str()));
        let rows = query.all(&conn).await?;
        rows.iter().map(|row| Ok((row.package_name.clone(), update_of(row)?))).collect()
    })
    .await
}

/// Returns what people decided about one kind on a host, by name.
pub async fn decisions_of(
    db: &Db,
    agent: &AgentId,
    kind: Kind,
) -> Result<BTreeMap<String, Decision>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = update_decision::Entity::find()
            .filter(update_decision::Column::AgentId.eq(agent))
            .filter(update_decision::Column::PackageType.eq(kind.as_str()));
        let rows = query.all(&conn).await?;
        let read = |row: update_decision::Model| {
            let decision = json("decision about update", &row.package_name, &row.decision)?;
            Ok((row.package_name, decision))
        };
        rows.into_iter().map(read).collect()
    })
    .await
}

/// Returns how the scanners of a host came out, by kind.
pub async fn scans_of(db: &Db, agent: &AgentId) -> Result<BTreeMap<Kind, ScanRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let rows = scan::Entity::find().filter(scan::Column::AgentId.eq(agent)).all(&conn).await?;
        let read = |row| ScanRow::of(row).map(|row| (row.checked.kind, row));
        rows.into_iter().map(read).collect()
    })
    .await
}

/// Returns the agents on whose hosts containers run images with one of these names, each once.
pub async fn agents_that_run(db: &Db, images: &[String]) -> Result<BTreeSet<AgentId>, DbError> {
    let images = images.to_vec();
    db.read(move |conn| async move {
        let mut found = BTreeSet::new();
        for chunk in images.chunks(super::database::AT_ONCE) {
            let query = update_container::Entity::find()
                .select_only()
                .column(update_container::Column::AgentId)
                .distinct()
                .filter(update_container::Column::PackageName.is_in(chunk));
            let ids: Vec<String> = query.into_tuple().all(&conn).await?;
            found.extend(ids.into_iter().map(AgentId::new));
        }
        Ok(found)
    })
    .await
}

/// Returns the machine behind an agent, if it was told of.
pub async fn find_host(db: &Db, agent: &AgentId) -> Result<Option<HostRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        host::Entity::find_by_id(agent).one(&conn).await?.map(HostRow::of).transpose()
    })
    .await
}

/// Returns the agents whose machines call themselves so, in any case.
pub async fn agents_on(db: &Db, hostname: &str) -> Result<Vec<AgentId>, DbError> {
    let hostname = hostname.to_lowercase();
    db.read(move |conn| async move {
        let query = host::Entity::find().select_only().column(host::Column::AgentId);
        let ids: Vec<String> =
            query.filter(host::Column::Hostname.eq(hostname)).into_tuple().all(&conn).await?;
        Ok(ids.into_iter().map(AgentId::new).collect())
    })
    .await
}

/// Returns the machines behind these agents, as far as they were told of.
pub async fn hosts_of(db: &Db, agents: &[AgentId]) -> Result<BTreeMap<AgentId, HostRow>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = BTreeMap::new();
        for chunk in agents.chunks(super::database::AT_ONCE) {
            for row in host::Entity::find().filter(host::Column::AgentId.is_in(chunk)).all(&conn).await? {
                found.insert(AgentId::new(row.agent_id.clone()), HostRow::of(row)?);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the updates of a host whose time is over until which they were put off, with their kinds.
pub async fn overdue_of(
    db: &Db,
    agent: &AgentId,
    now: DateTime<Utc>,
) -> Result<Vec<(Kind, Update)>, DbError> {
    let (agent, now) = (agent.as_str().to_owned(), micros(now));
    db.read(move |conn| async move {
        let query = update::Entity::find()
            .filter(update::Column::AgentId.eq(agent))
            .filter(update::Column::DueAt.lte(now))
            .order_by_asc(update::Column::DueAt)
            .limit(limit(1_000));
        let read = |row: &update::Model| Ok((word("update", &row.id, &row.package_type)?, update_of(row)?));
        query.all(&conn).await?.iter().map(read).collect()
    })
    .await
}

/// Returns kinds and names of what is being installed on a host.
pub async fn installing_of(db: &Db, agent: &AgentId) -> Result<BTreeSet<(Kind, String)>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = update::Entity::find()
            .filter(update::Column::AgentId.eq(agent))
            .filter(update::Column::Status.eq(State::Installing.as_str()));
        let read = |row: update::Model| Ok((word("update", &row.id, &row.package_type)?, row.package_name));
        query.all(&conn).await?.into_iter().map(read).collect()
    })
    .await
}

/// An update with the host that it is on.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateRow {
    /// Whose host.
    pub agent_id: AgentId,
    /// Its kind.
    pub kind: Kind,
    /// The rest.
    pub update: Update,
}

impl UpdateRow {
    /// Returns when it is installed, if it was approved by its name for a time that is to come. `asked` is what hosts were asked,
    /// the newest first.
    pub fn scheduled_at(&self, asked: &[HostPlanRow], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !matches!(self.update.state, Some(State::Approved | State::Planned)) {
            return None;
        }
        let is_it = |row: &&HostPlanRow| {
            row.agent_id == self.agent_id && row.is_yes_to(self.kind, &self.update.finding.name)
        };
        asked.iter().find(is_it)?.not_before.filter(|at| *at > now)
    }

    pub(super) fn of(row: &update::Model) -> Result<Self, DbError> {
        Ok(Self {
            agent_id: AgentId::new(row.agent_id.clone()),
            kind: word("update", &row.id, &row.package_type)?,
            update: update_of(row)?,
        })
    }
}

/// Returns the updates with these ids, in no order; those that are not known are left out.
pub async fn find_updates(db: &Db, ids: &[UpdateId]) -> Result<Vec<UpdateRow>, DbError> {
    let ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = Vec::new();
        for chunk in ids.chunks(super::database::AT_ONCE) {
            let query = update::Entity::find().filter(update::Column::Id.is_in(chunk));
            for row in query.all(&conn).await? {
                found.push(UpdateRow::of(&row)?);
            }
        }
        Ok(found)
    })
    .await
}
