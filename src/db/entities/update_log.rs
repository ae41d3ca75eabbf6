//! What RedFlag agents say of the commands they carried out; of each agent the newest.

use sea_orm::entity::prelude::*;

/// One row of `update_logs`.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "update_logs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub agent_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub place: i32,
    pub id: String,
    pub command_id: Option<String>,
    pub action: String,
    pub result: String,
    pub stdout: String,
    pub stderr: String,
    pub exit_code: i32,
    pub duration_seconds: i64,
    pub executed_at: i64,
}

/// No relation is followed by the mapper: reads name their joins.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
