//! What others changed or deleted of ours: written down once, and put right or left to a person as it is set.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::TimeDelta;

use super::shared::{Shared, StoreFailed};
use super::words::Stop;
use crate::db::access::{find_application, find_policy};
use crate::db::drifts::{DriftRow, find_drift, healed_before, open_drifts};
use crate::db::story::records_of_name;
use crate::db::{Db, DbError, Expected, RowChange};
use crate::domain::drift::{Drift, DriftState, Remedy, judge, why_it_waits};
use crate::domain::event::{OwnedEvent, Stream};
use crate::domain::id::{AccountId, TunnelId};
use crate::domain::owned::OwnedKind;
use crate::domain::publish::DriftMode;

/// What was put right is remembered so long beside its thing; the record of events has it for good.
const REMEMBERED: TimeDelta = TimeDelta::days(30);
/// So many old ones are forgotten at a time.
const FORGOTTEN_AT_ONCE: u64 = 50;

/// What was found in an account and is not put right yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Drifts {
    mode: DriftMode,
    rows: Arc<BTreeMap<(OwnedKind, String), DriftRow>>,
}

impl Drifts {
    /// Reads it.
    pub async fn read(db: &Db, account: &AccountId, mode: DriftMode) -> Result<Self, DbError> {
        let rows = open_drifts(db, account).await?.into_iter();
        let rows = rows.map(|row| ((row.drift.kind, row.drift.name.clone()), row)).collect();
        Ok(Self { mode, rows: Arc::new(rows) })
    }

    /// Why a thing is left as it is until a person says something; none if it is not.
    pub fn waits(&self, kind: OwnedKind, name: &str) -> Option<String> {
        let row = self.rows.get(&(kind, name.to_owned()))?;
        let is_waiting = self.mode == DriftMode::Show && row.state == DriftState::Waits;
        is_waiting.then(|| waiting_words(&row.drift))
    }

    /// With these things that others changed.
    #[cfg(test)]
    pub fn found(things: &[(OwnedKind, &str)]) -> Self {
        let row = |(kind, name): &(OwnedKind, &str)| DriftRow {
            account_id: AccountId::new("account"),
            drift: Drift::in_words(*kind, name, "as we left it", None),
            tunnel_id: TunnelId::new("old"),
            found_at: chrono::DateTime::UNIX_EPOCH,
            state: DriftState::Waits,
        };
        let rows = things.iter().map(row).map(|row| ((row.drift.kind, row.drift.name.clone()), row));
        Self { mode: DriftMode::Show, rows: Arc::new(rows.collect()) }
    }

    /// True if others changed a thing, and it is not put right yet.
    pub fn is_open(&self, kind: OwnedKind, name: &str) -> bool {
        self.rows.contains_key(&(kind, name.to_owned()))
    }

    /// What was found of things of one kind in the work for a tunnel.
    pub fn of_tunnel<'a>(&'a self, tunnel: &'a TunnelId) -> impl Iterator<Item = &'a DriftRow> {
        self.rows.values().filter(move |row| row.tunnel_id == *tunnel)
    }
}

/// Why it waits, in words.
pub(super) fn waiting_words(drift: &Drift) -> String {
    why_it_waits(drift.kind, &drift.name, &drift.wanted, drift.found.as_deref())
}

/// Looks after what others change in the work for one tunnel.
#[derive(Clone, Copy)]
pub(super) struct Watch<'a> {
    pub shared: &'a Shared,
    pub tunnel: &'a TunnelId,
    pub drifts: &'a Drifts,
}

