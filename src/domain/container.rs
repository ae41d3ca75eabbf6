//! A container as an agent reports it, and how many of them one agent may have.
//!
//! What a report may cost the master is bounded here and in [`labels`](super::labels): no host has as much by
//! accident, and one that goes wrong must not hold up the others.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::id::ContainerId;
use super::networks::{Networks, names};

/// What is known of one running container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Container {
    /// The Engine's id.
    pub id: ContainerId,
    /// Name without the leading slash; unique on its host, so it outlives a re-creation.
    pub name: String,
    /// Labels that concern publishing; agents leave other people's labels at home.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Image as the container names it; a DockFlare agent does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The Engine's word for its state, such as `running`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Its networks with the names that it goes by there; null where they are not known, as from a DockFlare agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Networks>,
}

/// Most containers of one agent.
pub const MAX_CONTAINERS: usize = 2_000;
/// Most labels of all containers of one agent together.
pub const MAX_LABELS: usize = 50_000;
/// Most bytes of all labels and network names of one agent's containers together: what is kept fits into one report.
pub const MAX_LABEL_BYTES: usize = 8 << 20;
/// Longest id of a container, in characters; the Engine's have 64.
pub const MAX_ID_CHARS: usize = 128;
/// Longest name of a container that is kept, in characters; the Engine's own names are far shorter.
pub const MAX_NAME_CHARS: usize = 255;

/// More than the master keeps of one agent. Which containers would be the ones to leave out nobody can tell, so all
/// of the report is refused and what was known before stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Too many containers.
    #[error("{0} containers are too many; one agent may have {MAX_CONTAINERS}")]
    Containers(usize),
    /// Too many labels.
    #[error("its containers have {0} labels together; those of one agent may have {MAX_LABELS}")]
    Labels(usize),
    /// Too long labels.
    #[error(
        "labels and network names of its containers have {0} bytes together; those of one agent may have {MAX_LABEL_BYTES}"
    )]
    LabelBytes(usize),
}

/// Says whether one agent may have all of these.
pub fn check_all<'a>(containers: impl IntoIterator<Item = &'a Container>) -> Result<(), TooMuch> {
    let (mut count, mut labels, mut bytes) = (0, 0, 0);
    for container in containers {
        count += 1;
        labels += container.labels.len();
        bytes += container.labels.iter().map(|(label, value)| label.len() + value.len()).sum::<usize>();
        bytes += container.networks.iter().flat_map(names).map(String::len).sum::<usize>();
    }
    match () {
        () if count > MAX_CONTAINERS => Err(TooMuch::Containers(count)),
        () if labels > MAX_LABELS => Err(TooMuch::Labels(labels)),
        () if bytes > MAX_LABEL_BYTES => Err(TooMuch::LabelBytes(bytes)),
        () => Ok(()),
    }
}

/// Returns a digest of containers, whatever their order; never 0.
pub fn digest<'a>(containers: impl IntoIterator<Item = &'a Container>) -> u64 {
    let mut sum = 1_u64;
    for container in containers {
        let mut hasher = DefaultHasher::new();
        container.hash(&mut hasher);
        sum = sum.wrapping_add(hasher.finish() | 1);
    }
    sum.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let digest = |container: &Container| super::digest([container]);
        let both = digest(&on(&["edge", "inner"]));
        assert_eq!(both, digest(&on(&["inner", "edge"])));
        for other in [on(&["edge"]), on(&[]), Container { networks: None, ..on(&[]) }] {
            assert_ne!(both, digest(&other), "{other:?}");
        }
    }

    fn containers(count: usize, labels: usize, value: &str) -> Vec<Container> {
        let one = |number: usize| Container {
            id: ContainerId::new(number.to_string()),
            name: number.to_string(),
            labels: (0..labels).map(|label| (format!("{label:06}"), value.to_owned())).collect(),
            image: None,
            status: None,
            networks: None,
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn what_one_agent_may_have_is_counted_exactly_and_the_excess_is_named() {
        let wide = MAX_LABEL_BYTES / 8 - 6;
        for (count, labels, value, expected) in [
            (MAX_CONTAINERS, MAX_LABELS / MAX_CONTAINERS, "x", Ok(())),
            (MAX_CONTAINERS + 1, 0, "", Err(TooMuch::Containers(2_001))),
            (1, MAX_LABELS, "", Ok(())),
            (1, MAX_LABELS + 1, "", Err(TooMuch::Labels(50_001))),
            (2, MAX_LABELS / 2 + 1, "", Err(TooMuch::Labels(50_002))),
            (8, 1, &"x".repeat(wide), Ok(())),
            (8, 1, &"x".repeat(wide + 1), Err(TooMuch::LabelBytes(MAX_LABEL_BYTES + 8))),
        ] {
            assert_eq!(check_all(&containers(count, labels, value)), expected, "{count} x {labels}");
        }
        assert!(TooMuch::Containers(2_001).to_string().contains("one agent may have 2000"));
    }
}
