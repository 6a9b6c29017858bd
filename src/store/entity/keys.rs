//! Keys. Lists and labels are JSON; what is searched for in them stands in `key_terms` too.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "keys")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Vec<u8>,
    pub(crate) workspace_id: String,
    pub(crate) display_name: String,
    pub(crate) name_folded: String,
    pub(crate) description: String,
    pub(crate) scopes: String,
    pub(crate) subscriptions: String,
    pub(crate) allowed_cidrs: String,
    pub(crate) postback_url: String,
    pub(crate) off_the_record: bool,
    pub(crate) enabled: bool,
    pub(crate) expire_time: Option<i64>,
    pub(crate) labels: String,
    pub(crate) shadow_network: bool,
    pub(crate) shadow_presentation: bool,
    pub(crate) shadow_subscription: bool,
    pub(crate) shadow_scopes: bool,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
    pub(crate) delete_time: Option<i64>,
    pub(crate) purge_time: Option<i64>,
    pub(crate) last_used_time: Option<i64>,
    pub(crate) revision: i64,
    /// Null: `EXPLICIT`.
    pub(crate) scope_source: Option<String>,
    pub(crate) principal: Option<String>,
    /// Grants that were ever made use of, as JSON; written apart, as the time of last use is.
    pub(crate) exercised: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
