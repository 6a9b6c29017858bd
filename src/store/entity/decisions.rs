//! The request log. What a row lacks is NULL.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "decisions")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) workspace_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Vec<u8>,
    pub(crate) allowed: bool,
    pub(crate) reason: String,
    pub(crate) denial: Option<String>,
    pub(crate) key_id: Option<Vec<u8>>,
    pub(crate) secret_id: Option<Vec<u8>>,
    pub(crate) subscription: Option<String>,
    pub(crate) route: Option<String>,
    pub(crate) source_ip: Option<String>,
    pub(crate) presentation: String,
    pub(crate) surface: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) all_of: String,
    pub(crate) any_of: String,
    pub(crate) shadowed: String,
    pub(crate) revision: String,
    pub(crate) replica: String,
    pub(crate) missing: Option<i64>,
    pub(crate) missing_since: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
