//! A fleet shard: the only way to its agents' actors, which it starts with the first change, stops when they idle
//! and keeps few. Also sweeps presence. Heartbeats and equal reports never come here.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::OnceLock;

use actix::prelude::*;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::env::Env;
use super::fleet::{Owed, ToAgent, Work};
use super::old_plans;
use super::subtree::{self, Subtree, Undelivered};
use super::sweep;
use crate::actors::supervision::{Ctx, SupervisorHandle, supervised};
use crate::domain::id::AgentId;

/// Work that may wait for a shard.
pub const CAPACITY: usize = 2_048;
/// Work that may wait for one agent's actors while they stop.
const WAITING: usize = 32;
/// Owed work that is tried again at a time.
const PAID_TOGETHER: usize = 64;

/// Names of the subtrees that are in the tree. Outlives the router, so that its next run can clear them away.
pub type Planted = Arc<Mutex<HashSet<AgentId>>>;

/// Routes work to agents' actors.
pub struct Router {
    shard: usize,
    env: Arc<OnceLock<Env>>,
    agents: SupervisorHandle,
    planted: Planted,
    known: HashMap<AgentId, State>,
    /// What had no room and is tried again, once for each agent and kind.
    owed: BTreeSet<(AgentId, Owed)>,
    is_sweeping: bool,
    touched_at: Option<Instant>,
    tidied_at: Option<Instant>,
}

/// Where an agent's actors are.
enum State {
    /// They run.
    Up { subtree: Subtree, used: Instant },
    /// They are being stopped; work that comes meanwhile starts them again.
    Stopping { waiting: VecDeque<Work> },
    /// They failed too often and are left alone until then.
    Cooling { until: Instant },
}

/// Looks for idle subtrees.
#[derive(Message)]
#[rtype(result = "()")]
struct Reap;

/// Looks who went silent and who is back.
#[derive(Message)]
#[rtype(result = "()")]
struct Sweep;

impl Router {
    /// Makes a router over the supervisor that `agents` leads to.
    pub fn new(shard: usize, env: Arc<OnceLock<Env>>, agents: SupervisorHandle, planted: Planted) -> Self {
        Self {
            shard,
            env,
            agents,
            planted,
            known: HashMap::new(),
            owed: BTreeSet::new(),
            is_sweeping: false,
            touched_at: None,
            tidied_at: None,
        }
    }

    fn route(&mut self, env: &Env, agent: AgentId, work: Work, ctx: &mut Ctx<Self>) {
        let owed = work.owed().map(|owed| (agent.clone(), owed));
        match self.known.get_mut(&agent) {
            Some(State::Up { subtree, used }) => {
                *used = Instant::now();
                match subtree.tell(work) {
                    Ok(()) => {}
                    // The reply went with the message: who waits is told to come later.
                    Err(Undelivered::Full) => self.owed.extend(owed),
                    Err(Undelivered::Closed) => self.cool_down(env, agent),
                }
            }
            Some(State::Stopping { waiting }) if waiting.len() < WAITING => waiting.push_back(work),
            // Over the bound the work is dropped, and with it its reply.
            Some(State::Stopping { .. }) => self.owed.extend(owed),
            // It reads everything again when it is back.
            Some(State::Cooling { until }) if *until > Instant::now() => {}
            Some(State::Cooling { .. }) | None => self.start(env, agent, vec![work], ctx),
        }
    }

    /// Tries again what had no room.
    fn pay(&mut self, env: &Env, ctx: &mut Ctx<Self>) {
        // Taken out first: what has no room again must not be tried in place of the others.
        let tried: Vec<_> = std::iter::from_fn(|| self.owed.pop_first()).take(PAID_TOGETHER).collect();
        for (agent, owed) in tried {
            self.route(env, agent, owed.into(), ctx);
        }
    }

    fn start(&mut self, env: &Env, agent: AgentId, work: Vec<Work>, ctx: &mut Ctx<Self>) {
        if !self.make_room(env, ctx) {
            self.owed.extend(work.iter().filter_map(Work::owed).map(|owed| (agent.clone(), owed)));
            return;
        }
        let (spec, subtree) = subtree::describe(env, &agent);
        for work in work {
            // The ports are open before the actors run; what does not fit is dropped with its reply.
            let _ = subtree.tell(work);
        }
        self.planted.lock().insert(agent.clone());
        self.known.insert(agent.clone(), State::Up { subtree, used: Instant::now() });
        let agents = self.agents.clone();
        let add = async move { (agents.add(spec).await, agent) };
        ctx.spawn(add.into_actor(self).map(|(added, agent), actor, _| {
            if let Err(error) = added {
                tracing::error!(%agent, %error, "an agent's actors could not be started");
                actor.forget(&agent);
            }
        }));
    }

    /// Stops the least recently used subtree if there are too many; false if there is no room at all.
    fn make_room(&mut self, env: &Env, ctx: &mut Ctx<Self>) -> bool {
        let cap = (env.settings.max_live / env.settings.shards.max(1)).max(1);
        let in_tree = self.known.values().filter(|state| !matches!(state, State::Cooling { .. })).count();
        if in_tree < cap {
            return true;
        }
        let running = self.known.iter().filter_map(|(agent, state)| match state {
            State::Up { subtree, used } if subtree.is_idle() => Some((*used, agent)),
            _ => None,
        });
        if let Some((_, agent)) = running.min_by_key(|(used, _)| *used) {
            let agent = agent.clone();
            self.stop(agent, ctx);
        }
        // Stopping takes a moment and busy ones cannot be stopped: a storm may double the number, not more.
        in_tree < 2 * cap
    }

