//! When a tunnel has its turn: the first change at once, further ones together, failures later and later.
//!
//! Pure: time is an argument, and so is the random share of a delay.

use std::time::Duration;

use tokio::time::Instant;

/// Changes that come within this time after a pass began go into one pass.
const COALESCE: Duration = Duration::from_millis(200);
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// What time alone does not heal is looked at again all the same: a person may have healed it at Cloudflare.
pub(super) const REFUSED_RETRY: Duration = Duration::from_secs(300);

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
    pub const CHECK: Self = Self { background: true, ..Self::AGAIN };
    /// A write that changes nothing but the version, for a connector that missed the last one.
    pub const WRITE_AGAIN: Self = Self { write_again: true, ..Self::CHECK };

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
            // A check that did not come to its end is in its queue again.
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
            Ending::Refused => {
                self.retry(now + REFUSED_RETRY, Order::CHECK, true);
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

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn begun(turn: &mut Turn, now: Instant) {
        assert_eq!(turn.next(now), Next::Begin(Order::CHANGE));
        turn.begin(now);
    }

    #[test]
    fn the_first_change_goes_at_once_and_the_next_ones_together() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.wake(Order::CHANGE);
        begun(&mut turn, now);
        turn.end(now + 20 * MILLI, Order::CHANGE, Ending::Done, 0.5);

        turn.wake(Order::CHANGE);
        turn.wake(Order::CHANGE);

        assert_eq!(turn.next(now + 30 * MILLI), Next::At(now + COALESCE));
        begun(&mut turn, now + COALESCE);
        assert_eq!(turn.next(now + COALESCE), Next::Rest);
    }

    #[test]
    fn a_change_during_a_pass_gets_a_pass_of_its_own() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.wake(Order::CHANGE);
        begun(&mut turn, now);
        turn.wake(Order::CHANGE);
        assert_eq!(turn.next(now + 500 * MILLI), Next::Rest);
        turn.end(now + 500 * MILLI, Order::CHANGE, Ending::Done, 0.5);
        assert_eq!(turn.next(now + 500 * MILLI), Next::Begin(Order::CHANGE));
    }

    #[test]
    fn failures_wait_longer_and_longer_and_a_success_forgets_them() {
        let (mut turn, mut now) = (Turn::default(), Instant::now());
        let mut waits = Vec::new();
        turn.wake(Order::CHANGE);
        for _ in 0..9 {
            turn.begin(now);
            turn.end(now, Order::CHANGE, Ending::Failed(None), 1.0);
            let Next::At(at) = turn.next(now) else { panic!("waits") };
            waits.push((at - now).as_millis());
            now = at;
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000]);
        turn.begin(now);
        turn.end(now, Order::AGAIN, Ending::Done, 1.0);
        assert!(!turn.is_failing() && !turn.is_busy());
    }

    #[test]
    fn what_cloudflare_asks_for_is_waited_for() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.begin(now);
        turn.end(now, Order::CHANGE, Ending::Failed(Some(Duration::from_secs(7))), 1.0);
        turn.wake(Order::CHANGE);
        assert_eq!(turn.next(now), Next::At(now + Duration::from_secs(7) + FIRST_RETRY));
    }

    #[test]
    fn a_refusal_is_looked_at_again_after_minutes_or_on_order() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.begin(now);
        turn.end(now, Order::CHANGE, Ending::Refused, 1.0);
        assert_eq!(turn.next(now + MILLI), Next::At(now + REFUSED_RETRY));
        turn.wake(Order::AGAIN);
        turn.forgive();
        assert_eq!(turn.next(now + COALESCE), Next::Begin(Order::AGAIN));
    }

    #[test]
    fn an_order_during_a_pass_that_fails_is_carried_out_without_a_wait() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.begin(now);
        turn.forgive();
        turn.wake(Order::AGAIN);
        turn.end(now + COALESCE, Order::CHANGE, Ending::Failed(None), 1.0);
        assert!(!turn.is_backing_off(now + COALESCE));
        assert_eq!(turn.next(now + COALESCE), Next::Begin(Order::AGAIN));
    }

    #[test]
    fn a_change_after_a_refusal_goes_at_once() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.begin(now);
        turn.end(now, Order::CHANGE, Ending::Refused, 1.0);
        turn.wake(Order::CHANGE);
        assert_eq!(turn.next(now + COALESCE), Next::Begin(Order::CHANGE));
    }

    #[test]
    fn a_check_in_the_background_makes_way_and_leaves_its_return_to_its_queue() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.wake(Order::CHECK);
        turn.begin(now);
        assert!(turn.wake(Order::CHANGE));
        turn.end(now + 300 * MILLI, Order::CHECK, Ending::Interrupted, 0.0);
        assert_eq!(turn.next(now + 300 * MILLI), Next::Begin(Order::CHANGE));
    }

    #[test]
    fn what_waits_for_its_turn_goes_on_then_and_is_no_failure() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.begin(now);
        turn.end(now + COALESCE, Order::CHANGE, Ending::PutOff(MILLI), 1.0);
        assert!(!turn.is_failing());
        assert_eq!(turn.next(now + COALESCE + MILLI), Next::Begin(Order::AGAIN));
    }

    #[test]
    fn a_check_that_failed_leaves_its_return_to_its_queue() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        turn.begin(now);
        turn.end(now, Order::CHECK, Ending::Failed(None), 0.0);
        assert!(!turn.is_busy() && !turn.is_failing());
    }
}
