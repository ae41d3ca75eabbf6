//! Commands for agents, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `commands`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "commands")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub agent_id: String,
    pub queued_seq: i64,
    pub kind: String,
    pub status: String,
    pub attempt: i32,
    pub queued_at: i64,
    pub delivered_at: Option<i64>,
    pub lease_until: Option<i64>,
    pub expires_at: i64,
    pub due_at: Option<i64>,
    pub outcome: Option<String>,
    pub ended_at: Option<i64>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
