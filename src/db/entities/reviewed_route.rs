//! Routes that a person said yes to, while changes are reviewed.

use sea_orm::entity::prelude::*;

/// One row of `reviewed_routes`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reviewed_routes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub hostname: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    pub service: String,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
