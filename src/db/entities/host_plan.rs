//! What a host was asked to work out, and what it answered.

use sea_orm::entity::prelude::*;

/// One row of `host_plans`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "host_plans")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: String,
    pub command_id: String,
    pub ask: String,
    pub then: String,
    pub asked_by: String,
    pub asked_at: i64,
    pub plan_id: Option<String>,
    pub on_host: Option<String>,
    pub dependencies: Option<String>,
    pub problem: Option<String>,
    pub way_out: Option<String>,
    pub made_at: Option<i64>,
    pub not_before: Option<i64>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
