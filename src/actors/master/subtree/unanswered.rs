//! Updates that somebody said yes to by their names, and whose host said nothing: what it was told is over, and so is the yes.

use super::plans::named;
use super::updates::Keeper;
use crate::actors::master::error::MasterError;
use crate::db::plans::{HostPlanAnswer, HostPlanRow, host_plans_for};
use crate::db::updates::updates_of;
use crate::db::{self, RowChange};
use crate::domain::command::{Command, CommandKind, CommandStatus};
use crate::domain::update::{Happening, Kind, Problem, State, Then};

/// Commands that are looked through.
const RECENT: u64 = 100;

impl Keeper {
    /// Ends what hosts said nothing of in time.
    pub(super) async fn end_unanswered(&mut self) -> Result<(), MasterError> {
        for row in host_plans_for(&self.own.env.db, &self.own.agent).await? {
            if row.then == Then::CarryOut && self.is_lost(&row).await? {
                let names = named(&row.ask);
                let problem = Problem { reason: "the host did not answer in time".into(), way_out: None };
                let answer = Some(HostPlanAnswer { at: self.own.env.now(), plan: Err(problem) });
                let row = HostPlanRow { answer, not_before: None, ..row };
                let batch = self.batch().row(RowChange::PutHostPlan(Box::new(row)));
                let batch = self.moved_named(batch, &names, Happening::Withdraw).await?;
                self.own.env.ledger.commit(batch).await?;
            }
        }
        if self.speaks_redflag() { self.end_silent_installs().await } else { Ok(()) }
    }

    /// True if a question has no answer, and the command that carried it is at its end.
    async fn is_lost(&self, row: &HostPlanRow) -> Result<bool, MasterError> {
        if row.answer.is_some() {
            return Ok(false);
        }
        let command = self.own_command(&row.command_id).await?;
        Ok(command.is_none_or(|command| !command.status.is_open()))
    }

    /// What a RedFlag agent was told to install and said nothing of has failed, as far as anybody knows.
    async fn end_silent_installs(&mut self) -> Result<(), MasterError> {
        let commands = db::commands::list_commands(&self.own.env.db, &self.own.agent, RECENT).await?;
        let installs = |command: &Command| match &command.kind {
            CommandKind::ConfirmDependencies { update, .. } => {
                Some((update.package_type, update.package_name.clone()))
            }
            _ => None,
        };
        let mut seen = Vec::new();
        for command in &commands {
            // The newest of each counts.
            let Some(name) = installs(command).filter(|name| !seen.contains(name)) else { continue };
            seen.push(name.clone());
            if command.status == CommandStatus::Expired && self.is_being_installed(&name).await? {
                self.move_named(&[name], Happening::Fail).await?;
            }
        }
        Ok(())
    }

    async fn is_being_installed(&self, (kind, name): &(Kind, String)) -> Result<bool, MasterError> {
        let update = updates_of(&self.own.env.db, &self.own.agent, *kind).await?.remove(name);
        Ok(update.is_some_and(|update| update.state == Some(State::Installing)))
    }
}
