//! The feed, which is the audit log too. `before` and `after` are JSON.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "changes")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) revision: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) ordinal: i64,
    pub(crate) time: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) resource_kind: String,
    pub(crate) workspace_id: String,
    pub(crate) resource_id: String,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
    /// The principal that the actor acted as; null: as itself.
    pub(crate) on_behalf_of: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
