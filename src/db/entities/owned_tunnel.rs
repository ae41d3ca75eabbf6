//! Tunnels that we made, or are making.

use sea_orm::entity::prelude::*;

/// One row of `owned_tunnels`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "owned_tunnels")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub tunnel_id: Option<String>,
    pub created_at: i64,
    pub settled: bool,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
