//! What Cloudflare made of each tunnel.

use sea_orm::entity::prelude::*;

/// One row of `tunnel_status`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tunnel_status")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tunnel_id: String,
    pub state: String,
    pub reason: Option<String>,
    pub cause: Option<String>,
    pub answer: Option<String>,
    pub config_version: Option<i64>,
    pub foreign_rules: String,
    pub updated_at: i64,
    pub version_since: Option<i64>,
    pub settled: bool,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
