//! What Cloudflare made of each route.

use sea_orm::entity::prelude::*;

/// One row of `route_status`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "route_status")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub hostname: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub path: String,
    pub state: String,
    pub reason: Option<String>,
    pub cause: Option<String>,
    pub answer: Option<String>,
    pub updated_at: i64,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
