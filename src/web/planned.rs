//! What hosts answered to one question, put together for the API and the pages: hosts that would change the same stand together.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::error::ApiError;
use super::state::WebState;
use crate::actors::master::MasterError;
use crate::db::read::{
    self, ApprovalFilter, ApprovalRow, HostPlanRow, host_plans_of, list_approvals, plans_by_id,
};
use crate::domain::delivery::Family;
use crate::domain::id::{AgentId, RequestId};
use crate::domain::text::repeated;
use crate::domain::update::{Changes, OnHost, PlanId, Problem};

/// Most approvals of one question that are read.
const MOST_APPROVALS: u64 = 20_000;

/// One question to hosts, with their answers.
pub struct Planned {
    /// What every part has in common: who asked, when, what.
    pub first: HostPlanRow,
    /// Plans, the one of most hosts first.
    pub groups: Vec<Group>,
    /// Hosts that have not answered.
    pub waiting: Vec<Named>,
    /// Hosts that could not work it out, and why.
    pub failed: Vec<(Named, Problem)>,
    /// What people said to it.
    pub approvals: Vec<ApprovalRow>,
}

/// A host, with its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// What people call it.
    pub name: String,
    /// Its agent.
    pub id: AgentId,
}

/// Hosts that would change the same.
pub struct Group {
    /// The plan.
    pub plan: PlanId,
    /// Its changes.
    pub changes: Changes,
    /// The hosts, by name, with what it means there.
    pub hosts: Vec<(Named, Box<OnHost>)>,
}

impl Planned {
    /// Reads it; fails with 404 if there is no such question, or it is not kept any more.
    pub async fn read(state: &WebState, request: &RequestId) -> Result<Self, ApiError> {
        let db = &state.master().db;
        let rows = host_plans_of(db, request).await.map_err(ApiError::internal)?;
        let Some(first) = rows.first().cloned() else {
            let words = format!("no question `{}` to hosts is kept", repeated(request.as_str()));
            return Err(MasterError::PlanNotFound(words).into());
        };
        let ids: Vec<AgentId> = rows.iter().map(|row| row.agent_id.clone()).collect();
        let names = read::agent_names(db, &ids).await.map_err(ApiError::internal)?;
        let named = |id: &AgentId| Named {
            name: names.get(id).cloned().unwrap_or_else(|| id.to_string()),
            id: id.clone(),
        };
        let now = state.master().clock.now();
        let patience = TimeDelta::from_std(Family::Updates.rules().lifetime).unwrap_or(TimeDelta::MAX);
        let (mut waiting, mut failed) = (Vec::new(), Vec::new());
        let mut by_plan = BTreeMap::<PlanId, Vec<(Named, Box<OnHost>)>>::new();
        for row in rows {
            let host = named(&row.agent_id);
            match row.answer.map(|answer| answer.plan) {
                None if now >= row.asked_at + patience => {
                    let reason = "it did not answer in time: it was away, or is busy".into();
                    failed
                        .push((host, Problem { reason, way_out: Some("ask again once it is back".into()) }));
                }
                None => waiting.push(host),
                Some(Err(problem)) => failed.push((host, problem)),
                Some(Ok((plan, on_host))) => by_plan.entry(plan).or_default().push((host, on_host)),
            }
        }
        let ids: Vec<PlanId> = by_plan.keys().cloned().collect();
        let mut changes = plans_by_id(db, &ids).await.map_err(ApiError::internal)?;
        let group = |(plan, mut hosts): (PlanId, Vec<(Named, Box<OnHost>)>)| {
            hosts.sort_by(|(one, _), (other, _)| one.cmp(other));
            Some(Group { changes: changes.remove(&plan)?, plan, hosts })
        };
        let mut groups: Vec<Group> = by_plan.into_iter().filter_map(group).collect();
        groups.sort_by(|one, other| other.hosts.len().cmp(&one.hosts.len()).then(one.plan.cmp(&other.plan)));
        waiting.sort();
        failed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let filter = ApprovalFilter { request: Some(request.clone()), ..ApprovalFilter::default() };
        let approvals = list_approvals(db, &filter, MOST_APPROVALS).await.map_err(ApiError::internal)?;
        Ok(Self { first, groups, waiting, failed, approvals })
    }

    /// Returns the hosts that answered with a plan.
    pub fn hosts_with(&self, plan: &PlanId) -> Vec<AgentId> {
        let group = self.groups.iter().find(|group| group.plan == *plan);
        group.map(|group| group.hosts.iter().map(|(host, _)| host.id.clone()).collect()).unwrap_or_default()
    }
}
