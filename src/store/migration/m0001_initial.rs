//! The first schema.
//!
//! Times are microseconds since the Unix epoch, ids and digests bytes, lists and labels JSON as text.

use sea_orm_migration::prelude::*;

pub(super) async fn up(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    for table in tables() {
        super::create_table(manager, table).await?;
    }
    for index in indexes() {
        manager.create_index(index).await?;
    }
    let connection = manager.get_connection();
    connection
        .execute_unprepared("INSERT INTO counter (id, n) VALUES (1, 0)")
        .await?;
    Ok(())
}

fn tables() -> Vec<TableCreateStatement> {
    let mut all = Vec::from(own());
    all.extend(directory());
    all.extend([keys(), secrets(), key_terms(), changes()]);
    all.extend(idempotency());
    all
}

fn own() -> [TableCreateStatement; 2] {
    [
        Table::create()
            .table("counter")
            .col(number("id").primary_key())
            .col(number("n"))
            .to_owned(),
        Table::create()
            .table("meta")
            .col(number("id").primary_key())
            .col(number("epoch"))
            .col(bytes("wrapped_keys"))
            .col(truth("bootstrapped"))
            .to_owned(),
    ]
}

fn directory() -> [TableCreateStatement; 3] {
    [
        Table::create()
            .table("workspaces")
            .col(text("id").primary_key())
            .col(text("display_name"))
            .col(truth("enabled"))
            .col(text("settings"))
            .col(number("create_time"))
            .col(number("update_time"))
            .col(number("revision"))
            .to_owned(),
        Table::create()
            .table("subscriptions")
            .col(text("workspace_id"))
            .col(text("id"))
            .col(text("display_name"))
            .col(truth("enabled"))
            .col(number("create_time"))
            .col(number("update_time"))
            .col(number("revision"))
            .primary_key(Index::create().col("workspace_id").col("id"))
            .to_owned(),
        Table::create()
            .table("scopes")
            .col(text("workspace_id"))
            .col(text("name"))
            .col(text("display_name"))
            .col(text("description"))
            .col(text("presentations"))
            .col(text("implies"))
            .col(number("create_time"))
            .col(number("update_time"))
            .col(number("revision"))
            .primary_key(Index::create().col("workspace_id").col("name"))
            .to_owned(),
    ]
}

fn keys() -> TableCreateStatement {
    Table::create()
        .table("keys")
        .col(bytes("id").primary_key())
        .col(text("workspace_id"))
        .col(text("display_name"))
        .col(text("name_folded"))
        .col(text("description"))
        .col(text("scopes"))
        .col(text("subscriptions"))
        .col(text("allowed_cidrs"))
        .col(text("postback_url"))
        .col(truth("off_the_record"))
        .col(truth("enabled"))
        .col(maybe_number("expire_time"))
        .col(text("labels"))
        .col(truth("shadow_network"))
        .col(truth("shadow_presentation"))
        .col(truth("shadow_subscription"))
        .col(truth("shadow_scopes"))
        .col(number("create_time"))
        .col(number("update_time"))
        .col(maybe_number("delete_time"))
        .col(maybe_number("purge_time"))
        .col(maybe_number("last_used_time"))
        .col(number("revision"))
        .to_owned()
}

fn secrets() -> TableCreateStatement {
    Table::create()
        .table("secrets")
        .col(bytes("id").primary_key())
        .col(bytes("key_id"))
        .col(number("ordinal"))
        .col(text("workspace_id"))
        .col(text("slot"))
        .col(bytes("tag"))
        .col(text("origin"))
        .col(truth("weak"))
        .col(text("prefix"))
        .col(text("hint"))
        .col(maybe_bytes("sealed"))
        .col(number("create_time"))
        .col(truth("regenerated"))
        .col(maybe_number("retire_time"))
        .col(maybe_number("revoke_time"))
        .col(maybe_number("end_time"))
        .col(text("revocation_reason"))
        .col(maybe_number("acknowledge_time"))
        .col(maybe_number("last_used_time"))
        .foreign_key(&mut owned_by_key("secrets"))
        .to_owned()
}

fn key_terms() -> TableCreateStatement {
    Table::create()
        .table("key_terms")
        .col(text("workspace_id"))
        .col(text("term"))
        .col(bytes("key_id"))
        .primary_key(
            Index::create()
                .col("workspace_id")
                .col("term")
                .col("key_id"),
        )
        .foreign_key(&mut owned_by_key("key_terms"))
        .to_owned()
}

fn owned_by_key(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_of_key"))
        .from(table, "key_id")
        .to("keys", "id")
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

fn changes() -> TableCreateStatement {
    Table::create()
        .table("changes")
        .col(number("revision"))
        .col(number("ordinal"))
        .col(number("time"))
        .col(text("actor"))
        .col(text("action"))
        .col(text("resource_kind"))
        .col(text("workspace_id"))
        .col(text("resource_id"))
        .col(maybe_text("before"))
        .col(maybe_text("after"))
        .primary_key(Index::create().col("revision").col("ordinal"))
        .to_owned()
}

fn idempotency() -> [TableCreateStatement; 2] {
    [
        Table::create()
            .table("idempotency")
            .col(bytes("id").primary_key())
            .col(bytes("fingerprint"))
            .col(text("answer"))
            .col(maybe_bytes("key_id"))
            .col(number("create_time"))
            .to_owned(),
        Table::create()
            .table("replay_tokens")
            .col(bytes("idempotency_id"))
            .col(number("ordinal"))
            .col(maybe_bytes("key_id"))
            .col(bytes("secret_id"))
            .col(bytes("sealed"))
            .col(number("create_time"))
            .primary_key(Index::create().col("idempotency_id").col("ordinal"))
            .to_owned(),
    ]
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &'static str, table: &'static str, columns: &[&'static str]| {
        let mut index = Index::create().name(name).table(table).to_owned();
        for column in columns {
            index.col(*column);
        }
        index
    };
    vec![
        index("keys_by_workspace", "keys", &["workspace_id", "id"]),
        index(
            "keys_by_name",
            "keys",
            &["workspace_id", "name_folded", "id"],
        ),
        index("keys_by_purge_time", "keys", &["purge_time"]),
        index("secrets_by_tag", "secrets", &["workspace_id", "tag"])
            .unique()
            .to_owned(),
        index("secrets_by_key", "secrets", &["key_id", "ordinal"]),
        index("secrets_by_end_time", "secrets", &["end_time"]),
        index("key_terms_by_key", "key_terms", &["key_id"]),
        index("idempotency_by_time", "idempotency", &["create_time"]),
        index("replay_tokens_by_key", "replay_tokens", &["key_id"]),
        index("replay_tokens_by_time", "replay_tokens", &["create_time"]),
    ]
}

fn number(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().not_null().to_owned()
}

fn maybe_number(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).big_integer().null().to_owned()
}

fn text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().not_null().to_owned()
}

fn maybe_text(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).text().null().to_owned()
}

fn bytes(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).blob().not_null().to_owned()
}

fn maybe_bytes(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).blob().null().to_owned()
}

fn truth(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).boolean().not_null().to_owned()
}
