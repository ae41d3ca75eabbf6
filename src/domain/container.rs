//! A container as an agent reports it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::ContainerId;

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
}
