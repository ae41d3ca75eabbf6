//! The memory that bodies of requests take together.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::protocol::REPORT_BODY_LIMIT;

/// What larger bodies take of the room is counted in this; a smaller one is not counted.
pub(super) const UNIT: usize = 64 << 10;
/// All that bodies may take together: eight of the largest.
pub(super) const ROOM: usize = 8 * REPORT_BODY_LIMIT / UNIT;

/// The memory that bodies take together, until the last of each is dropped. Who finds it taken comes again later.
#[derive(Clone)]
pub struct Room(pub(super) Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM)))
    }
}
