//! Indexes for lists of audit events: newest first, by workspace, by who did it, by what it was done to.
//!
//! Each holds the time, which gives the order and serves ranges of it, and behind it what else a list filters by, so that
//! events which are not shown are passed over within the index. All grow at their end, for time does: an import that writes
//! a million events touches their last pages alone.

use sea_orm_migration::prelude::*;

/// The indexes by name, each with the columns that lead to its events; those of the order, and those that filter, follow.
const INDEXES: [(&str, &[&str], &[&str]); 4] = [
    ("changes_by_time", &[], &["resource_kind", "action"]),
    (
        "changes_by_workspace",
        &["workspace_id"],
        &["resource_kind", "action"],
    ),
    (
        "changes_by_actor",
        &["actor"],
        &["workspace_id", "resource_kind", "action"],
    ),
    (
        "changes_by_resource",
        &["resource_id"],
        &["workspace_id", "resource_kind", "action"],
    ),
];

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let order = ["time", "revision", "ordinal"];
    for (name, leading, filtering) in INDEXES {
        let mut index = Index::create().name(name).table("changes").to_owned();
        for column in leading.iter().chain(&order).chain(filtering) {
            index.col(*column);
        }
        manager.create_index(index).await?;
    }
    Ok(())
}
