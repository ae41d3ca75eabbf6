//! Rules that people made, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `manual_rules`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "manual_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub hostname: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    pub tunnel_id: String,
    pub service: String,
    pub set_at: i64,
    pub set_by: String,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
