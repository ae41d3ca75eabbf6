//! What hosts would change, people's yes to it, and what their runs did.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};

use super::Master;
use crate::actors::master::error::MasterError;
use crate::actors::master::fleet::Work;
use crate::actors::master::registrar::{ExchangeOrderKey, LetImageGo};
use crate::actors::master::requests::{Approval, Dialect, Terms, Yes};
use crate::actors::master::scans::restart;
use crate::db::approvals::{ApprovalFilter, list_approvals};
use crate::db::plans::{HostPlanAnswer, HostPlanRow, host_plans_of};
use crate::db::runs::find_run;
use crate::db::updates::UpdateRow;
use crate::domain::command::CommandKind;
use crate::domain::id::{AgentId, ApprovalId, CommandId, RequestId};
use crate::domain::order::Fingerprint;
use crate::domain::text::repeated;
use crate::domain::update::{ApprovalMode, Kind, LIFETIME, PlanAsk, PlanId, RebootAsk, RunId, Term, Then};
use crate::protocol::v3::{PlanTold, RunTold};

/// Hosts that are asked at the same time.
const AT_ONCE: usize = 32;
/// Hosts that one question or one yes can be about.
pub const MOST_HOSTS: usize = 20_000;

/// What became of something that concerned many hosts.
#[derive(Debug)]
pub struct OnHosts<T> {
    /// What it is called.
    pub id: T,
    /// Hosts that it concerns now.
    pub done: Vec<AgentId>,
    /// Hosts that it does not concern, and why.
    pub left: Vec<(AgentId, MasterError)>,
}

impl Master {
    /// Asks hosts what they would change.
    pub async fn ask_plans(
        &self,
        asks: Vec<(AgentId, PlanAsk)>,
        by: &str,
    ) -> Result<OnHosts<RequestId>, MasterError> {
        if asks.is_empty() {
            return Err(MasterError::Invalid("no host is named; name what is to be planned".into()));
        }
        for (_, ask) in &asks {
            ask.check().map_err(|fault| MasterError::Invalid(fault.to_string()))?;
        }
        // A host that is named twice is asked once.
        let asks: BTreeMap<AgentId, PlanAsk> = asks.into_iter().collect();
        let id = RequestId::new(self.chance.sorted_uuid(&self.clock).to_string());
        let asked = asks.into_iter().map(|(agent, ask)| {
            let (request, by) = (id.clone(), by.to_owned());
            async move {
                let asked = self
                    .work(&agent, |reply| Work::AskPlan { request, ask, then: Then::Show, by, reply })
                    .await;
                (agent, asked.map(drop))
            }
        });
        Ok(sorted(id.clone(), stream::iter(asked).buffer_unordered(AT_ONCE).collect().await))
    }

    /// Has a host started anew: one of ours is asked for that plan, and what it answers is approved if it is that and nothing
    /// else; RedFlag's agent is told. Returns the command that goes to it.
    pub async fn reboot_host(
        &self,
        agent: &AgentId,
        ask: RebootAsk,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        let (wish, ask) = (ask.clone(), PlanAsk::Reboot(ask));
        ask.check().map_err(|fault| MasterError::Invalid(fault.to_string()))?;
        if self.directory.slot(agent).is_some_and(|slot| slot.dialect() == Dialect::RedFlag) {
            return Ok(restart(&self.env, agent, wish, by).await?.id);
        }
        let request = RequestId::new(self.chance.sorted_uuid(&self.clock).to_string());
        let (then, by) = (Then::CarryOut, by.to_owned());
        self.work(agent, |reply| Work::AskPlan { request, ask, then, by, reply }).await
    }

    /// Says yes to a plan, for these hosts. `from` is the address that it comes from.
    pub async fn approve_plan(
        &self,
        request: &RequestId,
        plan: &PlanId,
        agents: Vec<AgentId>,
        terms: impl Into<Terms>,
        (by, from): (&str, Option<String>),
    ) -> Result<OnHosts<ApprovalId>, MasterError> {
        let Terms { lifetime, mode, not_before } = terms.into();
        let term = Term::new(self.env.now(), lifetime, not_before);
        let term = term.map_err(|fault| MasterError::Invalid(fault.to_string()))?;
        if mode == ApprovalMode::SameScope {
            self.must_be_answered(request, plan).await?;
        }
        let id = ApprovalId::new(self.chance.sorted_uuid(&self.clock).to_string());
        let yes = Yes {
            approval: id.clone(),
            request: request.clone(),
            plan: plan.clone(),
            mode,
            term,
            by: by.to_owned(),
            from,
        };
        Ok(self.on_hosts(id, agents, |_| Approval::Give(yes.clone())).await)
    }

    /// Fails unless a host answered the question with this plan: a yes that reaches other plans begins at one that was shown.
    async fn must_be_answered(&self, request: &RequestId, plan: &PlanId) -> Result<(), MasterError> {
        let rows = host_plans_of(&self.db, request).await?;
        let is_it = |row: &HostPlanRow| matches!(&row.answer, Some(HostPlanAnswer { plan: Ok((answered, _)), .. }) if answered == plan);
        if rows.iter().any(is_it) {
            return Ok(());
        }
        let (plan, request) = (plan.short(), repeated(request.as_str()));
        Err(MasterError::PlanNotFound(format!(
            "no host answered the question `{request}` with a plan `{plan}`"
        )))
    }

    /// Adds a second person's yes, for all hosts that it is about.
    pub async fn second_approval(
        &self,
        id: &ApprovalId,
        by: &str,
    ) -> Result<OnHosts<ApprovalId>, MasterError> {
        let second =
            |approval: &ApprovalId| Approval::Second { approval: approval.clone(), by: by.to_owned() };
        let agents = self.hosts_of(id).await?;
        Ok(self.on_hosts(id.clone(), agents, second).await)
    }

