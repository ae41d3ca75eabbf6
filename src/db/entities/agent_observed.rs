//! When and from where an agent was last heard.

use sea_orm::entity::prelude::*;

/// One row of `agent_observed`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agent_observed")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    pub last_seen_at: Option<i64>,
    pub hostname: Option<String>,
    pub peer: Option<String>,
    pub dialect: Option<String>,
    pub problem: Option<String>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
