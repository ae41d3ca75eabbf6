//! Where an event comes from.

/// When an event happened, who decided it, and its place in the order of all events.
#[derive(Debug, Clone, Copy)]
pub(in crate::db) struct Origin<'a> {
    pub(in crate::db) at: i64,
    pub(in crate::db) by: &'a str,
    pub(in crate::db) seq: i64,
}
