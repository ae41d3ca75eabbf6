//! Queues an agent's commands, hands them over and follows what becomes of them.
//!
//! A command leaves the queue only by a delivery that is committed before the answer.

use std::rc::Rc;
use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, Utc};

use super::own::Own;
use super::own::{self, log, to};
use super::queue::{Doubt, Queue};
use crate::actors::master::error::MasterError;
use crate::actors::master::receipt::{Part, Reply};
use crate::actors::master::requests::{DeliveredCommand, Dialect};
use crate::actors::supervision::{Ctx, supervised};
use crate::domain::command::{Command, CommandKind, Outcome};
use crate::domain::connector::Connector;
use crate::domain::delivery::Evidence;
use crate::domain::id::CommandId;
use crate::domain::tunnel::TunnelReport;

/// Longest that Cloudflare is asked for connectors; without an answer the command is repeated.
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// Owns the agent's stream of commands.
pub struct CommandDispatcher {
    /// Away while an operation runs; lost with it if that fails, and then read again.
    queue: Option<Box<Queue>>,
    own: Own,
    /// True while Cloudflare is asked for connectors.
    is_asking: bool,
}

/// Queues a command; one that waits already is answered instead of a second one.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Enqueue {
    /// What is to be done.
    pub kind: CommandKind,
    /// Who asks.
    pub by: String,
    /// The command.
    pub reply: Reply<Command>,
}

/// Queues a start unless something is on its way to the agent, or somebody decided about it meanwhile.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StartAgain {
    /// The start of the tunnel that the agent has.
    pub kind: CommandKind,
    /// Version of the agent's stream that says so.
    pub version: u64,
}

/// Hands over what waits, oldest first.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Lease {
    /// At most so many.
    pub max: usize,
    /// How the agent takes them.
    pub dialect: Dialect,
    /// The commands with what they need.
    pub reply: Reply<Vec<DeliveredCommand>>,
}

/// The agent has a command.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Acknowledge {
    /// Which one.
    pub command: CommandId,
    /// Done, or not known.
    pub reply: Reply<()>,
}

/// A command came to its end; a second time changes nothing.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Finish {
    /// Which one.
    pub command: CommandId,
    /// How it ended.
    pub outcome: Outcome,
    /// Who waits for the commit.
    pub part: Part,
    /// True if it came in a report: then a command that is not known is passed over, or the agent would send the
    /// same report for ever.
    pub is_report: bool,
}

/// A DockFlare agent said how its tunnel is: it answers commands in no other way.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TunnelShown {
    /// What it said.
    pub report: TunnelReport,
    /// When, master time.
    pub received_at: DateTime<Utc>,
    /// Who waits for the commit.
    pub part: Part,
}

/// Looks for leases and lives that ended.
#[derive(Message)]
#[rtype(result = "()")]
pub struct LookWhatIsDue;

/// Asks Cloudflare about commands that no report confirmed.
#[derive(Message)]
#[rtype(result = "()")]
struct AskForConnectors(Doubt);

/// Cloudflare said which connectors serve the tunnel of commands in doubt, or did not.
#[derive(Message)]
#[rtype(result = "()")]
struct ConnectorsListed {
    doubt: Doubt,
    now: Option<Vec<Connector>>,
}

/// The registrar decided about the agent: what is known is read again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StandingChanged;

impl CommandDispatcher {
    /// Makes a dispatcher that reads what it needs when it is first asked.
    pub fn new(own: Own) -> Self {
        Self { queue: Some(Box::new(Queue::new(own.clone()))), own, is_asking: false }
    }

    /// Runs one operation; the next message waits for its end.
    fn run<T: 'static>(
        &mut self,
        operation: impl AsyncFnOnce(&mut Queue) -> Result<T, MasterError> + 'static,
        answer: impl FnOnce(Result<T, MasterError>) + 'static,
    ) -> AtomicResponse<Self, ()> {
        own::run(self, |actor| &mut actor.queue, operation, |result, _| answer(result))
    }
}

supervised!(CommandDispatcher);

