//! What is sent, and what was.

use sea_orm::entity::prelude::*;

/// One row of `notification_messages`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "notification_messages")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub target_id: String,
    pub state: String,
    pub attempts: i32,
    pub body: String,
    pub error: Option<String>,
    pub created_at: i64,
    pub settled_at: Option<i64>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
