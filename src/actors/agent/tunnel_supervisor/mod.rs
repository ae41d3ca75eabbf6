//! Keeps the one `cloudflared` container of this host as it is wanted: there, running, with the right token and
//! image, and exactly one.
//!
//! It compares what is wanted with what is there, takes one step, and compares again; an order, an event of the
//! Engine and a timer all do no more than start a comparison. What is wanted is kept on disk before it is acted
//! on, so the tunnel needs no master to come up, and a crash at any point is carried on from. The master is told
//! how it is; readiness is shown and is by itself never a reason to replace anything.

mod health;
mod keep;
mod keeping;
mod look;
mod orders;
mod repairs;
mod retire;
mod round;
mod settings;
mod step;
mod tell;

use std::sync::Arc;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, Message, Running, SpawnHandle, WrapFuture,
};
use serde_json::json;
use tokio::time::Instant;
use tracing::{error, info};

use self::keeping::Keeping;
use self::look::{SeenContainers, Settling};
use self::orders::Orders;
use self::repairs::Repairs;
use super::command_poller::TunnelTask;
use super::link::CurrentLink;
use super::status::{ActorStatus, GetStatus};
use super::update_scanner::Looked;
use crate::actors::supervision::Ctx;
use crate::config::OnShutdown;
use crate::docker::Docker;
use crate::domain::id::AgentId;
use crate::domain::tunnel::{TunnelHealth, TunnelReport};
use crate::state_dir::{DesiredState, StateDir};

pub use self::settings::TunnelSettings;

/// What the supervisor of the tunnel works with.
#[derive(Clone)]
pub struct TunnelParts {
    /// The Engine.
    pub docker: Arc<dyn Docker>,
    /// Where the wanted state is kept.
    pub state: StateDir,
    /// Who this agent is, once the master said so.
    pub link: CurrentLink,
    /// Image, network, and what happens at the end.
    pub settings: TunnelSettings,
    /// Takes how the tunnel is, whenever that changed.
    pub observed: Arc<dyn Fn(TunnelReport) + Send + Sync>,
}

/// See the module.
pub struct TunnelSupervisor {
    parts: TunnelParts,
    orders: Orders,
    kept_id: Option<AgentId>,
    /// Why what was kept on disk cannot be used.
    notice: Option<String>,
    keeping: Keeping,
    /// Why no command can be taken in, as the command poller says.
    no_commands: Option<String>,
    sight: SeenContainers,
    settling: Settling,
    repairs: Repairs,
    failures: u32,
    /// Why the last step that the Engine refused was refused, until all is well.
    refusal: Option<String>,
    told: Option<TunnelReport>,
    last_change: Instant,
    /// Something is under way whose end comes back to this actor.
    is_busy: bool,
    /// It is worth looking again as soon as that ended.
    is_touched: bool,
    pulling: Option<SpawnHandle>,
    timer: Option<SpawnHandle>,
    ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    No,
    Wanted,
    Done,
}

// === messages ===

/// Carry out this command of the master.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CarryOut(pub TunnelTask);

/// Something may have happened to the connector's container: compare now.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct CheckTunnel;

/// Why no command can be taken in now; `None` if they can be. The master reads it beside how the tunnel is.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct NoCommands(pub Option<String>);

/// Read the last lines that the connector wrote. What is asked while the process ends is dropped.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReadLog {
    /// Takes them, or why they cannot be read.
    pub done: Looked,
}

// === the actor ===

impl TunnelSupervisor {
    /// Makes a supervisor that has not looked yet.
    pub fn new(parts: TunnelParts) -> Self {
        Self {
            parts,
            orders: Orders::default(),
            kept_id: None,
            notice: None,
            keeping: Keeping::default(),
            no_commands: None,
            sight: SeenContainers::default(),
            settling: Settling::default(),
            repairs: Repairs::default(),
            failures: 0,
            refusal: None,
            told: None,
            last_change: Instant::now(),
            is_busy: false,
            is_touched: false,
            pulling: None,
            timer: None,
            ending: Ending::No,
        }
    }
}

impl Actor for TunnelSupervisor {
    type Context = Ctx<Self>;

    /// Goes on with what was wanted before, whether or not a master answers. Orders wait until it is read.
    fn started(&mut self, ctx: &mut Self::Context) {
        let state = self.parts.state.clone();
        let load = async move { (state.agent_id().await, state.tunnel_state().await) };
        ctx.wait(load.into_actor(self).map(|(id, kept), actor, ctx| {
            // The reporter names a lost id; it gets the same one back from the master.
            actor.kept_id = id.unwrap_or_default();
            match kept {
                Ok(kept) => actor.orders.resume(kept.unwrap_or_default()),
                Err(error) => {
                    error!(error = &error as &dyn std::error::Error, "the wanted tunnel cannot be read");
                    actor.notice = Some(error.to_string());
                }
            }
            actor.look(ctx);
        }));
    }

