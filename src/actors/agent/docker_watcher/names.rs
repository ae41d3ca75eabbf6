//! The names that containers go by on their networks. A listing tells the networks alone; the names take a question for
//! each container, so they are asked for once, and again when something happened to its networks.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::docker::Docker;
use crate::domain::container::Container;
use crate::domain::id::ContainerId;
use crate::domain::networks::{Networks, fit, names};

/// So long all questions may take together: what is published does not wait for a name.
const LIMIT: Duration = Duration::from_secs(2);
/// Questions at once.
const AT_ONCE: usize = 8;

/// Networks of containers to which nothing happened since they were asked for.
pub(super) type KnownNetworks = BTreeMap<ContainerId, Networks>;

/// Adds the names to those of the listed containers that are ours. Networks of which the names cannot be had are left
/// out: by half of them a name would seem unknown where it is not.
pub(super) async fn with_names(
    docker: &dyn Docker,
    listed: Vec<Container>,
    known: &KnownNetworks,
    is_ours: impl Fn(&Container) -> bool,
) -> Vec<Container> {
    let due = Instant::now() + LIMIT;
    let asked = listed.into_iter().map(|mut container| {
        let is_ours = is_ours(&container);
        async move {
            if is_ours {
                container.networks = networks_of(docker, &container, known, due).await;
            }
            container
        }
    });
    stream::iter(asked).buffered(AT_ONCE).collect().await
}

async fn networks_of(
    docker: &dyn Docker,
    container: &Container,
    known: &KnownNetworks,
    due: Instant,
) -> Option<Networks> {
    let listed = container.networks.as_ref()?;
    if let Some(known) = known.get(&container.id).filter(|known| known.keys().eq(listed.keys())) {
        return Some(known.clone());
    }
    let found = timeout_at(due, docker.find_container(container.id.as_str())).await.ok()?.ok()??;
    fit(names(&found.networks)).then_some(found.networks)
}
