//! When tunnels are compared with Cloudflare although nothing changed here.
//!
//! After a start first by the database, where a change may have been left undone. Then, and again at every
//! interval, one after the other in the background, where somebody may have changed or deleted something. A tunnel
//! that does not connect is compared before the others: it may be gone.

use std::time::Duration;

use actix::prelude::*;

use super::CloudflareAccount;
use super::turn::{Ending, Order};
use crate::actors::supervision::Ctx;
use crate::db::tunnels::TunnelRow;
use crate::db::{Db, DbError, tunnels};
use crate::domain::id::{AccountId, TunnelId};
use crate::domain::line::Line;

/// Tunnels read at a time.
const PAGE: u64 = 1_000;
/// Pause after a check that failed; doubles with each further one in a row.
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Share by which an interval varies, so that several masters do not ask at the same time.
const JITTER: f64 = 0.1;

/// Tunnels that are to be compared.
#[derive(Debug, Default)]
pub(super) struct Checks {
    /// False until the database has said which tunnels there are.
    is_loaded: bool,
    left: Line<TunnelId>,
    running: Option<TunnelId>,
    /// Checks that failed in a row.
    failures: u32,
    is_pausing: bool,
}

impl Checks {
    /// How many are left, the one under way included; one while that is not known.
    pub fn left(&self) -> usize {
        self.left.len() + usize::from(self.running.is_some() || !self.is_loaded)
    }

    /// These are to be compared, once each.
    fn add(&mut self, tunnels: impl IntoIterator<Item = TunnelId>) {
        self.is_loaded = true;
        for tunnel in tunnels {
            if self.running.as_ref() != Some(&tunnel) {
                self.left.join(tunnel);
            }
        }
    }

    /// This one is compared next.
    pub fn add_first(&mut self, tunnel: TunnelId) {
        match self.running.as_ref() == Some(&tunnel) {
            true => drop(self.left.leave(&tunnel)),
            false => self.left.jump(tunnel),
        }
    }

    /// A pass over a tunnel ended; a check that did not come to its end is made again after the others.
    /// Returns how long the next one waits.
    pub fn ended(&mut self, tunnel: &TunnelId, order: Order, ending: Ending) -> Option<Duration> {
        let was_running = self.running.take_if(|running| running == tunnel).is_some();
        match ending {
            Ending::Done | Ending::Refused if order.background => {
                self.failures = 0;
                self.left.leave(tunnel);
                None
            }
            Ending::Failed(_) | Ending::PutOff(_) if order.background => {
                let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
                self.failures += 1;
                self.add([tunnel.clone()]);
                Some(pause)
            }
            // A change came first, or took its place.
            _ => {
                self.add(was_running.then(|| tunnel.clone()));
                None
            }
        }
    }

    /// Takes the next one. What is at work or failing has calls of its own, and comes later.
    fn next(&mut self, is_at_rest: impl Fn(&TunnelId) -> bool) -> Option<TunnelId> {
        if self.running.is_some() || self.is_pausing {
            return None;
        }
        self.running = self.left.take_first_who(is_at_rest);
        self.running.clone()
    }
}

impl CloudflareAccount {
    /// Reads which tunnels there are, again and again until the database answers.
    pub(super) fn begin_checks(&mut self, ctx: &mut Ctx<Self>) {
        self.read_tunnels(ctx, |tunnels, actor, ctx| match tunnels {
            Some(tunnels) => {
                for tunnel in &tunnels {
                    actor.wake(tunnel, Order::CHANGE, ctx);
                }
                actor.checks.add(tunnels);
                actor.check_next(ctx);
                actor.wait_for_next_round(ctx);
            }
            None => drop(ctx.run_later(PAUSE, Self::begin_checks)),
        });
    }

    fn wait_for_next_round(&mut self, ctx: &mut Ctx<Self>) {
        let every = self.desk.compare_every;
        if !every.is_zero() {
            let pause = ctx.chance().jitter(every, JITTER);
            ctx.run_later(pause, Self::begin_round);
        }
    }

    /// Compares all tunnels once more. Those that are left of the round before keep their place: with many
    /// tunnels the budget sets the pace.
    fn begin_round(&mut self, ctx: &mut Ctx<Self>) {
        self.wait_for_next_round(ctx);
        self.read_tunnels(ctx, |tunnels, actor, ctx| {
            actor.checks.add(tunnels.unwrap_or_default());
            actor.check_next(ctx);
        });
    }

    fn read_tunnels(
        &self,
        ctx: &mut Ctx<Self>,
        then: impl FnOnce(Option<Vec<TunnelId>>, &mut Self, &mut Ctx<Self>) + 'static,
    ) {
        let desk = std::sync::Arc::clone(&self.desk);
        let read = async move { list_tunnels(&desk.db, desk.cloudflare.account()).await };
        ctx.spawn(read.into_actor(self).map(|tunnels, actor, ctx| {
            let tunnels =
                tunnels.inspect_err(|error| tracing::warn!(%error, "the tunnels could not be read"));
            then(tunnels.ok(), actor, ctx);
        }));
    }

