//! What begins later: an order goes out when its time comes, and so does what a RedFlag agent is to install.
//!
//! Both times are columns, so that a restart forgets none. An order gets its number when it goes out: a host takes none that is
//! older than one it has.

use chrono::{DateTime, Utc};

use super::approvals::term_of;
use super::moves::TRIES;
use super::named::Install;
use super::plans::named;
use super::updates::Keeper;
use crate::actors::master::bus::Note;
use crate::actors::master::error::MasterError;
use crate::db::approvals::{ApprovalRow, due_orders, find_approval};
use crate::db::plans::{HostPlanRow, find_host_plan_of, find_plan, scheduled_installs};
use crate::db::updates::updates_of;
use crate::db::{Expected, RowChange};
use crate::domain::event::Stream;
use crate::domain::id::CommandId;
use crate::domain::update::{ApprovalStatus, Happening, State, Term, Then};

/// Orders that go out before others are heard; the scheduler comes again for the rest.
const AT_ONCE: u64 = 100;

/// What became of what was to be installed at a time that has come.
enum Due {
    /// It is on its way, or nothing is to be done.
    Done,
    /// The host is about to start anew until then.
    After(DateTime<Utc>),
    /// It came too late for what was said yes to.
    Over,
    /// It is not to be installed any more, and why.
    Refused(String),
}

impl Keeper {
    /// Orders what was approved for a time that has come: what was to begin first comes first, and of that what was approved first.
    pub(super) async fn order_what_is_due(&mut self) -> Result<(), MasterError> {
        let now = self.own.env.now();
        for row in due_orders(&self.own.env.db, &self.own.agent, now, AT_ONCE).await? {
            self.order_now(&row).await?;
        }
        Ok(())
    }

    async fn order_now(&mut self, row: &ApprovalRow) -> Result<(), MasterError> {
        for _ in 0..TRIES {
            let ends = self.ends().await?;
            let agent = &self.own.agent;
            let row = find_approval(&self.own.env.db, agent, &row.id).await?;
            let Some(row) = row.filter(|row| row.status == ApprovalStatus::Scheduled) else { return Ok(()) };
            // Meanwhile the host can be another one, and the image one that failed.
            if let Some(why) = self.why_not_any_more(&row).await? {
                if self.end_approval(&row, &why, "system").await? {
                    return Ok(());
                }
                continue;
            }
            let term = term_of(&row, self.own.env.now());
            let (event, command) = self.told(&row.id, &row.plan_id, term, ends.updates + 1);
            let Some(command) = command else { return Ok(()) };
            let batch = self.own.env.batch("system").assume(self.is_listed()).append(
                Stream::updates(agent),
                Expected::Version(ends.updates),
                vec![event],
            );
            if self.commit(self.with_command(batch, &ends, &command)).await? {
                return Ok(());
            }
        }
        Err(MasterError::Busy)
    }

    /// Says why a yes that was given for now comes to nothing.
    async fn why_not_any_more(&self, row: &ApprovalRow) -> Result<Option<String>, MasterError> {
        if let Err(why) = self.own.takes_orders() {
            return Ok(Some(format!("its time came, and {why}")));
        }
        let Some(changes) = find_plan(&self.own.env.db, &row.plan_id).await? else {
            return Ok(Some("its time came, and its plan is not kept any more".into()));
        };
        match self.must_not_be_held(&changes).await {
            Ok(()) => Ok(None),
            Err(MasterError::CannotApprove(why)) => Ok(Some(why)),
            Err(failed) => Err(failed),
        }
    }

