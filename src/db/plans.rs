//! What hosts were asked to work out and what they answered; plans are kept once, by their hash, however many hosts made them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::sea_query::ExprTrait;
use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::database::{Db, limit};
use super::entities::{approval, host_plan, plan, run};
use super::error::DbError;
use super::times::{micros, time};
use super::words::{json, to_json, word};
use crate::domain::id::{AgentId, CommandId, RequestId};
use crate::domain::update::{Changes, Kind, OnHost, PlanAsk, PlanId, Problem, Then, Wanted};

/// Answers that are kept of one host.
pub const KEPT: u64 = 20;
/// Most questions of one kind that are looked through: more than can be approved together.
const MOST_YESES: u64 = 2_000;

/// What a host was asked, and its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPlanRow {
    /// Whose host.
    pub agent_id: AgentId,
    /// The question, maybe of many hosts at once.
    pub request_id: RequestId,
    /// The command that carried it there.
    pub command_id: CommandId,
    /// What was asked.
    pub ask: PlanAsk,
    /// What becomes of the answer.
    pub then: Then,
    /// Who asked.
    pub asked_by: String,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// The answer; none while it is waited for.
    pub answer: Option<HostPlanAnswer>,
    /// What a RedFlag agent, which makes no plan, says that comes along.
    pub dependencies: Option<Vec<String>>,
    /// What comes of the answer begins at this time, and not before; none: at once.
    pub not_before: Option<DateTime<Utc>>,
}

/// A host's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct HostPlanAnswer {
    /// When it came.
    pub at: DateTime<Utc>,
    /// The plan with what it means there, or why there is none.
    pub plan: Result<(PlanId, Box<OnHost>), Problem>,
}

impl HostPlanRow {
    /// True if who asked said yes to this update by its name.
    pub fn is_yes_to(&self, kind: Kind, name: &str) -> bool {
        let PlanAsk::Install { wanted: Wanted::Named(names), .. } = &self.ask else { return false };
        self.then == Then::CarryOut && names.iter().any(|asked| *asked == format!("{kind}:{name}"))
    }

    pub(super) fn model(&self) -> host_plan::Model {
        let answer = self.answer.as_ref();
        let plan = answer.and_then(|answer| answer.plan.as_ref().ok());
        let problem = answer.and_then(|answer| answer.plan.as_ref().err());
        host_plan::Model {
            agent_id: self.agent_id.as_str().into(),
            request_id: self.request_id.as_str().into(),
            command_id: self.command_id.as_str().into(),
            ask: to_json(&self.ask),
            then: self.then.as_str().into(),
            asked_by: self.asked_by.clone(),
            asked_at: micros(self.asked_at),
            plan_id: plan.map(|(id, _)| id.to_string()),
            on_host: plan.map(|(_, on_host)| to_json(on_host)),
            dependencies: self.dependencies.as_ref().map(to_json),
            problem: problem.map(|problem| problem.reason.clone()),
            way_out: problem.and_then(|problem| problem.way_out.clone()),
            made_at: answer.map(|answer| micros(answer.at)),
            not_before: self.not_before.map(micros),
        }
    }

    fn of(row: host_plan::Model) -> Result<Self, DbError> {
        let plan = match (row.plan_id, row.on_host) {
            (Some(id), Some(on_host)) => {
                Ok((PlanId::stored(id), json("plan of host", &row.agent_id, &on_host)?))
            }
            _ => Err(Problem { reason: row.problem.unwrap_or_default(), way_out: row.way_out }),
        };
        Ok(Self {
            ask: json("plan of host", &row.agent_id, &row.ask)?,
            then: word("plan of host", &row.agent_id, &row.then)?,
            dependencies: match &row.dependencies {
                Some(names) => Some(json("plan of host", &row.agent_id, names)?),
                None => None,
            },
            agent_id: AgentId::new(row.agent_id),
            request_id: RequestId::new(row.request_id),
            command_id: CommandId::new(row.command_id),
            asked_by: row.asked_by,
            asked_at: time(row.asked_at),
            answer: row.made_at.map(|at| HostPlanAnswer { at: time(at), plan }),
            not_before: row.not_before.map(time),
        })
    }
}

/// A plan as it is stored.
pub(super) fn plan_model(changes: &Changes, at: i64) -> plan::Model {
    plan::Model { id: changes.id().to_string(), changes: to_json(changes), created_at: at }
}

