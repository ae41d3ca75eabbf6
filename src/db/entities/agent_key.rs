//! Agent keys without the keys, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `agent_keys`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub owner: String,
    pub sha256: String,
    pub status: String,
    pub agent_id: Option<String>,
    pub rolled_from: Option<String>,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
    pub hostname_patterns: String,
    pub seats: i32,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
