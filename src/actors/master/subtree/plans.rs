//! What a host would change: the question, and its answer.

use chrono::{DateTime, Utc};

use super::moves::TRIES;
use super::own::Own;
use super::updates::Keeper;
use crate::actors::master::bus::Note;
use crate::actors::master::commands::new_command;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{Dialect, Yes};
use crate::db::RowChange;
use crate::db::approvals::ApprovalRow;
use crate::db::plans::{
    HostPlanAnswer, HostPlanRow, find_host_plan, find_host_plan_of, find_plan, surplus_plans,
};
use crate::domain::agent::AgentStatus;
use crate::domain::command::CommandKind;
use crate::domain::id::{ApprovalId, CommandId, RequestId};
use crate::domain::update::{
    ApprovalMode, Changes, Happening, Kind, OnHost, PlanAsk, PlanId, Term, Then, Wanted, concerns,
};
use crate::protocol::v3::PlanTold;

impl Keeper {
    /// Asks the host what it would change. What is named counts as approved if the answer is to be carried out, which begins at
    /// `not_before` if that is to come.
    pub(super) async fn ask_plan(
        &mut self,
        request: RequestId,
        ask: PlanAsk,
        then: Then,
        not_before: Option<DateTime<Utc>>,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        self.own.takes_orders()?;
        let kind = CommandKind::PlanUpdates { request: request.clone(), ask: ask.clone(), then };
        self.ask(request, (ask, then, not_before), kind, by).await
    }

    /// Queues what asks the host, and notes the question.
    pub(super) async fn ask(
        &mut self,
        request: RequestId,
        (ask, then, not_before): (PlanAsk, Then, Option<DateTime<Utc>>),
        kind: CommandKind,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        let Own { env, agent } = &self.own;
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            let command = new_command(env, kind.clone(), None);
            let row = HostPlanRow {
                agent_id: agent.clone(),
                request_id: request.clone(),
                command_id: command.id.clone(),
                ask: ask.clone(),
                then,
                asked_by: by.to_owned(),
                asked_at: env.now(),
                answer: None,
                dependencies: None,
                not_before,
            };
            let batch = self.with_command(env.batch(by).assume(self.is_listed()), &ends, &command);
            let mut batch = batch.row(RowChange::PutHostPlan(Box::new(row)));
            if then == Then::CarryOut {
                batch = self.moved_named(batch, &named(&ask), Happening::Approve).await?;
            }
            let open = self.open_approvals().await?;
            for old in surplus_plans(&env.db, agent).await? {
                // The question for an order that is reissued has the id of the yes.
                let is_of = |approval: &ApprovalRow| {
                    approval.request_id == old || approval.id.as_str() == old.as_str()
                };
                if !open.iter().any(is_of) {
                    batch = batch.row(RowChange::DeleteHostPlan { agent_id: agent.clone(), request_id: old });
                }
            }
            if self.commit(batch).await? {
                return Ok(command.id);
            }
        }
        Err(MasterError::Busy)
    }

    /// Keeps what the host worked out. A word about a question that is not known is passed over: it is not kept any more.
    pub(super) async fn take_plan(&mut self, told: PlanTold) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let Some(mut row) = find_host_plan_of(&env.db, agent, &told.command).await? else {
            return Ok(());
        };
        let mut batch = self.batch();
        let plan = match (told.plan, told.problem) {
            (Some(plan), _) => {
                batch = batch.row(RowChange::PutPlan(plan.changes.clone()));
                Ok((plan.id(), Box::new(plan.on_host)))
            }
            (None, Some(problem)) => Err(problem),
            (None, None) => {
                return Err(MasterError::Invalid("neither `plan` nor `problem` is there; send one".into()));
            }
        };
        row.answer = Some(HostPlanAnswer { at: env.now(), plan });
        let batch = batch.row(RowChange::PutHostPlan(Box::new(row.clone())));
        env.ledger.commit(batch).await?;
        env.notices.announce(Note::Updates(agent.clone()));
        match row.then {
            Then::Show => Ok(()),
            Then::CarryOut => self.carry_out_named(row).await,
            Then::Reissue => self.reissue(&row).await,
        }
    }

    /// Who asked said yes to what is named: a plan with nothing else is approved by that, any other one waits for a yes of its
    /// own.
    async fn carry_out_named(&mut self, row: HostPlanRow) -> Result<(), MasterError> {
        let names = named(&row.ask);
        let answer = row.answer.as_ref().and_then(|answer| answer.plan.as_ref().ok());
        let changes = match answer {
            Some((plan, _)) => find_plan(&self.own.env.db, plan).await?.filter(|changes| !changes.is_empty()),
            None => None,
        };
        let (Some(changes), Some((plan, on_host))) = (changes, answer) else {
            return self.move_named(&names, Happening::Withdraw).await;
        };
        // What the host leaves as it is was not approved in vain for ever.
        let settled = concerns(&changes, on_host);
        let (names, left): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|(kind, name)| settled.get(kind).is_some_and(|names| names.contains(name)));
        self.move_named(&left, Happening::Withdraw).await?;
        // A restart is named by nothing but itself.
        let is_restart = matches!(row.ask, PlanAsk::Reboot(_));
        if !is_restart && !holds_only(&changes, on_host, &names) {
            return self.move_named(&names, Happening::Plan).await;
        }
        let id = ApprovalId::new(self.own.env.chance.sorted_uuid(&self.own.env.clock).to_string());
        let yes = self.usual_yes(id, &row, plan.clone(), &row.asked_by);
        match self.approve(&yes).await {
            // A plan like it was approved meanwhile.
            Err(MasterError::CannotApprove(_)) => Ok(()),
            done => done,
        }
    }

    /// A yes to the answer to a question that counts as long as one does, from the time that was asked for.
    pub(super) fn usual_yes(&self, approval: ApprovalId, asked: &HostPlanRow, plan: PlanId, by: &str) -> Yes {
        let term = Term::usual(self.own.env.now(), asked.not_before);
        let (request, mode) = (asked.request_id.clone(), ApprovalMode::Exact);
        Yes { approval, request, plan, mode, term, by: by.to_owned(), from: None }
    }

    /// Returns what the host was asked with a question.
    pub(super) async fn question(&self, request: &RequestId) -> Result<Option<HostPlanRow>, MasterError> {
        Ok(find_host_plan(&self.own.env.db, &self.own.agent, request).await?)
    }

    /// Returns the plan that the host answered a question with.
    pub(super) async fn answered(
        &self,
        request: &RequestId,
    ) -> Result<Option<(PlanId, Box<OnHost>)>, MasterError> {
        Ok(self.question(request).await?.and_then(|row| row.answer).and_then(|answer| answer.plan.ok()))
    }
}

