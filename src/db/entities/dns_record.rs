//! DNS records that are ours.

use sea_orm::entity::prelude::*;

/// One row of `dns_records`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dns_records")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub zone_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub record_id: Option<String>,
    pub tunnel_id: String,
    pub content: String,
    pub created_at: i64,
    pub settled: bool,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
