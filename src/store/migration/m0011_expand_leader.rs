//! Which of the processes leads.

use sea_orm_migration::prelude::*;

use super::create_table;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    create_table(manager, leader()).await
}

fn leader() -> TableCreateStatement {
    Table::create()
        .table("leader")
        .col(ColumnDef::new("place").integer().not_null().primary_key())
        .col(ColumnDef::new("replica").blob().not_null())
        .col(ColumnDef::new("start_time").big_integer().not_null())
        .col(ColumnDef::new("lease_end").big_integer().not_null())
        .to_owned()
}
