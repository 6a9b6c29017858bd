//! Secrets of keys. `ordinal` is the place in the key's list, `end_time` what the cleaning looks for.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "secrets")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Vec<u8>,
    pub(crate) key_id: Vec<u8>,
    pub(crate) ordinal: i64,
    pub(crate) workspace_id: String,
    pub(crate) slot: String,
    pub(crate) tag: Vec<u8>,
    pub(crate) origin: String,
    pub(crate) weak: bool,
    pub(crate) prefix: String,
    pub(crate) hint: String,
    pub(crate) sealed: Option<Vec<u8>>,
    /// Written with a new secret, and read only where it is asked for (`keys::sealed_digests`).
    pub(crate) sealed_digest: Option<Vec<u8>>,
    pub(crate) create_time: i64,
    pub(crate) regenerated: bool,
    pub(crate) retire_time: Option<i64>,
    pub(crate) revoke_time: Option<i64>,
    pub(crate) end_time: Option<i64>,
    pub(crate) revocation_reason: String,
    pub(crate) acknowledge_time: Option<i64>,
    pub(crate) leak_time: Option<i64>,
    pub(crate) last_used_time: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
