//! Keys that orders are signed with, derived from events; the secret halves are in `secrets`.

use sea_orm::entity::prelude::*;

/// One row of `order_keys`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "order_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub fingerprint: String,
    pub public_key: String,
    pub endorsed: Option<String>,
    pub place: i64,
    pub set_at: i64,
    pub set_by: String,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
