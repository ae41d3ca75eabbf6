//! All containers of a host with their images, as they are now: what plans are made of and held against.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::docker::{DockerError, EngineContainers};
use crate::domain::registry::Reference;
use crate::domain::update::swap::{Node, StandsOn, Swap, groups, node, own_container, refused};

/// API version from which on an endpoint's hardware address can be asked for.
const KEEPS_HARDWARE_ADDRESSES: (usize, usize) = (1, 44);

/// The containers of a host, and what this program stands on.
pub(super) struct Basis {
    containers: BTreeMap<String, Value>,
    images: BTreeMap<String, Value>,
    stands_on: StandsOn,
}

impl Basis {
    /// Looks at all of them.
    pub(super) async fn of(engine: &EngineContainers) -> Result<Self, DockerError> {
        let stands_on = StandsOn {
            own: this_container(),
            engine_host: engine.host(),
            keeps_hardware_addresses: engine.api_version().await? >= KEEPS_HARDWARE_ADDRESSES,
        };
        let (mut containers, mut images) = (BTreeMap::new(), BTreeMap::new());
        for id in engine.ids().await? {
            // One may end meanwhile.
            let Some(container) = engine.inspect(&id).await? else { continue };
            let image = image_id(&container);
            if !images.contains_key(image)
                && let Some(found) = engine.inspect_image(image).await?
            {
                images.insert(image.to_owned(), found);
            }
            containers.insert(id, container);
        }
        Ok(Self { containers, images, stands_on })
    }

    /// What the Engine knows of the image of a container; null if that is gone.
    pub(super) fn image(&self, container: &Value) -> &Value {
        self.images.get(image_id(container)).unwrap_or(&Value::Null)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Value> {
        self.containers.get(id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Value> {
        self.containers.values()
    }

    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.all().find(|container| name_of(container) == name)
    }

    /// True if a container runs what `word` says: an image's id, or a digest that a registry knows it by.
    pub(super) fn is_on(&self, container: &Value, word: &str) -> bool {
        let image = self.images.get(image_id(container));
        let digests = image.and_then(|image| image["RepoDigests"].as_array()).into_iter().flatten();
        let mut digests = digests.filter_map(|name| name.as_str()?.split_once('@')).map(|(_, digest)| digest);
        image_id(container) == word || digests.any(|digest| digest == word)
    }

    /// The wanted ones with all that stand on them, what others stand on first.
    pub(super) fn groups(&self, wanted: &BTreeSet<String>) -> Vec<Vec<&Value>> {
        let nodes: Vec<Node> = self.all().map(node).collect();
        let found = groups(&nodes, wanted);
        found.iter().map(|group| group.iter().filter_map(|id| self.get(id)).collect()).collect()
    }

    /// Why a container is not replaced, if it is not.
    pub(super) fn refusal(&self, container: &Value) -> Option<String> {
        if let Some(reason) = refused(container, &self.stands_on) {
            return Some(reason.to_owned());
        }
        let name = name_of(container);
        let beside = [Swap::next_of(name), Swap::aside_of(name)];
        let in_the_way = beside.into_iter().find(|name| self.named(name).is_some())?;
        Some(format!(
            "a container `{in_the_way}` is in the way, which an earlier replacement left: look at both, and remove one"
        ))
    }

    /// The same for the first of a group that is not replaced, with its name.
    pub(super) fn group_refusal(&self, group: &[&Value]) -> Option<String> {
        group.iter().find_map(|container| {
            let reason = self.refusal(container)?;
            Some(format!("`{}` would have to be made anew with it, and is not: {reason}", name_of(container)))
        })
    }
}

/// The id of the container that this program runs in.
pub(super) fn this_container() -> Option<String> {
    own_container(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// Its name, without the Engine's slash.
pub(super) fn name_of(container: &Value) -> &str {
    container["Name"].as_str().unwrap_or_default().trim_start_matches('/')
}

pub(super) fn id_of(container: &Value) -> &str {
    container["Id"].as_str().unwrap_or_default()
}

/// The image that it runs.
pub(super) fn image_id(container: &Value) -> &str {
    container["Image"].as_str().unwrap_or_default()
}

/// The image as it was told to use.
pub(super) fn image_name(container: &Value) -> &str {
    container["Config"]["Image"].as_str().unwrap_or_default()
}

/// True if a person who writes `text` means this container: its name, or the name of its image with a tag or a repository in
/// it. A bare word is no image, since it may be a package.
pub(super) fn is_meant(text: &str, container: &Value) -> bool {
    let is_image = || {
        let [one, other] = [text, image_name(container)].map(|name| Reference::parse(name).ok());
        one.is_some_and(|one| other.is_some_and(|other| one.familiar() == other.familiar()))
    };
    name_of(container) == text || text.contains([':', '/']) && is_image()
}
