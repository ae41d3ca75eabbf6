//! How far the replacement of containers came.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::visit::Visited;

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
        /// True if the new ones failed, and not a person had them taken back.
        is_failure: bool,
    },
    /// The old ones are back.
    Back {
        /// Why.
        reason: String,
        /// True if the new ones failed.
        is_failure: bool,
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
