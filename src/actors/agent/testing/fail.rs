//! Makes an actor of the agent panic.

use actix::{Handler, Message};

use crate::actors::agent::command_poller::CommandPoller;
use crate::actors::agent::docker_watcher::DockerWatcher;
use crate::actors::agent::reporter::Reporter;
use crate::actors::agent::tunnel_supervisor::TunnelSupervisor;
use crate::actors::supervision::Ctx;

/// Makes the actor panic.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Fail;

macro_rules! fails {
    ($($actor:ty),+) => {
        $(impl Handler<Fail> for $actor {
            type Result = ();

            fn handle(&mut self, _: Fail, _: &mut Ctx<Self>) {
                panic!("on request");
            }
        })+
    };
}

fails!(Reporter, TunnelSupervisor, DockerWatcher, CommandPoller);
