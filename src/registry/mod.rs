//! Container registries: what a tag holds, asked with as few requests as there can be.
//!
//! One HEAD for each (registry, repository, tag, account), however many ask; a manifest is fetched only when the digest is
//! another one than those that are there, and once. Every registry has a queue whose clock its own answers move. What is
//! understood of the answers is decided in `domain::registry`.

mod auth;
mod cells;
mod client;
mod credentials;
mod exchange;
mod fetch;
mod first;
mod kept;
mod lanes;
mod site;
mod walk;

use async_trait::async_trait;

pub use client::{RegistryClient, Settings};
pub use credentials::{Credentials, DockerLogins, HelperEnded, Login, NoLogins, RunHelper, Secret};
pub use exchange::Limits;
pub use first::FirstOf;
pub use kept::Kept;

pub use crate::domain::registry::{Answer, Ask};

/// Whoever can say what tags hold: a registry's client, the Engine, the master's desk.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Answers each question, in their order; there are as many answers as questions.
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer>;
}

/// Whoever says it, and keeps in mind what registries said.
pub trait Registries: Lookup {
    /// Forgets what was known of a repository's tags, because somebody pushed there.
    fn forget(&self, registry: &str, repository: &str);

    /// Forgets all that was known of a registry, because another account asks there from now on.
    fn forget_registry(&self, registry: &str);
}
