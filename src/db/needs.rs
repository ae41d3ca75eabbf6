//! Which rows have to be read before a group of batches can be decided: named from the batches alone.

use std::collections::BTreeSet;

use super::batch::{Assumption, RowChange};
use super::cloudflare::status_key;
use super::drifts::drift_key;
use super::notifications::TargetStateRow;
use crate::domain::event::Stream;
use crate::domain::update::{Change, Kind};

/// Keys of the rows to read.
#[derive(Debug, Default)]
pub(super) struct Needs {
    pub(super) streams: BTreeSet<String>,
    pub(super) agents: BTreeSet<String>,
    /// Keys whose present users are wanted.
    pub(super) agent_keys: BTreeSet<String>,
    pub(super) keys: BTreeSet<String>,
    pub(super) commands: BTreeSet<String>,
    /// Hostnames whose claim and routes are wanted.
    pub(super) hostnames: BTreeSet<String>,
    /// Agents whose claims and routes are wanted.
    pub(super) leaving_agents: BTreeSet<String>,
    pub(super) tunnels: BTreeSet<String>,
    pub(super) tunnels_of_agents: BTreeSet<String>,
    pub(super) admins: BTreeSet<String>,
    pub(super) settings: BTreeSet<String>,
    pub(super) registry_logins: BTreeSet<String>,
    pub(super) access_groups: BTreeSet<String>,
    pub(super) targets: BTreeSet<String>,
    pub(super) target_states: BTreeSet<String>,
    /// Targets of which nothing is to be left.
    pub(super) forgotten_targets: BTreeSet<String>,
    /// True if everything that is the case is wanted.
    pub(super) all_conditions: bool,
    pub(super) access_policies: BTreeSet<(String, String)>,
    pub(super) access_applications: BTreeSet<(String, String)>,
    pub(super) agents_observed: BTreeSet<String>,
    pub(super) containers: BTreeSet<(String, String)>,
    pub(super) containers_of_agents: BTreeSet<String>,
    pub(super) forgotten_agents: BTreeSet<String>,
    pub(super) tunnels_observed: BTreeSet<String>,
    pub(super) applied_rules: BTreeSet<String>,
    pub(super) dns_records: BTreeSet<(String, String)>,
    pub(super) owned_tunnels: BTreeSet<(String, String)>,
    pub(super) drifts: BTreeSet<(String, String, String)>,
    /// Agents of which is wanted what a person said yes to.
    pub(super) reviewed_of_agents: BTreeSet<String>,
    pub(super) route_status: BTreeSet<(String, String, String)>,
    pub(super) tunnel_status: BTreeSet<String>,
    pub(super) sessions_of_admins: BTreeSet<String>,
    pub(super) tunnel_connectors: BTreeSet<String>,
    pub(super) call_budgets: BTreeSet<String>,
    /// Registration tokens, with who took their seats.
    pub(super) registration_tokens: BTreeSet<String>,
    pub(super) refresh_tokens: BTreeSet<String>,
    pub(super) update_logs: BTreeSet<(String, i32)>,
    pub(super) update_decisions: BTreeSet<(String, String, String)>,
    pub(super) approvals: BTreeSet<(String, String)>,
    pub(super) failed_images: BTreeSet<String>,
    pub(super) plans: BTreeSet<String>,
    /// Images whose containers are wanted, by agent.
    pub(super) images_of_agents: Vec<(String, String)>,
}

impl Needs {
    /// Adds what has to be compared.
    pub(super) fn add_assumption(&mut self, assumption: &Assumption) {
        match assumption {
            Assumption::StandsAt { agent_id, .. } => self.streams.insert(Stream::agent(agent_id).0),
            Assumption::KeyOpens { key_id } => self.keys.insert(key_id.as_str().into()),
            Assumption::IsListed { agent_id } => self.agents.insert(agent_id.as_str().into()),
        };
    }

