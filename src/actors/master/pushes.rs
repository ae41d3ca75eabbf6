//! What was pushed to registries: forgotten at the desk, and looked at by the hosts that run it.
//!
//! A push is a hint: a host looks every few minutes in any case, so nothing is written down and what is lost costs minutes.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use actix::prelude::*;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::env::Env;
use super::error::MasterError;
use super::scans::scan_now;
use crate::actors::supervision::{Ctx, supervised};
use crate::db;
use crate::domain::id::AgentId;
use crate::domain::registry::Reference;

/// Messages that may wait.
pub const CAPACITY: usize = 256;
/// Tags that are kept in mind between two rounds.
const MOST_TAGS: usize = 10_000;
/// Hosts that are told at the same time.
const AT_ONCE: usize = 16;
/// Who tells them, as the record calls it.
const BY: &str = "registry";

/// Gathers pushes, and has hosts look.
pub struct PushGatherer {
    env: Arc<OnceLock<Env>>,
    waiting: BTreeSet<Reference>,
    is_due: bool,
    /// No round begins before.
    rests_until: Instant,
}

/// These tags hold something else now.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Pushed(pub BTreeSet<Reference>);

/// It is time for a round.
#[derive(Message)]
#[rtype(result = "()")]
struct RoundDue;

impl PushGatherer {
    /// Makes one to which nobody spoke yet.
    pub fn new(env: Arc<OnceLock<Env>>) -> Self {
        Self { env, waiting: BTreeSet::new(), is_due: false, rests_until: Instant::now() }
    }
}

supervised!(PushGatherer);

impl Actor for PushGatherer {
    type Context = Ctx<Self>;
}

impl Handler<Pushed> for PushGatherer {
    type Result = ();

    fn handle(&mut self, Pushed(tags): Pushed, ctx: &mut Ctx<Self>) {
        let room = MOST_TAGS.saturating_sub(self.waiting.len());
        if tags.len() > room {
            tracing::warn!(
                left_out = tags.len() - room,
                "more was pushed than is kept in mind; hosts find it by themselves"
            );
        }
        self.waiting.extend(tags.into_iter().take(room));
        if let Some(env) = self.env.get().filter(|_| !self.is_due && !self.waiting.is_empty()) {
            self.is_due = true;
            let rest = self.rests_until.saturating_duration_since(Instant::now());
            ctx.notify_later(RoundDue, env.settings.push_settles.max(rest));
        }
    }
}

impl Handler<RoundDue> for PushGatherer {
    type Result = ();

    fn handle(&mut self, _: RoundDue, ctx: &mut Ctx<Self>) {
        self.is_due = false;
        let tags = std::mem::take(&mut self.waiting);
        if let Some(env) = self.env.get().cloned() {
            self.rests_until = Instant::now() + env.settings.push_rests;
            ctx.spawn(async move { round(&env, &tags).await }.into_actor(self));
        }
    }
}

async fn round(env: &Env, tags: &BTreeSet<Reference>) {
    let repositories: BTreeSet<_> = tags.iter().map(|tag| (&tag.registry, &tag.repository)).collect();
    for (registry, repository) in repositories {
        env.desk.forget(registry, repository);
    }
    let names: Vec<String> = tags.iter().map(Reference::familiar).collect();
    let agents = match db::updates::agents_that_run(&env.db, &names).await {
        Ok(agents) => agents,
        Err(error) => {
            tracing::warn!(%error, "could not tell who runs what was pushed; hosts find it by themselves");
            return;
        }
    };
    let told = stream::iter(&agents).map(|agent| tell(env, agent)).buffer_unordered(AT_ONCE);
    let told = told.filter(|was_told| std::future::ready(*was_told)).count().await;
    tracing::info!(tags = tags.len(), agents = told, "hosts are told to look for what was pushed");
}

/// Tells one to look; those that cannot be told look by themselves, or not at all.
async fn tell(env: &Env, agent: &AgentId) -> bool {
    match scan_now(env, agent, BY).await {
        Ok(_) => true,
        Err(MasterError::CannotScan { .. } | MasterError::AgentNotFound(_)) => false,
        Err(error) => {
            tracing::warn!(%error, agent.id = %agent, "could not tell a host to look for what was pushed");
            false
        }
    }
}
