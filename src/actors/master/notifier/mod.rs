//! Tells people what happened. Everything it knows is in the database: what is the case, what waits to be told, what is
//! sent. A round compares that with what is so now; what changed only says that it is time for one.

mod deliver;
mod look;
mod round;
mod waiting;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use self::look::TokenSight;
use self::round::Next;
use super::bus::{Changes, Note};
use super::env::Env;
use super::error::MasterError;
use crate::actors::supervision::{Ctx, supervised};
use crate::domain::id::TargetId;
use crate::notify::Messenger;

/// Messages that may wait.
pub const CAPACITY: usize = 64;
/// Targets that are sent to at the same time.
const AT_ONCE: usize = 8;

/// Each single route is looked at anew after this time, whatever was heard.
const ROUTES_EVERY: Duration = Duration::from_secs(600);

/// Tells people.
pub struct Notifier {
    env: Arc<OnceLock<Env>>,
    messenger: Arc<dyn Messenger>,
    token: TokenSight,
    /// Targets that something is on its way to.
    busy: BTreeSet<TargetId>,
    /// Number of the timer that counts; earlier ones were replaced by a shorter one.
    timer: u64,
    is_looking: bool,
    /// True if routes may be others than when each was looked at.
    routes_changed: bool,
    routes_looked_at: Option<Instant>,
    /// True if something changed since the round that is under way began.
    is_stale: bool,
}

/// Sends a test to a target, now, and answers how that went.
#[derive(Message)]
#[rtype(result = "Result<(), MasterError>")]
pub struct SendTest {
    /// Which target.
    pub target: TargetId,
    /// Who asks.
    pub by: String,
}

/// It is time for a round.
#[derive(Message)]
#[rtype(result = "()")]
struct RoundDue {
    timer: u64,
}

impl Notifier {
    /// Makes one; `env` is filled in after the ports are made.
    pub fn new(env: Arc<OnceLock<Env>>, messenger: Arc<dyn Messenger>) -> Self {
        Self {
            env,
            messenger,
            token: TokenSight::default(),
            busy: BTreeSet::new(),
            timer: 0,
            is_looking: false,
            routes_changed: true,
            routes_looked_at: None,
            is_stale: false,
        }
    }

    fn arm(&mut self, pause: Duration, ctx: &mut Ctx<Self>) {
        self.timer += 1;
        ctx.notify_later(RoundDue { timer: self.timer }, pause);
    }

    /// Waits for a word that something changed; many within the rest are one.
    fn listen(&self, mut changes: Changes, rest: Duration, ctx: &mut Ctx<Self>) {
        let heard = async move {
            let note = loop {
                match changes.next().await {
                    // Its own word, and that of people about targets comes with others.
                    Some(Note::Notifications) => {}
                    Some(note) => break note,
                    None => std::future::pending().await,
                }
            };
            tokio::time::sleep(rest).await;
            (note, changes)
        };
        ctx.spawn(heard.into_actor(self).map(move |(note, changes), actor, ctx| {
            actor.routes_changed |= is_about_routes(&note);
            actor.wake(ctx);
            actor.listen(changes, rest, ctx);
        }));
    }

    fn look(&mut self, env: Env, ctx: &mut Ctx<Self>) {
        (self.is_looking, self.is_stale) = (true, false);
        let token = self.token;
        let was_long_ago = self.routes_looked_at.is_none_or(|at| at.elapsed() >= ROUTES_EVERY);
        let at_routes = std::mem::take(&mut self.routes_changed) || was_long_ago;
        let round = async move {
            let next = round::round(&env, token, at_routes).await;
            (env, next)
        };
        ctx.spawn(round.into_actor(self).map(move |(env, next), actor, ctx| {
            actor.is_looking = false;
            match &next {
                Ok(_) if at_routes => actor.routes_looked_at = Some(Instant::now()),
                Ok(_) => {}
                Err(_) => actor.routes_changed |= at_routes,
            }
            actor.after_round(&env, next, ctx);
        }));
    }

