//! What a host would change, people's yes to it, and what its runs did.
//!
//! A yes and the command that carries the order are one commit. What comes of it is told by the host, by a run or by the
//! answer to the command; a yes that is over is withdrawn when its time comes.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::own::Own;
use super::updates::Keeper;
use crate::actors::master::bus::Note;
use crate::actors::master::commands::{new_command, queued};
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::{Dialect, Yes};
use crate::actors::master::store::CommitFailed;
use crate::db::approvals::{ApprovalFilter, ApprovalRow, find_approval, find_approval_of, list_approvals};
use crate::db::failed_images::held_among;
use crate::db::plans::{
    HostPlanAnswer, HostPlanRow, find_host_plan, find_host_plan_of, find_plan, surplus_plans,
};
use crate::db::runs::{RunRow, find_run, runs_with_old_logs};
use crate::db::updates::{decisions_of, updates_of};
use crate::db::{self, Batch, CommitError, Expected, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind, CommandStatus, Outcome};
use crate::domain::event::{CommandEvent, Stream, UpdateEvent};
use crate::domain::id::{ApprovalId, CommandId, RequestId};
use crate::domain::update::{
    ApprovalStatus, Change, Changes, FailedImage, Happening, Kind, LIFETIME, OnHost, PlanAsk, PlanId,
    PlannedChange, Problem, RunProgress, Then, Wanted, after_happening, concerns, happening,
};
use crate::protocol::v3::{PlanTold, RunTold};

/// How often a decision is taken again after somebody else was faster.
const TRIES: usize = 5;
/// Approvals of a host that are looked through for what is over.
const MOST_OPEN: u64 = 100;
/// Most images of one run that are held.
const MOST_FAILED: usize = 100;

impl Keeper {
    /// Asks the host what it would change. What is named counts as approved if the answer is to be carried out.
    pub(super) async fn ask_plan(
        &mut self,
        request: RequestId,
        ask: PlanAsk,
        then: Then,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        self.own.takes_orders()?;
        let kind = CommandKind::PlanUpdates { request: request.clone(), ask: ask.clone(), then };
        self.ask(request, ask, then, kind, by).await
    }

