//! Runs on hosts: those that ended, and how far those are that are under way.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::{Deserialize, Serialize};

use super::database::{Db, limit};
use super::entities::run;
use super::error::DbError;
use super::times::{micros, time};
use super::words::{json, to_json};
use crate::domain::id::{AgentId, CommandId};
use crate::domain::update::{PlanId, Run, RunId, RunOutcome, RunProgress};

/// Runs of a host whose logs are kept.
pub const LOGS_KEPT: u64 = 20;

/// A step of a run that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDone {
    /// Which.
    pub name: String,
    /// When, by the host's clock; not known while the run is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// A run on a host.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Whose host.
    pub agent_id: AgentId,
    /// Its name there.
    pub id: RunId,
    /// The order that it carries out; none for one that was begun on the host itself.
    pub order_id: Option<CommandId>,
    /// What it does.
    pub plan_id: PlanId,
    /// Who said so.
    pub begun_by: String,
    /// The run that it takes back.
    pub undoes: Option<RunId>,
    /// When it began, by the host's clock.
    pub started_at: DateTime<Utc>,
    /// When it ended, with how it came out; none while it is under way.
    pub ended: Option<(DateTime<Utc>, RunOutcome)>,
    /// What is done of it.
    pub steps: Vec<StepDone>,
    /// The step that is under way.
    pub step: Option<String>,
    /// How much of that is done.
    pub percent: Option<u8>,
    /// What it does or waits for.
    pub words: String,
    /// The end of its log; of old runs none is kept.
    pub log: String,
    /// When the host told of it last, by the master's clock.
    pub told_at: DateTime<Utc>,
}

impl RunRow {
    /// As a host tells of one that ended.
    pub fn ended(agent: &AgentId, run: &Run, log: &str, now: DateTime<Utc>) -> Self {
        let outcome =
            run.outcome.clone().unwrap_or(RunOutcome::Failed { reason: "how it ended was not told".into() });
        let steps = run.steps.iter().map(|step| StepDone { name: step.name.clone(), at: Some(step.at) });
        Self {
            agent_id: agent.clone(),
            id: run.id.clone(),
            order_id: run.order.clone(),
            plan_id: run.plan.id(),
            begun_by: run.by.clone(),
            undoes: run.undoes.clone(),
            started_at: run.started_at,
            ended: Some((run.ended_at.unwrap_or(now), outcome)),
            steps: steps.collect(),
            step: run.begun.clone(),
            percent: None,
            words: String::new(),
            log: log.to_owned(),
            told_at: now,
        }
    }

    /// As a host tells of one that is under way.
    pub fn under_way(agent: &AgentId, told: RunProgress, now: DateTime<Utc>) -> Self {
        Self {
            agent_id: agent.clone(),
            id: told.run,
            order_id: told.order,
            plan_id: told.plan,
            begun_by: told.by,
            undoes: None,
            started_at: told.started_at,
            ended: None,
            steps: told.done.into_iter().map(|name| StepDone { name, at: None }).collect(),
            step: told.step,
            percent: told.percent,
            words: told.words,
            log: told.log,
            told_at: now,
        }
    }

    /// Returns how it came out, in a word of the API: `running` while it is under way.
    pub fn status(&self) -> &'static str {
        self.ended.as_ref().map_or("running", |(_, outcome)| outcome.as_str())
    }

    pub(super) fn model(&self, at: i64) -> run::Model {
        let outcome = self.ended.as_ref().map(|(_, outcome)| outcome);
        run::Model {
            agent_id: self.agent_id.as_str().into(),
            id: self.id.as_str().into(),
            order_id: self.order_id.as_ref().map(|id| id.as_str().to_owned()),
            plan_id: self.plan_id.to_string(),
            begun_by: self.begun_by.clone(),
            undoes: self.undoes.as_ref().map(|id| id.as_str().to_owned()),
            started_at: micros(self.started_at),
            ended_at: self.ended.as_ref().map(|(at, _)| micros(*at)),
            outcome: outcome.map(to_json),
            reason: outcome.and_then(RunOutcome::reason).map(str::to_owned),
            steps: to_json(&self.steps),
            step: self.step.clone(),
            percent: self.percent.map(i32::from),
            words: self.words.clone(),
            log: self.log.clone(),
            told_at: at,
        }
    }

    fn of(row: run::Model) -> Result<Self, DbError> {
        let named = |id: &str| {
            RunId::parse(id).ok_or_else(|| DbError::Unreadable {
                kind: "run",
                id: id.to_owned(),
                reason: "its name is none".into(),
            })
        };
        let ended = match (row.ended_at, &row.outcome) {
            (Some(at), Some(outcome)) => Some((time(at), json("run", &row.id, outcome)?)),
            _ => None,
        };
        Ok(Self {
            agent_id: AgentId::new(row.agent_id),
            id: named(&row.id)?,
            order_id: row.order_id.map(CommandId::new),
            plan_id: PlanId::stored(row.plan_id),
            begun_by: row.begun_by,
            undoes: row.undoes.as_deref().map(named).transpose()?,
            started_at: time(row.started_at),
            ended,
            steps: json("run", &row.id, &row.steps)?,
            step: row.step,
            percent: row.percent.and_then(|percent| u8::try_from(percent).ok()),
            words: row.words,
            log: row.log,
            told_at: time(row.told_at),
        })
    }
}