    /// Asks about the token for Cloudflare, if it is time. Beside the rounds: nobody waits for that.
    fn look_at_token(&mut self, env: &Env, ctx: &mut Ctx<Self>) {
        if !self.token.is_due(env) {
            return;
        }
        self.token.begin(env);
        let (env, token) = (env.clone(), self.token);
        let asked = async move { token.asked(&env).await };
        ctx.spawn(asked.into_actor(self).map(|token, actor, ctx| {
            actor.token = token;
            actor.wake(ctx);
        }));
    }

    /// Has a round follow at once, or after the one that is under way.
    fn wake(&mut self, ctx: &mut Ctx<Self>) {
        self.wake_in(Duration::ZERO, ctx);
    }

    fn wake_in(&mut self, pause: Duration, ctx: &mut Ctx<Self>) {
        if self.is_looking {
            self.is_stale = true;
        } else {
            self.arm(pause, ctx);
        }
    }

    fn after_round(&mut self, env: &Env, next: Result<Next, MasterError>, ctx: &mut Ctx<Self>) {
        let settings = &env.settings;
        let again = settings.notify_look_again;
        let pause = match next {
            Ok(next) => {
                if next.is_on {
                    self.look_at_token(env, ctx);
                }
                for (target, message) in next.to_send {
                    self.send(env, target, message, ctx);
                }
                let until = next.at.map(|at| (at - env.now()).to_std().unwrap_or(Duration::ZERO));
                until.unwrap_or(again).clamp(Duration::from_millis(10), again)
            }
            Err(error) => {
                tracing::warn!(%error, "what people are to be told could not be worked out; it is tried again");
                again
            }
        };
        self.arm(if self.is_stale { settings.notify_rests.min(pause) } else { pause }, ctx);
    }

    fn send(&mut self, env: &Env, target: TargetId, message: String, ctx: &mut Ctx<Self>) {
        if self.busy.len() >= AT_ONCE || !self.busy.insert(target.clone()) {
            // The end of what is on its way brings the next round.
            return;
        }
        let (env, messenger) = (env.clone(), Arc::clone(&self.messenger));
        let sending = async move {
            let was_settled = deliver::deliver(&env, &*messenger, &target, &message).await;
            // What the database would not take is not tried in a circle.
            let pause = if was_settled { Duration::ZERO } else { env.settings.notify_look_again };
            (target, pause)
        };
        ctx.spawn(sending.into_actor(self).map(|(target, pause), actor, ctx| {
            actor.busy.remove(&target);
            actor.wake_in(pause, ctx);
        }));
    }
}

/// True if a route may be protected in another way now. What containers, updates and connectors do changes none by itself.
fn is_about_routes(note: &Note) -> bool {
    match note {
        Note::Agent(_) | Note::Routes(_) | Note::Published | Note::Settings | Note::Resync => true,
        Note::Containers(_) | Note::Tunnel(_) | Note::Commands(_) | Note::Updates(_) => false,
        Note::Keys | Note::Notifications => false,
    }
}

supervised!(Notifier);

impl Actor for Notifier {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(env) = self.env.get() {
            let (changes, rest) = (env.notices.subscribe(), env.settings.notify_rests);
            self.listen(changes, rest, ctx);
        }
        self.arm(Duration::ZERO, ctx);
    }
}

impl Handler<RoundDue> for Notifier {
    type Result = ();

    fn handle(&mut self, RoundDue { timer }: RoundDue, ctx: &mut Ctx<Self>) {
        if timer != self.timer || self.is_looking {
            return;
        }
        match self.env.get().cloned() {
            Some(env) => self.look(env, ctx),
            None => self.arm(Duration::from_secs(1), ctx),
        }
    }
}

impl Handler<SendTest> for Notifier {
    type Result = ResponseActFuture<Self, Result<(), MasterError>>;

    fn handle(&mut self, SendTest { target, by }: SendTest, _: &mut Ctx<Self>) -> Self::Result {
        let (env, messenger) = (self.env.get().cloned(), Arc::clone(&self.messenger));
        let test = async move {
            match env {
                Some(env) => deliver::test(&env, &*messenger, &target, &by).await,
                None => Err(MasterError::Busy),
            }
        };
        Box::pin(test.into_actor(self).map(|outcome, actor: &mut Self, ctx| {
            // What waits for a target that can be reached again goes at once.
            actor.wake(ctx);
            outcome
        }))
    }
}
