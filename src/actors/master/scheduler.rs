//! Wakes whoever wrote down a time: grace, lease and expiry are `due_at` columns, so a restart forgets none.
//!
//! The wall clock may jump, so it is read again every [`LOOK_AGAIN`] instead of being slept towards.

use std::collections::BTreeSet;
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::fleet::{Fleet, Work};
use super::leaps::{Leaps, Times};
use crate::actors::supervision::{Ctx, supervised};
use crate::clock::Clock;
use crate::db::{self, Db, DbError};
use crate::domain::id::AgentId;

/// Messages that may wait.
pub const CAPACITY: usize = 1_024;
/// Longest time between two looks at the clock.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Shortest time between two readings of what is due: work that fails is not tried in a circle.
const REST: Duration = Duration::from_millis(500);
/// Longest time between two readings of what is due, whatever was announced.
const READ_AGAIN: Duration = Duration::from_secs(60);
/// Agents that are woken at a time.
const AT_ONCE: u64 = 500;
/// Announced times that are kept; the database has the others.
const ANNOUNCED: usize = 10_000;

/// Wakes owners of what is due.
pub struct Scheduler {
    db: Db,
    fleet: Fleet,
    clock: Clock,
    /// Who is to be woken when, as far as it was announced.
    announced: BTreeSet<(DateTime<Utc>, AgentId)>,
    /// The earliest time in the database.
    next: Option<DateTime<Utc>>,
    /// When the database is read again in any case.
    read_at: Instant,
    leaps: Leaps,
    /// Number of the timer that counts; earlier ones were replaced by a shorter one.
    timer: u64,
    is_reading: bool,
}

/// Something of an agent is due at this time.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DueAt {
    /// Whose actors are to look.
    pub agent: AgentId,
    /// When.
    pub at: DateTime<Utc>,
}

/// Looks at the clock.
#[derive(Message)]
#[rtype(result = "()")]
struct LookAtClock {
    timer: u64,
}

impl Scheduler {
    /// Makes a scheduler that reads what is due at once.
    pub fn new(db: Db, fleet: Fleet, clock: Clock, leaps: Leaps) -> Self {
        Self {
            leaps,
            db,
            fleet,
            clock,
            announced: BTreeSet::new(),
            next: None,
            read_at: Instant::now(),
            timer: 0,
            is_reading: false,
        }
    }

    fn arm(&mut self, pause: Duration, ctx: &mut Ctx<Self>) {
        self.timer += 1;
        ctx.notify_later(LookAtClock { timer: self.timer }, pause);
    }

    /// How long to sleep: until the next thing is due, but never past another look at the clock.
    fn pause(&self) -> Duration {
        let announced = self.announced.first().map(|(at, _)| *at);
        let next = [announced, self.next].into_iter().flatten().min();
        let until = next.map(|next| (next - self.clock.now()).to_std().unwrap_or(Duration::ZERO));
        until.unwrap_or(LOOK_AGAIN).clamp(Duration::from_millis(1), LOOK_AGAIN)
    }

    fn look(&mut self, ctx: &mut Ctx<Self>) {
        let (wall, steady) = (self.clock.now(), Instant::now());
        if self.leaps.are_open() {
            // By the new time everything is over; before anything is, what is written down moves with the leap.
            self.read(ctx);
            return;
        }
        while self.announced.first().is_some_and(|(at, _)| *at <= wall) {
            let Some((_, agent)) = self.announced.pop_first() else { break };
            self.fleet.nudge(&agent, Work::Due);
            // Whether it did what was due is read soon.
            self.read_at = self.read_at.min(steady + REST);
        }
        if self.next.is_some_and(|next| next <= wall) || self.read_at <= steady {
            self.read(ctx);
        } else {
            self.arm(self.pause(), ctx);
        }
    }

    fn read(&mut self, ctx: &mut Ctx<Self>) {
        self.is_reading = true;
        let (db, leaps, now) = (self.db.clone(), self.leaps.clone(), self.clock.now());
        let read = async move {
            list_leap(&db, &leaps).await?;
            let due = db::due::list_due(&db, now, AT_ONCE).await?;
            let mut agents = leaps.who_is_behind();
            agents.extend(due.into_iter().map(|due| due.agent_id));
            Ok(Reading { agents, next: db::due::next_due_after(&db, now).await? })
        };
        ctx.spawn(read.into_actor(self).map(|reading, actor, ctx| actor.wake(reading, ctx)));
    }

    fn wake(&mut self, reading: Result<Reading, DbError>, ctx: &mut Ctx<Self>) {
        self.is_reading = false;
        let mut pause = REST;
        match reading {
            Ok(Reading { agents, next }) => {
                for agent in &agents {
                    self.fleet.nudge(agent, Work::Due);
                }
                let soon = if agents.is_empty() { READ_AGAIN } else { REST };
                self.read_at = Instant::now() + soon;
                self.next = next;
                if agents.is_empty() && !self.leaps.are_open() {
                    pause = self.pause();
                }
            }
            Err(error) => {
                tracing::warn!(%error, "could not read what is due");
                pause = LOOK_AGAIN;
            }
        }
        self.arm(pause, ctx);
    }
}

/// What the database says.
struct Reading {
    /// These agents have something due.
    agents: BTreeSet<AgentId>,
    /// The next thing is due then.
    next: Option<DateTime<Utc>>,
}

/// Notes whose times a leap of the clock moves. They do that themselves, before they look what is due.
async fn list_leap(db: &Db, leaps: &Leaps) -> Result<(), DbError> {
    let leap = leaps.unlisted();
    if leap.is_zero() {
        return Ok(());
    }
    let routes = db::due::list_agents_with_pending_routes(db).await?;
    let commands = db::commands::list_agents_with_open_commands(db).await?;
    let seconds = leap.num_seconds();
    tracing::warn!(
        seconds,
        grace_periods_of = routes.len(),
        commands_of = commands.len(),
        "the wall clock leapt; grace periods and commands move with it"
    );
    let routes = routes.into_iter().map(|agent| (agent, Times::Routes));
    leaps.list(leap, routes.chain(commands.into_iter().map(|agent| (agent, Times::Commands))));
    Ok(())
}

supervised!(Scheduler);

impl Actor for Scheduler {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        self.arm(Duration::ZERO, ctx);
    }
}

impl Handler<LookAtClock> for Scheduler {
    type Result = ();

    fn handle(&mut self, LookAtClock { timer }: LookAtClock, ctx: &mut Ctx<Self>) {
        if timer == self.timer && !self.is_reading {
            self.look(ctx);
        }
    }
}

impl Handler<DueAt> for Scheduler {
    type Result = ();

    fn handle(&mut self, DueAt { agent, at }: DueAt, ctx: &mut Ctx<Self>) {
        let is_first = self.announced.first().is_none_or(|(first, _)| at < *first);
        self.announced.insert((at, agent));
        if self.announced.len() > ANNOUNCED {
            self.announced.pop_last();
        }
        if is_first && !self.is_reading {
            self.arm(self.pause(), ctx);
        }
    }
}
