//! Carries out what the master orders, and nothing else: signed, for this agent, in time, once, allowed by the owner of the
//! host, and exactly what would be changed now.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};

use super::progress::Teller;
use super::{Errand, HandsFault, NotCarriedOut, OwnHands, TellProgress};
use crate::domain::host::Ability;
use crate::domain::order::{Order, OrderFault};
use crate::domain::text::spell_out;
use crate::domain::update::{Kind, Run};
use crate::state_dir::{OrderKeys, RunLock, StateError};

/// How long an order waits for another run to end.
const PATIENCE: Duration = Duration::from_secs(30 * 60);
/// How often is looked whether it ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most lines that a refusal names.
const MOST_LINES: usize = 20;

impl From<OrderFault> for NotCarriedOut {
    fn from(fault: OrderFault) -> Self {
        Self(format!("the order is refused: {fault}"))
    }
}

impl From<HandsFault> for NotCarriedOut {
    fn from(fault: HandsFault) -> Self {
        Self(fault.to_string())
    }
}

impl From<StateError> for NotCarriedOut {
    fn from(error: StateError) -> Self {
        Self(error.to_string())
    }
}

impl OwnHands {
    /// Returns the keys and numbers of orders.
    pub fn order_keys(&self) -> OrderKeys {
        OrderKeys::of(&self.parts.dir)
    }

    /// See [`super::Hands::carry_out`].
    pub(super) async fn carry_out_order(
        &self,
        errand: &Errand,
        tell: TellProgress,
    ) -> Result<Run, NotCarriedOut> {
        let order = self.opened(errand)?;
        let begun = self.runs.of_order(&order.id)?;
        let is_begun = begun.is_some();
        if let Some(run) = begun.filter(|run| run.outcome.is_some()) {
            return Ok(run);
        }
        let lock = self.when_free(is_begun).await?;
        let run = match self.runs.of_order(&order.id)? {
            Some(run) if run.outcome.is_some() => return Ok(run),
            Some(run) if run.plan.id() == order.plan() => match self.may_go_on(&run, &order, errand) {
                Ok(()) => run,
                Err(refusal) => return Ok(self.refuse_locked(run, refusal.0, &lock)?),
            },
            Some(run) => return Err(NotCarriedOut(format!("the run {} carries out another plan", run.id))),
            None => self.begun(&order, errand, &lock).await?,
        };
        let (teller, log) = (Teller::of(&run), self.runs.folder(&run.id)?.join("log.txt"));
        let hear = |progress| teller.heard(progress);
        let work = self.carry_out_locked(run, &hear, &lock);
        Ok(teller.along(work, log, tell).await?)
    }

    /// Reads what was signed, for this agent.
    fn opened(&self, errand: &Errand) -> Result<Order, NotCarriedOut> {
        let known = self.order_keys().read()?;
        let order = errand.order.open(&known.keys, self.parts.clock.now())?;
        let own = known.agent.unwrap_or_else(|| errand.agent.clone());
        if order.agent != errand.agent || order.agent != own {
            return Err(OrderFault::Foreign(order.agent).into());
        }
        Ok(order)
    }

