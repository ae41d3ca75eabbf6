//! A registry as one look-up sees it.

use super::credentials::Login;
use crate::domain::registry::DOCKER_HUB;

/// Who is asked, as whom, and about what else in the same breath.
pub(super) struct Site {
    /// The registry, as it stands in names of images.
    pub registry: String,
    /// Our account there.
    pub login: Option<Login>,
    /// Why there is no account, although there should be one.
    pub note: Option<String>,
    /// All repositories that are asked about together: one token is good for many of them.
    pub repositories: Vec<String>,
}

impl Site {
    /// Host and port that are asked.
    pub fn host(&self) -> &str {
        if self.registry == DOCKER_HUB { "registry-1.docker.io" } else { &self.registry }
    }

    /// The account's name; empty for nobody.
    pub fn account(&self) -> &str {
        self.login.as_ref().map_or("", |login| &login.account)
    }
}
