//! What a host would change: the question, and its answer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use chrono::{DateTime, Utc};

use super::moves::TRIES;
use super::own::Own;
use super::updates::Keeper;
use crate::actors::master::bus::Note;
use crate::actors::master::commands::new_command;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{Dialect, Yes};
use crate::db::RowChange;
use crate::db::approvals::{ApprovalFilter, ApprovalRow, list_approvals};
use crate::db::plans::{HostPlanAnswer, HostPlanRow, find_host_plan, find_host_plan_of, surplus_plans};
use crate::db::updates::updates_of;
use crate::domain::agent::AgentStatus;
use crate::domain::command::CommandKind;
use crate::domain::id::{ApprovalId, CommandId, RequestId};
use crate::domain::update::{
    ApprovalMode, Changes, Happening, Kind, OnHost, Plan, PlanAsk, PlanId, State, Term, Then, Update, Wanted,
    concerns,
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
            for old in self.surplus().await? {
                batch = batch.row(RowChange::DeleteHostPlan { agent_id: agent.clone(), request_id: old });
            }
            if self.commit(batch).await? {
                return Ok(command.id);
            }
        }
        Err(MasterError::Busy)
    }

    /// Returns the questions of which nothing comes any more, and that nobody looks at.
    async fn surplus(&self) -> Result<Vec<RequestId>, MasterError> {
        let Own { env, agent } = &self.own;
        let rows = surplus_plans(&env.db, agent).await?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let open = self.open_approvals().await?;
        let mut updates = BTreeMap::new();
        let mut surplus = Vec::new();
        for row in rows {
            // The question for an order that is reissued has the id of the yes.
            let is_of = |approval: &ApprovalRow| {
                approval.request_id == row.request_id || approval.id.as_str() == row.request_id.as_str()
            };
            let is_over = !open.iter().any(is_of)
                && (row.then != Then::CarryOut
                    || self.named_in(&row.ask, &mut updates, State::is_under_way).await?.is_empty());
            if is_over {
                surplus.push(row.request_id);
            }
        }
        Ok(surplus)
    }

    /// Returns the updates that a question names, as far as they stand so. `known` is filled as it is needed.
    pub(super) async fn named_in(
        &self,
        ask: &PlanAsk,
        known: &mut BTreeMap<Kind, BTreeMap<String, Update>>,
        stands: impl Fn(State) -> bool,
    ) -> Result<Vec<(Kind, String)>, MasterError> {
        let mut found = Vec::new();
        for (kind, name) in named(ask) {
            if let Entry::Vacant(unknown) = known.entry(kind) {
                unknown.insert(updates_of(&self.own.env.db, &self.own.agent, kind).await?);
            }
            let update = known.get(&kind).and_then(|of_kind| of_kind.get(&name));
            if update.and_then(|update| update.state).is_some_and(&stands) {
                found.push((kind, name));
            }
        }
        Ok(found)
    }

    /// Keeps what the host worked out. A word about a question that is not known is passed over: it is not kept any more.
    ///
    /// What becomes of a yes that the question was asked with is decided once. One that was taken back, or was over before the
    /// host answered, has its answer already; what comes late is there to be looked at.
    pub(super) async fn take_plan(&mut self, told: PlanTold) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let Some(before) = find_host_plan_of(&env.db, agent, &told.command).await? else {
            return Ok(());
        };
        let mut batch = self.batch();
        let plan = match (&told.plan, told.problem) {
            (Some(plan), _) => {
                batch = batch.row(RowChange::PutPlan(plan.changes.clone()));
                Ok((plan.id(), Box::new(plan.on_host.clone())))
            }
            (None, Some(problem)) => Err(problem),
            (None, None) => {
                return Err(MasterError::Invalid("neither `plan` nor `problem` is there; send one".into()));
            }
        };
        let answer = Some(HostPlanAnswer { at: env.now(), plan });
        let row = HostPlanRow { answer, ..before.clone() };
        let mut batch = batch.row(RowChange::PutHostPlan(Box::new(row.clone())));
        let Sequel { withdrawn, waits, approved } = match row.then {
            Then::CarryOut => sequel(&row.ask, told.plan.as_ref()),
            Then::Show | Then::Reissue => Sequel::default(),
        };
        if before.answer.is_none() {
            batch = self.moved_named(batch, &withdrawn, Happening::Withdraw).await?;
            batch = self.moved_named(batch, &waits, Happening::Plan).await?;
        }
        env.ledger.commit(batch).await?;
        env.notices.announce(Note::Updates(agent.clone()));
        if row.then == Then::Reissue {
            return self.reissue(&row).await;
        }
        match approved {
            Some(plan) if self.is_to_approve(&before, &plan).await? => self.approve_named(row, plan).await,
            _ => Ok(()),
        }
    }

    /// True if nothing is decided yet of the yes that a question was asked with: the host answers it now; or it told this plan
    /// before, and the master was stopped before the yes to it was written down.
    async fn is_to_approve(&self, before: &HostPlanRow, plan: &PlanId) -> Result<bool, MasterError> {
        let Some(answer) = &before.answer else { return Ok(true) };
        if !answer.plan.as_ref().is_ok_and(|(told, _)| told == plan) {
            return Ok(false);
        }
        let (agent, request) = (Some(self.own.agent.clone()), Some(before.request_id.clone()));
        let filter = ApprovalFilter { agent, request, ..ApprovalFilter::default() };
        Ok(list_approvals(&self.own.env.db, &filter, 1).await?.is_empty())
    }

    /// Who asked said yes to what is named, and the plan is that and nothing else.
    async fn approve_named(&mut self, row: HostPlanRow, plan: PlanId) -> Result<(), MasterError> {
        let id = ApprovalId::new(self.own.env.chance.sorted_uuid(&self.own.env.clock).to_string());
        let yes = self.usual_yes(id, &row, plan.clone(), &row.asked_by);
        match self.approve(&yes).await {
            Err(MasterError::CannotApprove(_)) => {}
            done => return done,
        }
        if self.open_approvals().await?.iter().any(|open| open.is_about(&plan)) {
            // A plan like it was approved meanwhile.
            return Ok(());
        }
        // It may not be approved at all: what was said yes to is not approved for ever.
        let names = named(&row.ask);
        let row = HostPlanRow { then: Then::Show, ..row };
        let batch = self.batch().row(RowChange::PutHostPlan(Box::new(row)));
        let batch = self.moved_named(batch, &names, Happening::Withdraw).await?;
        self.own.env.ledger.commit(batch).await?;
        Ok(())
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

/// What becomes of a yes that a question was asked with.
#[derive(Default)]
struct Sequel {
    /// What the host leaves as it is was not approved in vain for ever.
    withdrawn: Vec<(Kind, String)>,
    /// What waits for a yes to all that the host would change.
    waits: Vec<(Kind, String)>,
    /// The plan, if it holds what is named and nothing else.
    approved: Option<PlanId>,
}

/// Who asked said yes to what is named: a plan with nothing else is approved by that, any other one waits for a yes of its own.
fn sequel(ask: &PlanAsk, plan: Option<&Plan>) -> Sequel {
    let names = named(ask);
    let Some(plan) = plan.filter(|plan| !plan.changes.is_empty()) else {
        return Sequel { withdrawn: names, ..Sequel::default() };
    };
    let settled = concerns(&plan.changes, &plan.on_host);
    let is_settled = |(kind, name): &(Kind, String)| settled.get(kind).is_some_and(|of| of.contains(name));
    let (waits, withdrawn): (Vec<_>, Vec<_>) = names.into_iter().partition(is_settled);
    // A restart is named by nothing but itself.
    let is_restart = matches!(ask, PlanAsk::Reboot(_));
    if is_restart || holds_only(&plan.changes, &plan.on_host, &waits) {
        return Sequel { withdrawn, waits: Vec::new(), approved: Some(plan.id()) };
    }
    Sequel { withdrawn, waits, approved: None }
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
