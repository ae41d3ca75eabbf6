//! Empties the tables that are derived from events and fills them again, in one transaction.

use sea_orm::{DatabaseTransaction, EntityTrait};

use super::Db;
use super::commit::begin;
use super::entities::{admin, agent, agent_key, claim, command, event, route, setting, tunnel};
use super::error::DbError;
use super::event_store::page;
use super::needs::Needs;
use super::projections::{self, Origin};
use super::unit::Unit;
use super::words::json;
use crate::domain::event::Event;

/// Returns the number of events that were read.
pub(super) async fn rebuild(db: &Db) -> Result<u64, DbError> {
    let transaction = begin(db).await?;
    empty(&transaction).await?;
    let (mut last, mut count) = (0, 0);
    loop {
        let rows = page(&transaction, last).await?;
        let Some(newest) = rows.last() else {
            break;
        };
        last = newest.seq;
        count += rows.len() as u64;
        replay(&transaction, rows).await?;
    }
    transaction.commit().await?;
    Ok(count)
}

async fn empty(transaction: &DatabaseTransaction) -> Result<(), DbError> {
    agent::Entity::delete_many().exec(transaction).await?;
    agent_key::Entity::delete_many().exec(transaction).await?;
    command::Entity::delete_many().exec(transaction).await?;
    route::Entity::delete_many().exec(transaction).await?;
    claim::Entity::delete_many().exec(transaction).await?;
    tunnel::Entity::delete_many().exec(transaction).await?;
    admin::Entity::delete_many().exec(transaction).await?;
    setting::Entity::delete_many().exec(transaction).await?;
    Ok(())
}

async fn replay(transaction: &DatabaseTransaction, rows: Vec<event::Model>) -> Result<(), DbError> {
    let mut needs = Needs::default();
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let event: Event = json("event", &row.seq.to_string(), &row.payload)?;
        needs.add_event(&event);
        events.push((row, event));
    }
    let mut unit = Unit::load(transaction, needs).await?;
    for (row, event) in &events {
        let origin = Origin { at: row.at, by: &row.actor, seq: row.seq };
        projections::apply(&mut unit, origin, event).map_err(|error| DbError::Unreadable {
            kind: "event",
            id: row.seq.to_string(),
            reason: error.to_string(),
        })?;
        unit.keep();
    }
    unit.write(transaction).await?;
    Ok(())
}
