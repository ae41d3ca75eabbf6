//! Tunnels that agents were enrolled with, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `tunnels`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tunnels")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub account_id: String,
    pub name: String,
    pub agent_id: Option<String>,
    pub secret_id: String,
    pub enrolled_at: i64,
    pub confirmed_at: Option<i64>,
    pub confirmed_by: Option<String>,
    pub joining: Option<String>,
    pub left_by: Option<String>,
    pub made: bool,
    pub removed: bool,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
