//! The actor, and everything that it does by itself and when it is told that something changed: passes over tunnels,
//! comparisons, looks at who serves.
//!
//! Passes and looks are spawned, so that the mailbox stays free.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::outcome::Outcome;
use super::pass::{Job, make_pass};
use super::picture::Remembered;
use super::schedule::{
    Comparisons, ConnectorLooks, Ending, LOOKED_AT_AGAIN, Next, NextLook, Order, PAUSE, Turn, next_comparison,
};
use super::shared::{AccountParts, Shared};
use super::tunnels::{Looked, look, read_tunnels};
use super::waiters::Waiters;
use super::words::Stop;
use crate::actors::supervision::{Ctx, supervised};
use crate::cloudflare::CfError;
use crate::db::agents;
use crate::domain::connector::TAKES_IT_WITHIN;
use crate::domain::id::{AgentId, TunnelId};
use crate::domain::line::Line;

/// Messages that may wait in the actor.
pub const CAPACITY: usize = 1_024;
/// Tunnels that are worked on at the same time.
const SIDE_BY_SIDE: usize = 16;
/// Share by which an interval varies, so that several masters do not ask at the same time.
const JITTER: f64 = 0.1;
/// Pause before the database is asked again that could not be read.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// Publishes the routes of every tunnel of one account.
pub struct CloudflareAccount {
    pub(super) shared: Arc<Shared>,
    pub(super) tunnels: HashMap<TunnelId, Entry>,
    /// Tunnels whose turn it is while too many others are worked on.
    ready: Line<TunnelId>,
    pub(super) running: usize,
    pub(super) comparisons: Comparisons,
    pub(super) looks: ConnectorLooks,
    pub(super) waiters: Waiters,
    missed: Missed,
}

/// Notes that a wake-up found no room: then all tunnels are looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Missed(Arc<AtomicBool>);

impl Missed {
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// What the actor keeps of one tunnel.
#[derive(Default)]
pub(super) struct Entry {
    pub turn: Turn,
    urgent: Arc<AtomicBool>,
    /// What the last pass left to the next one.
    remembered: Remembered,
    /// When the timer rings that is set for it.
    rings_at: Option<Instant>,
    /// When it is or was compared last because it does not connect.
    compared_at: Option<Instant>,
    pub error: Option<String>,
}

/// The database could not be read.
struct Unread;

supervised!(CloudflareAccount);

impl Actor for CloudflareAccount {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.begin_comparisons(ctx);
    }
}

impl CloudflareAccount {
    /// Makes the actor; it begins by reading which tunnels there are.
    pub(super) fn new(parts: AccountParts, missed: Missed) -> Self {
        Self {
            shared: Arc::new(Shared::new(parts)),
            tunnels: HashMap::new(),
            ready: Line::default(),
            running: 0,
            comparisons: Comparisons::default(),
            looks: ConnectorLooks::default(),
            waiters: Waiters::default(),
            missed,
        }
    }

    /// Something may be due in a tunnel.
    pub(super) fn wake(&mut self, tunnel: &TunnelId, order: Order, ctx: &mut Ctx<Self>) {
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        if entry.turn.wake(order) {
            entry.urgent.store(true, Ordering::Relaxed);
        }
        self.advance(tunnel, ctx);
    }

    /// Something may be due in any tunnel.
    fn wake_all(&mut self, ctx: &mut Ctx<Self>) {
        self.read_tunnels(ctx, |tunnels, actor, ctx| match tunnels {
            Ok(tunnels) => tunnels.iter().for_each(|tunnel| actor.wake(tunnel, Order::CHANGE, ctx)),
            Err(Unread) => drop(ctx.run_later(READ_AGAIN, Self::wake_all)),
        });
    }

    /// Makes good for wake-ups that found no room.
    fn catch_up(&mut self, ctx: &mut Ctx<Self>) {
        if self.missed.take() {
            self.wake_all(ctx);
        }
    }