/// Returns what hosts were asked with one question, and what they answered.
pub async fn host_plans_of(db: &Db, request: &RequestId) -> Result<Vec<HostPlanRow>, DbError> {
    let request = request.as_str().to_owned();
    db.read(move |conn| async move {
        let query = host_plan::Entity::find()
            .filter(host_plan::Column::RequestId.eq(request))
            .order_by_asc(host_plan::Column::AgentId);
        query.all(&conn).await?.into_iter().map(HostPlanRow::of).collect()
    })
    .await
}

/// Returns what one host was asked with a question.
pub async fn find_host_plan(
    db: &Db,
    agent: &AgentId,
    request: &RequestId,
) -> Result<Option<HostPlanRow>, DbError> {
    let key = (agent.as_str().to_owned(), request.as_str().to_owned());
    db.read(move |conn| async move {
        host_plan::Entity::find_by_id(key).one(&conn).await?.map(HostPlanRow::of).transpose()
    })
    .await
}

/// Returns what one host was asked by a command.
pub async fn find_host_plan_of(
    db: &Db,
    agent: &AgentId,
    command: &CommandId,
) -> Result<Option<HostPlanRow>, DbError> {
    let (agent, command) = (agent.as_str().to_owned(), command.as_str().to_owned());
    db.read(move |conn| async move {
        let query = host_plan::Entity::find()
            .filter(host_plan::Column::AgentId.eq(agent))
            .filter(host_plan::Column::CommandId.eq(command));
        query.one(&conn).await?.map(HostPlanRow::of).transpose()
    })
    .await
}

/// Returns the questions to one host that were asked with a yes to this update by its name, the newest first.
pub async fn yeses_to(db: &Db, agent: &AgentId, kind: Kind, name: &str) -> Result<Vec<HostPlanRow>, DbError> {
    let (agent, name) = (agent.as_str().to_owned(), name.to_owned());
    // As it stands in what is stored; letters that mean more in a pattern find too much, and the rows are looked at.
    let named = to_json(&format!("{kind}:{name}"));
    db.read(move |conn| async move {
        let query = host_plan::Entity::find()
            .filter(host_plan::Column::AgentId.eq(agent))
            .filter(host_plan::Column::Then.eq(Then::CarryOut.as_str()))
            .filter(host_plan::Column::Ask.contains(named))
            .order_by_desc(host_plan::Column::AskedAt)
            .order_by_desc(host_plan::Column::RequestId)
            .limit(limit(MOST_YESES));
        let rows: Result<Vec<_>, _> = query.all(&conn).await?.into_iter().map(HostPlanRow::of).collect();
        Ok(rows?.into_iter().filter(|row| row.is_yes_to(kind, &name)).collect())
    })
    .await
}

/// Returns the questions to one host that were asked with a yes and have no answer, the oldest first.
pub async fn unanswered_yeses(db: &Db, agent: &AgentId) -> Result<Vec<HostPlanRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = host_plan::Entity::find()
            .filter(host_plan::Column::AgentId.eq(agent))
            .filter(host_plan::Column::Then.eq(Then::CarryOut.as_str()))
            .filter(host_plan::Column::MadeAt.is_null())
            .order_by_asc(host_plan::Column::AskedAt)
            .limit(limit(MOST_YESES));
        query.all(&conn).await?.into_iter().map(HostPlanRow::of).collect()
    })
    .await
}

/// Returns what these hosts were asked of which something comes at a later time, the newest first.
pub async fn scheduled_plans(db: &Db, agents: &[AgentId]) -> Result<Vec<HostPlanRow>, DbError> {
    let agents: Vec<String> = agents.iter().map(|id| id.as_str().to_owned()).collect();
    db.read(move |conn| async move {
        let mut found = Vec::new();
        for chunk in agents.chunks(super::database::AT_ONCE) {
            let query = host_plan::Entity::find()
                .filter(host_plan::Column::AgentId.is_in(chunk))
                .filter(host_plan::Column::NotBefore.is_not_null())
                .order_by_desc(host_plan::Column::AskedAt);
            found.extend(query.all(&conn).await?);
        }
        found.into_iter().map(HostPlanRow::of).collect()
    })
    .await
}

