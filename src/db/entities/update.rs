//! Packages and images of hosts, with what scans say of them. The columns of the seed's schema have its names.

use sea_orm::entity::prelude::*;

/// One row of `updates`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "updates")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub package_type: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub package_name: String,
    pub id: String,
    pub title: Option<String>,
    pub current_version: Option<String>,
    pub available_version: Option<String>,
    pub severity: String,
    pub is_security: Option<bool>,
    pub standing: String,
    pub status: String,
    pub metadata: String,
    pub created_at: i64,
    pub changed_at: i64,
    pub due_at: Option<i64>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
