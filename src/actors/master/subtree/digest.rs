//! Digests of what an agent reports, so that a report equal to the one last committed is known without reading.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::domain::container::Container;
use crate::domain::tunnel::TunnelReport;

/// Returns a digest of containers, whatever their order; never 0.
pub fn digest_containers<'a>(containers: impl IntoIterator<Item = &'a Container>) -> u64 {
    let mut sum = 1_u64;
    for container in containers {
        let mut hasher = DefaultHasher::new();
        container.hash(&mut hasher);
        sum = sum.wrapping_add(hasher.finish() | 1);
    }
    sum.max(1)
}

/// Returns a digest of how a tunnel is; never 0. When the agent looked is not worth writing down.
pub fn digest_tunnel(report: &TunnelReport) -> u64 {
    let mut hasher = DefaultHasher::new();
    TunnelReport { observed_at: None, ..report.clone() }.hash(&mut hasher);
    hasher.finish().max(1)
}
