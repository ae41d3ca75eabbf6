//! What names stand for while containers are replaced: new ids for old ones, and images by their tags.

use std::collections::BTreeMap;

use crate::domain::registry::Reference;

/// Ids and names of containers that were replaced before, by their old ids.
#[derive(Default)]
pub(super) struct Replaced {
    pub(super) ids: BTreeMap<String, String>,
    pub(super) names: BTreeMap<String, String>,
}

impl Replaced {
    pub(super) fn note(&mut self, old: String, new: String, name: String) {
        self.names.insert(old.clone(), name);
        self.ids.insert(old, new);
    }
}

/// Repository and tag of an image's name; none if it is pinned, or an id.
pub(super) fn named(image: &str) -> Option<(String, String)> {
    let reference = Reference::parse(image).ok().filter(|reference| reference.digest.is_none())?;
    Some((reference.familiar_repository(), reference.tag().to_owned()))
}
