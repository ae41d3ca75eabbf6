//! When each tunnel has its turn: its passes, its comparisons with Cloudflare, and the looks at who serves it.
//!
//! Pure: time is an argument, and so is the random share of a delay.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::id::TunnelId;
use crate::domain::line::Line;

/// Changes that come within this time after a pass began go into one pass.
const COALESCE: Duration = Duration::from_millis(200);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// What time alone does not heal is looked at again all the same: a person may have healed it at Cloudflare.
pub(super) const REFUSED_RETRY: Duration = Duration::from_secs(300);
/// Pause after a comparison that failed; doubles with each further one in a row.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Time between two comparisons of one tunnel that does not connect: it may fail to for days, for other reasons.
const COMPARED_EVERY: Duration = Duration::from_secs(180);
/// Pause after a look that failed, or that left nothing to hurry for.
pub(super) const LOOKED_AT_AGAIN: Duration = Duration::from_secs(60);
/// A connector that is not there yet is looked for again after this time, and then later and later.
pub(super) const STARTS_WITHIN: Duration = Duration::from_secs(5);
/// How often one that is not there is looked for again before the next comparison.
const TRIES: u32 = 3;

/// What a pass is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Look at Cloudflare although nothing is due as far as we know.
    pub look_again: bool,
    /// Nobody waits for it.
    pub background: bool,
    /// Write the configuration although it is right: a connector missed it.
    pub write_again: bool,
}

impl Order {
    /// A change that somebody waits for.
    pub const CHANGE: Self = Self { look_again: false, background: false, write_again: false };
    /// A change, and whatever was blocked is tried again.
    pub const AGAIN: Self = Self { look_again: true, ..Self::CHANGE };
    /// A comparison with Cloudflare that can wait.
    pub const COMPARISON: Self = Self { background: true, ..Self::AGAIN };
    /// A write that changes nothing but the version, for a connector that missed the last one.
    pub const WRITE_AGAIN: Self = Self { write_again: true, ..Self::COMPARISON };

    fn and(self, other: Self) -> Self {
        Self {
            look_again: self.look_again || other.look_again,
            background: self.background && other.background,
            write_again: self.write_again || other.write_again,
        }
    }
}

/// How a pass ended, as far as the next one is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing is left to do.
    Done,
    /// Time may heal it; Cloudflare may have named how long.
    Failed(Option<Duration>),
    /// Only a person can heal it.
    Refused,
    /// Calls are left that have to wait so long for their turn.
    PutOff(Duration),
    /// It made way for a change.
    Interrupted,
}

/// Where one tunnel stands.
#[derive(Debug, Default)]
pub(super) struct Turn {
    is_running: bool,
    order: Option<Order>,
    began_at: Option<Instant>,
    not_before: Option<Instant>,
    failures: u32,
    is_refused: bool,
    /// A person ordered another pass while this one runs.
    is_ordered: bool,
}

/// What to do with a tunnel now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, or it is being done.
    Rest,
    /// Begin a pass.
    Begin(Order),
    /// Ask again then.
    At(Instant),
}

impl Turn {
    /// Something is to be done. Returns true if a pass that can wait should make way for it.
    pub fn wake(&mut self, order: Order) -> bool {
        if self.is_refused && !order.background {
            // What Cloudflare refused may be only a part; a change of another part goes at once.
            self.not_before = None;
            self.order = None;
        }
        self.order = Some(self.order.map_or(order, |waiting| waiting.and(order)));
        self.is_running && !order.background
    }

    /// A person ordered it: the wait after a failure is over, unless Cloudflare asked for it.
    pub fn forgive(&mut self) {
        self.is_ordered = self.is_running;
        if self.failures > 0 {
            self.not_before = None;
        }
    }

    /// Says what to do now.
    pub fn next(&self, now: Instant) -> Next {
        let Some(order) = self.order.filter(|_| !self.is_running) else { return Next::Rest };
        let together = self.began_at.map(|at| at + COALESCE);
        match together.max(self.not_before).filter(|at| *at > now) {
            Some(at) => Next::At(at),
            None => Next::Begin(order),
        }
    }

    /// A pass begins.
    pub fn begin(&mut self, now: Instant) {
        self.is_running = true;
        self.order = None;
        self.began_at = Some(now);
        self.not_before = None;
        self.is_ordered = false;
    }