    /// A person ordered it: waits are over, and what was blocked is looked at again.
    pub(super) fn try_again(&mut self, tunnel: &TunnelId, ctx: &mut Ctx<Self>) {
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        entry.turn.forgive();
        entry.remembered.rules.clear();
        entry.remembered.names.clear();
        entry.remembered.needs.clear();
        self.wake(tunnel, Order::AGAIN, ctx);
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
            Next::Begin(order) => self.begin_pass(tunnel.clone(), order, ctx),
        }
    }

    fn begin_pass(&mut self, tunnel: TunnelId, order: Order, ctx: &mut Ctx<Self>) {
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        let was_refused = entry.turn.is_refused();
        entry.turn.begin(Instant::now());
        entry.urgent = Arc::default();
        self.running += 1;
        let (urgent, remembered) = (Arc::clone(&entry.urgent), entry.remembered.clone());
        let job = Job { tunnel, order, urgent, was_refused, remembered };
        let shared = Arc::clone(&self.shared);
        let pass = async move {
            let outcome = make_pass(&shared, &job).await;
            (job, outcome)
        };
        ctx.spawn(pass.into_actor(self).map(|(job, outcome), actor, ctx| actor.end_pass(&job, outcome, ctx)));
    }

    fn end_pass(&mut self, job: &Job, mut outcome: Outcome, ctx: &mut Ctx<Self>) {
        self.running -= 1;
        let entry = self.tunnels.entry(job.tunnel.clone()).or_default();
        entry.remember(&mut outcome);
        let is_put_off = matches!(outcome.ending, Ending::PutOff(_));
        let order = outcome.order(job.order);
        entry.turn.end(Instant::now(), order, outcome.ending, ctx.chance().fraction());
        if outcome.error.is_some() && !outcome.is_no_news && !is_put_off {
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
        self.end_comparison(&job.tunnel, order, outcome.ending, ctx);
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
        self.compare_next(ctx);
        self.catch_up(ctx);
    }

    /// Reads which tunnels there are, again and again until the database answers.
    fn begin_comparisons(&mut self, ctx: &mut Ctx<Self>) {
        self.read_tunnels(ctx, |tunnels, actor, ctx| match tunnels {
            Ok(tunnels) => {
                for tunnel in &tunnels {
                    actor.wake(tunnel, Order::CHANGE, ctx);
                }
                actor.comparisons.add(tunnels);
                actor.compare_next(ctx);
                actor.wait_for_next_round(ctx);
            }
            Err(Unread) => drop(ctx.run_later(PAUSE, Self::begin_comparisons)),
        });
    }

    fn wait_for_next_round(&mut self, ctx: &mut Ctx<Self>) {
        let every = self.shared.compare_every;
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
            actor.comparisons.add(tunnels.unwrap_or_default());
            actor.compare_next(ctx);
        });
    }

    /// A pass ended: takes note if it was a comparison.
    fn end_comparison(&mut self, tunnel: &TunnelId, order: Order, ending: Ending, ctx: &mut Ctx<Self>) {
        if let Some(pause) = self.comparisons.ended(tunnel, order, ending) {
            self.comparisons.is_pausing = true;
            ctx.run_later(pause, |actor, ctx| {
                actor.comparisons.is_pausing = false;
                actor.compare_next(ctx);
            });
        }
    }

    /// Begins the next comparison, unless one is under way.
    fn compare_next(&mut self, ctx: &mut Ctx<Self>) {
        let tunnels = &self.tunnels;
        let is_at_rest = |id: &TunnelId| tunnels.get(id).is_none_or(|entry| !entry.turn.is_busy());
        if let Some(tunnel) = self.comparisons.next(is_at_rest) {
            self.wake(&tunnel, Order::COMPARISON, ctx);
        }
    }

    /// A tunnel does not connect, so it may be gone: it is compared soon, and not too often.
    fn compare_soon(&mut self, tunnel: TunnelId, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        let entry = self.tunnels.entry(tunnel.clone()).or_default();
        let Some(at) = next_comparison(entry.compared_at, now) else { return };
        entry.compared_at = Some(at);
        ctx.run_later(at - now, |actor, ctx| {
            actor.comparisons.add_first(tunnel);
            actor.compare_next(ctx);
        });
    }

    /// A pass over a tunnel ended: who serves it is looked at, once a connector has had time for what was written.
    fn look_after_pass(&mut self, job: &Job, outcome: &Outcome, ctx: &mut Ctx<Self>) {
        let tunnel = job.tunnel.clone();
        match outcome {
            Outcome { is_to_go: true, .. } => self.look_after(tunnel, Duration::ZERO, ctx),
            Outcome { has_written: true, .. } => {
                self.look_after(tunnel, TAKES_IT_WITHIN.to_std().unwrap_or(LOOKED_AT_AGAIN), ctx);
            }
            _ if job.order.background => self.look_after(tunnel, Duration::ZERO, ctx),
            _ => {}
        }
    }

    /// Who serves a tunnel is looked at after a pause.
    fn look_after(&mut self, tunnel: TunnelId, pause: Duration, ctx: &mut Ctx<Self>) {
        self.looks.add(tunnel, Instant::now() + pause);
        self.look_next(ctx);
    }

    fn look_next(&mut self, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        match self.looks.next(now) {
            NextLook::Rest => {}
            NextLook::At(at) if self.looks.rings_at.is_some_and(|rings| rings > now && rings <= at) => {}
            NextLook::At(at) => {
                self.looks.rings_at = Some(at);
                ctx.run_later(at - now, |actor, ctx| actor.look_next(ctx));
            }
            NextLook::Look(tunnel) => {
                let shared = Arc::clone(&self.shared);
                let work = async move { (look(&shared, &tunnel).await, tunnel) };
                ctx.spawn(work.into_actor(self).map(|(looked, tunnel), actor, ctx| {
                    actor.looks.is_running = false;
                    actor.end_look(tunnel, looked, ctx);
                    actor.look_next(ctx);
                }));
            }
        }
    }

    fn end_look(&mut self, tunnel: TunnelId, looked: Result<Looked, Stop>, ctx: &mut Ctx<Self>) {
        let mut looked = looked.unwrap_or_else(|stop| {
            tracing::info!(%stop, tunnel.id = %tunnel, "who serves a tunnel could not be looked at");
            let again = match &stop {
                Stop::Cloudflare(CfError::NotYet { retry_after, .. }) => *retry_after,
                _ => LOOKED_AT_AGAIN,
            };
            Looked { again: Some(again), ..Looked::default() }
        });
        match looked.is_missing {
            true => looked.again = self.looks.missed(&tunnel),
            false => self.looks.forget_misses(&tunnel),
        }
        if looked.write_again {
            tracing::info!(tunnel.id = %tunnel, "its connector does not take its configuration, which is written again");
            self.wake(&tunnel, Order::WRITE_AGAIN, ctx);
        }
        if let Some(again) = looked.again {
            self.looks.add(tunnel, Instant::now() + again);
        }
    }

    fn read_tunnels(
        &self,
        ctx: &mut Ctx<Self>,
        then: impl FnOnce(Result<Vec<TunnelId>, Unread>, &mut Self, &mut Ctx<Self>) + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        let read = async move { read_tunnels(&shared.db, shared.cloudflare.account()).await };
        ctx.spawn(read.into_actor(self).map(|rows, actor, ctx| {
            let rows = rows.map_err(|error| {
                tracing::warn!(%error, "the tunnels could not be read");
                Unread
            });
            then(rows.map(|rows| rows.into_iter().map(|row| row.id).collect()), actor, ctx);
        }));
    }

    /// Finds the tunnel of an agent; of one without a tunnel nothing is published, and nothing is done.
    fn with_tunnel_of(
        &self,
        agent_id: AgentId,
        ctx: &mut Ctx<Self>,
        then: impl FnOnce(Result<TunnelId, Unread>, AgentId, &mut Self, &mut Ctx<Self>) + 'static,
    ) {
        let shared = Arc::clone(&self.shared);
        let find = async move { (agents::find_agent(&shared.db, &agent_id).await, agent_id) };
        ctx.spawn(find.into_actor(self).map(|(agent, agent_id), actor, ctx| {
            let tunnel = agent.map(|row| row.and_then(|row| row.publishes_in().cloned())).map_err(|error| {
                tracing::warn!(%error, "an agent's tunnel could not be read");
                Unread
            });
            if let Some(tunnel) = tunnel.transpose() {
                then(tunnel, agent_id, actor, ctx);
            }
        }));
    }
}

