//! Who serves each tunnel, as Cloudflare lists it.

use sea_orm::entity::prelude::*;

/// One row of `tunnel_connectors`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tunnel_connectors")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tunnel_id: String,
    pub connectors: String,
    pub listed_at: i64,
    pub written_again: Option<i64>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
