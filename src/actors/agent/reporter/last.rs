//! What outlives a restart of the reporter: the last that is known of this host.
//!
//! Whoever tells the reporter something new puts it here first. A reporter that starts takes it from here, and may
//! then be told it once more, which says nothing new.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::messages::{ContainerNews, HostSeen};
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::tunnel::TunnelReport;

/// How the tunnel was when it was last looked at; clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastTunnel(Arc<Mutex<Option<TunnelReport>>>);

impl LastTunnel {
    /// Replaces what is known.
    pub fn set(&self, report: TunnelReport) {
        *self.0.lock() = Some(report);
    }

    pub(super) fn get(&self) -> Option<TunnelReport> {
        self.0.lock().clone()
    }
}

/// What was last seen of the host; clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastSeen(Arc<Mutex<Option<HostSeen>>>);

impl LastSeen {
    /// Replaces what is known.
    pub fn set(&self, seen: HostSeen) {
        *self.0.lock() = Some(seen);
    }

    pub(super) fn get(&self) -> Option<HostSeen> {
        self.0.lock().clone()
    }
}

/// Which enabled containers run; clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastContainers(Arc<Mutex<Option<BTreeMap<ContainerId, Container>>>>);

impl LastContainers {
    /// Takes in what the reporter is told.
    pub fn note(&self, news: &ContainerNews) {
        let mut last = self.0.lock();
        match (news, &mut *last) {
            (ContainerNews::Listed(list), last) => {
                *last = Some(list.iter().map(|c| (c.id.clone(), c.clone())).collect());
            }
            (ContainerNews::ListingLost, last) => *last = None,
            (ContainerNews::Started(container), Some(known)) => {
                known.insert(container.id.clone(), container.clone());
            }
            (ContainerNews::Stopped(id), Some(known)) => drop(known.remove(id)),
            (ContainerNews::Started(_) | ContainerNews::Stopped(_), None) => {}
        }
    }

    pub(super) fn get(&self) -> Option<Vec<Container>> {
        self.0.lock().as_ref().map(|known| known.values().cloned().collect())
    }
}
