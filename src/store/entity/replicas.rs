//! A process that decides from this database.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replicas")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Vec<u8>,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) state: String,
    pub(crate) epoch: i64,
    pub(crate) applied: i64,
    pub(crate) strict: bool,
    pub(crate) start_time: i64,
    pub(crate) seen_time: i64,
    pub(crate) lease_end: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
