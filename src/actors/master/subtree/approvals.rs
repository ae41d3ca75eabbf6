//! People's yes to what a host would change.
//!
//! A yes and the command that carries the order are one commit. What comes of it is told by the host, by a run or by the
//! answer to the command; a yes that is over is withdrawn when its time comes.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::moves::TRIES;
use super::own::Own;
use super::updates::Keeper;
use crate::actors::master::commands::new_command;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::Yes;
use crate::db::approvals::{ApprovalFilter, ApprovalRow, find_approval, find_approval_of, list_approvals};
use crate::db::failed_images::{HeldImageRow, held_among, list_held_images};
use crate::db::plans::{HostPlanAnswer, find_plan};
use crate::db::runs::find_run_of;
use crate::db::{self, Expected};
use crate::domain::command::{Command, CommandKind, CommandStatus, Outcome};
use crate::domain::event::{CommandEvent, Stream, UpdateEvent};
use crate::domain::id::{ApprovalId, CommandId};
use crate::domain::role::may_be_one_person;
use crate::domain::text::repeated;
use crate::domain::update::{
    ApprovalMode, ApprovalStatus, Changes, FailedImage, Finding, Happening, OnHost, PlanId, Problem, Term,
    Then,
};

/// Most approvals of a host of which something may still come that are looked through: more than people can be thought to give.
const MOST_OPEN: u64 = 10_000;

