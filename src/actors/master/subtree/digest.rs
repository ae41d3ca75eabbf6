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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::ContainerId;
    use crate::domain::networks::Networks;

    fn on(networks: &[&str]) -> Container {
        let networks: Networks = networks.iter().map(|&name| (name.to_owned(), Default::default())).collect();
        Container {
            id: ContainerId::new("c"),
            name: "app".into(),
            labels: Default::default(),
            image: None,
            status: None,
            networks: Some(networks),
        }
    }

    #[test]
    fn another_network_is_news_and_another_order_is_not() {
        let digest = |container: &Container| digest_containers([container]);
        let both = digest(&on(&["edge", "inner"]));
        assert_eq!(both, digest(&on(&["inner", "edge"])));
        for other in [on(&["edge"]), on(&[]), Container { networks: None, ..on(&[]) }] {
            assert_ne!(both, digest(&other), "{other:?}");
        }
    }
}
