//! What waits to be told, by target, while a round adds to it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::actors::master::env::Env;
use crate::actors::master::error::MasterError;
use crate::db::RowChange;
use crate::db::notifications::{TargetRow, TargetStateRow, list_notices, list_target_states};
use crate::domain::id::TargetId;
use crate::domain::notify::{MOST_PENDING, Notice, take_in, wants};

/// Notices that wait, by target and by what they are about.
type Pending = BTreeMap<TargetId, BTreeMap<(String, String), Notice>>;

/// What waits to be told, and what of it changed.
pub(super) struct Waiting {
    pending: Pending,
    states: BTreeMap<TargetId, TargetStateRow>,
    changed: BTreeSet<(TargetId, (String, String))>,
    /// How many were left out of late.
    left_out: BTreeMap<TargetId, u32>,
    /// What changed of notices that are there no more.
    gone: Vec<RowChange>,
}

impl Waiting {
    /// Reads all of it.
    pub(super) async fn read(env: &Env) -> Result<Self, MasterError> {
        let mut pending = Pending::new();
        for (target, notice) in list_notices(&env.db).await? {
            pending.entry(target).or_default().insert(key(&notice), notice);
        }
        let states = list_target_states(&env.db).await?;
        Ok(Self {
            pending,
            states: states.into_iter().map(|row| (row.target_id.clone(), row)).collect(),
            changed: BTreeSet::new(),
            left_out: BTreeMap::new(),
            gone: Vec::new(),
        })
    }

    /// Returns what waits for a target.
    pub(super) fn of(&self, id: &TargetId) -> Vec<Notice> {
        self.pending.get(id).into_iter().flat_map(BTreeMap::values).cloned().collect()
    }

    /// Returns how a target is, if anything was sent to it.
    pub(super) fn state(&self, id: &TargetId) -> Option<&TargetStateRow> {
        self.states.get(id)
    }

    /// Adds a notice for each target that wants it.
    pub(super) fn add(&mut self, targets: &[TargetRow], notice: &Notice, since: DateTime<Utc>) {
        for row in targets.iter().filter(|row| wants(&row.target, row.made_at, notice, since)) {
            let id = &row.target.id;
            let own = self.pending.entry(id.clone()).or_default();
            let key = key(notice);
            let before = own.get(&key);
            if before.is_none() && own.len() >= MOST_PENDING {
                *self.left_out.entry(id.clone()).or_default() += 1;
                continue;
            }
            match take_in(before, notice.clone()) {
                Some(notice) => drop(own.insert(key.clone(), notice)),
                None => {
                    own.remove(&key);
                    self.gone.push(RowChange::DeleteNotice {
                        target_id: id.clone(),
                        topic: notice.topic,
                        subject: notice.subject.clone(),
                    });
                }
            }
            self.changed.insert((id.clone(), key));
        }
    }

    /// Returns what is to be written.
    pub(super) fn rows(self) -> Vec<RowChange> {
        // What went and came again in one round is put after it was deleted.
        let mut rows = self.gone;
        for (target_id, key) in &self.changed {
            if let Some(notice) = self.pending.get(target_id).and_then(|own| own.get(key)) {
                rows.push(RowChange::PutNotice { target_id: target_id.clone(), notice: notice.clone() });
            }
        }
        rows.extend(self.left_out.into_iter().map(|(target_id, more)| {
            let before = self.states.get(&target_id).map_or(0, |state| state.left_out);
            RowChange::SetLeftOut { target_id, left_out: before.saturating_add(more) }
        }));
        rows
    }
}

fn key(notice: &Notice) -> (String, String) {
    (notice.topic.as_str().to_owned(), notice.subject.clone())
}
