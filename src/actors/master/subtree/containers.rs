//! Mirrors an agent's containers and decides about its routes.
//!
//! All rules are in `domain`; here their decisions are committed. What another agent claimed first, or another
//! master wrote, is read again and decided again.

use actix::prelude::*;
use chrono::TimeDelta;

use super::draft::Change;
use super::mirrorer::{Mirrorer, Outlook};
use super::operation::{self, log, to};
use super::own::Own;
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::Part;
use crate::actors::master::work::Reply;
use crate::actors::supervision::{Ctx, supervised};

/// Mirrors containers, owns the agent's stream of routes.
pub struct ContainerMirror {
    /// Away while an operation runs; lost with it if that fails, and then read again.
    mirrorer: Option<Box<Mirrorer>>,
}

/// Takes in changes, in order and at once: a container that went and came back was never gone.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Mirror {
    /// What became of containers.
    pub changes: Vec<Change>,
    /// Who waits for the commit.
    pub part: Part,
}

/// Withdraws routes whose grace period is over, and compares again what runs with what is held.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookWhatIsDue;

/// A hostname that was refused may be free now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reconsider;

/// The registrar decided about the agent: what is known is read again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StandingChanged;

/// The wall clock leapt: running grace periods move with it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Postpone {
    /// By how much.
    pub leap: TimeDelta,
    /// Who waits for the commit.
    pub part: Part,
}

/// Withdraws what the removal guard holds, because a person confirmed it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct ReleaseHeld {
    /// Who confirmed.
    pub by: String,
    /// How many routes went.
    pub reply: Reply<usize>,
}

impl ContainerMirror {
    /// Makes a mirror that reads what it needs when it is first asked.
    pub fn new(own: Own) -> Self {
        Self { mirrorer: Some(Box::new(Mirrorer::new(own))) }
    }

    /// Runs one operation; the next message waits for its end.
    fn run(
        &mut self,
        operation: impl AsyncFnOnce(&mut Mirrorer) -> Result<Outlook, MasterError> + 'static,
        answer: impl FnOnce(Result<usize, MasterError>) + 'static,
    ) -> AtomicResponse<Self, ()> {
        operation::run(
            self,
            |actor| &mut actor.mirrorer,
            operation,
            |result, _| answer(result.map(|outlook| outlook.decided)),
        )
    }
}

supervised!(ContainerMirror);

impl Actor for ContainerMirror {
    type Context = Ctx<Self>;
}

impl Handler<Mirror> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Mirror { changes, part }: Mirror, _: &mut Ctx<Self>) -> Self::Result {
        self.run(
            async move |mirrorer| mirrorer.mirror(changes).await,
            move |result| part.finish(result.map(drop)),
        )
    }
}

impl Handler<LookWhatIsDue> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: LookWhatIsDue, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async |mirrorer| mirrorer.look_what_is_due().await, log("grace periods"))
    }
}

impl Handler<Reconsider> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: Reconsider, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async |mirrorer| mirrorer.mirror(Vec::new()).await, log("a freed hostname"))
    }
}

impl Handler<StandingChanged> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: StandingChanged, _: &mut Ctx<Self>) -> Self::Result {
        let look_again = async |mirrorer: &mut Mirrorer| {
            mirrorer.forget();
            if mirrorer.is_listed() { mirrorer.mirror(Vec::new()).await } else { Ok(Outlook::default()) }
        };
        self.run(look_again, log("a decision about the agent"))
    }
}

impl Handler<Postpone> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Postpone { leap, part }: Postpone, _: &mut Ctx<Self>) -> Self::Result {
        self.run(
            async move |mirrorer| mirrorer.postpone(leap).await,
            move |result| part.finish(result.map(drop)),
        )
    }
}

impl Handler<ReleaseHeld> for ContainerMirror {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, ReleaseHeld { by, reply }: ReleaseHeld, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |mirrorer| mirrorer.release_held(&by).await, to(reply))
    }
}