    /// Adds what a row that is not derived from events touches.
    pub(super) fn add_change(&mut self, change: &RowChange) {
        match change {
            // Sealed anew each time, so there is nothing to compare with.
            RowChange::PutSecret { .. } | RowChange::DeleteSecret { .. } => {}
            RowChange::OpenSession(session) => {
                self.sessions_of_admins.insert(session.admin.clone());
            }
            RowChange::PutRefreshToken(token) => {
                self.refresh_tokens.insert(token.id.clone());
            }
            RowChange::PutUpdateLog(log) => {
                self.update_logs.insert((log.agent_id.as_str().into(), log.place));
            }
            // What is sent to a target is kept only while there is one.
            RowChange::PutNotice { target_id, .. } => drop(self.targets.insert(target_id.as_str().into())),
            RowChange::PutMessage(row) => drop(self.targets.insert(row.target_id.as_str().into())),
            RowChange::PutTargetState(TargetStateRow { target_id, .. })
            | RowChange::SetLeftOut { target_id, .. }
            | RowChange::RetryTarget { target_id } => {
                self.targets.insert(target_id.as_str().into());
                self.target_states.insert(target_id.as_str().into());
            }
            RowChange::ForgetTarget { target_id } => {
                self.forgotten_targets.insert(target_id.as_str().into());
            }
            RowChange::StopTelling => self.all_conditions = true,
            RowChange::DeleteNotice { .. }
            | RowChange::DeleteMessage { .. }
            | RowChange::PutNotificationPlace { .. }
            | RowChange::PutCondition(_)
            | RowChange::DeleteCondition { .. } => {}
            // Gone is gone, whatever it was.
            RowChange::DeleteRefreshToken { .. } => {}
            RowChange::EndSession { .. } => {}
            RowChange::TouchAgents(seen) => {
                self.agents_observed.extend(seen.iter().map(|(id, _)| id.as_str().to_owned()));
            }
            RowChange::PutAgentPeer { agent_id, .. } | RowChange::PutAgentDialect { agent_id, .. } => {
                self.agents_observed.insert(agent_id.as_str().into());
            }
            RowChange::PutContainer { agent_id, container, .. } => {
                self.containers.insert((agent_id.as_str().into(), container.id.as_str().into()));
            }
            RowChange::DeleteContainer { agent_id, container_id } => {
                self.containers.insert((agent_id.as_str().into(), container_id.as_str().into()));
            }
            RowChange::ReplaceContainers { agent_id, .. } => {
                self.containers_of_agents.insert(agent_id.as_str().into());
            }
            RowChange::PutTunnelObserved { agent_id, .. } => {
                self.tunnels_observed.insert(agent_id.as_str().into());
            }
            RowChange::ForgetAgent { agent_id } => {
                self.agents_observed.insert(agent_id.as_str().into());
                self.containers_of_agents.insert(agent_id.as_str().into());
                self.tunnels_observed.insert(agent_id.as_str().into());
                self.forgotten_agents.insert(agent_id.as_str().into());
                self.reviewed_of_agents.insert(agent_id.as_str().into());
            }
            RowChange::DeletePlan { id, .. } => drop(self.plans.insert(id.to_string())),
            // Whoever writes these has read what is there, and names what differs.
            RowChange::PutScan { .. }
            | RowChange::PutHost { .. }
            | RowChange::PutPlan(_)
            | RowChange::PutHostPlan(_)
            | RowChange::DeleteHostPlan { .. }
            | RowChange::PutRun(_) => {}
            RowChange::PutUpdates { agent_id, kind: Kind::DockerImage, changes } => {
                self.images_of_agents.extend(changes.iter().map(|change| {
                    let name = match change {
                        Change::Put(update) => &update.finding.name,
                        Change::Forget(name) => name,
                    };
                    (agent_id.as_str().to_owned(), name.clone())
                }));
            }
            RowChange::PutUpdates { .. } => {}
            RowChange::PutAppliedRules { .. }
            | RowChange::PutDnsRecord(_)
            | RowChange::DeleteDnsRecord { .. }
            | RowChange::PutOwnedTunnel(_)
            | RowChange::DeleteOwnedTunnel { .. }
            | RowChange::PutDrift(_)
            | RowChange::DeleteDrift { .. }
            | RowChange::PutReviewedRoutes { .. }
            | RowChange::PutAccessPolicy(_)
            | RowChange::DeleteAccessPolicy { .. }
            | RowChange::PutAccessApplication(_)
            | RowChange::DeleteAccessApplication { .. }
            | RowChange::PutRouteStatus(_)
            | RowChange::DeleteRouteStatus { .. }
            | RowChange::PutTunnelStatus(_)
            | RowChange::PutTunnelConnectors(_)
            | RowChange::DeleteTunnelStatus { .. }
            | RowChange::PutCallBudget(_) => self.add_cloudflare_change(change),
        }
    }

