//! How each target of notifications is.

use sea_orm::entity::prelude::*;

/// One row of `notification_target_states`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notification_target_states")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub target_id: String,
    pub last_sent_at: Option<i64>,
    pub failing_since: Option<i64>,
    pub failures: i32,
    pub error: Option<String>,
    pub next_try_at: Option<i64>,
    pub left_out: i32,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
