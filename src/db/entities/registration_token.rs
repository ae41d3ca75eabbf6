//! Registration tokens without the tokens, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `registration_tokens`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "registration_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub label: String,
    pub sha256: String,
    pub max_seats: i32,
    pub seats_used: i32,
    pub expires_at: i64,
    pub created_at: i64,
    pub created_by: String,
    pub used_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub revoked_reason: Option<String>,
    pub metadata: String,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
