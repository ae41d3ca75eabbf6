//! What outlives a restart of the reporter: the last that is known of this host.
//!
//! Whoever tells the reporter something new puts it here first. A reporter that starts takes it from here, and may
//! then be told it once more, which says nothing new.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

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

/// Which enabled containers run; clones share it.
#[derive(Debug, Clone, Default)]
pub struct LastContainers(Arc<Mutex<Option<BTreeMap<ContainerId, Container>>>>);

impl LastContainers {
    /// These run, and no others.
    pub fn set(&self, list: &[Container]) {
        *self.0.lock() = Some(list.iter().map(|c| (c.id.clone(), c.clone())).collect());
    }

    /// Which ones run is not known until the next [`LastContainers::set`].
    pub fn clear(&self) {
        *self.0.lock() = None;
    }

    /// This one runs.
    pub fn started(&self, container: &Container) {
        if let Some(known) = &mut *self.0.lock() {
            known.insert(container.id.clone(), container.clone());
        }
    }

    /// This one runs no more.
    pub fn stopped(&self, id: &ContainerId) {
        if let Some(known) = &mut *self.0.lock() {
            known.remove(id);
        }
    }

    pub(super) fn get(&self) -> Option<Vec<Container>> {
        self.0.lock().as_ref().map(|known| known.values().cloned().collect())
    }
}
