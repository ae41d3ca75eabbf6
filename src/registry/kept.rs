//! What outlasts a process: answers that are still good, what digests hold, and the registries' clocks.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::walk::Resolved;
use crate::domain::registry::{Digest, Pace, Platform};

/// What a client knows, to be given to the next one. It holds no credentials.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Kept {
    /// Digests of tags.
    #[serde(default)]
    pub(super) heads: Vec<KeptHead>,
    /// What digests hold.
    #[serde(default)]
    pub(super) contents: Vec<KeptContent>,
    /// Clocks, by host.
    #[serde(default)]
    pub(super) paces: Vec<(String, Pace)>,
}

/// Which tag: registry, repository, tag, account.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct HeadKey {
    pub registry: String,
    pub repository: String,
    pub tag: String,
    pub account: String,
}

/// Which content. Who may not see a repository is not told what others saw there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ContentKey {
    pub registry: String,
    pub repository: String,
    pub digest: Digest,
    pub platform: Platform,
    pub account: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptHead {
    pub key: HeadKey,
    pub digest: Digest,
    pub etag: Option<String>,
    pub at: DateTime<Utc>,
    pub was_fetched: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeptContent {
    pub key: ContentKey,
    pub resolved: Resolved,
}
