//! What is recorded of runs on this host: by the agent and the verbs in one place, by the helper in another.

use crate::domain::update::{Run, RunId};
use crate::state_dir::{Runs, StateError};

/// The records of all who change this host, as far as this user may see them.
pub(super) struct Records(Vec<Runs>);

impl Records {
    /// Those in these places.
    pub(super) fn new(places: impl IntoIterator<Item = Runs>) -> Self {
        Self(places.into_iter().collect())
    }

    /// Reads all of them, the newest first.
    pub(super) fn list(&self) -> Result<Vec<Run>, StateError> {
        let mut all = Vec::new();
        for place in &self.0 {
            all.extend(place.list()?);
        }
        all.sort_by_key(|run| std::cmp::Reverse(run.started_at));
        Ok(all)
    }

    /// Returns the place that has the record of a run.
    pub(super) fn of(&self, run: &RunId) -> Result<Option<&Runs>, StateError> {
        for place in &self.0 {
            if place.read(run)?.is_some() {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}
