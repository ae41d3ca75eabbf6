//! A yes that reaches newer versions of what was shown.
//!
//! If the plan no longer holds on the host, it works it out anew, and what is in the scope of the yes is ordered in its place:
//! once, so that no host and no repository can keep a master busy. What is beyond it ends the yes, with the reason.

use super::moves::TRIES;
use super::updates::Keeper;
use crate::actors::master::error::MasterError;
use crate::db::Expected;
use crate::db::approvals::{ApprovalRow, find_approval};
use crate::db::plans::{HostPlanRow, find_plan};
use crate::domain::command::CommandKind;
use crate::domain::event::{Stream, UpdateEvent};
use crate::domain::id::{ApprovalId, RequestId};
use crate::domain::update::{Beyond, PlanId, Then, beyond};

/// Most things that are named as beyond the scope of a yes.
const MOST_NAMED: usize = 5;

impl Keeper {
    /// Asks the host what it would change now instead. The question has the id of the yes.
    pub(super) async fn plan_anew(&mut self, row: &ApprovalRow) -> Result<(), MasterError> {
        let Some(asked) = self.question(&row.request_id).await? else {
            return self.end_reissue(row, "what it was asked for is not kept any more").await;
        };
        let request = RequestId::new(row.id.as_str());
        let kind =
            CommandKind::PlanUpdates { request: request.clone(), ask: asked.ask.clone(), then: Then::Show };
        self.ask(request, (asked.ask, Then::Reissue, None), kind, "system").await.map(drop)
    }

    /// The host answered: what is in the scope of the yes is ordered, once.
    pub(super) async fn reissue(&mut self, asked: &HostPlanRow) -> Result<(), MasterError> {
        let id = ApprovalId::new(asked.request_id.as_str());
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            let row = find_approval(&self.own.env.db, &self.own.agent, &id).await?;
            let Some(row) = row.filter(|row| row.status.is_open() && row.reissued_at.is_none()) else {
                return Ok(());
            };
            let plan = match self.replacement(&row, asked).await? {
                Ok(plan) => plan,
                Err(why) => return self.end_reissue(&row, &why).await,
            };
            let number = ends.updates + 1;
            let command = self.order(&id, &plan, number, row.expires_at);
            let event = UpdateEvent::PlanReissued {
                agent_id: self.own.agent.clone(),
                approval_id: id.clone(),
                plan_id: plan,
                number,
                command_id: command.id.clone(),
            };
            let batch = self.own.env.batch("system").assume(self.is_listed()).append(
                Stream::updates(&self.own.agent),
                Expected::Version(ends.updates),
                vec![event],
            );
            if self.commit(self.with_command(batch, &ends, &command)).await? {
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Returns the plan that is ordered in the place of the one that no longer holds, or why there is none.
    async fn replacement(
        &self,
        row: &ApprovalRow,
        asked: &HostPlanRow,
    ) -> Result<Result<PlanId, String>, MasterError> {
        let Some(answer) = &asked.answer else { return Ok(Err("the host did not answer".into())) };
        let plan = match &answer.plan {
            Ok((plan, _)) => plan,
            Err(problem) => return Ok(Err(format!("it could not be planned anew: {}", problem.reason))),
        };
        if *plan == row.plan_id {
            // Planned anew it is the same: it was refused for another reason.
            let refused = self.command_of(row).await?.and_then(|command| command.outcome);
            return Ok(Err(refused.map_or_else(|| "the host refused it".into(), |outcome| outcome.message)));
        }
        if self.own.env.now() >= row.expires_at {
            return Ok(Err("the plan no longer holds, and the yes is over".into()));
        }
        if let Some(why) = self.out_of_scope(row.shown_plan(), plan).await? {
            return Ok(Err(format!("the plan no longer holds, and {why}")));
        }
        let Some(changes) = find_plan(&self.own.env.db, plan).await? else {
            return Ok(Err("what it would change now is not kept".into()));
        };
        match self.must_not_be_held(&changes).await {
            Ok(()) => Ok(Ok(plan.clone())),
            Err(MasterError::CannotApprove(why)) => Ok(Err(why)),
            Err(failed) => Err(failed),
        }
    }

    async fn end_reissue(&self, row: &ApprovalRow, why: &str) -> Result<(), MasterError> {
        let by = format!("agent:{}", self.own.agent);
        for _ in 0..TRIES {
            if self.end_approval(row, why, &by).await? {
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Says why a plan is beyond the scope of a yes to another one; nothing if it is not.
    pub(super) async fn out_of_scope(
        &self,
        approved: &PlanId,
        now: &PlanId,
    ) -> Result<Option<String>, MasterError> {
        let db = &self.own.env.db;
        let (Some(approved), Some(now)) = (find_plan(db, approved).await?, find_plan(db, now).await?) else {
            return Ok(Some("one of the two plans is not kept any more".into()));
        };
        let found = beyond(&approved, &now);
        if found.is_empty() {
            return Ok(None);
        }
        let named: Vec<String> = found.iter().take(MOST_NAMED).map(Beyond::to_string).collect();
        let more = match found.len().saturating_sub(MOST_NAMED) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Ok(Some(format!("what this host would change is beyond the yes: {}{more}", named.join("; "))))
    }
}
