//! What sets of keys that move in and out need: the memory of imports, and the sealed digests of tokens.

use sea_orm_migration::prelude::*;

use super::create_table;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    create_table(manager, imports()).await?;
    // Secrets of before have none, so the column is nullable; who wrote them before may go on without knowing it.
    let sealed_digest = Table::alter()
        .table("secrets")
        .add_column(ColumnDef::new("sealed_digest").blob().null())
        .to_owned();
    manager.alter_table(sealed_digest).await
}

/// No foreign key to `keys`: an import is remembered beyond the purge of its key.
fn imports() -> TableCreateStatement {
    Table::create()
        .table("imports")
        .col(ColumnDef::new("workspace_id").text().not_null())
        .col(ColumnDef::new("import_id").text().not_null())
        .col(ColumnDef::new("key_id").blob().not_null())
        .col(ColumnDef::new("fingerprint").blob().not_null())
        .col(ColumnDef::new("create_time").big_integer().not_null())
        .primary_key(Index::create().col("workspace_id").col("import_id"))
        .to_owned()
}
