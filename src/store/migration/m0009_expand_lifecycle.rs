//! What is known of keys beyond their settings: which secrets were found in public, and which grants were ever made use of.

use sea_orm_migration::prelude::*;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let leaked = Table::alter()
        .table("secrets")
        .add_column(ColumnDef::new("leak_time").big_integer().null())
        .to_owned();
    manager.alter_table(leaked).await?;
    let exercised = Table::alter()
        .table("keys")
        .add_column(ColumnDef::new("exercised").text().null())
        .to_owned();
    manager.alter_table(exercised).await
}
