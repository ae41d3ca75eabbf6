//! What hosts answered to one question, put together for the API and the pages: hosts that would change the same stand together.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;

use super::error::ApiError;
use super::state::WebState;
use crate::actors::master::MasterError;
use crate::db::read::{
    self, ApprovalFilter, ApprovalRow, HeldImageRow, HostPlanRow, host_plans_of, list_approvals, plans_by_id,
};
use crate::domain::delivery::Family;
use crate::domain::id::{AgentId, RequestId};
use crate::domain::route::RouteKey;
use crate::domain::text::repeated;
use crate::domain::update::{ApprovalMode, Changes, Kind, OnHost, PlanId, Problem, routes_behind};

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
    /// Images of it that failed on a host: as long as they are held it is approved for none.
    pub held: Vec<Held>,
    /// Public names whose containers it replaces, by host.
    pub behind: Vec<Behind>,
}

/// A public name behind a plan.
#[derive(Debug, Clone)]
pub struct Behind {
    /// On which host.
    pub host: Named,
    /// Which name.
    pub route: RouteKey,
    /// The container.
    pub container: String,
}

/// An image that is held.
#[derive(Debug, Clone)]
pub struct Held {
    /// What failed, where and why.
    pub row: HeldImageRow,
    /// What people call the host that it failed on.
    pub host: String,
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
            Some(Group { changes: changes.remove(&plan)?, plan, hosts, held: Vec::new(), behind: Vec::new() })
        };
        let mut groups: Vec<Group> = by_plan.into_iter().filter_map(group).collect();
        add_held(state, &mut groups).await?;
        add_behind(state, &mut groups).await?;
        groups.sort_by(|one, other| other.hosts.len().cmp(&one.hosts.len()).then(one.plan.cmp(&other.plan)));
        waiting.sort();
        failed.sort_by(|(one, _), (other, _)| one.cmp(other));
        let filter = ApprovalFilter { request: Some(request.clone()), ..ApprovalFilter::default() };
        let approvals = list_approvals(db, &filter, MOST_APPROVALS).await.map_err(ApiError::internal)?;
        Ok(Self { first, groups, waiting, failed, approvals })
    }

    /// Returns the hosts that a yes to a plan can be about: those that answered with it, and for a yes that is not exact those
    /// that answered with another one too. None if nobody answered with it.
    pub fn hosts_for(&self, plan: &PlanId, mode: ApprovalMode) -> Vec<AgentId> {
        let ids = |group: &Group| group.hosts.iter().map(|(host, _)| host.id.clone()).collect::<Vec<_>>();
        let Some(own) = self.groups.iter().find(|group| group.plan == *plan) else { return Vec::new() };
        match mode {
            ApprovalMode::Exact => ids(own),
            ApprovalMode::SameScope | ApprovalMode::Skip => {
                self.groups.iter().filter(|group| !group.changes.is_empty()).flat_map(ids).collect()
            }
        }
    }
}

/// Looks which images of plans are held.
async fn add_held(state: &WebState, groups: &mut [Group]) -> Result<(), ApiError> {
    let db = &state.master().db;
    let digests: BTreeSet<String> = groups.iter().flat_map(|group| group.changes.new_images()).collect();
    let digests: Vec<String> = digests.into_iter().collect();
    let held = read::held_among(db, &digests).await.map_err(ApiError::internal)?;
    let agents: Vec<AgentId> = held.iter().map(|row| row.agent_id.clone()).collect();
    let names = read::agent_names(db, &agents).await.map_err(ApiError::internal)?;
    for group in groups {
        let images = group.changes.new_images();
        let own = held.iter().filter(|row| images.contains(&row.image.digest));
        group.held = own
            .map(|row| Held {
                host: names.get(&row.agent_id).cloned().unwrap_or_else(|| row.agent_id.to_string()),
                row: row.clone(),
            })
            .collect();
    }
    Ok(())
}

/// Looks which public names stand behind plans that replace containers.
async fn add_behind(state: &WebState, groups: &mut [Group]) -> Result<(), ApiError> {
    let replaces = |group: &&mut Group| group.changes.of(Kind::DockerImage).next().is_some();
    for group in groups.iter_mut().filter(replaces) {
        let ids: Vec<AgentId> = group.hosts.iter().map(|(host, _)| host.id.clone()).collect();
        let routes = read::routes_of_agents(&state.master().db, &ids).await.map_err(ApiError::internal)?;
        let of_host = |host: &Named| {
            let own = routes.get(&host.id).map(Vec::as_slice).unwrap_or_default();
            let behind = routes_behind(&group.changes, own).into_iter().map(|route| Behind {
                host: host.clone(),
                route: route.spec.key.clone(),
                container: route.container_name.clone(),
            });
            behind.collect::<Vec<_>>()
        };
        group.behind = group.hosts.iter().flat_map(|(host, _)| of_host(host)).collect();
    }
    Ok(())
}
