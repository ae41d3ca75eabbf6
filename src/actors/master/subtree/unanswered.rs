//! Updates that somebody said yes to by their names, and whose host said nothing: what it was told is over, and so is the yes.

use std::collections::BTreeMap;

use super::updates::Keeper;
use crate::actors::master::bus::Note;
use crate::actors::master::error::MasterError;
use crate::db::commands::CommandFilter;
use crate::db::plans::{HostPlanAnswer, HostPlanRow, unanswered_yeses};
use crate::db::updates::installing_of;
use crate::db::{self, RowChange};
use crate::domain::command::{Command, CommandKind, CommandStatus};
use crate::domain::update::{Happening, Kind, Problem, State, Then};

/// Commands to install that are looked through: more than can be approved together.
const MOST_INSTALLS: u64 = 2_000;

impl Keeper {
    /// Ends what hosts said nothing of in time.
    pub(super) async fn end_unanswered(&mut self) -> Result<(), MasterError> {
        for row in unanswered_yeses(&self.own.env.db, &self.own.agent).await? {
            if self.is_lost(&row).await? {
                self.end_question(row, "the host did not answer in time".into()).await?;
            }
        }
        if self.speaks_redflag() { self.end_silent_installs().await } else { Ok(()) }
    }

    /// Nothing comes of a question, nor of the yes that it was asked with. What was said yes to anew meanwhile, or is being
    /// installed, is left alone. When it was to begin stays written: whoever asks again may want that.
    pub(super) async fn end_question(&mut self, row: HostPlanRow, reason: String) -> Result<(), MasterError> {
        let names = if row.then == Then::CarryOut { self.waiting_for(&row).await? } else { Vec::new() };
        let answer =
            Some(HostPlanAnswer { at: self.own.env.now(), plan: Err(Problem { reason, way_out: None }) });
        let row = HostPlanRow { answer, dependencies: None, then: Then::Show, ..row };
        let batch = self.batch().row(RowChange::PutHostPlan(Box::new(row)));
        let batch = self.moved_named(batch, &names, Happening::Withdraw).await?;
        self.own.env.ledger.commit(batch).await?;
        self.own.env.notices.announce(Note::Updates(self.own.agent.clone()));
        Ok(())
    }

    /// Returns the updates that wait for what comes of a question, and of no later one.
    pub(super) async fn waiting_for(&self, row: &HostPlanRow) -> Result<Vec<(Kind, String)>, MasterError> {
        let waits = |state| matches!(state, State::Approved | State::Planned);
        let mut waiting = Vec::new();
        for (kind, name) in self.named_in(&row.ask, &mut BTreeMap::new(), waits).await? {
            if self.is_newest(row, kind, &name).await? {
                waiting.push((kind, name));
            }
        }
        Ok(waiting)
    }

    /// True if the command that carried a question is at its end.
    async fn is_lost(&self, row: &HostPlanRow) -> Result<bool, MasterError> {
        let command = self.own_command(&row.command_id).await?;
        Ok(command.is_none_or(|command| !command.status.is_open()))
    }

    /// What a RedFlag agent was told to install and said nothing of has failed, as far as anybody knows.
    async fn end_silent_installs(&mut self) -> Result<(), MasterError> {
        if installing_of(&self.own.env.db, &self.own.agent).await?.is_empty() {
            return Ok(());
        }
        let expired: Vec<(Kind, String)> = self
            .newest_installs()
            .await?
            .into_iter()
            .filter(|(_, command)| command.status == CommandStatus::Expired)
            .map(|(name, _)| name)
            .collect();
        self.fail_installs(expired).await
    }

    /// Those of these updates have failed that are being installed.
    pub(super) async fn fail_installs(&self, mut names: Vec<(Kind, String)>) -> Result<(), MasterError> {
        let installing = installing_of(&self.own.env.db, &self.own.agent).await?;
        names.retain(|name| installing.contains(name));
        self.move_named(&names, Happening::Fail).await
    }

    /// Returns the last command of each update that told a RedFlag agent to install it.
    pub(super) async fn newest_installs(&self) -> Result<BTreeMap<(Kind, String), Command>, MasterError> {
        let mut newest = BTreeMap::new();
        for command in self.told_of("confirm_dependencies", MOST_INSTALLS).await? {
            if let CommandKind::ConfirmDependencies { update, .. } = &command.kind {
                newest.entry((update.package_type, update.package_name.clone())).or_insert(command);
            }
        }
        Ok(newest)
    }

    /// Returns the commands of one action that the agent was told, the newest first.
    pub(super) async fn told_of(&self, action: &str, max: u64) -> Result<Vec<Command>, MasterError> {
        let (agent, action) = (Some(self.own.agent.clone()), Some(action.to_owned()));
        let filter = CommandFilter { agent, action, ..CommandFilter::default() };
        let (rows, _) = db::commands::list_newest_commands(&self.own.env.db, &filter, max).await?;
        Ok(rows.into_iter().map(|row| row.command).collect())
    }
}
