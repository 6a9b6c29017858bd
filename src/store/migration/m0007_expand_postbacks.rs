//! Events on their way to POSTback URLs, their numbers, and what they are signed with.

use sea_orm_migration::prelude::*;

use super::create_table;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    create_table(manager, deliveries()).await?;
    create_table(manager, sequences()).await?;
    create_table(manager, signing_secrets()).await?;
    for index in indexes() {
        manager.create_index(index).await?;
    }
    Ok(())
}

/// No foreign key to `keys`: what was promised is delivered although its key is purged.
fn deliveries() -> TableCreateStatement {
    Table::create()
        .table("deliveries")
        .col(ColumnDef::new("id").blob().not_null().primary_key())
        .col(ColumnDef::new("workspace_id").text().not_null())
        .col(ColumnDef::new("key_id").blob().not_null())
        .col(ColumnDef::new("sequence").big_integer().not_null())
        .col(ColumnDef::new("kind").text().not_null())
        .col(ColumnDef::new("once").text().null())
        .col(ColumnDef::new("data").text().not_null())
        .col(ColumnDef::new("url").text().not_null())
        .col(ColumnDef::new("place").text().not_null())
        .col(ColumnDef::new("create_time").big_integer().not_null())
        .col(ColumnDef::new("state").text().not_null())
        .col(ColumnDef::new("attempts").big_integer().not_null())
        .col(ColumnDef::new("claimed").boolean().not_null())
        .col(ColumnDef::new("next_attempt_time").big_integer().null())
        .col(ColumnDef::new("last_attempt_time").big_integer().null())
        .col(ColumnDef::new("status").big_integer().null())
        .col(ColumnDef::new("failure").text().null())
        .col(ColumnDef::new("end_time").big_integer().null())
        .to_owned()
}

fn sequences() -> TableCreateStatement {
    Table::create()
        .table("postback_sequences")
        .col(ColumnDef::new("key_id").blob().not_null().primary_key())
        .col(ColumnDef::new("n").big_integer().not_null())
        .to_owned()
}

fn signing_secrets() -> TableCreateStatement {
    Table::create()
        .table("signing_secrets")
        .col(ColumnDef::new("id").blob().not_null().primary_key())
        .col(ColumnDef::new("workspace_id").text().not_null())
        .col(ColumnDef::new("sealed").blob().not_null())
        .col(ColumnDef::new("create_time").big_integer().not_null())
        .col(ColumnDef::new("expire_time").big_integer().null())
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &'static str, table: &'static str, columns: &[&'static str]| {
        let mut index = Index::create().name(name).table(table).to_owned();
        for column in columns {
            index.col(*column);
        }
        index
    };
    // Most keys never expire or have no URL, and no decision asks for this: only those that are to be told are in it.
    let mut expiring = index("keys_to_tell_of_expiry", "keys", &["expire_time"]);
    expiring.and_where(Expr::cust("postback_url <> ''"));
    vec![
        index("deliveries_due", "deliveries", &["next_attempt_time"]),
        index("deliveries_by_key", "deliveries", &["key_id", "id"]),
        index(
            "deliveries_pending",
            "deliveries",
            &["key_id", "next_attempt_time"],
        ),
        index(
            "deliveries_by_workspace",
            "deliveries",
            &["workspace_id", "id"],
        ),
        index("deliveries_once", "deliveries", &["key_id", "once"])
            .unique()
            .to_owned(),
        index(
            "deliveries_by_state",
            "deliveries",
            &["state", "create_time"],
        ),
        index("deliveries_ended", "deliveries", &["end_time"]),
        index(
            "signing_secrets_by_workspace",
            "signing_secrets",
            &["workspace_id"],
        ),
        expiring,
    ]
}
