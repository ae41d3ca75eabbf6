//! A person's yes to a plan of one host, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `approvals`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "approvals")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub request_id: String,
    pub plan_id: String,
    pub number: i64,
    pub given_by: String,
    pub given_from: Option<String>,
    pub given_at: i64,
    pub expires_at: i64,
    pub needs_second: bool,
    pub ordered_by: Option<String>,
    pub command_id: Option<String>,
    pub run_id: Option<String>,
    pub status: String,
    pub reason: Option<String>,
    pub ended_at: Option<i64>,
    pub mode: String,
    pub approved_plan: Option<String>,
    pub reissued_at: Option<i64>,
    pub not_before: Option<i64>,
    pub due_at: Option<i64>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
