//! What a reporter is told.

use actix::Message;

use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::tunnel::TunnelReport;

/// These enabled containers run, and no others. Sent only after a listing that succeeded.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ContainersListed(pub Vec<Container>);

/// Docker cannot be asked: which containers run is not known until the next [`ContainersListed`].
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ListingLost;

/// This enabled container runs.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ContainerStarted(pub Container);

/// This container runs no more.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct ContainerStopped(pub ContainerId);

/// This is how the tunnel is.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct TunnelObserved(pub TunnelReport);

/// The result of a command waits in the outbox.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ResultSpooled;

/// The master does not know the link of this epoch any more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct LinkLost {
    /// Which registration; news about an older one is ignored.
    pub epoch: u64,
}

/// The master of this epoch's link says that this host was removed there.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RemovedThere {
    /// Which registration; news about an older one is ignored.
    pub epoch: u64,
}

/// It is time for a sign of life.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct HeartbeatDue;
