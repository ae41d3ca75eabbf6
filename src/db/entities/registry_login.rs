//! Accounts at registries, derived from events. The passwords are in `secrets`.

use sea_orm::entity::prelude::*;

/// One row of `registry_logins`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "registry_logins")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub registry: String,
    pub account: String,
    pub set_at: i64,
    pub set_by: String,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
