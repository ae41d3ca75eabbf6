//! Applications of Access that are ours.

use sea_orm::entity::prelude::*;

/// One row of `access_applications`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "access_applications")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub account_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub domain: String,
    pub application_id: Option<String>,
    pub aud: Option<String>,
    pub tunnel_id: String,
    pub body: String,
    pub created_at: i64,
    pub settled: bool,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
