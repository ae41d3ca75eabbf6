//! What the agent has with its master right now: its id, the dialect, the session.
//!
//! The [`Reporter`](super::reporter::Reporter) registers and sets it; the
//! [`CommandPoller`](super::command_poller::CommandPoller) waits for it. It is a value and not a message, because
//! only the latest one counts, and either side may restart without the other.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::delivery::Dialect;
use crate::domain::id::AgentId;

/// An agreement with a master. A new registration makes a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Counts registrations, so that news about an older one is recognised.
    pub epoch: u64,
    /// Who this agent is.
    pub agent_id: AgentId,
    /// The session, if the master speaks the native protocol; else it is a DockFlare Master.
    pub session: Option<String>,
}

impl Link {
    /// Returns the dialect that was agreed on.
    pub fn dialect(&self) -> Dialect {
        if self.session.is_some() { Dialect::Native } else { Dialect::V2 }
    }
}

/// Holds the latest link; clones share it.
#[derive(Debug, Clone)]
pub struct CurrentLink(Arc<watch::Sender<State>>);

#[derive(Debug, Default)]
struct State {
    epoch: u64,
    link: Option<Arc<Link>>,
    is_over: bool,
}

impl Default for CurrentLink {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl CurrentLink {
    /// Replaces the link by that of a new registration.
    pub fn set(&self, agent_id: AgentId, session: Option<String>) -> Arc<Link> {
        let mut made = None;
        self.0.send_modify(|state| {
            state.epoch += 1;
            let link = Arc::new(Link { epoch: state.epoch, agent_id, session });
            state.link = Some(Arc::clone(&link));
            made = Some(link);
        });
        made.expect("the closure above ran")
    }

    /// There is no link until the next registration.
    pub fn clear(&self) {
        self.0.send_if_modified(|state| state.link.take().is_some());
    }

    /// There is no link, and none is to be asked for by this process: a person removed this host at the master.
    pub fn end(&self) {
        self.0.send_modify(|state| (state.link, state.is_over) = (None, true));
    }

    /// Says if this host was removed at the master.
    pub fn is_over(&self) -> bool {
        self.0.borrow().is_over
    }

    /// Returns the link, if there is one.
    pub fn get(&self) -> Option<Arc<Link>> {
        self.0.borrow().link.clone()
    }

    /// Returns the link as soon as there is one.
    pub async fn wait(&self) -> Arc<Link> {
        let mut changes = self.0.subscribe();
        let state = changes.wait_for(|state| state.link.is_some()).await.expect("the sender is in `self`");
        state.link.clone().expect("waited for")
    }

    /// Returns when the link of `epoch` counts no more.
    pub async fn ended(&self, epoch: u64) {
        let mut changes = self.0.subscribe();
        let is_over = |state: &State| state.link.as_ref().is_none_or(|link| link.epoch != epoch);
        changes.wait_for(is_over).await.map(drop).expect("the sender is in `self`");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_newer_registration_ends_the_older_link() {
        let cell = CurrentLink::default();
        let first = cell.set(AgentId::new("a1"), None);
        assert_eq!((first.dialect(), cell.wait().await), (Dialect::V2, first.clone()));

        let second = cell.set(AgentId::new("a1"), Some("s".into()));
        cell.ended(first.epoch).await;
        assert_eq!((second.epoch, second.dialect()), (2, Dialect::Native));

        cell.clear();
        cell.ended(second.epoch).await;
        assert_eq!(cell.get(), None);
    }
}