    /// The pass `order` ended. `share` is a random number from 0 to 1.
    pub fn end(&mut self, now: Instant, order: Order, ending: Ending, share: f64) {
        self.is_running = false;
        self.is_refused = false;
        match ending {
            Ending::Done => self.failures = 0,
            // A comparison that did not come to its end is in its line again.
            Ending::Interrupted | Ending::Failed(_) | Ending::PutOff(_) if order.background => {
                self.failures = 0
            }
            Ending::Interrupted => {}
            Ending::PutOff(after) => {
                self.not_before = Some(now + after);
                self.wake(Order { look_again: true, ..order });
            }
            Ending::Failed(after) => {
                let doubled = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures));
                let delay = doubled.min(LAST_RETRY).mul_f64(0.5 + share / 2.0);
                // Jitter on top of what Cloudflare asked for: everybody was told the same.
                let delay = after.map_or(delay, |after| after + FIRST_RETRY.mul_f64(share));
                self.retry(now + delay, Order { look_again: true, ..order }, after.is_none());
            }
            // Only a part was refused: what changed meanwhile goes at once, and what is to be tried again comes after it.
            Ending::Refused if self.order.is_some_and(|waiting| !waiting.background) => {
                self.failures = self.failures.saturating_add(1);
                self.is_refused = true;
            }
            Ending::Refused => {
                self.retry(now + REFUSED_RETRY, Order::COMPARISON, true);
                self.is_refused = true;
            }
        }
        if std::mem::take(&mut self.is_ordered) {
            self.not_before = None;
        }
    }

    /// True if the next pass waits because the last one failed.
    pub fn is_backing_off(&self, now: Instant) -> bool {
        self.not_before.is_some_and(|at| at > now)
    }

    /// True if a person ordered another pass while this one runs: what it refused is to be tried again.
    pub fn is_ordered(&self) -> bool {
        self.is_ordered
    }

    /// True if a pass is under way or due.
    pub fn is_busy(&self) -> bool {
        self.is_running || self.order.is_some()
    }

    /// True if the last pass failed.
    pub fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// True if the last pass met a refusal that time does not heal.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    fn retry(&mut self, at: Instant, order: Order, counts: bool) {
        self.failures = self.failures.saturating_add(u32::from(counts)).max(1);
        self.not_before = Some(at);
        self.wake(order);
    }
}

/// Tunnels that are to be compared with Cloudflare although nothing changed here.
///
/// After a start first by the database, where a change may have been left undone. Then, and again at every interval, one
/// after the other in the background, where somebody may have changed or deleted something. A tunnel that does not
/// connect is compared before the others: it may be gone.
#[derive(Debug, Default)]
pub(super) struct Comparisons {
    /// False until the database has said which tunnels there are.
    is_loaded: bool,
    left: Line<TunnelId>,
    running: Option<TunnelId>,
    /// Comparisons that failed in a row.
    failures: u32,
    /// True while the pause after a failure lasts.
    pub is_pausing: bool,
}

impl Comparisons {
    /// How many are left, the one under way included; one while that is not known.
    pub fn left(&self) -> usize {
        self.left.len() + usize::from(self.running.is_some() || !self.is_loaded)
    }

    /// These are to be compared, once each.
    pub fn add(&mut self, tunnels: impl IntoIterator<Item = TunnelId>) {
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

    /// A pass over a tunnel ended; a comparison that did not come to its end is made again after the others. Returns how
    /// long the next one waits.
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
    pub fn next(&mut self, is_at_rest: impl Fn(&TunnelId) -> bool) -> Option<TunnelId> {
        if self.running.is_some() || self.is_pausing {
            return None;
        }
        self.running = self.left.take_first_who(is_at_rest);
        self.running.clone()
    }
}

/// Returns when a tunnel that does not connect is compared, if the last such comparison was or will be at `last`; none if
/// that one is yet to come.
pub(super) fn next_comparison(last: Option<Instant>, now: Instant) -> Option<Instant> {
    match last {
        Some(last) if last > now => None,
        Some(last) => Some(now.max(last + COMPARED_EVERY)),
        None => Some(now),
    }
}

/// Tunnels whose connectors are to be looked at, and when: one after the other, where an agent cannot say who serves.
#[derive(Debug, Default)]
pub(super) struct ConnectorLooks {
    due: BTreeSet<(Instant, TunnelId)>,
    at: HashMap<TunnelId, Instant>,
    /// Looks in a row that found nobody.
    misses: HashMap<TunnelId, u32>,
    /// True while one is under way.
    pub is_running: bool,
    /// When the timer rings that is set for them.
    pub rings_at: Option<Instant>,
}

/// What to do about the looks that are due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextLook {
    Rest,
    Look(TunnelId),
    At(Instant),
}

impl ConnectorLooks {
    /// One look at a tunnel, the earlier of two that are asked for.
    pub fn add(&mut self, tunnel: TunnelId, at: Instant) {
        match self.at.get(&tunnel) {
            Some(due) if *due <= at => return,
            Some(due) => drop(self.due.remove(&(*due, tunnel.clone()))),
            None => {}
        }
        self.at.insert(tunnel.clone(), at);
        self.due.insert((at, tunnel));
    }

    /// Says what to do now; the one to be looked at leaves the line.
    pub fn next(&mut self, now: Instant) -> NextLook {
        match self.due.first() {
            _ if self.is_running => NextLook::Rest,
            None => NextLook::Rest,
            Some((at, _)) if *at > now => NextLook::At(*at),
            Some(_) => {
                let Some((_, tunnel)) = self.due.pop_first() else { return NextLook::Rest };
                self.at.remove(&tunnel);
                self.is_running = true;
                NextLook::Look(tunnel)
            }
        }
    }

    /// How many are under way, or could be.
    pub fn left(&self, now: Instant) -> usize {
        self.due.iter().take_while(|(at, _)| *at <= now).count() + usize::from(self.is_running)
    }

    /// Somebody may be there by now: it is looked for as often as at first.
    pub fn forget_misses(&mut self, tunnel: &TunnelId) {
        self.misses.remove(tunnel);
    }

    /// Returns how long to wait before somebody who was not there is looked for again.
    pub fn missed(&mut self, tunnel: &TunnelId) -> Option<Duration> {
        let misses = self.misses.entry(tunnel.clone()).or_default();
        *misses += 1;
        (*misses <= TRIES).then(|| STARTS_WITHIN.saturating_mul(2_u32.saturating_pow(*misses - 1)))
    }
}