/// Returns a run of a host.
pub async fn find_run(db: &Db, agent: &AgentId, run: &RunId) -> Result<Option<RunRow>, DbError> {
    let key = (agent.as_str().to_owned(), run.as_str().to_owned());
    db.read(
        move |conn| async move { run::Entity::find_by_id(key).one(&conn).await?.map(RunRow::of).transpose() },
    )
    .await
}

/// Returns the newest run that carries an order out.
pub async fn find_run_of(db: &Db, agent: &AgentId, order: &CommandId) -> Result<Option<RunRow>, DbError> {
    let (agent, order) = (agent.as_str().to_owned(), order.as_str().to_owned());
    db.read(move |conn| async move {
        let query = run::Entity::find()
            .filter(run::Column::AgentId.eq(agent))
            .filter(run::Column::OrderId.eq(order))
            .order_by_desc(run::Column::StartedAt);
        query.one(&conn).await?.map(RunRow::of).transpose()
    })
    .await
}

/// Returns the name of the newest run that took this one back, and was verified or is under way.
pub async fn run_that_took_back(db: &Db, agent: &AgentId, run: &RunId) -> Result<Option<RunId>, DbError> {
    let (agent, run) = (agent.as_str().to_owned(), run.as_str().to_owned());
    db.read(move |conn| async move {
        let query = run::Entity::find()
            .filter(run::Column::AgentId.eq(agent))
            .filter(run::Column::Undoes.eq(run))
            .order_by_desc(run::Column::StartedAt)
            .limit(limit(10));
        let runs = query.all(&conn).await?.into_iter().map(RunRow::of).collect::<Result<Vec<_>, _>>()?;
        let counts = |row: &RunRow| matches!(row.status(), "running" | "verified");
        Ok(runs.into_iter().find(counts).map(|row| row.id))
    })
    .await
}

/// Which runs are listed.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only this host's.
    pub agent: Option<AgentId>,
    /// Only those of this plan.
    pub plan: Option<PlanId>,
    /// Only those that are under way, or only those that are not.
    pub running: Option<bool>,
}

/// A page of runs, and how many there are in all.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPage {
    /// The newest first.
    pub runs: Vec<RunRow>,
    /// How many fit the filter.
    pub total: u64,
}

/// Returns runs, the newest first.
pub async fn list_runs(db: &Db, filter: &RunFilter, offset: u64, max: u64) -> Result<RunPage, DbError> {
    let filter = filter.clone();
    db.read(move |conn| async move {
        let mut query = run::Entity::find();
        if let Some(agent) = filter.agent {
            query = query.filter(run::Column::AgentId.eq(agent.as_str()));
        }
        if let Some(plan) = filter.plan {
            query = query.filter(run::Column::PlanId.eq(plan.to_string()));
        }
        query = match filter.running {
            Some(true) => query.filter(run::Column::EndedAt.is_null()),
            Some(false) => query.filter(run::Column::EndedAt.is_not_null()),
            None => query,
        };
        let total = query.clone().count(&conn).await?;
        let page = query
            .order_by_desc(run::Column::StartedAt)
            .order_by_desc(run::Column::Id)
            .order_by_asc(run::Column::AgentId)
            .offset(offset)
            .limit(limit(max));
        let runs = page.all(&conn).await?.into_iter().map(RunRow::of).collect::<Result<_, _>>()?;
        Ok(RunPage { runs, total })
    })
    .await
}

/// Returns the runs of a host that have a log and are older than the newest [`LOGS_KEPT`].
pub async fn runs_with_old_logs(db: &Db, agent: &AgentId) -> Result<Vec<RunRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = run::Entity::find()
            .filter(run::Column::AgentId.eq(agent))
            .filter(run::Column::Log.ne(""))
            .order_by_desc(run::Column::StartedAt)
            .offset(LOGS_KEPT)
            .limit(limit(20));
        query.all(&conn).await?.into_iter().map(RunRow::of).collect()
    })
    .await
}
