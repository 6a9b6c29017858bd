//! Routes, what they take, and who passed them without a key.

use sea_orm_migration::prelude::*;

use super::create_table;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for table in [routes(), shapes(), uses()] {
        create_table(manager, table).await?;
    }
    // A route's shapes are found by it when it changes or goes.
    let by_route = Index::create()
        .name("route_shapes_by_route")
        .table("route_shapes")
        .col("workspace_id")
        .col("route_id")
        .to_owned();
    manager.create_index(by_route).await
}

fn routes() -> TableCreateStatement {
    Table::create()
        .table("routes")
        .col(ColumnDef::new("workspace_id").text().not_null())
        .col(ColumnDef::new("id").text().not_null())
        .col(ColumnDef::new("settings").text().not_null())
        .col(ColumnDef::new("claims_hosts").boolean().not_null())
        .col(ColumnDef::new("keyless").boolean().not_null())
        .col(ColumnDef::new("create_time").big_integer().not_null())
        .col(ColumnDef::new("update_time").big_integer().not_null())
        .col(ColumnDef::new("revision").big_integer().not_null())
        .primary_key(Index::create().col("workspace_id").col("id"))
        .to_owned()
}

fn shapes() -> TableCreateStatement {
    Table::create()
        .table("route_shapes")
        .col(ColumnDef::new("workspace_id").text().not_null())
        .col(ColumnDef::new("shape").text().not_null())
        .col(ColumnDef::new("route_id").text().not_null())
        .primary_key(Index::create().col("workspace_id").col("shape"))
        .to_owned()
}

fn uses() -> TableCreateStatement {
    Table::create()
        .table("route_uses")
        .col(ColumnDef::new("workspace_id").text().not_null())
        .col(ColumnDef::new("route_id").text().not_null())
        .col(ColumnDef::new("reason").text().not_null())
        .col(ColumnDef::new("count").big_integer().not_null())
        .col(ColumnDef::new("last_time").big_integer().not_null())
        .primary_key(
            Index::create()
                .col("workspace_id")
                .col("route_id")
                .col("reason"),
        )
        .to_owned()
}
