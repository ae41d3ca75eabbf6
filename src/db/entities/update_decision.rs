//! What people decided about updates, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `update_decisions`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "update_decisions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub package_type: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub package_name: String,
    pub decision: String,
    pub decided_by: String,
    pub decided_at: i64,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
