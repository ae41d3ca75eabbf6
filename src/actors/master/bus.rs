//! Says that something changed, to pages that are open. What changed is read from the database.
//!
//! Bounded: a listener that is too slow loses the oldest notes and gets [`Note::Resync`] instead.

use actix::prelude::*;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::actors::supervision::{Ctx, Port, supervised};
use crate::domain::id::AgentId;

/// Notes that may wait in the actor.
pub const CAPACITY: usize = 512;
/// Notes that a slow listener may lag behind.
const BACKLOG: usize = 256;

/// Something changed; look at it again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "topic", content = "agent", rename_all = "snake_case")]
pub enum Note {
    /// An agent came, went, or stands elsewhere.
    Agent(AgentId),
    /// An agent's containers.
    Containers(AgentId),
    /// An agent's routes.
    Routes(AgentId),
    /// An agent's tunnel.
    Tunnel(AgentId),
    /// An agent's commands.
    Commands(AgentId),
    /// Updates of an agent's host, and how it was looked at.
    Updates(AgentId),
    /// Agent keys.
    Keys,
    /// What was made of routes at Cloudflare.
    Published,
    /// Administrators and settings.
    Settings,
    /// What people are told, and how that goes.
    Notifications,
    /// Notes were lost: look at everything again.
    Resync,
}

/// Hands notes to every listener.
pub struct Bus {
    listeners: broadcast::Sender<Note>,
}

/// Tells every listener.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Announce(pub Note);

impl Bus {
    /// Makes the bus; the sender outlives a restart, so listeners stay.
    pub fn new(listeners: broadcast::Sender<Note>) -> Self {
        Self { listeners }
    }
}

supervised!(Bus);

impl Actor for Bus {
    type Context = Ctx<Self>;
}

impl Handler<Announce> for Bus {
    type Result = ();

    fn handle(&mut self, Announce(note): Announce, _: &mut Ctx<Self>) {
        // Nobody listens: no page is open.
        let _ = self.listeners.send(note);
    }
}

/// What actors and pages hold of the bus.
#[derive(Clone)]
pub struct Notices {
    bus: Port<Bus>,
    listeners: broadcast::Sender<Note>,
}

/// Returns a sender for [`Bus::new`] and [`Notices::new`].
pub fn channel() -> broadcast::Sender<Note> {
    broadcast::channel(BACKLOG).0
}

impl Notices {
    /// Makes a handle to the bus.
    pub fn new(bus: Port<Bus>, listeners: broadcast::Sender<Note>) -> Self {
        Self { bus, listeners }
    }

    /// Announces a change; notes are lost before anybody is held up.
    pub fn announce(&self, note: Note) {
        if self.bus.tell(Announce(note)).is_err() {
            // The bus is gone for good: the process is ending.
            tracing::debug!("no bus to announce a change on");
        }
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> Changes {
        Changes::of(&self.listeners)
    }
}

/// The notes since somebody began to listen.
pub struct Changes(broadcast::Receiver<Note>);

impl Changes {
    /// Listens from now on.
    pub fn of(listeners: &broadcast::Sender<Note>) -> Self {
        Self(listeners.subscribe())
    }

    /// Returns the next note; none once the master has gone.
    pub async fn next(&mut self) -> Option<Note> {
        match self.0.recv().await {
            Ok(note) => Some(note),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(Note::Resync),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_listener_is_told_to_look_at_everything() {
        let sender = channel();
        let mut slow = Changes::of(&sender);
        for number in 0..BACKLOG + 10 {
            sender.send(Note::Agent(AgentId::new(number.to_string()))).unwrap();
        }
        assert_eq!(slow.next().await, Some(Note::Resync));
        assert_eq!(slow.next().await, Some(Note::Agent(AgentId::new("10"))));
    }
}
