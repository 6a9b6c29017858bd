//! Events on their way to POSTback URLs. `once` is what a key has one of; `place` is where the URL leads; `data` is JSON. While a
//! process has a row, `claimed` is true and `next_attempt_time` is when others may take it.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deliveries")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Vec<u8>,
    pub(crate) workspace_id: String,
    pub(crate) key_id: Vec<u8>,
    pub(crate) sequence: i64,
    pub(crate) kind: String,
    pub(crate) once: Option<String>,
    pub(crate) data: String,
    pub(crate) url: String,
    pub(crate) place: String,
    pub(crate) create_time: i64,
    pub(crate) state: String,
    pub(crate) attempts: i64,
    pub(crate) claimed: bool,
    pub(crate) next_attempt_time: Option<i64>,
    pub(crate) last_attempt_time: Option<i64>,
    pub(crate) status: Option<i64>,
    pub(crate) failure: Option<String>,
    pub(crate) end_time: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
