//! What is known of keys beyond their settings: which secrets were found in public, and which grants were ever made use of.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0009_expand_lifecycle"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    #[expect(
        elided_lifetimes_in_paths,
        reason = "written out, `async_trait` makes another signature of it than the trait has"
    )]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
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
}