    /// Waits until nothing else changes the host. What was begun waits as long as it takes.
    async fn when_free(&self, is_begun: bool) -> Result<RunLock, NotCarriedOut> {
        let due = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = self.runs.lock()? {
                return Ok(lock);
            }
            if !is_begun && Instant::now() >= due {
                return Err(HandsFault::Busy.into());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Judges the order of a run that was cut off once more, unless it has to be brought to its end because it changed something:
    /// meanwhile it may be too late, or the owner of the host may allow it no more.
    fn may_go_on(&self, run: &Run, order: &Order, errand: &Errand) -> Result<(), NotCarriedOut> {
        if self.may_have_changed(run) {
            return Ok(());
        }
        let allowed = self.in_time(order, errand).and_then(|()| self.allowed(order));
        allowed.map_err(|NotCarriedOut(reason)| {
            NotCarriedOut(format!(
                "it was cut off before it changed anything, and is not gone on with: {reason}"
            ))
        })
    }

    /// Fails if it is too late to begin.
    fn in_time(&self, order: &Order, errand: &Errand) -> Result<(), NotCarriedOut> {
        match errand.expired {
            Some(at) => Err(OrderFault::Expired(at).into()),
            None => Ok(order.check_time(self.now_of(errand))?),
        }
    }

    /// What time it is for who ordered it.
    fn now_of(&self, errand: &Errand) -> DateTime<Utc> {
        self.parts.clock.now() + errand.ahead.unwrap_or(TimeDelta::zero())
    }

    /// Fails unless this process may do it, and the owner of the host allows it now.
    fn allowed(&self, order: &Order) -> Result<(), NotCarriedOut> {
        let rights = &self.parts.rights;
        for change in order.changes.all() {
            let right = if change.kind == Kind::DockerImage { &rights.containers } else { &rights.packages };
            may(right)?;
        }
        let forbidden = self.forbidden(&order.changes, &order.ask)?;
        if forbidden.is_empty() {
            Ok(())
        } else {
            Err(refused("the policy of this host forbids it", &forbidden))
        }
    }

    /// Judges an order that was not begun, and makes its run. The number is on the disk before anything else is looked at:
    /// what was refused once is refused for good.
    async fn begun(&self, order: &Order, errand: &Errand, lock: &RunLock) -> Result<Run, NotCarriedOut> {
        let cut_off = self.runs.list()?.into_iter().find(|run| run.outcome.is_none());
        if let Some(run) = cut_off.as_ref().filter(|run| order.ask.undoes() != Some(&run.id)) {
            return Err(NotCarriedOut(format!(
                "the run {} was cut off on this host: finish it there, or take it back, before anything else is changed",
                run.id
            )));
        }
        let keys = self.order_keys();
        let known = keys.read()?;
        if let Some(reason) = known.refusal_of(order) {
            return Err(NotCarriedOut(reason.to_owned()));
        }
        self.in_time(order, errand)?;
        order.check(&errand.agent, self.now_of(errand), known.last_before(order))?;
        keys.take(order)?;
        match self.judged(order).await {
            Ok(run) => {
                if let Some(run) = cut_off {
                    self.give_up_locked(&run, lock)?;
                }
                Ok(run)
            }
            Err(refusal) => {
                keys.refuse(order, &refusal.0)?;
                Err(refusal)
            }
        }
    }

    async fn judged(&self, order: &Order) -> Result<Run, NotCarriedOut> {
        if order.changes.is_empty() {
            return Err(NotCarriedOut("the order is refused: it changes nothing".into()));
        }
        order.ask.check().map_err(|fault| NotCarriedOut(format!("the order is refused: {fault}")))?;
        self.allowed(order)?;
        let plan = self
            .work_out(&order.ask)
            .await
            .map_err(|fault| NotCarriedOut(format!("it could not be planned again: {fault}")))?;
        let differences = order.changes.compare(&plan.changes);
        if !differences.is_empty() {
            return Err(refused("the plan no longer holds", &differences));
        }
        let run = self.new_run(plan, order.by.clone(), &order.ask).await?;
        Ok(Run { order: Some(order.id.clone()), ..run })
    }
}

fn may(right: &Ability) -> Result<(), NotCarriedOut> {
    if right.yes {
        return Ok(());
    }
    let problem = right.problem.clone().map(|problem| HandsFault::Problem(problem).to_string());
    Err(NotCarriedOut(problem.unwrap_or_else(|| "this agent may not change that".into())))
}

fn refused(why: &str, lines: &[impl ToString]) -> NotCarriedOut {
    let named: Vec<String> = lines.iter().take(MOST_LINES).map(|line| spell_out(&line.to_string())).collect();
    let more = lines.len().saturating_sub(MOST_LINES);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    NotCarriedOut(format!("{why}: {}{more}; nothing was changed", named.join("; ")))
}

#[cfg(test)]
mod tests;
