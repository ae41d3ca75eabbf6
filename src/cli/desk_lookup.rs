//! An agent that asks its master's registry desk before it asks registries.

use std::sync::Arc;

use async_trait::async_trait;

use crate::actors::agent::link::CurrentLink;
use crate::domain::registry::{Answer, Ask, Circumstance, refusal};
use crate::domain::update::Cause;
use crate::protocol::v3::ASKS_LIMIT;
use crate::registry::Lookup;
use crate::uplink::Uplink;

/// The desk of the master that the agent is registered with.
pub(super) struct DeskLookup {
    uplink: Arc<dyn Uplink>,
    link: CurrentLink,
}

impl DeskLookup {
    pub(super) fn new(uplink: Arc<dyn Uplink>, link: CurrentLink) -> Self {
        Self { uplink, link }
    }

    /// Asks the desk; nothing if no master answers, or it has none.
    async fn ask(&self, asks: &[Ask]) -> Vec<Answer> {
        let Some(link) = self.link.get() else { return Vec::new() };
        let Some(session) = &link.session else { return Vec::new() };
        match self.uplink.ask_images(&link.agent_id, session, asks.to_vec()).await {
            Ok(answers) => answers,
            Err(error) => {
                tracing::debug!(%error, "the master's registry desk does not answer; registries are asked from here");
                Vec::new()
            }
        }
    }
}

#[async_trait]
impl Lookup for DeskLookup {
    /// What the desk cannot reach, or may not see, is left to whoever is asked next: this host may have a login of its own.
    async fn look_up(&self, asks: Vec<Ask>) -> Vec<Answer> {
        let mut all = Vec::with_capacity(asks.len());
        for chunk in asks.chunks(ASKS_LIMIT) {
            let mut answers = self.ask(chunk).await.into_iter();
            all.extend(chunk.iter().map(|ask| match answers.next() {
                Some(answer) if answer.refused_by(Cause::NotAllowed) => {
                    away(ask, "the master has no login for it")
                }
                Some(answer) => answer,
                None => away(ask, "the master was not asked"),
            }));
        }
        all
    }
}

fn away(ask: &Ask, reason: &str) -> Answer {
    let what = Circumstance::NoAnswer { reason: reason.to_owned(), is_https_only: false };
    Answer::refused(ask, &refusal(&ask.registry, &format!("{}:{}", ask.repository, ask.tag), &what))
}
