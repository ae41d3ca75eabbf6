//! A yes to an update by its name, as RedFlag's API gives it, for agents of ours and for RedFlag's own.
//!
//! A host of ours works out what that would change, and does it if it is that and nothing else; else it waits for a yes to all
//! of it. RedFlag's agent is told in its own commands and bound to no plan: it says what comes along, installs, and a new scan
//! shows whether it did.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::moves::TRIES;
use super::own::Own;
use super::updates::Keeper;
use crate::actors::master::commands::new_command;
use crate::actors::master::error::MasterError;
use crate::actors::master::requests::Dialect;
use crate::db::plans::{HostPlanAnswer, HostPlanRow, find_host_plan_of, yeses_to};
use crate::db::updates::updates_of;
use crate::db::{self, RowChange};
use crate::domain::agent::AgentStatus;
use crate::domain::command::{Command, CommandKind, CommandStatus, Outcome, RedFlagUpdate};
use crate::domain::delivery::restarts_until;
use crate::domain::id::{ApprovalId, CommandId, RequestId};
use crate::domain::update::{
    ApprovalStatus, Change, Findings, Happening, Kind, MAX_NAMES, PlanAsk, Problem, State, Then, Update,
    Wanted, after_happening,
};

/// Restarts that are looked through for one that a host is still to make.
const RESTARTS: u64 = 20;
/// What a RedFlag agent's answer is, in place of a plan.
const NO_PLAN: &str = "RedFlag's agent makes no plan: it says what comes along, and is not bound to it";

/// Where an update stands that a person says yes to.
enum Free {
    /// It can be asked for.
    Yes(Box<Update>),
    /// It was asked for with this command.
    UnderWay(CommandId),
}

/// What became of telling a RedFlag agent to install something.
pub(super) enum Install {
    /// It is told with this command.
    Begun(CommandId),
    /// Its host may be about to start anew until then, and is told nothing before.
    After(DateTime<Utc>),
    /// It is not to be installed, and why.
    Refused(String),
}

impl Keeper {
    /// A person says yes to an update by its name; it is installed at `not_before`, or at once. Returns the command that goes to
    /// the host; for one that is on its way already, that one.
    pub(super) async fn want(
        &mut self,
        kind: Kind,
        name: &str,
        not_before: Option<DateTime<Utc>>,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        let update = match self.is_free(kind, name, not_before).await? {
            Free::Yes(update) => update,
            Free::UnderWay(command) => return Ok(command),
        };
        let ask = PlanAsk::install(Wanted::Named(vec![format!("{kind}:{name}")]));
        if self.speaks_redflag() {
            self.must_be_installable(&update, kind).await?;
            let command = CommandKind::DryRunUpdate(in_words(&update, kind));
            return self.ask(self.new_request(), (ask, Then::CarryOut, not_before), command, by).await;
        }
        self.ask_plan(self.new_request(), ask, Then::CarryOut, not_before, by).await
    }

    /// A person says yes to many updates. A host of ours is asked about all of them at once, and installs them in one run;
    /// RedFlag's agent knows one at a time.
    pub(super) async fn want_all(
        &mut self,
        names: &[(Kind, String)],
        not_before: Option<DateTime<Utc>>,
        by: &str,
    ) -> Result<Vec<Result<CommandId, MasterError>>, MasterError> {
        let mut done = Vec::with_capacity(names.len());
        if self.speaks_redflag() {
            for (kind, name) in names {
                done.push(self.want(*kind, name, not_before, by).await);
            }
            return Ok(done);
        }
        for chunk in names.chunks(MAX_NAMES) {
            let mut standing = Vec::with_capacity(chunk.len());
            let mut free = Vec::new();
            for (kind, name) in chunk {
                let one = self.is_free(*kind, name, not_before).await;
                free.extend(matches!(one, Ok(Free::Yes(_))).then(|| format!("{kind}:{name}")));
                standing.push(one);
            }
            let command = if free.is_empty() {
                None
            } else {
                let ask = PlanAsk::install(Wanted::Named(free));
                Some(self.ask_plan(self.new_request(), ask, Then::CarryOut, not_before, by).await?)
            };
            done.extend(standing.into_iter().map(|one| match one? {
                Free::UnderWay(command) => Ok(command),
                Free::Yes(_) => command.clone().ok_or(MasterError::Busy),
            }));
        }
        Ok(done)
    }

