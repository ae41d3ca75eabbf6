//! Claimed routes, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `routes`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "routes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub hostname: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    pub agent_id: String,
    pub container_name: String,
    pub container_id: String,
    pub service: String,
    pub state: String,
    pub due_at: Option<i64>,
    pub held: bool,
    pub explained: bool,
    pub claimed_at: i64,
    pub changed_at: i64,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
