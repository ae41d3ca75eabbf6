//! Images that failed on a host, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `failed_images`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "failed_images")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: String,
    pub image: String,
    pub agent_id: String,
    pub run_id: String,
    pub reason: String,
    pub failed_at: i64,
    pub let_go_by: Option<String>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
