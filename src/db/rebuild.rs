//! Empties the tables that are derived from events and fills them again, in one transaction.

use sea_orm::{ConnectionTrait, DatabaseTransaction, EntityTrait};

use super::commit::begin;
use super::database::Db;
use super::entities::{
    access_group, admin, agent, agent_key, approval, claim, command, event, failed_image, manual_rule,
    notification_target, order_key, registration_token, registration_token_usage, registry_login, removal,
    route, setting, tunnel, update_decision,
};
use super::error::DbError;
use super::event_store::page;
use super::needs::Needs;
use super::projections::{self, Origin};
use super::unit::Unit;
use super::words::json;
use crate::domain::agent::AgentStatus;
use crate::domain::event::Event;
use crate::domain::publish::PublicState;

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
    drop_unheld(&transaction).await?;
    transaction.commit().await?;
    Ok(count)
}

async fn empty(transaction: &DatabaseTransaction) -> Result<(), DbError> {
    agent::Entity::delete_many().exec(transaction).await?;
    agent_key::Entity::delete_many().exec(transaction).await?;
    command::Entity::delete_many().exec(transaction).await?;
    route::Entity::delete_many().exec(transaction).await?;
    claim::Entity::delete_many().exec(transaction).await?;
    manual_rule::Entity::delete_many().exec(transaction).await?;
    tunnel::Entity::delete_many().exec(transaction).await?;
    admin::Entity::delete_many().exec(transaction).await?;
    setting::Entity::delete_many().exec(transaction).await?;
    registry_login::Entity::delete_many().exec(transaction).await?;
    access_group::Entity::delete_many().exec(transaction).await?;
    removal::Entity::delete_many().exec(transaction).await?;
    notification_target::Entity::delete_many().exec(transaction).await?;
    registration_token_usage::Entity::delete_many().exec(transaction).await?;
    registration_token::Entity::delete_many().exec(transaction).await?;
    update_decision::Entity::delete_many().exec(transaction).await?;
    approval::Entity::delete_many().exec(transaction).await?;
    order_key::Entity::delete_many().exec(transaction).await?;
    failed_image::Entity::delete_many().exec(transaction).await?;
    Ok(())
}

/// Drops what is said of routes that nobody holds: it is no history, and nobody speaks of them any more.
async fn drop_unheld(transaction: &DatabaseTransaction) -> Result<(), DbError> {
    let words = PublicState::ALL.into_iter().filter(|state| state.is_from_publisher());
    let words: Vec<String> = words.map(|state| format!("'{}'", state.as_str())).collect();
    let statement = format!(
        "DELETE FROM route_status WHERE \
           (state IN ({}) AND NOT EXISTS (SELECT 1 FROM routes WHERE routes.hostname = route_status.hostname \
              AND routes.path = route_status.path AND routes.agent_id = route_status.agent_id) \
              AND NOT (route_status.agent_id = '' AND EXISTS (SELECT 1 FROM manual_rules \
                WHERE manual_rules.hostname = route_status.hostname AND manual_rules.path = route_status.path))) \
           OR agent_id IN (SELECT id FROM agents WHERE status = '{}')",
        words.join(", "),
        AgentStatus::Removed.as_str()
    );
    transaction.execute_unprepared(&statement).await?;
    Ok(())
}

async fn replay(transaction: &DatabaseTransaction, rows: Vec<event::Model>) -> Result<(), DbError> {
    let mut needs = Needs::default();
    let mut events = Vec::with_capacity(rows.len());
    for row in rows {
        let event: Event = json("event", &row.seq.to_string(), &row.payload)?;
        projections::needs(&mut needs, &event);
        events.push((row, event));
    }
    let mut unit = Unit::load(transaction, needs).await?;
    for (row, event) in &events {
        let origin = Origin { at: row.at, by: &row.actor, seq: row.seq };
        projections::project(&mut unit, origin, event).map_err(|error| DbError::Unreadable {
            kind: "event",
            id: row.seq.to_string(),
            reason: error.to_string(),
        })?;
        unit.keep();
    }
    unit.write(transaction).await?;
    Ok(())
}
