//! The only caller of Cloudflare for an account.
//!
//! A message only wakes [`CloudflareAccount`]; what is wanted is read from the database, compared with what is
//! known to be there, and only a difference leads to calls. Each tunnel has one pass at a time (`pass`), many
//! tunnels go side by side; when a tunnel has its turn is decided in `turn`. Passes are spawned, so the mailbox
//! stays free; 429, 5xx and time-outs are states with their own retry. Everybody else holds an [`Account`](super::Account).

mod apply;
mod asked;
mod books;
mod checks;
mod conclude;
mod connectors;
mod desk;
mod handle;
mod lead;
mod names;
mod orders;
mod pass;
mod plan;
mod provide;
mod records;
mod round;
mod say;
mod snapshot;
mod status;
mod stop;
mod turn;
mod waiters;
mod wishes;
mod zones;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::time::Instant;

use self::checks::Checks;
use self::conclude::Outcome;
use self::connectors::Looks;
use self::desk::Desk;
use self::pass::{Job, Pass, RefusedNames, RefusedRules};
use self::snapshot::Snapshot;
use self::stop::Stop;
use self::turn::{Ending, Next, Order, Turn};
use self::waiters::Waiters;
use crate::actors::supervision::{Ctx, supervised};
use crate::domain::id::TunnelId;
use crate::domain::line::Line;

pub use self::apply::{Apply, ConfirmTunnel, Consent, consents};
pub use self::books::{Books, installation};
pub use self::desk::{AccountParts, AccountStore, StoreFailed};
pub use self::handle::{Connected, PlanOnly, describe};
pub use self::orders::{GetConnectors, GetPlan, ProvideTunnel, PutRules, Wake, WakeAgent, WakeAll};
pub use self::plan::plan as plan_from_database;
pub use self::wishes::{KnownZones, PublishSettings};

/// Messages that may wait in the actor.
pub const CAPACITY: usize = 1_024;
/// Tunnels that are worked on at the same time.
const SIDE_BY_SIDE: usize = 16;

/// Publishes the routes of every tunnel of one account.
pub struct CloudflareAccount {
    desk: Arc<Desk>,
    tunnels: HashMap<TunnelId, Entry>,
    /// Tunnels whose turn it is while too many others are worked on.
    ready: Line<TunnelId>,
    running: usize,
    checks: Checks,
    looks: Looks,
    waiters: Waiters,
    missed: Missed,
}

/// Notes that a wake-up found no room: then all tunnels are looked at.
#[derive(Debug, Clone, Default)]
struct Missed(Arc<AtomicBool>);

impl Missed {
    fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Entry {
    turn: Turn,
    urgent: Arc<AtomicBool>,
    digest: Option<u64>,
    /// Rules that Cloudflare did not take, and is not asked to all the time.
    refused: RefusedRules,
    refused_names: RefusedNames,
    /// When the timer rings that is set for it.
    rings_at: Option<Instant>,
    /// When it is or was compared last because it does not connect.
    asked_at: Option<Instant>,
    error: Option<String>,
}

/// How the account is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AccountStatus {
    /// Tunnels known to it.
    pub tunnels: usize,
    /// Tunnels that are worked on now.
    pub running: usize,
    /// Tunnels with something left to do.
    pub busy: usize,
    /// Tunnels whose last pass failed.
    pub failing: usize,
    /// Tunnels still to be compared with Cloudflare.
    pub unchecked: usize,
    /// Calls that could be made now.
    pub calls_left: u32,
    /// The last failure that still holds, in Cloudflare's words.
    pub error: Option<String>,
}

/// Asks how the account is doing.
#[derive(Debug, Message)]
#[rtype(result = "AccountStatus")]
pub struct GetStatus;

impl CloudflareAccount {
    /// Makes the actor; it begins by reading which tunnels there are.
    fn new(parts: AccountParts, missed: Missed) -> Self {
        Self {
            desk: Arc::new(Desk::new(parts)),
            tunnels: HashMap::new(),
            ready: Line::default(),
            running: 0,
            checks: Checks::default(),
            looks: Looks::default(),
            waiters: Waiters::default(),
            missed,
        }
    }

    /// Makes good for wake-ups that found no room.
    fn catch_up(&mut self, ctx: &mut Ctx<Self>) {
        if self.missed.take() {
            ctx.notify(WakeAll);
        }
    }

    /// Something may be due in a tunnel.
    fn wake(&mut self, tunnel: &TunnelId, order: Order, ctx: &mut Ctx<Self>) {
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        if entry.turn.wake(order) {
            entry.urgent.store(true, Ordering::Relaxed);
        }
        self.advance(tunnel, ctx);
    }

    /// Does for a tunnel what it is time for.
    fn advance(&mut self, tunnel: &TunnelId, ctx: &mut Ctx<Self>) {
        let Some(entry) = self.tunnels.get_mut(tunnel) else { return };
        let now = Instant::now();
        match entry.turn.next(now) {
            Next::Rest => {}
            Next::At(at) if entry.rings_at.is_some_and(|rings| rings > now && rings <= at) => {}
            Next::At(at) => {
                entry.rings_at = Some(at);
                let tunnel = tunnel.clone();
                ctx.run_later(at - now, move |actor, ctx| actor.advance(&tunnel, ctx));
            }
            Next::Begin(_) if self.running >= SIDE_BY_SIDE => self.ready.join(tunnel.clone()),
            Next::Begin(order) => self.begin(tunnel.clone(), order, ctx),
        }
    }

