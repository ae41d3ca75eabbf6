//! Ingress rules that are ours, written before the call that makes them.

use sea_orm::entity::prelude::*;

/// One row of `applied_rules`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "applied_rules")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tunnel_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub hostname: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    pub rule: String,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
