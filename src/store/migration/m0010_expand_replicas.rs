//! The processes that decide from this database, and what each has applied.

use sea_orm_migration::prelude::*;

use super::create_table;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    create_table(manager, replicas()).await
}

fn replicas() -> TableCreateStatement {
    Table::create()
        .table("replicas")
        .col(ColumnDef::new("id").blob().not_null().primary_key())
        .col(ColumnDef::new("name").text().not_null())
        .col(ColumnDef::new("version").text().not_null())
        .col(ColumnDef::new("state").text().not_null())
        .col(ColumnDef::new("epoch").big_integer().not_null())
        .col(ColumnDef::new("applied").big_integer().not_null())
        .col(ColumnDef::new("strict").boolean().not_null())
        .col(ColumnDef::new("start_time").big_integer().not_null())
        .col(ColumnDef::new("seen_time").big_integer().not_null())
        .col(ColumnDef::new("lease_end").big_integer().not_null())
        .to_owned()
}