    fn begin(&mut self, tunnel: TunnelId, order: Order, ctx: &mut Ctx<Self>) {
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        let was_refused = entry.turn.is_refused();
        entry.turn.begin(Instant::now());
        entry.urgent = Arc::default();
        self.running += 1;
        let job = Job {
            tunnel,
            order,
            urgent: Arc::clone(&entry.urgent),
            last_digest: entry.digest,
            was_refused,
            refused: entry.refused.clone(),
            refused_names: entry.refused_names.clone(),
        };
        let desk = Arc::clone(&self.desk);
        let pass = async move {
            let outcome = make_pass_unless_broken(&desk, &job).await;
            (job, outcome)
        };
        ctx.spawn(pass.into_actor(self).map(|(job, outcome), actor, ctx| actor.end(&job, outcome, ctx)));
    }

    fn end(&mut self, job: &Job, mut outcome: Outcome, ctx: &mut Ctx<Self>) {
        self.running -= 1;
        let entry = self.tunnels.entry(job.tunnel.clone()).or_default();
        entry.digest = outcome.digest.or(entry.digest);
        // A person's order counts for what is refused while it is given, too.
        let is_kept = !entry.turn.is_ordered();
        if let Some(refused) = outcome.refused.take().filter(|_| is_kept) {
            entry.refused = refused;
        }
        if let Some(names) = outcome.refused_names.take().filter(|_| is_kept) {
            entry.refused_names = names;
        }
        let is_put_off = matches!(outcome.ending, Ending::PutOff(_));
        let has_failed = outcome.error.is_some() && !outcome.is_no_news && !is_put_off;
        let order = outcome.order(job.order);
        entry.turn.end(Instant::now(), order, outcome.ending, ctx.chance().fraction());
        if has_failed {
            let error = outcome.error.as_ref().map(|failure| failure.words.as_str());
            tracing::warn!(tunnel.id = %job.tunnel, error, "a tunnel could not be brought up to date");
        } else if outcome.has_looked {
            tracing::debug!(tunnel.id = %job.tunnel, version = outcome.version, "a tunnel is up to date");
        }
        if !outcome.is_no_news && !is_put_off {
            entry.error = outcome.error.as_ref().map(|failure| failure.words.clone());
        }
        if !is_put_off && (!entry.turn.is_busy() || entry.turn.is_backing_off(Instant::now())) {
            self.waiters.ended(&job.tunnel, outcome.version, outcome.error.clone());
        }
        self.check_ended(&job.tunnel, order, outcome.ending, ctx);
        self.look_after_pass(job, &outcome, ctx);
        for tunnel in &outcome.took_from {
            self.wake(tunnel, Order::CHANGE, ctx);
        }
        self.advance(&job.tunnel, ctx);
        while self.running < SIDE_BY_SIDE
            && let Some(next) = self.ready.take_first()
        {
            self.advance(&next, ctx);
        }
        self.check_next(ctx);
        self.catch_up(ctx);
    }
}

/// A fault in the work for one tunnel ends that pass and nothing else: other tunnels are published on.
async fn make_pass_unless_broken(desk: &Desk, job: &Job) -> Outcome {
    let pass = AssertUnwindSafe(make_pass(desk, job)).catch_unwind();
    if let Ok(outcome) = pass.await {
        return outcome;
    }
    // Locks are free again, and what was under way is in the rows: the next pass begins with those.
    tracing::error!(tunnel.id = %job.tunnel, "the work for a tunnel ended in a panic; it is tried again");
    metrics::counter!("lightship_publish_panics_total").increment(1);
    let conclude = AssertUnwindSafe(conclude_broken(desk, job)).catch_unwind();
    conclude.await.unwrap_or_else(|_| Outcome::broken())
}

/// Says of the tunnel that a fault of ours ended the pass.
async fn conclude_broken(desk: &Desk, job: &Job) -> Outcome {
    match Snapshot::read(&desk.db, &job.tunnel).await {
        Ok(Some(snap)) => Pass::new(desk, job, snap).conclude(Err(Stop::Internal)).await,
        Ok(None) | Err(_) => Outcome::broken(),
    }
}

async fn make_pass(desk: &Desk, job: &Job) -> Outcome {
    match Snapshot::read(&desk.db, &job.tunnel).await {
        Ok(Some(snap)) => {
            let mut pass = Pass::new(desk, job, snap);
            let result = pass.work().await;
            pass.conclude(result).await
        }
        Ok(None) => Outcome::nothing(),
        Err(error) => Outcome::unread(error),
    }
}

supervised!(CloudflareAccount);

impl Actor for CloudflareAccount {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin_checks(ctx);
    }
}

impl Handler<GetStatus> for CloudflareAccount {
    type Result = MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Ctx<Self>) -> Self::Result {
        let count = |is: fn(&Turn) -> bool| self.tunnels.values().filter(|entry| is(&entry.turn)).count();
        MessageResult(AccountStatus {
            tunnels: self.tunnels.len(),
            running: self.running,
            busy: count(Turn::is_busy),
            failing: count(Turn::is_failing),
            unchecked: self.checks.left() + self.looks.left(Instant::now()),
            calls_left: self.desk.cloudflare.calls_left(),
            error: self.tunnels.values().find_map(|entry| entry.error.clone()),
        })
    }
}
