//! What is recorded of decisions: the request log, usage, and what restrictions in shadow would have denied.
//!
//! On SQLite these tables are in a file of their own, so that recording never holds up a change; in the file of the keys
//! this step makes nothing there, and is known to be done.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

use super::create_table;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    match manager.get_database_backend() {
        DbBackend::Sqlite => Ok(()),
        _ => of_records(manager).await,
    }
}

/// The step for SQLite's file of records.
pub(super) async fn of_records(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for table in [decisions(), usage(), shadow_counts(), flushes()] {
        create_table(manager, table).await?;
    }
    for index in indexes() {
        manager.create_index(index).await?;
    }
    Ok(())
}

/// What a row lacks is NULL: the indexes then pass over it. `denial` is the reason where it denied.
fn decisions() -> TableCreateStatement {
    Table::create()
        .table("decisions")
        .col(text("workspace_id"))
        .col(ColumnDef::new("id").blob().not_null())
        .col(ColumnDef::new("allowed").boolean().not_null())
        .col(text("reason"))
        .col(maybe_text("denial"))
        .col(ColumnDef::new("key_id").blob().null())
        .col(ColumnDef::new("secret_id").blob().null())
        .col(maybe_text("subscription"))
        .col(maybe_text("route"))
        .col(maybe_text("source_ip"))
        .col(text("presentation"))
        .col(text("surface"))
        .col(text("method"))
        .col(text("path"))
        .col(text("all_of"))
        .col(text("any_of"))
        .col(text("shadowed"))
        .col(text("revision"))
        .col(text("replica"))
        .col(ColumnDef::new("missing").big_integer().null())
        .col(ColumnDef::new("missing_since").big_integer().null())
        .primary_key(Index::create().col("workspace_id").col("id"))
        .to_owned()
}

/// By the hour. A key that is not known has an empty id, for NULL is equal to nothing.
fn usage() -> TableCreateStatement {
    Table::create()
        .table("usage")
        .col(text("workspace_id"))
        .col(number("hour"))
        .col(ColumnDef::new("key_id").blob().not_null())
        .col(text("subscription"))
        .col(text("route"))
        .col(text("decision"))
        .col(text("reason"))
        .col(number("count"))
        .primary_key(
            Index::create()
                .col("workspace_id")
                .col("hour")
                .col("key_id")
                .col("subscription")
                .col("route")
                .col("decision")
                .col("reason"),
        )
        .to_owned()
}

fn shadow_counts() -> TableCreateStatement {
    Table::create()
        .table("shadow_counts")
        .col(text("workspace_id"))
        .col(ColumnDef::new("key_id").blob().not_null())
        .col(text("route"))
        .col(text("reason"))
        .col(number("count"))
        .col(number("first_time"))
        .col(number("last_time"))
        .col(text("networks"))
        .col(ColumnDef::new("more_networks").boolean().not_null())
        .primary_key(
            Index::create()
                .col("workspace_id")
                .col("key_id")
                .col("route")
                .col("reason"),
        )
        .to_owned()
}

/// The last addition of each process that adds to the counts: what was added is not added again.
fn flushes() -> TableCreateStatement {
    Table::create()
        .table("flushes")
        .col(number("writer").primary_key())
        .col(number("sequence"))
        .col(number("time"))
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let of_those_with = |name: &'static str, column: &'static str, columns: &[&'static str]| {
        let mut index = Index::create().name(name).table("decisions").to_owned();
        for column in columns {
            index.col(*column);
        }
        index.and_where(Expr::col(column).is_not_null()).to_owned()
    };
    vec![
        of_those_with(
            "decisions_by_key",
            "key_id",
            &["workspace_id", "key_id", "id"],
        ),
        of_those_with(
            "decisions_by_subscription",
            "subscription",
            &["workspace_id", "subscription", "id"],
        ),
        of_those_with(
            "decisions_by_route",
            "route",
            &["workspace_id", "route", "id"],
        ),
        of_those_with(
            "decisions_by_source",
            "source_ip",
            &["workspace_id", "source_ip", "id"],
        ),
        of_those_with(
            "decisions_by_denial",
            "denial",
            &["workspace_id", "denial", "id"],
        ),
        of_those_with("decisions_denied", "denial", &["workspace_id", "id"]),
        Index::create()
            .name("usage_by_key")
            .table("usage")
            .col("workspace_id")
            .col("key_id")
            .col("hour")
            .to_owned(),
    ]
}

fn number(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().to_owned()
}

fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().to_owned()
}

fn maybe_text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().null().to_owned()
}