    fn stop(&mut self, agent: AgentId, ctx: &mut Ctx<Self>) {
        self.known.insert(agent.clone(), State::Stopping { waiting: VecDeque::new() });
        let agents = self.agents.clone();
        let remove = async move { (agents.remove(agent.as_str()).await, agent) };
        ctx.spawn(remove.into_actor(self).map(|(_, agent), actor, ctx| actor.stopped(agent, ctx)));
    }

    fn stopped(&mut self, agent: AgentId, ctx: &mut Ctx<Self>) {
        let state = self.forget(&agent);
        let Some(env) = self.env.get().cloned() else {
            return;
        };
        if let Some(State::Stopping { waiting }) = state {
            let waiting: Vec<Work> = waiting.into_iter().filter(Work::is_wanted).collect();
            if !waiting.is_empty() {
                self.start(&env, agent, waiting, ctx);
            }
        }
        self.pay(&env, ctx);
    }

    fn forget(&mut self, agent: &AgentId) -> Option<State> {
        self.planted.lock().remove(agent);
        self.known.remove(agent)
    }

    fn cool_down(&mut self, env: &Env, agent: AgentId) {
        tracing::warn!(%agent, seconds = env.settings.cool_down.as_secs(), "an agent's actors failed too often");
        if let Some(slot) = env.directory.slot(&agent) {
            // It registers again and brings a fresh snapshot.
            slot.close_session();
            slot.forget_reports();
        }
        self.planted.lock().remove(&agent);
        self.known.insert(agent, State::Cooling { until: Instant::now() + env.settings.cool_down });
    }

    fn reap(&mut self, env: &Env, ctx: &mut Ctx<Self>) {
        let now = Instant::now();
        self.known.retain(|_, state| !matches!(state, State::Cooling { until } if *until <= now));
        let idle = self.known.iter().filter_map(|(agent, state)| match state {
            State::Up { subtree, used } if now - *used >= env.settings.idle_after && subtree.is_idle() => {
                Some(agent)
            }
            _ => None,
        });
        let idle: Vec<AgentId> = idle.cloned().collect();
        for agent in idle {
            self.stop(agent, ctx);
        }
        self.pay(env, ctx);
    }

    fn sweep(&mut self, env: Env, ctx: &mut Ctx<Self>) {
        self.is_sweeping = true;
        let with_times = self.touched_at.is_none_or(|at| at.elapsed() >= sweep::WRITE_TIMES_EVERY);
        if with_times {
            self.touched_at = Some(Instant::now());
        }
        // Nobody can be called silent for a time in which we did not listen, or that never was.
        let since = env.leaps.last_leap().unwrap_or(env.started_at).max(env.started_at);
        let shard = self.shard;
        // One of the shards does it for all.
        let tidies = shard == 0 && self.tidied_at.is_none_or(|at| at.elapsed() >= old_plans::EVERY);
        if tidies {
            self.tidied_at = Some(Instant::now());
        }
        let sweep = async move {
            sweep::sweep(&env, shard, since, with_times).await;
            if tidies {
                old_plans::forget(&env).await;
            }
        };
        ctx.spawn(sweep.into_actor(self).map(|(), actor, _| actor.is_sweeping = false));
    }
}

supervised!(Router);

impl Actor for Router {
    type Context = Ctx<Self>;

    fn started(&mut self, ctx: &mut Ctx<Self>) {
        // A run before this one left its subtrees behind, and with it the ways to them.
        let left: Vec<AgentId> = self.planted.lock().iter().cloned().collect();
        for agent in left {
            self.stop(agent, ctx);
        }
        ctx.notify(Reap);
        ctx.notify(Sweep);
    }
}

impl Handler<ToAgent> for Router {
    type Result = ();

    fn handle(&mut self, ToAgent { agent, work }: ToAgent, ctx: &mut Ctx<Self>) {
        if let Some(env) = self.env.get().cloned().filter(|_| work.is_wanted()) {
            self.route(&env, agent, work, ctx);
        }
    }
}

impl Handler<Reap> for Router {
    type Result = ();

    fn handle(&mut self, _: Reap, ctx: &mut Ctx<Self>) {
        if let Some(env) = self.env.get().cloned() {
            self.reap(&env, ctx);
            ctx.notify_later(Reap, env.settings.reap_every);
        }
    }
}

impl Handler<Sweep> for Router {
    type Result = ();

    fn handle(&mut self, _: Sweep, ctx: &mut Ctx<Self>) {
        let Some(env) = self.env.get().cloned() else {
            return;
        };
        ctx.notify_later(Sweep, env.settings.sweep_every);
        if !self.is_sweeping {
            self.sweep(env, ctx);
        }
    }
}

#[cfg(test)]
pub mod trials {
    //! What tests ask of a shard.

    use super::*;
    use crate::actors::master::subtree::Which;
    use crate::actors::supervision::fail::fails;

    fails!(Router);

    /// Stops idle subtrees now.
    #[derive(Message)]
    #[rtype(result = "()")]
    pub struct ReapNow;

    /// Makes one of an agent's actors panic, if they run.
    #[derive(Message)]
    #[rtype(result = "()")]
    pub struct FailActor {
        pub agent: AgentId,
        pub which: Which,
    }

    impl Handler<ReapNow> for Router {
        type Result = ();

        fn handle(&mut self, _: ReapNow, ctx: &mut Ctx<Self>) {
            let env = self.env.get().cloned().expect("the master has started");
            self.reap(&env, ctx);
        }
    }

    impl Handler<FailActor> for Router {
        type Result = ();

        fn handle(&mut self, FailActor { agent, which }: FailActor, _: &mut Ctx<Self>) {
            let env = self.env.get().cloned().expect("the master has started");
            if let Some(State::Up { subtree, .. }) = self.known.get(&agent)
                && let Err(Undelivered::Closed) = subtree.fail(which)
            {
                self.cool_down(&env, agent);
            }
        }
    }
}
