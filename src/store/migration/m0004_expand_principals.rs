//! Principals, the keys that are bound to them, and the principal on whose behalf something was done.

use sea_orm_migration::prelude::*;

use super::create_table;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    create_table(manager, principals()).await?;
    // Null is what an older program writes: bound to nobody, granting what it lists, done for oneself.
    for (table, column) in [
        ("keys", "scope_source"),
        ("keys", "principal"),
        ("changes", "on_behalf_of"),
    ] {
        let add = Table::alter()
            .table(table)
            .add_column(ColumnDef::new(column).text().null())
            .to_owned();
        manager.alter_table(add).await?;
    }
    Ok(())
}

/// No foreign key from `keys`: that a principal with keys stays is a rule of the program, which says which key it is.
fn principals() -> TableCreateStatement {
    let text = |name: &'static str| ColumnDef::new(name).text().not_null().to_owned();
    let number = |name: &'static str| ColumnDef::new(name).big_integer().not_null().to_owned();
    Table::create()
        .table("principals")
        .col(text("workspace_id"))
        .col(text("id"))
        .col(text("display_name"))
        .col(text("name_folded"))
        .col(ColumnDef::new("enabled").boolean().not_null())
        .col(text("scopes"))
        .col(number("create_time"))
        .col(number("update_time"))
        .col(number("revision"))
        .primary_key(Index::create().col("workspace_id").col("id"))
        .to_owned()
}