    fn add_cloudflare_change(&mut self, change: &RowChange) {
        match change {
            RowChange::PutAppliedRules { tunnel_id, .. } => {
                self.applied_rules.insert(tunnel_id.as_str().into());
            }
            RowChange::PutDnsRecord(row) => {
                self.dns_records.insert((row.zone_id.as_str().into(), row.name.clone()));
            }
            RowChange::DeleteDnsRecord { zone_id, name } => {
                self.dns_records.insert((zone_id.as_str().into(), name.clone()));
            }
            RowChange::PutOwnedTunnel(row) => {
                self.owned_tunnels.insert((row.account_id.as_str().into(), row.name.clone()));
            }
            RowChange::DeleteOwnedTunnel { account_id, name } => {
                self.owned_tunnels.insert((account_id.as_str().into(), name.clone()));
            }
            RowChange::PutDrift(row) => {
                self.drifts.insert(drift_key(&row.account_id, row.drift.kind, &row.drift.name));
            }
            RowChange::DeleteDrift { account_id, kind, name } => {
                self.drifts.insert(drift_key(account_id, *kind, name));
            }
            RowChange::PutReviewedRoutes { agent_id, .. } => {
                self.reviewed_of_agents.insert(agent_id.as_str().into());
            }
            RowChange::PutAccessPolicy(row) => {
                self.access_policies.insert((row.account_id.as_str().into(), row.name.clone()));
            }
            RowChange::DeleteAccessPolicy { account_id, name } => {
                self.access_policies.insert((account_id.as_str().into(), name.clone()));
            }
            RowChange::PutAccessApplication(row) => {
                self.access_applications.insert((row.account_id.as_str().into(), row.domain.clone()));
            }
            RowChange::DeleteAccessApplication { account_id, domain } => {
                self.access_applications.insert((account_id.as_str().into(), domain.clone()));
            }
            RowChange::PutRouteStatus(row) => {
                // It is stored only of a route that its agent still holds.
                self.agents.extend(row.agent_id.iter().map(|id| id.as_str().to_owned()));
                self.hostnames.insert(row.key.hostname.clone());
                self.route_status.insert(status_key(row.agent_id.as_ref(), &row.key));
            }
            RowChange::DeleteRouteStatus { agent_id, key, .. } => {
                self.route_status.insert(status_key(agent_id.as_ref(), key));
            }
            RowChange::PutTunnelStatus(row) => {
                self.tunnel_status.insert(row.tunnel_id.as_str().into());
            }
            RowChange::DeleteTunnelStatus { tunnel_id } => {
                self.tunnel_status.insert(tunnel_id.as_str().into());
                self.tunnel_connectors.insert(tunnel_id.as_str().into());
            }
            RowChange::PutTunnelConnectors(row) => {
                self.tunnel_connectors.insert(row.tunnel_id.as_str().into());
            }
            RowChange::PutCallBudget(row) => {
                self.call_budgets.insert(row.account_id.as_str().into());
            }
            _ => {}
        }
    }
}
