//! The native session of an agent: the dialect it speaks, and which report comes next.

use std::sync::atomic::Ordering;

use super::Slot;
use crate::domain::delivery::Dialect;

/// A session that is open.
#[derive(Debug)]
pub(super) struct NativeSession {
    id: String,
    next_seq: u64,
}

impl Slot {
    /// True if the agent speaks the native dialect in this session.
    pub fn has_session(&self, session: &str) -> bool {
        self.session.lock().as_ref().is_some_and(|open| open.id == session)
    }

    /// Returns what the agent spoke when it last registered, be it with the master that ran before this one. The
    /// database says the same.
    pub fn dialect(&self) -> Dialect {
        if self.is_native.load(Ordering::Acquire) { Dialect::Native } else { Dialect::V2 }
    }

    pub(in crate::actors::master) fn set_dialect(&self, dialect: Dialect) {
        self.is_native.store(dialect == Dialect::Native, Ordering::Release);
    }

    pub(super) fn has_any_session(&self) -> bool {
        self.session.lock().is_some()
    }

    /// Returns the number that the next report of this session should bear; none if the session is not open.
    pub fn next_seq(&self, session: &str) -> Option<u64> {
        self.session.lock().as_ref().filter(|open| open.id == session).map(|open| open.next_seq)
    }

    /// Begins a native session; an earlier one is over.
    pub(in crate::actors::master) fn open_session(&self, id: String) {
        *self.session.lock() = Some(NativeSession { id, next_seq: 0 });
        self.lists.forget();
    }

    pub(in crate::actors::master) fn close_session(&self) {
        *self.session.lock() = None;
    }

    /// Records that everything before `next_seq` was committed; never goes back. Returns the number that the next
    /// report should bear; none if the session is over.
    pub(in crate::actors::master) fn advance(&self, session: &str, next_seq: u64) -> Option<u64> {
        let mut open = self.session.lock();
        let open = open.as_mut().filter(|open| open.id == session)?;
        open.next_seq = open.next_seq.max(next_seq);
        Some(open.next_seq)
    }
}