impl Entry {
    /// Keeps what a pass leaves to the next one. A person's order counts for what is refused while it is given, too.
    fn remember(&mut self, outcome: &mut Outcome) {
        self.remembered.digest = outcome.digest.or(self.remembered.digest);
        if self.turn.is_ordered() {
            return;
        }
        if let Some(rules) = outcome.refused.take() {
            self.remembered.rules = rules;
        }
        if let Some(names) = outcome.refused_names.take() {
            self.remembered.names = names;
        }
        if let Some(needs) = outcome.refused_needs.take() {
            self.remembered.needs = needs;
        }
    }
}

// === what it is told ===

/// Something changed for a tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Wake {
    /// Which tunnel.
    pub tunnel_id: TunnelId,
}

impl Handler<Wake> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, Wake { tunnel_id }: Wake, ctx: &mut Ctx<Self>) {
        self.wake(&tunnel_id, Order::CHANGE, ctx);
        self.catch_up(ctx);
    }
}

/// Something changed for an agent's tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WakeAgent {
    /// Which agent.
    pub agent_id: AgentId,
}

impl Handler<WakeAgent> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, WakeAgent { agent_id }: WakeAgent, ctx: &mut Ctx<Self>) {
        self.catch_up(ctx);
        self.with_tunnel_of(agent_id, ctx, |tunnel, agent_id, actor, ctx| match tunnel {
            Ok(tunnel) => actor.wake(&tunnel, Order::CHANGE, ctx),
            Err(Unread) => drop(ctx.notify_later(WakeAgent { agent_id }, READ_AGAIN)),
        });
    }
}