    /// Removes the connector before the end, if that is how it was set.
    fn stopping(&mut self, ctx: &mut Self::Context) -> Running {
        let is_wanted = self.orders.state().desired_state == DesiredState::Running;
        let settings = &self.parts.settings;
        let keeps = settings.is_external || settings.on_shutdown == OnShutdown::Keep || !is_wanted;
        if self.ending == Ending::Done || !ctx.is_stopping() || keeps {
            return Running::Stop;
        }
        if self.ending == Ending::No {
            self.ending = Ending::Wanted;
            self.stop_pulling(ctx);
            // What is under way must not come after the removal.
            if !self.is_busy {
                self.retire(ctx);
            }
        }
        Running::Continue
    }
}

crate::supervised!(TunnelSupervisor);

impl Handler<CarryOut> for TunnelSupervisor {
    type Result = ();

    fn handle(&mut self, CarryOut(task): CarryOut, ctx: &mut Self::Context) {
        info!(command.id = %task.id, "carrying out a tunnel command");
        // The link may be gone before this is done: a removed agent's last command is to stop.
        self.agent_id();
        self.orders.take(task, ctx.clock().now());
        self.notice = None;
        self.keeping.try_now();
        self.failures = 0;
        self.refusal = None;
        self.repairs.forget();
        self.last_change = Instant::now();
        self.stop_pulling(ctx);
        self.look(ctx);
    }
}

impl Handler<CheckTunnel> for TunnelSupervisor {
    type Result = ();

    fn handle(&mut self, _: CheckTunnel, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

impl Handler<NoCommands> for TunnelSupervisor {
    type Result = ();

    fn handle(&mut self, NoCommands(why): NoCommands, ctx: &mut Self::Context) {
        if self.no_commands != why {
            self.no_commands = why;
            self.look(ctx);
        }
    }
}

impl Handler<ReadLog> for TunnelSupervisor {
    type Result = ();

    fn handle(&mut self, ReadLog { done }: ReadLog, ctx: &mut Self::Context) {
        let docker = Arc::clone(&self.parts.docker);
        let read = async move { done(look::last_lines(&*docker).await) };
        ctx.spawn(read.into_actor(self));
    }
}

impl Handler<GetStatus> for TunnelSupervisor {
    type Result = ActorStatus;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> ActorStatus {
        let state = match self.told.as_ref().map(|told| told.health) {
            None => "looking",
            Some(TunnelHealth::Running) => "running",
            Some(TunnelHealth::Degraded) => "degraded",
            Some(TunnelHealth::Unknown) => "unknown",
            Some(TunnelHealth::Restarting) => "restarting",
            Some(TunnelHealth::Failed) => "failed",
            Some(TunnelHealth::Stopped) => "stopped",
        };
        let problem = self.told.as_ref().and_then(|told| told.reason.clone());
        let detail = json!({
            "tunnel_id": self.orders.state().id,
            "tunnel_name": self.orders.state().name,
            "image": self.parts.settings.image,
            "network": self.parts.settings.network,
            "version": self.told.as_ref().and_then(|told| told.version.clone()),
            "failures_in_a_row": self.failures,
        });
        ActorStatus { state, problem, detail }
    }
}

impl TunnelSupervisor {
    fn stop_pulling(&mut self, ctx: &mut Ctx<Self>) {
        if let Some(pulling) = self.pulling.take() {
            ctx.cancel_future(pulling);
        }
    }

    /// Who this agent is: as the master said last, be it that it speaks to us no more, else as it was kept.
    fn agent_id(&mut self) -> Option<AgentId> {
        if let Some(link) = self.parts.link.get() {
            self.kept_id = Some(link.agent_id.clone());
        }
        self.kept_id.clone()
    }

    /// The end is near and the connector is to go with it.
    fn retire(&mut self, ctx: &mut Ctx<Self>) {
        let (docker, agent) = (Arc::clone(&self.parts.docker), self.agent_id());
        let removal = async move {
            match agent {
                Some(agent) => retire::retire(&*docker, &agent).await,
                None => Ok(false),
            }
        };
        ctx.spawn(removal.into_actor(self).map(|removed, actor, ctx| {
            match removed {
                Ok(is_removed) => {
                    match is_removed {
                        true => info!("the tunnel was stopped and removed with its agent"),
                        false => info!("no tunnel of this agent was there to be removed"),
                    }
                    actor.tell_stopped(ctx.clock().now());
                }
                Err(error) => {
                    error!(error = &error as &dyn std::error::Error, "the tunnel could not be removed");
                }
            }
            actor.ending = Ending::Done;
            ctx.stop();
        }));
    }
}
