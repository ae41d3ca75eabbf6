//! How each scanner of a host came out.

use sea_orm::entity::prelude::*;

/// One row of `scans`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "scans")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub package_type: String,
    pub ok: bool,
    pub as_of: Option<i64>,
    pub problem: Option<String>,
    pub way_out: Option<String>,
    pub is_complete: bool,
    pub digest: String,
    pub found: i32,
    pub pending: i32,
    pub checked_at: i64,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