impl Watch<'_> {
    /// Takes note of what a look at a thing found. Returns why it is left as it is, if it is.
    pub async fn seen(
        &self,
        kind: OwnedKind,
        name: &str,
        drift: Option<Drift>,
        remedy: Remedy,
    ) -> Result<Option<String>, Stop> {
        let account = self.shared.cloudflare.account();
        let Some(drift) = drift else {
            // It is as it should be again, or it is not ours any more.
            let is_open = |row: &DriftRow| matches!(row.state, DriftState::Waits | DriftState::Lost);
            if self.drifts.rows.get(&(kind, name.to_owned())).is_some_and(is_open) {
                let (account_id, name) = (account.clone(), name.to_owned());
                self.shared.write(vec![RowChange::DeleteDrift { account_id, kind, name }]).await?;
            }
            return Ok(None);
        };
        let known = find_drift(&self.shared.db, account, kind, name).await?;
        let before = known.as_ref().map(|row| (&row.drift, row.state));
        let judged = judge(&drift, before, self.shared.settings.drift, remedy);
        if judged.is_news || known.as_ref().is_none_or(|row| row.state != judged.state) {
            self.note(&drift, judged.state, judged.is_news).await?;
        }
        Ok((judged.state == DriftState::Waits).then(|| waiting_words(&drift)))
    }

    /// Writes a finding down; what is news is an event.
    async fn note(&self, drift: &Drift, state: DriftState, is_news: bool) -> Result<(), Stop> {
        let (shared, account_id) = (self.shared, self.shared.cloudflare.account().clone());
        let row = DriftRow {
            account_id: account_id.clone(),
            drift: drift.clone(),
            tunnel_id: self.tunnel.clone(),
            found_at: shared.clock.now(),
            state,
        };
        let mut batch = shared.batch().row(RowChange::PutDrift(row));
        if is_news {
            tracing::warn!(
                tunnel.id = %self.tunnel, kind = drift.kind.as_str(), state = state.as_str(), "{}", drift.sentence()
            );
            metrics::counter!("lightship_drift_total", "kind" => drift.kind.as_str()).increment(1);
            let event = OwnedEvent::Drifted {
                account_id: account_id.clone(),
                tunnel_id: self.tunnel.clone(),
                kind: drift.kind,
                name: drift.name.clone(),
                wanted: drift.wanted.clone(),
                found: drift.found.clone(),
                state,
            };
            batch = batch.append(Stream::account(&account_id), Expected::Head, vec![event]);
            let old = healed_before(&shared.db, shared.clock.now() - REMEMBERED, FORGOTTEN_AT_ONCE).await?;
            // The one that is noted now may be old, too.
            let other = |row: &DriftRow| row.drift.kind != drift.kind || row.drift.name != drift.name;
            batch.rows.extend(old.into_iter().filter(other).map(forget));
        }
        shared.store.commit(batch).await?;
        shared.store.announce();
        Ok(())
    }

    /// Says of what was to be put right in the tunnel that it is, and forgets what nobody asks for any more.
    pub async fn settle(&self, is_done: bool, is_asked: impl Fn(&Drift) -> bool) -> Result<(), Stop> {
        let open = open_drifts(&self.shared.db, self.shared.cloudflare.account()).await?;
        let own = open.into_iter().filter(|row| row.tunnel_id == *self.tunnel);
        let rows = own.filter_map(|row| match row.state {
            _ if !is_asked(&row.drift) => Some(forget(row)),
            DriftState::Healing if is_done => {
                Some(RowChange::PutDrift(DriftRow { state: DriftState::Healed, ..row }))
            }
            _ => None,
        });
        let rows: Vec<RowChange> = rows.collect();
        Ok(self.shared.write(rows).await?)
    }
}

fn forget(row: DriftRow) -> RowChange {
    RowChange::DeleteDrift { account_id: row.account_id, kind: row.drift.kind, name: row.drift.name }
}

/// A person has everything put right that waits: what is there is not known to be as it should any more.
pub(super) async fn restore(shared: &Shared, by: &str) -> Result<Vec<TunnelId>, StoreFailed> {
    let account = shared.cloudflare.account();
    let failed = |error: DbError| StoreFailed(error.into());
    let open = open_drifts(&shared.db, account).await.map_err(failed)?;
    let mut tunnels = Vec::new();
    for row in open.into_iter().filter(|row| row.state == DriftState::Waits) {
        let mut batch = shared.batch();
        batch.by = by.to_owned();
        batch.rows.extend(unsettled(&shared.db, account, &row.drift).await.map_err(failed)?);
        let event = OwnedEvent::Restored {
            account_id: account.clone(),
            tunnel_id: row.tunnel_id.clone(),
            kind: row.drift.kind,
            name: row.drift.name.clone(),
        };
        tunnels.push(row.tunnel_id.clone());
        let batch = batch.append(Stream::account(account), Expected::Head, vec![event]);
        shared
            .store
            .commit(batch.row(RowChange::PutDrift(DriftRow { state: DriftState::Healing, ..row })))
            .await?;
    }
    Ok(tunnels)
}

/// The rows of a thing, so that it is looked at and ensured anew.
async fn unsettled(db: &Db, account: &AccountId, drift: &Drift) -> Result<Vec<RowChange>, DbError> {
    Ok(match drift.kind {
        // Rules are read before each write.
        OwnedKind::Rule | OwnedKind::Tunnel => Vec::new(),
        OwnedKind::Record => {
            let rows = records_of_name(db, &drift.name).await?;
            rows.into_iter()
                .map(|mut row| {
                    row.is_settled = false;
                    RowChange::PutDnsRecord(row)
                })
                .collect()
        }
        OwnedKind::Application => {
            let row = find_application(db, account, &drift.name).await?;
            row.into_iter()
                .map(|mut row| {
                    row.is_settled = false;
                    RowChange::PutAccessApplication(row)
                })
                .collect()
        }
        OwnedKind::Policy => {
            let row = find_policy(db, account, &drift.name).await?;
            row.into_iter()
                .map(|mut row| {
                    row.is_settled = false;
                    RowChange::PutAccessPolicy(row)
                })
                .collect()
        }
    })
}