    /// A pass ended: takes note if it was a check.
    pub(super) fn check_ended(
        &mut self,
        tunnel: &TunnelId,
        order: Order,
        ending: Ending,
        ctx: &mut Ctx<Self>,
    ) {
        if let Some(pause) = self.checks.ended(tunnel, order, ending) {
            self.checks.is_pausing = true;
            ctx.run_later(pause, |actor, ctx| {
                actor.checks.is_pausing = false;
                actor.check_next(ctx);
            });
        }
    }

    /// Begins the next check, unless one is under way.
    pub(super) fn check_next(&mut self, ctx: &mut Ctx<Self>) {
        let tunnels = &self.tunnels;
        let is_at_rest = |id: &TunnelId| tunnels.get(id).is_none_or(|entry| !entry.turn.is_busy());
        if let Some(tunnel) = self.checks.next(is_at_rest) {
            self.wake(&tunnel, Order::CHECK, ctx);
        }
    }
}

/// Returns the tunnels of the account, those without an agent too: something of ours may be left in them.
pub(super) async fn list_tunnels(db: &Db, account: &AccountId) -> Result<Vec<TunnelId>, DbError> {
    Ok(read_tunnels(db, account).await?.into_iter().map(|row| row.id).collect())
}

/// The same with their rows.
pub(super) async fn read_tunnels(db: &Db, account: &AccountId) -> Result<Vec<TunnelRow>, DbError> {
    let mut rows = Vec::new();
    let mut after: Option<TunnelId> = None;
    loop {
        let page = tunnels::list_tunnels(db, after.as_ref(), PAGE).await?;
        after = page.last().filter(|_| page.len() as u64 == PAGE).map(|last| last.id.clone());
        rows.extend(page.into_iter().filter(|row| row.account_id == *account));
        if after.is_none() {
            return Ok(rows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: fn(&TunnelId) -> bool = |_| true;

    fn id(name: &str) -> TunnelId {
        TunnelId::new(name)
    }

    fn loaded(names: &[&str]) -> Checks {
        let mut checks = Checks::default();
        checks.add(names.iter().map(|name| id(name)));
        checks
    }

    #[test]
    fn one_after_the_other_is_compared_and_each_once_a_round() {
        let mut checks = loaded(&["a", "b"]);
        assert_eq!(checks.next(ANY), Some(id("a")));
        assert_eq!(checks.next(ANY), None, "one at a time");
        checks.add([id("a"), id("b")]);
        assert_eq!(checks.left(), 2, "the round before is not over");
        checks.ended(&id("a"), Order::CHECK, Ending::Done);
        assert_eq!(checks.next(ANY), Some(id("b")));
        checks.ended(&id("b"), Order::CHECK, Ending::Refused);
        assert_eq!((checks.next(ANY), checks.left()), (None, 0));
    }

    #[test]
    fn what_is_asked_for_is_compared_before_the_others_and_not_twice_at_the_same_time() {
        let mut checks = loaded(&["a", "b"]);
        checks.add_first(id("b"));
        assert_eq!((checks.next(ANY), checks.left()), (Some(id("b")), 2));
        checks.add_first(id("b"));
        assert_eq!(checks.left(), 2);
    }

    #[test]
    fn a_tunnel_that_is_at_work_holds_nobody_up() {
        let mut checks = loaded(&["busy", "b"]);
        let is_at_rest = |tunnel: &TunnelId| *tunnel != id("busy");
        assert_eq!(checks.next(is_at_rest), Some(id("b")));
        checks.ended(&id("b"), Order::CHECK, Ending::Done);
        assert_eq!((checks.next(is_at_rest), checks.left()), (None, 1));
        assert_eq!(checks.next(ANY), Some(id("busy")));
    }

    #[test]
    fn a_check_that_made_way_or_was_taken_along_by_a_change_is_made_again() {
        for (order, ending) in [
            (Order::CHECK, Ending::Interrupted),
            (Order::CHANGE, Ending::Done),
            (Order::AGAIN, Ending::Failed(None)),
        ] {
            let mut checks = loaded(&["a"]);
            checks.next(ANY);
            assert_eq!(checks.ended(&id("a"), order, ending), None);
            assert_eq!(checks.next(ANY), Some(id("a")), "{order:?}");
        }
    }

    #[test]
    fn failures_pause_longer_and_longer_and_a_success_forgets_them() {
        let mut checks = loaded(&["a"]);
        let fail = |checks: &mut Checks| {
            checks.next(ANY);
            checks.ended(&id("a"), Order::CHECK, Ending::Failed(None)).unwrap().as_secs()
        };
        assert_eq!([(); 6].map(|()| fail(&mut checks)), [5, 10, 20, 40, 60, 60]);
        checks.next(ANY);
        checks.ended(&id("a"), Order::CHECK, Ending::Done);
        checks.add([id("a")]);
        assert_eq!(fail(&mut checks), 5);
    }

    #[test]
    fn a_pass_that_was_no_check_changes_nothing() {
        let mut checks = loaded(&["a"]);
        assert_eq!(checks.ended(&id("b"), Order::CHANGE, Ending::Done), None);
        assert_eq!(checks.left(), 1);
    }
}