    /// Queues what asks the host, and notes the question.
    pub(super) async fn ask(
        &mut self,
        request: RequestId,
        ask: PlanAsk,
        then: Then,
        kind: CommandKind,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        let Own { env, agent } = &self.own;
        for _ in 0..TRIES {
            let commands = Stream::commands(agent);
            let end = Expected::Version(db::events::stream_version(&env.db, &commands).await?);
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
            };
            let mut batch = env
                .batch(by)
                .assume(self.is_listed())
                .append(commands, end, vec![queued(agent, &command)])
                .row(RowChange::PutHostPlan(Box::new(row)));
            if then == Then::CarryOut {
                batch = self.moved_named(batch, &named(&ask), Happening::Approve).await?;
            }
            let open = self.open_approvals().await?;
            for old in surplus_plans(&env.db, agent).await? {
                if !open.iter().any(|approval| approval.request_id == old) {
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
        if row.then == Then::CarryOut { self.carry_out_named(row).await } else { Ok(()) }
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
        if !holds_only(&changes, on_host, &names) {
            return self.move_named(&names, Happening::Plan).await;
        }
        let id = ApprovalId::new(self.own.env.chance.sorted_uuid(&self.own.env.clock).to_string());
        let yes = self.yes_now(id, row.request_id.clone(), plan.clone(), &row.asked_by);
        match self.approve(&yes).await {
            // A plan like it was approved meanwhile.
            Err(MasterError::CannotApprove(_)) => Ok(()),
            done => done,
        }
    }

    /// A yes that counts as long as one does.
    pub(super) fn yes_now(&self, approval: ApprovalId, request: RequestId, plan: PlanId, by: &str) -> Yes {
        let expires_at = self.own.env.now() + TimeDelta::from_std(LIFETIME).unwrap_or(TimeDelta::MAX);
        Yes { approval, request, plan, expires_at, by: by.to_owned(), from: None }
    }

    /// Moves updates by their kinds and names, in a commit of its own.
    pub(super) async fn move_named(
        &self,
        names: &[(Kind, String)],
        what: Happening,
    ) -> Result<(), MasterError> {
        let batch = self.moved_named(self.batch(), names, what).await?;
        if !batch.rows.is_empty() {
            self.own.env.ledger.commit(batch).await?;
            self.own.env.notices.announce(Note::Updates(self.own.agent.clone()));
        }
        Ok(())
    }

    /// Moves updates by their kinds and names.
    pub(super) async fn moved_named(
        &self,
        batch: Batch,
        names: &[(Kind, String)],
        what: Happening,
    ) -> Result<Batch, MasterError> {
        let mut by_kind = BTreeMap::<Kind, BTreeSet<String>>::new();
        for (kind, name) in names {
            by_kind.entry(*kind).or_default().insert(name.clone());
        }
        self.moved_of(batch, by_kind, what).await
    }

    /// Writes a yes down, and with it the command that carries the order, unless a second person has to agree.
    pub(super) async fn approve(&mut self, yes: &Yes) -> Result<(), MasterError> {
        self.own.takes_orders()?;
        let Own { env, agent } = &self.own;
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            if find_approval(&env.db, agent, &yes.approval).await?.is_some() {
                return Ok(());
            }
            let on_host = self.planned(yes).await?;
            let changes = find_plan(&env.db, &yes.plan).await?.ok_or(MasterError::PlanNotFound)?;
            if changes.is_empty() {
                let reason = "the plan changes nothing, so there is nothing to approve".into();
                return Err(MasterError::CannotApprove(reason));
            }
            self.must_not_be_held(&changes).await?;
            let open = self.open_approvals().await?;
            if let Some(same) = open.iter().find(|open| open.plan_id == yes.plan) {
                let reason = format!("{} said yes to this plan already", same.given_by);
                return Err(MasterError::CannotApprove(reason));
            }
            let number = ends.updates + 1;
            let needs_second = env.settings.second_approval;
            let mut events = vec![UpdateEvent::PlanApproved {
                agent_id: agent.clone(),
                approval_id: yes.approval.clone(),
                request_id: yes.request.clone(),
                plan_id: yes.plan.clone(),
                number,
                expires_at: yes.expires_at,
                given_from: yes.from.clone(),
                needs_second,
            }];
            let command = self.order(&yes.approval, &yes.plan, number, yes.expires_at);
            if !needs_second {
                events.push(self.ordered(&yes.approval, &command));
            }
            let updates = Stream::updates(agent);
            let mut batch = env.batch(&yes.by).assume(self.is_listed()).append(
                updates,
                Expected::Version(ends.updates),
                events,
            );
            if !needs_second {
                batch = self.with_command(batch, &ends, &command);
            }
            batch = self.moved(batch, &changes, &on_host, Happening::Approve).await?;
            if self.commit(batch).await? {
                env.due_at(agent, yes.expires_at);
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Fails if an image of the plan failed on a host, and nobody let it go.
    async fn must_not_be_held(&self, changes: &Changes) -> Result<(), MasterError> {
        let is_new = |change: &&PlannedChange| change.from != change.to;
        let digests: Vec<String> =
            changes.of(Kind::DockerImage).filter(is_new).filter_map(|change| change.to.clone()).collect();
        let Some(held) = held_among(&self.own.env.db, &digests).await?.into_iter().next() else {
            return Ok(());
        };
        let FailedImage { digest, image, reason } = held.image;
        let named = self.own.env.directory.name_of(&held.agent_id);
        Err(MasterError::CannotApprove(format!(
            "`{image}` ({digest}) failed on `{named}`: {reason}; it is held on all hosts until there is a newer one, or a person \
             lets it go (`lightship updates let-go {digest}`)"
        )))
    }

    /// Adds the second person's yes.
    pub(super) async fn second(&mut self, id: &ApprovalId, by: &str) -> Result<(), MasterError> {
        self.own.takes_orders()?;
        let Own { env, agent } = &self.own;
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            let row = find_approval(&env.db, agent, id).await?.ok_or(MasterError::ApprovalNotFound)?;
            match row.status {
                ApprovalStatus::Waiting if env.now() >= row.expires_at => {
                    return Err(MasterError::CannotApprove(
                        "the first yes is over; ask for a new plan".into(),
                    ));
                }
                ApprovalStatus::Waiting => {}
                ApprovalStatus::Ordered => return Ok(()),
                status => {
                    let reason = format!("it came to its end: {}", status.as_str().replace('_', " "));
                    return Err(MasterError::CannotApprove(reason));
                }
            }
            if row.given_by == by {
                let reason = "a second person has to say yes, and this is the first one".into();
                return Err(MasterError::CannotApprove(reason));
            }
            let command = self.order(id, &row.plan_id, row.number, row.expires_at);
            let batch = env.batch(by).assume(self.is_listed()).append(
                Stream::updates(agent),
                Expected::Version(ends.updates),
                vec![self.ordered(id, &command)],
            );
            if self.commit(self.with_command(batch, &ends, &command)).await? {
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Takes a yes back, as long as the host has not fetched it.
    pub(super) async fn withdraw(&mut self, id: &ApprovalId, by: &str) -> Result<(), MasterError> {
        let agent = self.own.agent.clone();
        for _ in 0..TRIES {
            let row = find_approval(&self.own.env.db, &agent, id).await?;
            let row = row.ok_or(MasterError::ApprovalNotFound)?;
            if !row.status.is_open() {
                return Ok(());
            }
            if self.is_fetched(&row).await? {
                let reason = "the host has fetched the order, and carries it out; once that is done it can be taken back \
                              as a run";
                return Err(MasterError::CannotApprove(reason.into()));
            }
            if self.end_approval(&row, &format!("taken back by {by}"), by).await? {
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Withdraws what is over. A command ends by itself, at the same time.
    pub(super) async fn end_approvals(&mut self) -> Result<(), MasterError> {
        let now = self.own.env.now();
        for row in self.open_approvals().await? {
            if now < row.expires_at {
                self.own.env.due_at(&self.own.agent, row.expires_at);
            } else if !self.is_fetched(&row).await? {
                self.end_approval(&row, "nobody fetched it in time", "system").await?;
            }
        }
        Ok(())
    }

    /// A host answered the command that carried an order. Without a run nothing was changed, and that is its end.
    pub(super) async fn order_answered(
        &mut self,
        command: &CommandId,
        outcome: &Outcome,
    ) -> Result<(), MasterError> {
        if self.speaks_redflag() {
            return match self.own_command(command).await? {
                Some(command) => self.redflag_answered(&command, outcome).await,
                None => Ok(()),
            };
        }
        if !outcome.succeeded
            && let Some(mut row) = self.unanswered(command).await?
        {
            // An agent that knows nothing of plans says no more than that it could not.
            let problem = Problem { reason: outcome.message.clone(), way_out: None };
            row.answer = Some(HostPlanAnswer { at: self.own.env.now(), plan: Err(problem) });
            let names = if row.then == Then::CarryOut { named(&row.ask) } else { Vec::new() };
            let batch = self.batch().row(RowChange::PutHostPlan(Box::new(row)));
            let batch = self.moved_named(batch, &names, Happening::Withdraw).await?;
            self.own.env.ledger.commit(batch).await?;
            self.own.env.notices.announce(Note::Updates(self.own.agent.clone()));
            return Ok(());
        }
        let Own { env, agent } = &self.own;
        let Some(row) = find_approval_of(&env.db, agent, command).await? else { return Ok(()) };
        if !row.status.is_open() || outcome.succeeded {
            return Ok(());
        }
        let by = format!("agent:{agent}");
        self.end_approval(&row, &outcome.message, &by).await.map(drop)
    }

    /// Keeps what a run did that ended, once.
    pub(super) async fn take_run(&mut self, told: RunTold) -> Result<(), MasterError> {
        let agent = self.own.agent.clone();
        if told.run.outcome.is_none() {
            return Err(MasterError::Invalid("the run has not ended; runs under way go into reports".into()));
        }
        for _ in 0..TRIES {
            let env = &self.own.env;
            let ends = self.ends().await?;
            if find_run(&env.db, &agent, &told.run.id).await?.is_some_and(|known| known.ended.is_some()) {
                return Ok(());
            }
            let row = RunRow::ended(&agent, &told.run, &told.log, env.now());
            let approval = match &row.order_id {
                Some(order) => find_approval_of(&env.db, &agent, order).await?,
                None => None,
            };
            let Some((ended_at, outcome)) = row.ended.clone() else { return Ok(()) };
            let failed = told.failed_images.iter().take(MOST_FAILED).map(|image| UpdateEvent::ImageFailed {
                agent_id: agent.clone(),
                run_id: row.id.clone(),
                image: image.clone(),
            });
            let failed: Vec<UpdateEvent> = failed.filter(|_| row.undoes.is_none()).collect();
            let event = UpdateEvent::RunEnded {
                agent_id: agent.clone(),
                run_id: row.id.clone(),
                plan_id: row.plan_id.clone(),
                approval_id: approval.map(|approval| approval.id),
                undoes: row.undoes.clone(),
                begun_by: row.begun_by.clone(),
                started_at: row.started_at,
                ended_at,
                outcome: outcome.clone(),
            };
            let plan = &told.run.plan;
            let mut batch = self
                .batch()
                .append(
                    Stream::updates(&agent),
                    Expected::Version(ends.updates),
                    [vec![event], failed].concat(),
                )
                .row(RowChange::PutPlan(plan.changes.clone()))
                .row(RowChange::PutRun(Box::new(row)));
            for old in runs_with_old_logs(&env.db, &agent).await? {
                batch = batch.row(RowChange::PutRun(Box::new(RunRow { log: String::new(), ..old })));
            }
            if told.run.undoes.is_none() {
                batch = self.moved(batch, &plan.changes, &plan.on_host, happening(&outcome)).await?;
            }
            if self.commit(batch).await? {
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Keeps how far a run is.
    pub(super) async fn take_progress(&mut self, progress: RunProgress) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let known = find_run(&env.db, agent, &progress.run).await?;
        if known.as_ref().is_some_and(|known| known.ended.is_some()) {
            return Ok(());
        }
        let is_new = known.is_none();
        let (plan, order) = (progress.plan.clone(), progress.order.clone());
        let row = RunRow::under_way(agent, progress, env.now());
        let mut batch = self.batch().row(RowChange::PutRun(Box::new(row)));
        if let Some(order) = order.filter(|_| is_new)
            && let Some(approval) = find_approval_of(&env.db, agent, &order).await?
            && let Some(changes) = find_plan(&env.db, &plan).await?
            && let Some((_, on_host)) = self.answered(&approval.request_id).await?
        {
            batch = self.moved(batch, &changes, &on_host, Happening::Begin).await?;
        }
        env.ledger.commit(batch).await?;
        env.notices.announce(Note::Updates(agent.clone()));
        Ok(())
    }

    /// Moves the updates that a plan settles.
    async fn moved(
        &self,
        batch: Batch,
        changes: &Changes,
        on_host: &OnHost,
        what: Happening,
    ) -> Result<Batch, MasterError> {
        self.moved_of(batch, concerns(changes, on_host), what).await
    }

    async fn moved_of(
        &self,
        mut batch: Batch,
        names: BTreeMap<Kind, BTreeSet<String>>,
        what: Happening,
    ) -> Result<Batch, MasterError> {
        let Own { env, agent } = &self.own;
        let now = env.now();
        for (kind, names) in names {
            let known = updates_of(&env.db, agent, kind).await?;
            let decisions = decisions_of(&env.db, agent, kind).await?;
            let named = known.into_iter().filter(|(name, _)| names.contains(name));
            let moved: Vec<Change> = named
                .filter_map(|(name, update)| after_happening(&update, what, decisions.get(&name), now))
                .map(|update| Change::Put(Box::new(update)))
                .collect();
            if !moved.is_empty() {
                batch = batch.row(RowChange::PutUpdates { agent_id: agent.clone(), kind, changes: moved });
            }
        }
        Ok(batch)
    }

    /// Writes the end of a yes down; false if somebody else was faster.
    async fn end_approval(&self, row: &ApprovalRow, reason: &str, by: &str) -> Result<bool, MasterError> {
        let Own { env, agent } = &self.own;
        let ends = self.ends().await?;
        let event = UpdateEvent::PlanWithdrawn {
            agent_id: agent.clone(),
            approval_id: row.id.clone(),
            reason: reason.to_owned(),
        };
        let mut batch = env.batch(by).assume(self.is_listed()).append(
            Stream::updates(agent),
            Expected::Version(ends.updates),
            vec![event],
        );
        if let Some(command) = self.waiting_command(row).await? {
            let over = CommandEvent::Expired { agent_id: agent.clone(), command_id: command };
            batch = batch.append(Stream::commands(agent), Expected::Version(ends.commands), vec![over]);
        }
        if let Some((_, on_host)) = self.answered(&row.request_id).await?
            && let Some(changes) = find_plan(&env.db, &row.plan_id).await?
        {
            batch = self.moved(batch, &changes, &on_host, Happening::Withdraw).await?;
        }
        self.commit(batch).await
    }

    /// Returns the plan that the host answered a question with.
    async fn answered(&self, request: &RequestId) -> Result<Option<(PlanId, Box<OnHost>)>, MasterError> {
        let row = find_host_plan(&self.own.env.db, &self.own.agent, request).await?;
        Ok(row.and_then(|row| row.answer).and_then(|answer| answer.plan.ok()))
    }

    /// Fails unless the host answered the question with this plan.
    async fn planned(&self, yes: &Yes) -> Result<Box<OnHost>, MasterError> {
        match self.answered(&yes.request).await? {
            Some((plan, on_host)) if plan == yes.plan => Ok(on_host),
            Some(_) => Err(MasterError::CannotApprove(
                "this host worked out another plan; look at it and approve that".into(),
            )),
            None => Err(MasterError::PlanNotFound),
        }
    }

    async fn command_of(&self, row: &ApprovalRow) -> Result<Option<Command>, MasterError> {
        let Some(command) = &row.command_id else { return Ok(None) };
        let found = db::commands::find_command(&self.own.env.db, command).await?;
        Ok(found.map(|found| found.command))
    }

    /// True if the host has the order, or may have it.
    async fn is_fetched(&self, row: &ApprovalRow) -> Result<bool, MasterError> {
        let command = self.command_of(row).await?;
        Ok(command.is_some_and(|command| command.status.is_open() && command.attempt > 0))
    }

    async fn waiting_command(&self, row: &ApprovalRow) -> Result<Option<CommandId>, MasterError> {
        let command = self.command_of(row).await?;
        Ok(command.filter(|command| command.status == CommandStatus::Queued).map(|command| command.id))
    }

    async fn open_approvals(&self) -> Result<Vec<ApprovalRow>, MasterError> {
        let agent = Some(self.own.agent.clone());
        let filter = ApprovalFilter { agent, open: true, ..ApprovalFilter::default() };
        Ok(list_approvals(&self.own.env.db, &filter, MOST_OPEN).await?)
    }

    fn order(&self, approval: &ApprovalId, plan: &PlanId, number: u64, expires_at: DateTime<Utc>) -> Command {
        let kind = CommandKind::CarryOutPlan { approval: approval.clone(), plan: plan.clone(), number };
        Command { expires_at, ..new_command(&self.own.env, kind, None) }
    }

    fn ordered(&self, approval: &ApprovalId, command: &Command) -> UpdateEvent {
        UpdateEvent::PlanOrdered {
            agent_id: self.own.agent.clone(),
            approval_id: approval.clone(),
            command_id: command.id.clone(),
        }
    }

    fn with_command(&self, batch: Batch, ends: &Ends, command: &Command) -> Batch {
        let agent = &self.own.agent;
        let expected = Expected::Version(ends.commands);
        batch.append(Stream::commands(agent), expected, vec![queued(agent, command)])
    }

    /// Commits; false if somebody else was faster, and it is to be decided again.
    async fn commit(&self, batch: Batch) -> Result<bool, MasterError> {
        match self.own.env.ledger.commit(batch).await {
            Ok(_) => {
                self.own.env.notices.announce(Note::Updates(self.own.agent.clone()));
                Ok(true)
            }
            Err(CommitFailed::Refused(CommitError::VersionConflict { .. })) => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    /// Where the streams end that are written together. Read before what is decided on them.
    async fn ends(&self) -> Result<Ends, MasterError> {
        let Own { env, agent } = &self.own;
        Ok(Ends {
            updates: db::events::stream_version(&env.db, &Stream::updates(agent)).await?,
            commands: db::events::stream_version(&env.db, &Stream::commands(agent)).await?,
        })
    }
}

/// Returns the updates that a question names.
pub(super) fn named(ask: &PlanAsk) -> Vec<(Kind, String)> {
    let PlanAsk::Install(Wanted::Named(names)) = ask else { return Vec::new() };
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

struct Ends {
    updates: u64,
    commands: u64,
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
