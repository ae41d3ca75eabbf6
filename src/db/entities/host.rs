//! The machine behind an agent.

use sea_orm::entity::prelude::*;

/// One row of `hosts`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hosts")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    pub facts: String,
    pub machine_id: Option<String>,
    pub reboot_wanted: bool,
    pub changed_at: i64,
    pub hostname: Option<String>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