impl Actor for CommandDispatcher {
    type Context = Ctx<Self>;
}

impl Handler<Enqueue> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Enqueue { kind, by, reply }: Enqueue, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |queue| queue.enqueue(kind, &by).await, to(reply))
    }
}

impl Handler<StartAgain> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, StartAgain { kind, version }: StartAgain, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |queue| queue.enqueue_alone(kind, version).await, log("a tunnel that is lost"))
    }
}

impl Handler<Lease> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Lease { max, dialect, reply }: Lease, _: &mut Ctx<Self>) -> Self::Result {
        let reply = Rc::new(reply);
        let caller = Rc::clone(&reply);
        self.run(
            async move |queue| queue.lease(max, dialect, || caller.is_closed()).await,
            // The operation is over, and with it its hold on the caller.
            move |result| drop(Rc::into_inner(reply).map(|reply| reply.send(result))),
        )
    }
}

impl Handler<Acknowledge> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, Acknowledge { command, reply }: Acknowledge, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async move |queue| queue.acknowledge(&command).await, to(reply))
    }
}

impl Handler<Finish> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(
        &mut self,
        Finish { command, outcome, part, is_report }: Finish,
        _: &mut Ctx<Self>,
    ) -> Self::Result {
        self.run(
            async move |queue| queue.finish(&command, outcome).await,
            move |result| match result {
                Err(MasterError::CommandNotFound(id)) if is_report => {
                    tracing::warn!(command = %id, "an agent reported the end of a command that is not its own");
                    part.finish(Ok(()));
                }
                result => part.finish(result),
            },
        )
    }
}

impl Handler<TunnelShown> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, shown: TunnelShown, _: &mut Ctx<Self>) -> Self::Result {
        let TunnelShown { report, received_at, part } = shown;
        self.run(
            async move |queue| queue.confirm(Evidence::Report { tunnel: &report, received_at }).await,
            |result| part.finish(result),
        )
    }
}

impl Handler<LookWhatIsDue> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: LookWhatIsDue, ctx: &mut Ctx<Self>) -> Self::Result {
        let port = ctx.port();
        let look = async |queue: &mut Queue| {
            queue.move_times().await?;
            match queue.doubt().await? {
                Some(doubt) => Ok(Some(doubt)),
                None => queue.look_what_is_due().await.map(|()| None),
            }
        };
        self.run(look, move |looked| match looked {
            // Lost only if the dispatcher is very busy: what is due is looked for again.
            Ok(Some(doubt)) => drop(port.tell(AskForConnectors(doubt))),
            Ok(None) => {}
            Err(error) => log::<()>("leases")(Err(error)),
        })
    }
}

impl Handler<AskForConnectors> for CommandDispatcher {
    type Result = ();

    fn handle(&mut self, AskForConnectors(doubt): AskForConnectors, ctx: &mut Ctx<Self>) {
        if self.is_asking {
            return;
        }
        self.is_asking = true;
        let account = self.own.env.account.clone();
        let ask = async move {
            let now = tokio::time::timeout(ASK_LIMIT, account.connectors(&doubt.tunnel_id)).await;
            ConnectorsListed { doubt, now: now.ok().and_then(Result::ok) }
        };
        ctx.spawn(ask.into_actor(self).map(|listed, actor, ctx| {
            actor.is_asking = false;
            ctx.notify(listed);
        }));
    }
}

impl Handler<ConnectorsListed> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(
        &mut self,
        ConnectorsListed { doubt, now }: ConnectorsListed,
        _: &mut Ctx<Self>,
    ) -> Self::Result {
        let settle = async move |queue: &mut Queue| {
            if let Some(now) = &now {
                queue.confirm(Evidence::Connectors { now, at_enrolment: &doubt.at_enrolment }).await?;
            }
            queue.look_what_is_due().await
        };
        self.run(settle, log("leases"))
    }
}

impl Handler<StandingChanged> for CommandDispatcher {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, _: StandingChanged, _: &mut Ctx<Self>) -> Self::Result {
        self.run(async |queue| queue.read_again().await, log("a decision about the agent"))
    }
}
