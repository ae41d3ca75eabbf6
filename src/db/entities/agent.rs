//! Agents, derived from events.

use sea_orm::entity::prelude::*;

/// One row of `agents`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "agents")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub display_name: String,
    pub custom_name: bool,
    pub version: Option<String>,
    pub status: String,
    pub key_id: Option<String>,
    pub key_owner: String,
    pub account_id: Option<String>,
    pub tunnel_id: Option<String>,
    pub tunnel_name: Option<String>,
    pub secret_id: Option<String>,
    pub registered_at: i64,
    pub enrolled_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub removed_at: Option<i64>,
    pub offline_since: Option<i64>,
    pub hostname_patterns: String,
    pub moving_from: Option<String>,
    pub shared_key_id: Option<String>,
    pub credential_reused_at: Option<i64>,
    pub other_machine: Option<String>,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