impl Keeper {
    /// Writes a yes down, and with it the command that carries the order, unless a second person has to agree.
    pub(super) async fn approve(&mut self, yes: &Yes) -> Result<(), MasterError> {
        self.own.takes_orders()?;
        let Own { env, agent } = &self.own;
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            if find_approval(&env.db, agent, &yes.approval).await?.is_some() {
                return Ok(());
            }
            let (plan, on_host) = self.planned(yes).await?;
            let changes = find_plan(&env.db, &plan).await?.ok_or_else(|| not_answered(yes))?;
            if changes.is_empty() {
                let reason = "the plan changes nothing, so there is nothing to approve".into();
                return Err(MasterError::CannotApprove(reason));
            }
            self.must_not_be_held(&changes).await?;
            let open = self.open_approvals().await?;
            if let Some(same) = open.iter().find(|open| open.is_about(&plan)) {
                let reason = format!("{} said yes to this plan already", same.given_by);
                return Err(MasterError::CannotApprove(reason));
            }
            let number = ends.updates + 1;
            let needs_second = env.settings.second_approval;
            let mut events = vec![UpdateEvent::PlanApproved {
                agent_id: agent.clone(),
                approval_id: yes.approval.clone(),
                request_id: yes.request.clone(),
                plan_id: plan.clone(),
                number,
                expires_at: yes.term.expires_at,
                given_from: yes.from.clone(),
                needs_second,
                mode: yes.mode,
                approved_plan: Some(yes.plan.clone()).filter(|approved| *approved != plan),
                not_before: yes.term.not_before,
            }];
            let mut command = None;
            if !needs_second {
                let (event, order) = self.told(&yes.approval, &plan, yes.term, number);
                events.push(event);
                command = order;
            }
            let updates = Stream::updates(agent);
            let mut batch = env.batch(&yes.by).assume(self.is_listed()).append(
                updates,
                Expected::Version(ends.updates),
                events,
            );
            if let Some(command) = &command {
                batch = self.with_command(batch, &ends, command);
            }
            batch = self.moved(batch, &changes, &on_host, Happening::Approve).await?;
            if self.commit(batch).await? {
                env.due_at(agent, yes.term.not_before.unwrap_or(yes.term.expires_at));
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Fails if an image of the plan failed on a host, and nobody let it go.
    pub(super) async fn must_not_be_held(&self, changes: &Changes) -> Result<(), MasterError> {
        let held = held_among(&self.own.env.db, &changes.new_images()).await?.into_iter().next();
        held.map_or(Ok(()), |held| Err(MasterError::CannotApprove(self.why_held(held))))
    }

    /// Says why an image that is pulled by its name, with no plan that names its content, is held. By what the scan saw there; where
    /// that is not known, nobody can say that it is another one than the one that failed.
    pub(super) async fn why_held_by_name(&self, finding: &Finding) -> Result<Option<String>, MasterError> {
        let db = &self.own.env.db;
        let held = match finding.details.get("digest").and_then(Value::as_str) {
            Some(digest) => held_among(db, &[digest.to_owned()]).await?.into_iter().next(),
            None => list_held_images(db).await?.into_iter().find(|held| held.image.image == finding.name),
        };
        Ok(held.map(|held| self.why_held(held)))
    }

    fn why_held(&self, held: HeldImageRow) -> String {
        let FailedImage { digest, image, reason } = held.image;
        let named = self.own.env.directory.name_of(&held.agent_id);
        format!(
            "`{image}` ({digest}) failed on `{named}`: {reason}; it is held on all hosts until there is a newer one, or a person \
             lets it go (`lightship updates let-go {digest}`)"
        )
    }

    /// Adds the second person's yes.
    pub(super) async fn second(&mut self, id: &ApprovalId, by: &str) -> Result<(), MasterError> {
        self.own.takes_orders()?;
        let Own { env, agent } = &self.own;
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            let row = find_approval(&env.db, agent, id).await?;
            let row = row.ok_or_else(|| MasterError::ApprovalNotFound(id.clone()))?;
            if !row.needs_second {
                return Err(MasterError::NoSecondNeeded);
            }
            match row.status {
                ApprovalStatus::Waiting if env.now() >= row.expires_at => {
                    return Err(MasterError::CannotApprove(
                        "the first yes is over; ask for a new plan".into(),
                    ));
                }
                ApprovalStatus::Waiting => {}
                ApprovalStatus::Scheduled | ApprovalStatus::Ordered => return Ok(()),
                status => {
                    let reason = format!("it came to its end: {}", status.as_str().replace('_', " "));
                    return Err(MasterError::CannotApprove(reason));
                }
            }
            if may_be_one_person(&row.given_by, by) {
                let reason = "a second person has to say yes, and this is the first one (the admin token and the socket on \
                              the master's host are one person)".into();
                return Err(MasterError::CannotApprove(reason));
            }
            // Others may have been ordered since the first yes, and a host takes none that is older than one it has.
            let number = ends.updates + 1;
            let (event, command) = self.told(id, &row.plan_id, term_of(&row, env.now()), number);
            let mut batch = env.batch(by).assume(self.is_listed()).append(
                Stream::updates(agent),
                Expected::Version(ends.updates),
                vec![event],
            );
            if let Some(command) = &command {
                batch = self.with_command(batch, &ends, command);
            }
            if self.commit(batch).await? {
                if let (None, Some(at)) = (command, row.not_before) {
                    env.due_at(agent, at);
                }
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
            let row = row.ok_or_else(|| MasterError::ApprovalNotFound(id.clone()))?;
            if !row.status.is_open() {
                return Ok(());
            }
            if self.is_fetched(&row).await? || self.is_running(&row).await? {
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
        let open = self.open_approvals().await?;
        if let Some(next) = open.iter().map(|row| row.expires_at).filter(|at| now < *at).min() {
            self.own.env.due_at(&self.own.agent, next);
        }
        for row in open {
            let command = self.command_of(&row).await?;
            let is_open =
                command.as_ref().is_some_and(|command| may_be_there(command) && command.status.is_open());
            if now >= row.expires_at && !is_open && !self.is_running(&row).await? {
                self.end_approval(&row, &why_over(&row, command), "system").await?;
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
            if row.then != Then::Reissue {
                return self.end_question(row, outcome.message.clone()).await;
            }
            let problem = Problem { reason: outcome.message.clone(), way_out: None };
            row.answer = Some(HostPlanAnswer { at: self.own.env.now(), plan: Err(problem) });
            return self.reissue(&row).await;
        }
        let Own { env, agent } = &self.own;
        let Some(row) = find_approval_of(&env.db, agent, command).await? else { return Ok(()) };
        if !row.status.is_open() || outcome.succeeded {
            return Ok(());
        }
        if row.mode == ApprovalMode::SameScope && row.reissued_at.is_none() {
            return self.plan_anew(&row).await;
        }
        let by = format!("agent:{agent}");
        let reason = match row.mode {
            ApprovalMode::Skip => format!("passed over: {}", outcome.message),
            ApprovalMode::Exact | ApprovalMode::SameScope => outcome.message.clone(),
        };
        self.end_approval(&row, &reason, &by).await.map(drop)
    }

    /// Writes the end of a yes down; false if somebody else was faster.
    pub(super) async fn end_approval(
        &self,
        row: &ApprovalRow,
        reason: &str,
        by: &str,
    ) -> Result<bool, MasterError> {
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

    /// Returns the plan that the host answered the question with, if the yes reaches it.
    async fn planned(&self, yes: &Yes) -> Result<(PlanId, Box<OnHost>), MasterError> {
        let (plan, on_host) = self.answered(&yes.request).await?.ok_or_else(|| not_answered(yes))?;
        if plan == yes.plan {
            return Ok((plan, on_host));
        }
        match yes.mode {
            ApprovalMode::Exact => Err(MasterError::CannotApprove(
                "this host worked out another plan; look at it and approve that".into(),
            )),
            ApprovalMode::Skip => Err(MasterError::PassedOver),
            ApprovalMode::SameScope => match self.out_of_scope(&yes.plan, &plan).await? {
                None => Ok((plan, on_host)),
                Some(why) => Err(MasterError::CannotApprove(why)),
            },
        }
    }

    pub(super) async fn command_of(&self, row: &ApprovalRow) -> Result<Option<Command>, MasterError> {
        let Some(command) = &row.command_id else { return Ok(None) };
        let found = db::commands::find_command(&self.own.env.db, command).await?;
        Ok(found.map(|found| found.command))
    }

    /// True if the host has the order, or may have it.
    async fn is_fetched(&self, row: &ApprovalRow) -> Result<bool, MasterError> {
        let command = self.command_of(row).await?;
        // One that was given up because nothing was heard of the host is there as much as one that was not.
        Ok(command.is_some_and(|command| may_be_there(&command) && command.status != CommandStatus::Failed))
    }

    /// True if the host told of a run that carries the order out, and not yet of its end. Should the host be away for long
    /// meanwhile, then what it did is not known, and not that it did nothing.
    async fn is_running(&self, row: &ApprovalRow) -> Result<bool, MasterError> {
        let Some(command) = &row.command_id else { return Ok(false) };
        let run = find_run_of(&self.own.env.db, &self.own.agent, command).await?;
        Ok(run.is_some_and(|run| run.ended.is_none()))
    }

    async fn waiting_command(&self, row: &ApprovalRow) -> Result<Option<CommandId>, MasterError> {
        let command = self.command_of(row).await?;
        Ok(command.filter(|command| command.status == CommandStatus::Queued).map(|command| command.id))
    }

    pub(super) async fn open_approvals(&self) -> Result<Vec<ApprovalRow>, MasterError> {
        let agent = Some(self.own.agent.clone());
        let filter = ApprovalFilter { agent, open: true, ..ApprovalFilter::default() };
        Ok(list_approvals(&self.own.env.db, &filter, MOST_OPEN).await?)
    }

    pub(super) fn order(
        &self,
        approval: &ApprovalId,
        plan: &PlanId,
        number: u64,
        expires_at: DateTime<Utc>,
    ) -> Command {
        let kind = CommandKind::CarryOutPlan { approval: approval.clone(), plan: plan.clone(), number };
        Command { expires_at, ..new_command(&self.own.env, kind, None) }
    }

    /// Everybody said yes who has to: what that is, and the command that tells the host, unless its time has not come.
    pub(super) fn told(
        &self,
        approval: &ApprovalId,
        plan: &PlanId,
        term: Term,
        number: u64,
    ) -> (UpdateEvent, Option<Command>) {
        let (agent_id, approval_id) = (self.own.agent.clone(), approval.clone());
        if term.not_before.is_some() {
            return (UpdateEvent::PlanScheduled { agent_id, approval_id }, None);
        }
        let command = self.order(approval, plan, number, term.expires_at);
        let command_id = command.id.clone();
        let event = UpdateEvent::PlanOrdered { agent_id, approval_id, command_id, number: Some(number) };
        (event, Some(command))
    }
}

/// When a yes counts, as things stand.
pub(super) fn term_of(row: &ApprovalRow, now: DateTime<Utc>) -> Term {
    Term { not_before: row.not_before.filter(|at| *at > now), expires_at: row.expires_at }
}

/// True if the host was handed the command, so that it may have it.
fn may_be_there(command: &Command) -> bool {
    command.attempt > 0
}

/// Says why a yes is over whose time is.
fn why_over(row: &ApprovalRow, command: Option<Command>) -> String {
    let was_handed_over = command.as_ref().is_some_and(may_be_there);
    match (command.and_then(|command| command.outcome), row.status) {
        (Some(outcome), _) if outcome.succeeded => "the host carried it out, and did not tell its run".into(),
        // A host that refused the order may have been asked what it would change instead.
        (Some(outcome), _) => {
            format!("{}; what it would change instead was not known in time", outcome.message)
        }
        (None, _) if was_handed_over => {
            "the host fetched it and was not heard of since: what it did is not known until it tells".into()
        }
        (None, ApprovalStatus::Scheduled) => {
            "its time was over before the host could be told; nothing was changed".into()
        }
        (None, _) => "nobody fetched it in time; nothing was changed".into(),
    }
}

/// Says that the host gave no such plan.
fn not_answered(yes: &Yes) -> MasterError {
    let request = repeated(yes.request.as_str());
    MasterError::PlanNotFound(format!("this host has no answer to a question `{request}` that is still kept"))
}