/// Something changed, for any tunnel.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct WakeAll;

impl Handler<WakeAll> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, _: WakeAll, ctx: &mut Ctx<Self>) {
        self.wake_all(ctx);
    }
}

/// An agent's tunnel does not connect: it may have been deleted, so it is compared with Cloudflare soon.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CompareAgent {
    /// Which agent.
    pub agent_id: AgentId,
}

impl Handler<CompareAgent> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, CompareAgent { agent_id }: CompareAgent, ctx: &mut Ctx<Self>) {
        self.with_tunnel_of(agent_id, ctx, |tunnel, _, actor, ctx| {
            // One that cannot be read comes with the next round.
            if let Ok(tunnel) = tunnel {
                actor.compare_soon(tunnel, ctx);
            }
        });
    }
}

/// An agent said how its tunnel is, and left open whether it serves: Cloudflare is asked soon.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LookAtConnectors {
    /// Which agent.
    pub agent_id: AgentId,
}

impl Handler<LookAtConnectors> for CloudflareAccount {
    type Result = ();

    fn handle(&mut self, LookAtConnectors { agent_id }: LookAtConnectors, ctx: &mut Ctx<Self>) {
        self.with_tunnel_of(agent_id, ctx, |tunnel, _, actor, ctx| {
            // One that cannot be read comes with the next comparison.
            if let Ok(tunnel) = tunnel {
                actor.looks.forget_misses(&tunnel);
                actor.look_after(tunnel, Duration::ZERO, ctx);
            }
        });
    }
}