    /// Takes a yes back, for all hosts that have not fetched it.
    pub async fn withdraw_approval(
        &self,
        id: &ApprovalId,
        by: &str,
    ) -> Result<OnHosts<ApprovalId>, MasterError> {
        let back =
            |approval: &ApprovalId| Approval::Withdraw { approval: approval.clone(), by: by.to_owned() };
        let agents = self.hosts_of(id).await?;
        Ok(self.on_hosts(id.clone(), agents, back).await)
    }

    /// Says yes to an update by its name, or, if `confirms`, to what comes along with it. Returns the command that goes to the
    /// host.
    pub async fn want_update(
        &self,
        row: &UpdateRow,
        confirms: bool,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        let (kind, name, by) = (row.kind, row.update.finding.name.clone(), by.to_owned());
        self.work(&row.agent_id, |reply| Work::Want { kind, name, confirms, by, reply }).await
    }

    /// Says yes to many updates of one host by their names; they are installed at `not_before`, or at once. Returns for each the
    /// command that goes to the host, or why there is none.
    pub async fn want_updates(
        &self,
        agent: &AgentId,
        names: Vec<(Kind, String)>,
        not_before: Option<DateTime<Utc>>,
        by: &str,
    ) -> Result<Vec<Result<CommandId, MasterError>>, MasterError> {
        let term = Term::new(self.env.now(), LIFETIME, not_before);
        let not_before = term.map_err(|fault| MasterError::Invalid(fault.to_string()))?.not_before;
        let by = by.to_owned();
        self.work(agent, |reply| Work::WantAll { names, not_before, by, reply }).await
    }

    /// Takes back what was to come at a later time of the answer to a command. Fails if nothing is.
    pub async fn call_off(&self, agent: &AgentId, command: &CommandId, by: &str) -> Result<(), MasterError> {
        let what = Approval::CallOff { command: command.clone(), by: by.to_owned() };
        self.work(agent, |reply| Work::Approve { what, reply }).await
    }

    /// Takes in what a RedFlag agent says that an update brings along. Returns the command that installs it, if that is
    /// nothing.
    pub async fn take_dependencies(
        &self,
        agent: &AgentId,
        kind: Kind,
        name: String,
        dependencies: Vec<String>,
    ) -> Result<Option<CommandId>, MasterError> {
        self.work(agent, |reply| Work::TakeDependencies { kind, name, dependencies, reply }).await
    }

    /// Asks a host to stop a run at its next safe point. Returns the command.
    pub async fn cancel_run(&self, agent: &AgentId, run: &RunId, by: &str) -> Result<CommandId, MasterError> {
        let row = find_run(&self.db, agent, run)
            .await?
            .ok_or_else(|| MasterError::RunNotFound { agent: agent.clone(), run: run.to_string() })?;
        if row.ended.is_some() {
            return Err(MasterError::RunEnded(run.clone()));
        }
        let kind = CommandKind::CancelRun { run: run.clone(), by: by.to_owned() };
        let by = by.to_owned();
        Ok(self.work(agent, |reply| Work::Enqueue { kind, by, reply }).await?.id)
    }

    /// Takes in what a host worked out.
    pub async fn take_plan(&self, agent: &AgentId, told: PlanTold) -> Result<(), MasterError> {
        self.work(agent, |reply| Work::TakePlan { told: Box::new(told), reply }).await
    }

    /// Takes in what a run on a host did.
    pub async fn take_run(&self, agent: &AgentId, told: RunTold) -> Result<(), MasterError> {
        self.work(agent, |reply| Work::TakeRun { told: Box::new(told), reply }).await
    }

    /// Puts another key in the place of the one that orders are signed with; hosts follow when they register next.
    pub async fn exchange_order_key(&self, by: &str) -> Result<Fingerprint, MasterError> {
        self.decide(ExchangeOrderKey { by: by.to_owned() }).await
    }

    /// Lets an image go that failed on a host: it may be tried again.
    pub async fn let_image_go(&self, digest: &str, by: &str) -> Result<(), MasterError> {
        self.decide(LetImageGo { digest: digest.to_owned(), by: by.to_owned() }).await
    }

    async fn hosts_of(&self, id: &ApprovalId) -> Result<Vec<AgentId>, MasterError> {
        let filter = ApprovalFilter { id: Some(id.clone()), ..ApprovalFilter::default() };
        let rows = list_approvals(&self.db, &filter, MOST_HOSTS as u64).await?;
        if rows.is_empty() {
            return Err(MasterError::ApprovalNotFound(id.clone()));
        }
        Ok(rows.into_iter().map(|row| row.agent_id).collect())
    }

    async fn on_hosts(
        &self,
        id: ApprovalId,
        agents: Vec<AgentId>,
        what: impl Fn(&ApprovalId) -> Approval,
    ) -> OnHosts<ApprovalId> {
        // A host that is named twice is decided about once.
        let agents: BTreeSet<AgentId> = agents.into_iter().collect();
        let decided = agents.into_iter().map(|agent| {
            let what = what(&id);
            async move {
                let done = self.work(&agent, |reply| Work::Approve { what, reply }).await;
                (agent, done)
            }
        });
        let decided = stream::iter(decided.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        sorted(id, decided)
    }
}

fn sorted<T>(id: T, decided: Vec<(AgentId, Result<(), MasterError>)>) -> OnHosts<T> {
    let (mut done, mut left) = (Vec::new(), Vec::new());
    for (agent, result) in decided {
        match result {
            Ok(()) => done.push(agent),
            Err(why) => left.push((agent, why)),
        }
    }
    done.sort();
    left.sort_by(|(one, _), (other, _)| one.cmp(other));
    OnHosts { id, done, left }
}
