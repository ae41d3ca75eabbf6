//! What people decided about updates and plans; what scans find and hosts tell is kept beside it.

use super::origin::Origin;
use crate::db::entities::{approval, failed_image, update_decision};
use crate::db::needs::Needs;
use crate::db::times::micros;
use crate::db::unit::Unit;
use crate::db::words::to_json;
use crate::domain::event::UpdateEvent;
use crate::domain::id::{AgentId, ApprovalId};
use crate::domain::update::{ApprovalStatus, Kind};

fn of_update(agent: &AgentId, kind: Kind, name: &str) -> (String, String, String) {
    (agent.as_str().into(), kind.as_str().into(), name.to_owned())
}

fn of_approval(agent: &AgentId, approval: &ApprovalId) -> (String, String) {
    (agent.as_str().into(), approval.as_str().into())
}

/// Names what an event is about.
pub(super) fn needs(needs: &mut Needs, event: &UpdateEvent) {
    match event {
        UpdateEvent::Decided { agent_id, kind, name, .. }
        | UpdateEvent::Reconsidered { agent_id, kind, name } => {
            needs.update_decisions.insert(of_update(agent_id, *kind, name));
        }
        UpdateEvent::PlanApproved { agent_id, approval_id, .. }
        | UpdateEvent::PlanScheduled { agent_id, approval_id }
        | UpdateEvent::PlanOrdered { agent_id, approval_id, .. }
        | UpdateEvent::PlanReissued { agent_id, approval_id, .. }
        | UpdateEvent::PlanWithdrawn { agent_id, approval_id, .. }
        | UpdateEvent::RunEnded { agent_id, approval_id: Some(approval_id), .. } => {
            needs.approvals.insert(of_approval(agent_id, approval_id));
        }
        UpdateEvent::RunEnded { approval_id: None, .. } => {}
        UpdateEvent::ImageFailed { image, .. } => drop(needs.failed_images.insert(image.digest.clone())),
    }
}

/// Projects a decision.
pub(super) fn project(unit: &mut Unit, origin: Origin<'_>, event: &UpdateEvent) {
    match event {
        UpdateEvent::Decided { agent_id, kind, name, decision } => {
            let (agent_id, package_type, package_name) = of_update(agent_id, *kind, name);
            unit.update_decisions.put(update_decision::Model {
                agent_id,
                package_type,
                package_name,
                decision: to_json(decision),
                decided_by: origin.by.to_owned(),
                decided_at: origin.at,
            });
        }
        UpdateEvent::Reconsidered { agent_id, kind, name } => {
            unit.update_decisions.delete(&of_update(agent_id, *kind, name));
        }
        UpdateEvent::PlanApproved {
            agent_id,
            approval_id,
            request_id,
            plan_id,
            number,
            expires_at,
            given_from,
            needs_second,
            mode,
            approved_plan,
            not_before,
        } => unit.approvals.put(approval::Model {
            agent_id: agent_id.as_str().into(),
            id: approval_id.as_str().into(),
            request_id: request_id.as_str().into(),
            plan_id: plan_id.to_string(),
            number: i64::try_from(*number).unwrap_or(i64::MAX),
            given_by: origin.by.to_owned(),
            given_from: given_from.clone(),
            given_at: origin.at,
            expires_at: micros(*expires_at),
            needs_second: *needs_second,
            ordered_by: None,
            command_id: None,
            run_id: None,
            status: ApprovalStatus::Waiting.as_str().into(),
            reason: None,
            ended_at: None,
            mode: mode.as_str().into(),
            approved_plan: approved_plan.as_ref().map(ToString::to_string),
            reissued_at: None,
            not_before: not_before.map(micros),
            due_at: Some(micros(*expires_at)),
        }),
        UpdateEvent::PlanScheduled { agent_id, approval_id } => {
            unit.approvals.change(&of_approval(agent_id, approval_id), |row| {
                row.status = ApprovalStatus::Scheduled.as_str().into();
                row.ordered_by = Some(origin.by.to_owned());
                row.due_at = row.not_before;
            });
        }
        UpdateEvent::PlanOrdered { agent_id, approval_id, command_id, number } => {
            unit.approvals.change(&of_approval(agent_id, approval_id), |row| {
                row.status = ApprovalStatus::Ordered.as_str().into();
                // Of one that waited for its time, whoever said yes last had the host told.
                row.ordered_by.get_or_insert(origin.by.to_owned());
                row.command_id = Some(command_id.as_str().into());
                if let Some(number) = number {
                    row.number = i64::try_from(*number).unwrap_or(i64::MAX);
                }
                row.due_at = None;
            });
        }
        UpdateEvent::PlanReissued { agent_id, approval_id, plan_id, number, command_id } => {
            unit.approvals.change(&of_approval(agent_id, approval_id), |row| {
                let before = std::mem::replace(&mut row.plan_id, plan_id.to_string());
                row.approved_plan.get_or_insert(before);
                row.number = i64::try_from(*number).unwrap_or(i64::MAX);
                row.command_id = Some(command_id.as_str().into());
                row.reissued_at = Some(origin.at);
            });
        }
        UpdateEvent::PlanWithdrawn { agent_id, approval_id, reason } => {
            unit.approvals.change(&of_approval(agent_id, approval_id), |row| {
                row.status = ApprovalStatus::Withdrawn.as_str().into();
                row.reason = Some(reason.clone());
                row.ended_at = Some(origin.at);
                row.due_at = None;
            });
        }
        UpdateEvent::RunEnded { agent_id, run_id, approval_id: Some(approval_id), outcome, .. } => {
            unit.approvals.change(&of_approval(agent_id, approval_id), |row| {
                row.status = ApprovalStatus::of(outcome).as_str().into();
                row.reason = outcome.reason().map(str::to_owned);
                row.run_id = Some(run_id.as_str().to_owned());
                row.ended_at = Some(origin.at);
                row.due_at = None;
            });
        }
        UpdateEvent::RunEnded { approval_id: None, .. } => {}
        UpdateEvent::ImageFailed { agent_id, run_id, image } => {
            unit.failed_images.put(failed_image::Model {
                digest: image.digest.clone(),
                image: image.image.clone(),
                agent_id: agent_id.as_str().into(),
                run_id: run_id.as_str().into(),
                reason: image.reason.clone(),
                failed_at: origin.at,
                let_go_by: None,
            });
        }
    }
}