    fn new_request(&self) -> RequestId {
        RequestId::new(self.own.env.chance.sorted_uuid(&self.own.env.clock).to_string())
    }

    /// Says whether a yes to an update can be given now.
    async fn is_free(
        &self,
        kind: Kind,
        name: &str,
        not_before: Option<DateTime<Utc>>,
    ) -> Result<Free, MasterError> {
        let update = self.update(kind, name).await?;
        let asked = self.asked_for(kind, name).await?;
        match (update.state, asked) {
            (Some(State::Discovered | State::Failed | State::RolledBack), _) => {
                Ok(Free::Yes(Box::new(update)))
            }
            (Some(State::Approved | State::Planned | State::Installing), Some(row)) => {
                let micros = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp_micros());
                let begins = row.not_before.filter(|at| *at > self.own.env.now());
                if micros(not_before) != micros(begins) {
                    let begins = begins.map_or("at once".into(), |at| format!("at {at}"));
                    let reason =
                        format!("the update was approved before, to begin {begins}: take that back first");
                    return Err(MasterError::CannotApprove(reason));
                }
                Ok(Free::UnderWay(row.command_id))
            }
            (state, _) => {
                let word = state.map_or("up to date", State::as_str).replace('_', " ");
                Err(MasterError::CannotApprove(format!("the update is {word} and cannot be approved now")))
            }
        }
    }

    /// A person says yes to what comes along. Returns the command that installs it.
    pub(super) async fn confirm(
        &mut self,
        kind: Kind,
        name: &str,
        by: &str,
    ) -> Result<CommandId, MasterError> {
        let update = self.update(kind, name).await?;
        let nothing = || {
            let reason = "nothing waits for a yes: the host has not said yet what comes along, or it was confirmed before";
            MasterError::CannotApprove(reason.into())
        };
        let row = self.asked_for(kind, name).await?.filter(|_| update.state == Some(State::Planned));
        let row = row.ok_or_else(nothing)?;
        let now = self.own.env.now();
        if let Some(dependencies) = &row.dependencies {
            self.must_be_installable(&update, kind).await?;
            let Some(at) = row.not_before.filter(|at| *at > now) else {
                return match self.install_with(&update, kind, dependencies.clone(), by).await? {
                    Install::Begun(command) => Ok(command),
                    Install::After(until) => {
                        let reason = format!("the host is about to start anew: confirm it after {until}");
                        Err(MasterError::CannotApprove(reason))
                    }
                    Install::Refused(why) => Err(MasterError::CannotApprove(why)),
                };
            };
            let asked = HostPlanRow { asked_by: by.to_owned(), ..row.clone() };
            let batch = self.batch().row(RowChange::PutHostPlan(Box::new(asked)));
            let batch = self.moved_named(batch, &[(kind, name.to_owned())], Happening::Approve).await?;
            self.own.env.ledger.commit(batch).await?;
            self.own.env.due_at(&self.own.agent, at);
            return Ok(row.command_id);
        }
        let answer = row.answer.as_ref().and_then(|answer| answer.plan.as_ref().ok());
        let (plan, _) = answer.ok_or_else(nothing)?;
        let approval = ApprovalId::new(self.own.env.chance.sorted_uuid(&self.own.env.clock).to_string());
        let yes = self.usual_yes(approval.clone(), &row, plan.clone(), by);
        self.approve(&yes).await?;
        let given = db::approvals::find_approval(&self.own.env.db, &self.own.agent, &approval).await?;
        match given {
            Some(given) if given.status != ApprovalStatus::Waiting => {
                Ok(given.command_id.unwrap_or(row.command_id))
            }
            _ => Err(MasterError::CannotApprove(
                "a second person has to say yes too, on the page of the plan".into(),
            )),
        }
    }

    /// A RedFlag agent says what an update brings along. With nothing else it is installed; else a person decides.
    pub(super) async fn take_dependencies(
        &mut self,
        kind: Kind,
        name: &str,
        dependencies: Vec<String>,
    ) -> Result<Option<CommandId>, MasterError> {
        let update = self.update(kind, name).await?;
        let asked = self.asked_for(kind, name).await?.filter(|_| update.state == Some(State::Approved));
        // Nobody said yes to it: what comes along is of no use.
        let Some(row) = asked else { return Ok(None) };
        // It was said yes to before the master was told that two have to, or before the image failed on another host.
        if let Some(why) = self.why_not_installed(&update, kind).await? {
            return self.end_question(row, why).await.map(|()| None);
        }
        let is_alone = dependencies.is_empty();
        let later = row.not_before.filter(|at| *at > self.own.env.now());
        let by = row.asked_by.clone();
        let problem = Problem { reason: NO_PLAN.into(), way_out: None };
        let answer = Some(HostPlanAnswer { at: self.own.env.now(), plan: Err(problem) });
        let row = HostPlanRow { answer, dependencies: Some(dependencies), ..row };
        let mut batch = self.batch().row(RowChange::PutHostPlan(Box::new(row.clone())));
        if !is_alone {
            let name = [(kind, name.to_owned())];
            batch = self.moved_named(batch, &name, Happening::Plan).await?;
        }
        self.own.env.ledger.commit(batch).await?;
        if let Some(at) = later {
            self.own.env.due_at(&self.own.agent, at);
        }
        if !is_alone || later.is_some() {
            return Ok(None);
        }
        match self.install_with(&update, kind, Vec::new(), &by).await? {
            Install::Begun(command) => Ok(Some(command)),
            Install::After(until) => self.put_off(row, until).await.map(|()| None),
            Install::Refused(why) => self.end_question(row, why).await.map(|()| None),
        }
    }

    /// Says why a RedFlag agent is not told to install something, whoever said yes to it.
    async fn why_not_installed(&self, update: &Update, kind: Kind) -> Result<Option<String>, MasterError> {
        let instead = "install it on the host itself, or put Lightship's agent there";
        if let Some(why) = self.own.env.settings.why_not_by_one(instead) {
            return Ok(Some(why));
        }
        if kind != Kind::DockerImage {
            return Ok(None);
        }
        self.why_held_by_name(&update.finding).await
    }

    async fn must_be_installable(&self, update: &Update, kind: Kind) -> Result<(), MasterError> {
        self.why_not_installed(update, kind).await?.map_or(Ok(()), |why| Err(MasterError::CannotApprove(why)))
    }

    /// A RedFlag agent said how a command went. What it calls a success is believed once a scan shows it.
    pub(super) async fn redflag_answered(
        &mut self,
        command: &Command,
        outcome: &Outcome,
    ) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        match &command.kind {
            CommandKind::DryRunUpdate(_) if !outcome.succeeded => {
                match find_host_plan_of(&env.db, agent, &command.id).await? {
                    Some(row) => self.end_question(row, outcome.message.clone()).await,
                    None => Ok(()),
                }
            }
            CommandKind::ConfirmDependencies { update, .. } if !outcome.succeeded => {
                let name = (update.package_type, update.package_name.clone());
                let newest = self.newest_installs().await?.remove(&name);
                // A late word about one that was given up says nothing of the one that came after it.
                let is_it = newest.is_none_or(|newest| newest.id == command.id);
                if is_it { self.fail_installs(vec![name]).await } else { Ok(()) }
            }
            CommandKind::ConfirmDependencies { .. } => self.queue(CommandKind::ScanUpdates).await.map(drop),
            _ => Ok(()),
        }
    }

    /// What a scan says of updates that a RedFlag agent says it installed: gone is verified, still there is failed.
    pub(super) async fn after_redflag_install(
        &self,
        found: &Findings,
        installing: Vec<Update>,
        changes: &mut Vec<Change>,
    ) -> Result<(), MasterError> {
        if installing.is_empty() || !self.speaks_redflag() {
            return Ok(());
        }
        let (kind, now) = (found.checked.kind, self.own.env.now());
        let mut newest = self.newest_installs().await?;
        for before in installing {
            let name = &before.finding.name;
            let last = newest.remove(&(kind, name.clone()));
            if last.is_none_or(|command| command.status != CommandStatus::Succeeded) {
                continue;
            }
            let item = found.items.iter().find(|item| item.name == *name);
            let what = match item {
                Some(item) if item.is_pending() => Happening::Fail,
                None if !found.checked.is_complete => continue,
                _ => Happening::Verify,
            };
            let seen = changes.iter_mut().find_map(|change| match change {
                Change::Put(update) if update.finding.name == *name => Some(update),
                _ => None,
            });
            match seen {
                Some(update) => {
                    if let Some(after) = after_happening(update, what, None, now) {
                        **update = after;
                    }
                }
                None => {
                    let after = after_happening(&before, what, None, now);
                    changes.extend(after.map(|after| Change::Put(Box::new(after))));
                }
            }
        }
        Ok(())
    }

    /// Returns the updates that are being installed.
    pub(super) fn under_way(known: &BTreeMap<String, Update>) -> Vec<Update> {
        known.values().filter(|update| update.state == Some(State::Installing)).cloned().collect()
    }

    /// Has a RedFlag agent install an update with what comes along, unless its host is about to start anew, which would cut it off,
    /// or it is not to be installed at all.
    pub(super) async fn install_with(
        &mut self,
        update: &Update,
        kind: Kind,
        dependencies: Vec<String>,
        by: &str,
    ) -> Result<Install, MasterError> {
        if let Some(why) = self.why_not_installed(update, kind).await? {
            return Ok(Install::Refused(why));
        }
        let env = &self.own.env;
        let command = CommandKind::ConfirmDependencies { update: in_words(update, kind), dependencies };
        let command = new_command(env, command, None);
        let name = [(kind, update.finding.name.clone())];
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            let restarts = self.told_of("reboot", RESTARTS).await?;
            if let Some(until) = restarts_until(&restarts, env.now()) {
                return Ok(Install::After(until));
            }
            let batch = self.with_command(env.batch(by).assume(self.is_listed()), &ends, &command);
            if self.commit(self.moved_named(batch, &name, Happening::Begin).await?).await? {
                return Ok(Install::Begun(command.id));
            }
        }
        Err(MasterError::Busy)
    }

    async fn queue(&mut self, kind: CommandKind) -> Result<CommandId, MasterError> {
        let env = &self.own.env;
        let command = new_command(env, kind, None);
        for _ in 0..TRIES {
            let batch = env.batch("system").assume(self.is_listed());
            if self.commit(self.with_command(batch, &self.ends().await?, &command)).await? {
                return Ok(command.id);
            }
        }
        Err(MasterError::Busy)
    }

    async fn update(&self, kind: Kind, name: &str) -> Result<Update, MasterError> {
        let slot = self.own.known_slot()?;
        if slot.status() != AgentStatus::Enrolled || slot.dialect() == Dialect::V2 {
            self.own.takes_orders()?;
        }
        let known = updates_of(&self.own.env.db, &self.own.agent, kind).await?.remove(name);
        known.ok_or_else(|| MasterError::CannotApprove("the host has no such update any more".into()))
    }

    /// The newest question about this update that was asked with a yes.
    async fn asked_for(&self, kind: Kind, name: &str) -> Result<Option<HostPlanRow>, MasterError> {
        Ok(yeses_to(&self.own.env.db, &self.own.agent, kind, name).await?.into_iter().next())
    }

    /// True if an update was not said yes to anew after this question.
    pub(super) async fn is_newest(
        &self,
        row: &HostPlanRow,
        kind: Kind,
        name: &str,
    ) -> Result<bool, MasterError> {
        let newest = self.asked_for(kind, name).await?;
        Ok(newest.is_some_and(|newest| newest.request_id == row.request_id))
    }

    /// Returns the command with this id, if it is this agent's.
    pub(super) async fn own_command(&self, id: &CommandId) -> Result<Option<Command>, MasterError> {
        let row = db::commands::find_command(&self.own.env.db, id).await?;
        Ok(row.filter(|row| row.agent_id == self.own.agent).map(|row| row.command))
    }

    pub(super) fn speaks_redflag(&self) -> bool {
        self.own.slot().is_some_and(|slot| slot.dialect() == Dialect::RedFlag)
    }

    /// Returns the question that this command carried, if it has no answer.
    pub(super) async fn unanswered(&self, id: &CommandId) -> Result<Option<HostPlanRow>, MasterError> {
        let row = find_host_plan_of(&self.own.env.db, &self.own.agent, id).await?;
        Ok(row.filter(|row| row.answer.is_none()))
    }
}

fn in_words(update: &Update, kind: Kind) -> RedFlagUpdate {
    RedFlagUpdate {
        update_id: update.id.clone(),
        package_type: kind,
        package_name: update.finding.name.clone(),
    }
}
