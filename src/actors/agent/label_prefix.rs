//! Which label prefix counts beside the known ones: this host's own setting, else what the master says.

use std::sync::Arc;

use tokio::sync::watch;

/// Tells when another prefix counts.
pub type PrefixChanges = watch::Receiver<Option<String>>;

/// The prefix; clones share what the master said.
#[derive(Debug, Clone)]
pub struct LabelPrefix {
    own: Option<String>,
    learnt: Arc<watch::Sender<Option<String>>>,
}

impl LabelPrefix {
    /// Begins with this host's setting (`LABEL_PREFIX`), which no master overrides.
    pub fn new(own: Option<String>) -> Self {
        Self { own, learnt: Arc::new(watch::Sender::new(None)) }
    }

    /// Returns the prefix that counts now.
    pub fn get(&self) -> Option<String> {
        self.own.clone().or_else(|| self.learnt.borrow().clone())
    }

    /// Takes what the master said; returns true if another prefix counts from now on.
    pub fn learn(&self, said: Option<String>) -> bool {
        self.own.is_none()
            && self.learnt.send_if_modified(|learnt| {
                let is_new = *learnt != said;
                *learnt = said;
                is_new
            })
    }

    /// Tells when another one counts.
    pub fn changes(&self) -> PrefixChanges {
        self.learnt.subscribe()
    }
}
