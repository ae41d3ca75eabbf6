//! Group commit: many batches, one transaction, one answer each.
//!
//! The transaction is the only writer (SQLite: IMMEDIATE; PostgreSQL: an advisory lock), so each batch is decided
//! in memory on rows read inside it, and a refused batch is undone in memory. That does what a savepoint per
//! batch would, for a handful of statements per group. Should the engine itself refuse the group's rows, each
//! batch is written alone, so that only the one at fault fails.

use sea_orm::{DatabaseTransaction, DbErr, SqliteTransactionMode, TransactionOptions, TransactionTrait};

use super::batch::{Assumption, Batch, CommitError, Committed};
use super::database::Db;
use super::error::DbError;
use super::needs::Needs;
use super::times::micros;
use super::unit::Unit;
use super::{changes, event_store, projections, writer_lock};
use crate::domain::agent::{AgentStatus, KeyStatus};
use crate::domain::event::Stream;

/// Batches in one transaction; more are written in several.
const GROUP: usize = 512;

type Outcome = Result<Committed, CommitError>;

/// Writes batches and says for each how it went.
pub(super) async fn commit_many(db: &Db, batches: &[Batch]) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(batches.len());
    for group in batches.chunks(GROUP) {
        match commit_group(db, group).await {
            Ok(decided) => outcomes.extend(decided),
            Err(CommitError::Db(error)) if group.len() > 1 && error.is_about_the_data() => {
                for batch in group {
                    outcomes.push(commit_alone(db, batch).await);
                }
            }
            Err(error) => {
                let error = named(db, error);
                outcomes.extend(group.iter().map(|_| Err(error.clone())));
            }
        }
    }
    outcomes
}

/// Says which database is full.
fn named(db: &Db, error: CommitError) -> CommitError {
    match error {
        CommitError::Db(DbError::Full { .. }) => DbError::Full { place: db.0.place.to_string() }.into(),
        other => other,
    }
}

async fn commit_alone(db: &Db, batch: &Batch) -> Outcome {
    let mut outcomes = commit_group(db, std::slice::from_ref(batch)).await?;
    outcomes.pop().unwrap_or(Err(CommitError::Db(DbError::Closing)))
}

async fn commit_group(db: &Db, group: &[Batch]) -> Result<Vec<Outcome>, CommitError> {
    let transaction = begin(db).await?;
    let mut unit = Unit::load(&transaction, needs_of(group)).await.map_err(DbError::from)?;
    let outcomes: Vec<Outcome> = group.iter().map(|batch| decide(db, &mut unit, batch)).collect();
    if outcomes.iter().all(Result::is_err) {
        // Nothing was written, so that there is nothing to undo if this fails.
        transaction.rollback().await.map_err(DbError::from)?;
        return Ok(outcomes);
    }
    unit.write(&transaction).await.map_err(DbError::from)?;
    transaction.commit().await.map_err(unconfirmed)?;
    Ok(outcomes)
}

/// Names what these batches touch, from the batches alone.
fn needs_of(group: &[Batch]) -> Needs {
    let mut needs = Needs::default();
    for batch in group {
        batch.assumes.iter().for_each(|assumption| needs.add_assumption(assumption));
        for append in &batch.appends {
            needs.streams.insert(append.stream.0.clone());
            append.events.iter().for_each(|event| projections::needs(&mut needs, event));
        }
        batch.rows.iter().for_each(|change| needs.add_change(change));
    }
    needs
}

/// What an error says that came in place of a commit's confirmation. The line may have been cut, or the server
/// stopped, after the engine wrote it; only of a full disk it is certain that it did not.
fn unconfirmed(error: DbErr) -> CommitError {
    let reason = error.to_string();
    match DbError::from(error) {
        full @ DbError::Full { .. } => full.into(),
        _ => CommitError::Unknown { reason },
    }
}

/// Begins a transaction beside which nobody writes.
pub(super) async fn begin(db: &Db) -> Result<DatabaseTransaction, DbError> {
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let transaction = db.0.write.begin_with_options(options).await?;
    if db.is_postgres() {
        let is_ours = writer_lock::hold_for_transaction(&transaction, &db.0.claim).await?;
        if !is_ours {
            let holder = "another lightship that took over while the line was cut".into();
            return Err(DbError::InUse { place: db.0.place.to_string(), holder });
        }
    }
    Ok(transaction)
}

fn decide(db: &Db, unit: &mut Unit, batch: &Batch) -> Outcome {
    unit.keep();
    let outcome = carry_out(db, unit, batch);
    if outcome.is_err() {
        unit.undo();
    }
    outcome
}

/// Compares with the rows as the batches before this one leave them.
fn check(unit: &Unit, assumption: &Assumption) -> Result<(), CommitError> {
    match assumption {
        Assumption::StandsAt { agent_id, version } => {
            let stream = Stream::agent(agent_id);
            let actual =
                unit.streams.get(&stream.0).map_or(0, |head| u64::try_from(head.version).unwrap_or(0));
            let is_so = actual == *version;
            is_so.then_some(()).ok_or(CommitError::VersionConflict { stream, expected: *version, actual })
        }
        Assumption::KeyOpens { key_id } => {
            let key = unit.keys.get(&key_id.as_str().into());
            let opens = key.is_some_and(|key| key.status == KeyStatus::Active.as_str());
            opens.then_some(()).ok_or_else(|| CommitError::KeyRevoked { key_id: key_id.clone() })
        }
        Assumption::IsListed { agent_id } => {
            let agent = unit.agents.get(&agent_id.as_str().into());
            let is_listed = agent.is_some_and(|agent| agent.status != AgentStatus::Removed.as_str());
            is_listed.then_some(()).ok_or_else(|| CommitError::NotListed { agent_id: agent_id.clone() })
        }
    }
}

fn carry_out(db: &Db, unit: &mut Unit, batch: &Batch) -> Outcome {
    batch.assumes.iter().try_for_each(|assumption| check(unit, assumption))?;
    let mut versions = Vec::with_capacity(batch.appends.len());
    for append in &batch.appends {
        let version = event_store::append(unit, batch, append)?;
        versions.push((append.stream.clone(), version));
    }
    for change in &batch.rows {
        changes::carry_out(unit, db.0.key.get(), micros(batch.at), change)?;
    }
    let recorded = unit.recorded[unit.kept_events()..].to_vec();
    Ok(Committed { versions, last_seq: u64::try_from(unit.last_seq).unwrap_or(0), recorded })
}
