//! How far the replacement of containers came.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::visit::Visited;
use crate::domain::update::PlannedChange;

/// What the old one's name ends with once the new one has its own.
const ASIDE: &str = "-lightship-old";

/// One container and the one that takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// The name that stays.
    pub name: String,
    /// The container that was there.
    pub old: String,
    /// The new one, once it is made and has all its networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// The image of the old one.
    pub old_image: String,
    /// The image of the new one.
    pub new_image: String,
    /// The image's name, as the container has it.
    pub image_name: String,
    /// The image that this name meant on the host before.
    pub tag_was: String,
    /// When the Engine starts it by itself.
    pub restart_policy: Value,
    /// True if it ran.
    pub runs: bool,
    /// True if the new one serves beside the old one first.
    #[serde(default)]
    pub beside: bool,
    /// The old one's inspection, if it is gone once it is stopped (`--rm`): what it is made anew from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<Value>,
    /// What visitors ask of it, if it is published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub visits: Vec<Visited>,
}

impl Swap {
    /// The name of the new one as long as the old one has its own.
    pub fn next_name(&self) -> String {
        Self::next_of(&self.name)
    }

    /// The name of the old one once the new one has its own.
    pub fn aside_name(&self) -> String {
        Self::aside_of(&self.name)
    }

    /// The name beside `name` of the one that is to come.
    pub fn next_of(name: &str) -> String {
        format!("{name}-lightship-new")
    }

    /// The name beside `name` of the one that was.
    pub fn aside_of(name: &str) -> String {
        format!("{name}{ASIDE}")
    }

    /// The name that one had, or has, which may be set aside for the time being.
    pub fn own_of(name: &str) -> &str {
        name.strip_suffix(ASIDE).unwrap_or(name)
    }

    /// True if only what it stands on is another one.
    pub fn keeps_its_image(&self) -> bool {
        self.old_image == self.new_image
    }
}

/// How far a group is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Nobody judged yet: it is gone on with, and judged.
    Open,
    /// All new ones are good; from here on the old ones may go.
    Good,
    /// The old ones are gone.
    Done,
    /// One is not good, or it is to be taken back: the new ones go.
    Bad {
        /// Why.
        reason: String,
        /// Whose new image failed; nobody's if a person had them taken back, or something else was in the way.
        failed: Option<String>,
    },
    /// The old ones are back.
    Back {
        /// Why.
        reason: String,
        /// Whose new image failed.
        failed: Option<String>,
    },
}

/// Containers that are replaced together or not at all; what others stand on comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// How far it is.
    #[serde(flatten)]
    pub phase: Phase,
    /// Its containers.
    pub swaps: Vec<Swap>,
}

impl Group {
    /// True if it is neither replaced nor put back.
    pub fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Done | Phase::Back { .. })
    }

    /// Returns those of these changes that its failure speaks against: the new image of the container that failed, or, if that one kept
    /// its image, all new ones that it was made anew with. What a person took back speaks against none.
    pub fn blamed<'a>(&self, changes: impl Iterator<Item = &'a PlannedChange>) -> Vec<&'a PlannedChange> {
        let Phase::Back { failed: Some(failed), .. } = &self.phase else { return Vec::new() };
        let is_in = |change: &&PlannedChange| self.swaps.iter().any(|swap| swap.name == change.name);
        let renewed = changes.filter(|change| change.from != change.to).filter(is_in);
        let (own, others): (Vec<_>, Vec<_>) = renewed.partition(|change| change.name == *failed);
        if own.is_empty() { others } else { own }
    }

    /// Its containers' names, for people.
    pub fn names(&self) -> String {
        self.swaps.iter().map(|swap| swap.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// All groups of a run, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swaps {
    /// The groups.
    pub groups: Vec<Group>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::update::{Kind, Operation};

    #[test]
    fn a_failure_speaks_against_the_image_of_who_failed_and_else_against_what_that_one_stands_on() {
        // given: two that got new images, and one that was made anew only because it lives in their network
        let swap = |name: &str| {
            json!({ "name": name, "old": "o", "old_image": "a", "new_image": "b", "image_name": "app:1",
                "tag_was": "x", "restart_policy": {}, "runs": true })
        };
        let change = |name: &str, to: &str| PlannedChange {
            kind: Kind::DockerImage,
            name: name.into(),
            arch: String::new(),
            operation: Operation::Replace,
            from: Some("a".into()),
            to: Some(to.into()),
            digest: Some(to.into()),
        };
        let changes =
            [change("vpn", "b"), change("web", "b"), change("lodger", "a"), change("elsewhere", "b")];
        for (phase, expected) in [
            (json!({ "phase": "back", "reason": "", "failed": "web" }), &["web"][..]),
            (json!({ "phase": "back", "reason": "", "failed": "lodger" }), &["vpn", "web"]),
            (json!({ "phase": "back", "reason": "", "failed": null }), &[]),
            (json!({ "phase": "back", "reason": "" }), &[]),
            (json!({ "phase": "bad", "reason": "", "failed": "web" }), &[]),
            (json!({ "phase": "done" }), &[]),
        ] {
            let mut group = phase;
            group["swaps"] = json!([swap("vpn"), swap("web"), swap("lodger")]);
            let group: Group = serde_json::from_value(group).unwrap();

            // when
            let blamed: Vec<&str> =
                group.blamed(changes.iter()).iter().map(|change| change.name.as_str()).collect();

            // then
            assert_eq!(blamed, expected, "{:?}", group.phase);
        }
    }
}
