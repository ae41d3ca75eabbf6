//! What a reporter is told.

use std::sync::Arc;

use actix::Message;

use crate::domain::container::Container;
use crate::domain::host::Host;
use crate::domain::id::ContainerId;
use crate::domain::tunnel::TunnelReport;
use crate::domain::update::{HostScan, RunProgress};

/// What runs on this host, as the watcher sees it.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum ContainerNews {
    /// These enabled containers run, and no others. Told only after a listing that succeeded.
    Listed(Vec<Container>),
    /// The Engine cannot be asked: what runs is not known until the next listing.
    ListingLost,
    /// This enabled container runs.
    Started(Container),
    /// This container runs no more.
    Stopped(ContainerId),
}

/// This is how the tunnel is.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct TunnelObserved(pub TunnelReport);

/// This is what is pending on the host, and what the host is.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct HostSeen {
    /// What is pending.
    pub scan: Arc<HostScan>,
    /// The machine.
    pub host: Box<Host>,
}

/// This is how far a run on the host is; nothing when it ended.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct RunSeen(pub Option<Box<RunProgress>>);

/// Something waits in the outbox.
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
