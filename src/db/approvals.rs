//! People's yes to plans, derived from events.

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::database::{Db, limit};
use super::entities::approval;
use super::error::DbError;
use super::times::{micros, time};
use crate::domain::id::{AgentId, ApprovalId, CommandId, RequestId};
use crate::domain::update::{ApprovalMode, ApprovalStatus, PlanId, RunId};

/// A yes to a plan of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// Whose host.
    pub agent_id: AgentId,
    /// Its name; one yes to many hosts has one name.
    pub id: ApprovalId,
    /// The question that the plan answers.
    pub request_id: RequestId,
    /// The plan.
    pub plan_id: PlanId,
    /// How far the yes goes.
    pub mode: ApprovalMode,
    /// The plan that the person looked at, if the host's own is another one in its scope.
    pub approved_plan: Option<PlanId>,
    /// When what the host would change instead was ordered in its place; none if the first plan held.
    pub reissued_at: Option<DateTime<Utc>>,
    /// The order's place among those for the host.
    pub number: u64,
    /// Who gave it.
    pub given_by: String,
    /// From where; none over the socket of the master's own host.
    pub given_from: Option<String>,
    /// When.
    pub given_at: DateTime<Utc>,
    /// Until when it counts.
    pub expires_at: DateTime<Utc>,
    /// When the host is told; none: at once.
    pub not_before: Option<DateTime<Utc>>,
    /// True if a second person's yes is needed.
    pub needs_second: bool,
    /// Whose yes had the host told.
    pub ordered_by: Option<String>,
    /// The command that carries the order.
    pub command_id: Option<CommandId>,
    /// The run that carried it out.
    pub run_id: Option<RunId>,
    /// Where it stands.
    pub status: ApprovalStatus,
    /// Why it came to nothing.
    pub reason: Option<String>,
    /// When it came to its end.
    pub ended_at: Option<DateTime<Utc>>,
}

impl ApprovalRow {
    fn of(row: approval::Model) -> Result<Self, DbError> {
        let unreadable =
            |reason: String| DbError::Unreadable { kind: "approval", id: row.id.clone(), reason };
        let status = ApprovalStatus::parse(&row.status)
            .ok_or_else(|| unreadable(format!("`{}` is no status", row.status)))?;
        let mode =
            ApprovalMode::parse(&row.mode).ok_or_else(|| unreadable(format!("`{}` is no mode", row.mode)))?;
        Ok(Self {
            agent_id: AgentId::new(row.agent_id),
            id: ApprovalId::new(row.id),
            request_id: RequestId::new(row.request_id),
            plan_id: PlanId::stored(row.plan_id),
            mode,
            approved_plan: row.approved_plan.map(PlanId::stored),
            reissued_at: row.reissued_at.map(time),
            number: u64::try_from(row.number).unwrap_or(0),
            given_by: row.given_by,
            given_from: row.given_from,
            given_at: time(row.given_at),
            expires_at: time(row.expires_at),
            not_before: row.not_before.map(time),
            needs_second: row.needs_second,
            ordered_by: row.ordered_by,
            command_id: row.command_id.map(CommandId::new),
            run_id: row.run_id.as_deref().and_then(RunId::parse),
            status,
            reason: row.reason,
            ended_at: row.ended_at.map(time),
        })
    }
}

impl ApprovalRow {
    /// Returns the plan that the person looked at.
    pub fn shown_plan(&self) -> &PlanId {
        self.approved_plan.as_ref().unwrap_or(&self.plan_id)
    }

    /// True if it is a yes to this plan, or has the host carry it out.
    pub fn is_about(&self, plan: &PlanId) -> bool {
        self.plan_id == *plan || self.approved_plan.as_ref() == Some(plan)
    }
}

/// Which approvals are listed.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// Only those for this host.
    pub agent: Option<AgentId>,
    /// Only those of this name: one yes to many hosts.
    pub id: Option<ApprovalId>,
    /// Only those that answer this question.
    pub request: Option<RequestId>,
    /// Only those of which something may still come.
    pub open: bool,
    /// Only those that counted until before this time.
    pub expired_by: Option<DateTime<Utc>>,
}

/// Returns approvals, the newest first.
pub async fn list_approvals(db: &Db, filter: &ApprovalFilter, max: u64) -> Result<Vec<ApprovalRow>, DbError> {
    let filter = filter.clone();
    db.read(move |conn| async move {
        let mut query = approval::Entity::find();
        if let Some(agent) = filter.agent {
            query = query.filter(approval::Column::AgentId.eq(agent.as_str()));
        }
        if let Some(id) = filter.id {
            query = query.filter(approval::Column::Id.eq(id.as_str()));
        }
        if let Some(request) = filter.request {
            query = query.filter(approval::Column::RequestId.eq(request.as_str()));
        }
        if filter.open {
            let open = ApprovalStatus::ALL.into_iter().filter(|status| status.is_open());
            query = query.filter(approval::Column::Status.is_in(open.map(ApprovalStatus::as_str)));
        }
        if let Some(at) = filter.expired_by {
            query = query.filter(approval::Column::ExpiresAt.lte(micros(at)));
        }
        let page = query
            .order_by_desc(approval::Column::GivenAt)
            .order_by_asc(approval::Column::AgentId)
            .limit(limit(max));
        page.all(&conn).await?.into_iter().map(ApprovalRow::of).collect()
    })
    .await
}

/// Returns what a host is to be told by `now`, in the order in which it was to begin and was given; at most `max`.
pub async fn due_orders(
    db: &Db,
    agent: &AgentId,
    now: DateTime<Utc>,
    max: u64,
) -> Result<Vec<ApprovalRow>, DbError> {
    let (agent, now) = (agent.as_str().to_owned(), micros(now));
    db.read(move |conn| async move {
        let query = approval::Entity::find()
            .filter(approval::Column::AgentId.eq(agent))
            .filter(approval::Column::Status.eq(ApprovalStatus::Scheduled.as_str()))
            .filter(approval::Column::DueAt.lte(now))
            .order_by_asc(approval::Column::NotBefore)
            .order_by_asc(approval::Column::GivenAt)
            .order_by_asc(approval::Column::Number)
            .limit(limit(max));
        query.all(&conn).await?.into_iter().map(ApprovalRow::of).collect()
    })
    .await
}

/// Returns one host's part of a yes.
pub async fn find_approval(
    db: &Db,
    agent: &AgentId,
    id: &ApprovalId,
) -> Result<Option<ApprovalRow>, DbError> {
    let key = (agent.as_str().to_owned(), id.as_str().to_owned());
    db.read(move |conn| async move {
        approval::Entity::find_by_id(key).one(&conn).await?.map(ApprovalRow::of).transpose()
    })
    .await
}

/// Returns the approval whose order a command carries.
pub async fn find_approval_of(
    db: &Db,
    agent: &AgentId,
    command: &CommandId,
) -> Result<Option<ApprovalRow>, DbError> {
    let (agent, command) = (agent.as_str().to_owned(), command.as_str().to_owned());
    db.read(move |conn| async move {
        let query = approval::Entity::find()
            .filter(approval::Column::AgentId.eq(agent))
            .filter(approval::Column::CommandId.eq(command));
        query.one(&conn).await?.map(ApprovalRow::of).transpose()
    })
    .await
}
