//! What runs on a host did, and how far they are.

use super::moves::TRIES;
use super::own::Own;
use super::updates::Keeper;
use crate::actors::master::bus::Note;
use crate::actors::master::error::MasterError;
use crate::db::approvals::find_approval_of;
use crate::db::plans::find_plan;
use crate::db::runs::{RunRow, find_run, runs_with_old_logs};
use crate::db::{Expected, RowChange};
use crate::domain::delivery::renew;
use crate::domain::event::{Stream, UpdateEvent};
use crate::domain::id::CommandId;
use crate::domain::update::{Happening, RunProgress, happening};
use crate::protocol::v3::RunTold;

/// Most images of one run that are held.
const MOST_FAILED: usize = 100;

impl Keeper {
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
        if let Some(order) = order.as_ref().filter(|_| is_new)
            && let Some(approval) = find_approval_of(&env.db, agent, order).await?
            && let Some(changes) = find_plan(&env.db, &plan).await?
            && let Some((_, on_host)) = self.answered(&approval.request_id).await?
        {
            batch = self.moved(batch, &changes, &on_host, Happening::Begin).await?;
        }
        env.ledger.commit(batch).await?;
        env.notices.announce(Note::Updates(agent.clone()));
        match order {
            Some(order) => self.renew(&order).await,
            None => Ok(()),
        }
    }

    /// A run that goes on keeps its command, however long it takes. If somebody was faster, the next word does it.
    async fn renew(&self, order: &CommandId) -> Result<(), MasterError> {
        let Own { env, agent } = &self.own;
        let ends = self.ends().await?;
        let Some(command) = self.own_command(order).await? else { return Ok(()) };
        let Some(event) = renew(agent, &command, env.now()) else { return Ok(()) };
        let stream = (Stream::commands(agent), Expected::Version(ends.commands));
        self.commit(self.batch().append(stream.0, stream.1, vec![event])).await.map(drop)
    }
}