/// Returns what a RedFlag agent said of what it is to install at a later time, the earliest first.
pub async fn scheduled_installs(db: &Db, agent: &AgentId) -> Result<Vec<HostPlanRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let query = host_plan::Entity::find()
            .filter(host_plan::Column::AgentId.eq(agent))
            .filter(host_plan::Column::NotBefore.is_not_null())
            .filter(host_plan::Column::Dependencies.is_not_null())
            .order_by_asc(host_plan::Column::NotBefore)
            .limit(limit(100));
        query.all(&conn).await?.into_iter().map(HostPlanRow::of).collect()
    })
    .await
}

/// Returns the questions to a host that are older than the newest [`KEPT`], but for those that were asked with a yes and have
/// no answer yet, or wait for their time.
pub async fn surplus_plans(db: &Db, agent: &AgentId) -> Result<Vec<HostPlanRow>, DbError> {
    let agent = agent.as_str().to_owned();
    db.read(move |conn| async move {
        let is_over = host_plan::Column::MadeAt.is_not_null().and(host_plan::Column::NotBefore.is_null());
        let query = host_plan::Entity::find()
            .filter(host_plan::Column::AgentId.eq(agent))
            .filter(is_over.or(host_plan::Column::Then.ne(Then::CarryOut.as_str())))
            .order_by_desc(host_plan::Column::AskedAt)
            .offset(KEPT)
            .limit(limit(100));
        query.all(&conn).await?.into_iter().map(HostPlanRow::of).collect()
    })
    .await
}

/// Returns questions that were asked before a time; what was approved after them is over long before.
pub async fn questions_before(
    db: &Db,
    at: DateTime<Utc>,
    max: u64,
) -> Result<Vec<(AgentId, RequestId)>, DbError> {
    db.read(move |conn| async move {
        let query = host_plan::Entity::find()
            .select_only()
            .column(host_plan::Column::AgentId)
            .column(host_plan::Column::RequestId)
            .filter(host_plan::Column::AskedAt.lt(micros(at)))
            .limit(limit(max));
        let ids: Vec<(String, String)> = query.into_tuple().all(&conn).await?;
        Ok(ids.into_iter().map(|(agent, request)| (AgentId::new(agent), RequestId::new(request))).collect())
    })
    .await
}

/// Returns plans that were last worked out before a time, and that no question, no yes and no run is about any more.
pub async fn unused_plans(db: &Db, at: DateTime<Utc>, max: u64) -> Result<Vec<PlanId>, DbError> {
    db.read(move |conn| async move {
        let of_questions = Query::select()
            .column(host_plan::Column::PlanId)
            .from(host_plan::Entity)
            .and_where(host_plan::Column::PlanId.is_not_null())
            .to_owned();
        let of_approvals = Query::select().column(approval::Column::PlanId).from(approval::Entity).to_owned();
        let of_people = Query::select()
            .column(approval::Column::ApprovedPlan)
            .from(approval::Entity)
            .and_where(approval::Column::ApprovedPlan.is_not_null())
            .to_owned();
        let of_runs = Query::select().column(run::Column::PlanId).from(run::Entity).to_owned();
        let mut query = plan::Entity::find()
            .select_only()
            .column(plan::Column::Id)
            .filter(plan::Column::CreatedAt.lt(micros(at)));
        for used in [of_questions, of_approvals, of_people, of_runs] {
            query = query.filter(plan::Column::Id.not_in_subquery(used));
        }
        let ids: Vec<String> = query.limit(limit(max)).into_tuple().all(&conn).await?;
        Ok(ids.into_iter().map(PlanId::stored).collect())
    })
    .await
}

/// Returns the changes of plans, by their hashes; those that are not kept any more are left out.
pub async fn plans_by_id(db: &Db, ids: &[PlanId]) -> Result<BTreeMap<PlanId, Changes>, DbError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    db.read(move |conn| async move {
        let mut found = BTreeMap::new();
        for chunk in ids.chunks(super::database::AT_ONCE) {
            for row in plan::Entity::find().filter(plan::Column::Id.is_in(chunk)).all(&conn).await? {
                let changes: Changes = json("plan", &row.id, &row.changes)?;
                found.insert(PlanId::stored(row.id), changes);
            }
        }
        Ok(found)
    })
    .await
}

/// Returns the changes of a plan.
pub async fn find_plan(db: &Db, id: &PlanId) -> Result<Option<Changes>, DbError> {
    Ok(plans_by_id(db, std::slice::from_ref(id)).await?.remove(id))
}
