//! Operations of an agent's actors: one at a time, on what the actor works with, answered to who waits.

use actix::prelude::*;

use crate::actors::master::error::MasterError;
use crate::actors::master::work::Reply;

/// Runs one operation on the actor's `tool`; the next message waits for its end.
///
/// The tool is away while the operation runs, and lost with it if that fails: the next run of the actor reads again
/// what it has to know.
pub fn run<A, T, R>(
    actor: &mut A,
    tool: fn(&mut A) -> &mut Option<Box<T>>,
    operation: impl AsyncFnOnce(&mut T) -> Result<R, MasterError> + 'static,
    answer: impl FnOnce(Result<R, MasterError>, &mut A) + 'static,
) -> AtomicResponse<A, ()>
where
    A: Actor,
    T: 'static,
    R: 'static,
{
    let taken = tool(actor).take();
    let running = async move {
        let mut taken = taken?;
        let result = operation(&mut taken).await;
        Some((taken, result))
    };
    AtomicResponse::new(Box::pin(running.into_actor(actor).map(move |done, actor, _| {
        // Cannot be away: operations run one at a time. If it were, the answer is dropped: try again.
        if let Some((taken, result)) = done {
            *tool(actor) = Some(taken);
            answer(result, actor);
        }
    })))
}

/// Answers whoever still waits; what was done stays done if nobody does.
pub fn to<T>(reply: Reply<T>) -> impl FnOnce(Result<T, MasterError>) {
    move |result| drop(reply.send(result))
}

/// Logs what went wrong where nobody waits.
pub fn log<T>(what: &'static str) -> impl FnOnce(Result<T, MasterError>) {
    move |result| {
        if let Err(error) = result {
            tracing::warn!(%error, what, "what is known of an agent could not be brought up to date");
        }
    }
}