/// Returns the updates that a question names, or the host itself.
pub(super) fn named(ask: &PlanAsk) -> Vec<(Kind, String)> {
    if let PlanAsk::Reboot(_) = ask {
        return vec![(Kind::Host, "host".into())];
    }
    let PlanAsk::Install { wanted: Wanted::Named(names), .. } = ask else { return Vec::new() };
    let of = |name: &String| {
        let (kind, name) = name.split_once(':')?;
        Some((kind.parse::<Kind>().ok()?, name.to_owned()))
    };
    names.iter().filter_map(of).collect()
}

/// True if a plan changes nothing but what is named.
fn holds_only(changes: &Changes, on_host: &OnHost, names: &[(Kind, String)]) -> bool {
    changes.all().iter().all(|change| {
        let is_it = |(kind, name): &(Kind, String)| {
            let (own, arch) = (&change.name, &change.arch);
            let is_name = match kind {
                Kind::DockerImage => on_host.images.get(own) == Some(name),
                _ => name == own || *name == format!("{own}:{arch}") || *name == format!("{own}.{arch}"),
            };
            *kind == change.kind && is_name
        };
        names.iter().any(is_it)
    })
}

impl Own {
    /// Fails unless the agent is one of ours that a person said yes to.
    pub(super) fn takes_orders(&self) -> Result<(), MasterError> {
        let slot = self.known_slot()?;
        let reason = match (slot.status(), slot.dialect()) {
            (AgentStatus::Pending, _) => "it waits for a person's yes: approve the host first",
            (AgentStatus::Revoked | AgentStatus::Removed, _) => "it is not heard",
            (_, Dialect::V2) => "it runs DockFlare's agent, which knows nothing of updates",
            (_, Dialect::RedFlag) => "it runs RedFlag's agent, which is bound to no plan",
            (_, Dialect::Native) => return Ok(()),
        };
        let directory = &self.env.directory;
        let named =
            directory.look(|roster| roster.member(&self.agent).map(|member| member.display_name.clone()));
        Err(MasterError::CannotPlan { agent: named.unwrap_or_else(|| self.agent.to_string()), reason })
    }
}
