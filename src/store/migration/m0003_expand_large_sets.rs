//! Indexes for lists of many keys.
//!
//! A list filters by name and state. The two indexes that give it its order now hold these columns too, so that keys which
//! are not shown are passed over within the index: a row is three to ten times as wide. They take the place of two narrower
//! ones: an import writes as many entries as before, and an older version that still runs finds its orders served.
//! No index for `expire_time` and `last_used_time`: lists by them keep their order, so such an index would only be one more to
//! write, `last_used_time` every second.

use sea_orm_migration::prelude::*;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let filtered = ["enabled", "delete_time", "expire_time"];
    let wide = |name: &'static str, order: &[&'static str]| {
        let mut index = Index::create().name(name).table("keys").to_owned();
        for column in order.iter().chain(&filtered) {
            index.col(*column);
        }
        index
    };
    let by_creation = wide("keys_in_order", &["workspace_id", "id", "name_folded"]);
    let by_name = wide("keys_in_name_order", &["workspace_id", "name_folded", "id"]);
    manager.create_index(by_creation).await?;
    manager.create_index(by_name).await?;
    for name in ["keys_by_workspace", "keys_by_name"] {
        let narrow = Index::drop().name(name).table("keys").to_owned();
        manager.drop_index(narrow).await?;
    }
    Ok(())
}