    /// Has a RedFlag agent install what it was asked about for a time that has come, if what comes along was agreed to. Whoever said
    /// yes for a time did not do so for days later: that ends as an order does.
    pub(super) async fn install_what_is_due(&mut self) -> Result<(), MasterError> {
        let agent = self.own.agent.clone();
        for row in scheduled_installs(&self.own.env.db, &agent).await? {
            let Some(at) = row.not_before else { continue };
            if self.own.env.now() < at {
                self.own.env.due_at(&agent, at);
                continue;
            }
            if !self.speaks_redflag() {
                self.end_question(row, "its time came, and the host runs another agent".into()).await?;
                continue;
            }
            match self.install_all_of(&row).await? {
                Due::Over => {
                    self.end_question(row, "its time was over before the host could be told".into()).await?
                }
                Due::Refused(why) => self.end_question(row, why).await?,
                Due::After(until) => self.put_off(row, until).await?,
                // Cut off before this, it is looked at again, and what is on its way is not approved any more.
                Due::Done => self.put(HostPlanRow { not_before: None, ..row }).await?,
            }
        }
        Ok(())
    }

    /// Has what a question names installed, as far as it was agreed to.
    async fn install_all_of(&mut self, row: &HostPlanRow) -> Result<Due, MasterError> {
        let over_at = Term::usual(row.asked_at, row.not_before).expires_at;
        for (kind, name) in named(&row.ask) {
            let update = updates_of(&self.own.env.db, &self.own.agent, kind).await?.remove(&name);
            // One that is planned waits for a yes to what comes along, and is installed with that. What was said yes to anew
            // waits for what comes of that question.
            let approved = update.filter(|update| update.state == Some(State::Approved));
            let Some(update) = approved else { continue };
            if !self.is_newest(row, kind, &name).await? {
                continue;
            }
            if self.own.env.now() >= over_at {
                return Ok(Due::Over);
            }
            let dependencies = row.dependencies.clone().unwrap_or_default();
            match self.install_with(&update, kind, dependencies, &row.asked_by).await? {
                Install::Begun(_) => {}
                Install::After(until) => return Ok(Due::After(until)),
                Install::Refused(why) => return Ok(Due::Refused(why)),
            }
        }
        Ok(Due::Done)
    }

    /// What comes of a question begins only then.
    pub(super) async fn put_off(&self, row: HostPlanRow, until: DateTime<Utc>) -> Result<(), MasterError> {
        self.put(HostPlanRow { not_before: Some(until), ..row }).await?;
        self.own.env.due_at(&self.own.agent, until);
        Ok(())
    }

    /// Takes back what was to come later of the answer to a command.
    pub(super) async fn call_off(&mut self, command: &CommandId, by: &str) -> Result<(), MasterError> {
        let nothing = || MasterError::Invalid("the command is at its end already".into());
        let row = find_host_plan_of(&self.own.env.db, &self.own.agent, command).await?.ok_or_else(nothing)?;
        let given = self.open_approvals().await?;
        let is_not_told = |status| matches!(status, ApprovalStatus::Waiting | ApprovalStatus::Scheduled);
        let of_it = |given: &ApprovalRow| given.request_id == row.request_id && is_not_told(given.status);
        if let Some(given) = given.into_iter().find(of_it) {
            return self.withdraw(&given.id, by).await;
        }
        let waits = |at: &DateTime<Utc>| *at > self.own.env.now();
        if row.then != Then::CarryOut || !row.not_before.as_ref().is_some_and(waits) {
            return Err(nothing());
        }
        let names = self.waiting_for(&row).await?;
        // Nothing comes of it any more but that somebody can look at it.
        let row = HostPlanRow { not_before: None, then: Then::Show, ..row };
        let batch = self.batch().row(RowChange::PutHostPlan(Box::new(row)));
        self.own.env.ledger.commit(self.moved_named(batch, &names, Happening::Withdraw).await?).await?;
        self.own.env.notices.announce(Note::Updates(self.own.agent.clone()));
        Ok(())
    }

    async fn put(&self, row: HostPlanRow) -> Result<(), MasterError> {
        self.own.env.ledger.commit(self.batch().row(RowChange::PutHostPlan(Box::new(row)))).await?;
        Ok(())
    }
}
