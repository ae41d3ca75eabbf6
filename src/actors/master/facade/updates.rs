//! What people decide about updates.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::Master;
use crate::actors::master::error::MasterError;
use crate::actors::master::fleet::Work;
use crate::actors::master::pushes::Pushed;
use crate::db::updates::find_updates;
use crate::domain::id::{AgentId, UpdateId};
use crate::domain::registry::Reference;
use crate::domain::update::{Decision, Kind};

/// Hosts that are asked at the same time.
const AT_ONCE: usize = 16;

/// What became of a decision about many updates.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// Updates that it concerns now.
    pub decided: usize,
    /// Updates that could not be decided about: they are under way, at their end, or not known.
    pub left: usize,
}

impl Master {
    /// Decides about updates, or takes back what was decided; those that it cannot concern are counted.
    pub async fn decide_updates(
        &self,
        ids: &[UpdateId],
        decision: Option<Decision>,
        by: &str,
    ) -> Result<Decided, MasterError> {
        let mut of_agents = BTreeMap::<AgentId, Vec<(Kind, String)>>::new();
        for row in find_updates(&self.db, ids).await? {
            of_agents.entry(row.agent_id).or_default().push((row.kind, row.update.finding.name));
        }
        let asked =
            stream::iter(of_agents.into_iter().map(|(agent, updates)| {
                let decision = decision.clone();
                let by = by.to_owned();
                async move {
                    self.work(&agent, |reply| Work::DecideUpdates { updates, decision, by, reply }).await
                }
            }));
        let counts: Vec<usize> = asked.buffer_unordered(AT_ONCE).try_collect().await?;
        let decided = counts.into_iter().sum();
        let asked: BTreeSet<&UpdateId> = ids.iter().collect();
        Ok(Decided { decided, left: asked.len().saturating_sub(decided) })
    }

    /// Takes in that these tags hold something else now: soon the hosts that run them look, each once for all of them.
    pub fn pushed(&self, tags: BTreeSet<Reference>) -> Result<(), MasterError> {
        self.pushes.tell(Pushed(tags)).map(drop).map_err(|_| MasterError::Busy)
    }
}
