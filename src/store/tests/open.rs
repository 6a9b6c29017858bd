//! Opening: what is refused, in which words; who may read the files.

use sea_orm::{
    ConnectionTrait, Database, DbBackend, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait as _,
};

use super::*;
use crate::app::ports::StoreError;
use crate::store::OpenError;

#[tokio::test]
async fn a_database_opens_again_with_what_it_holds() {
    let (dir, store) = open().await;
    put(&store, &[full_key(1)]).await;
    store.close().await.unwrap();
    assert!(matches!(
        store.begin().await.err(),
        Some(StoreError::Unavailable(_))
    ));
    assert!(!dir.path().join("claviger.db-wal").exists());
    let store = SqlStore::open(&dir.path().join("claviger.db"))
        .await
        .unwrap();
    assert_eq!(store.key(full_key(1).id).await.unwrap(), Some(full_key(1)));
    assert_eq!(put(&store, &[key(2, "b")]).await, 2);
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let (dir, store) = open().await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)";
    store.writer.execute_unprepared(newer).await.unwrap();
    store.close().await.unwrap();
    let error = SqlStore::open(&dir.path().join("claviger.db"))
        .await
        .unwrap_err();
    assert!(matches!(&error, OpenError::NewerSchema { step, .. } if step == "m9999_future"));
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn what_is_no_database_is_told_from_what_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("claviger.db");
    std::fs::write(&file, vec![b'x'; 8_192]).unwrap();
    let error = SqlStore::open(&file).await.unwrap_err();
    assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
    let error = SqlStore::open(&dir.path().join("missing/claviger.db"))
        .await
        .unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
    let error = SqlStore::open(dir.path()).await.unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error}");
}

#[tokio::test]
async fn a_database_that_another_process_holds_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("claviger.db");
    let url = format!("sqlite:{}?mode=rwc", file.display());
    let other = Database::connect(url).await.unwrap();
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Exclusive),
        ..TransactionOptions::default()
    };
    let _held = other.begin_with_options(options).await.unwrap();
    let error = SqlStore::open(&file).await.unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
}

#[tokio::test]
async fn a_writer_elsewhere_makes_a_mutation_unavailable_and_reads_go_on() {
    let (dir, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    let other = SqlStore::open(&dir.path().join("claviger.db"))
        .await
        .unwrap();
    let held = other.begin().await.unwrap();
    let error = store.begin().await.err();
    assert!(
        matches!(&error, Some(StoreError::Unavailable(_))),
        "{error:?}"
    );
    assert!(store.key(KeyId::from_u128(1)).await.unwrap().is_some());
    drop(held);
    assert_eq!(put(&store, &[key(2, "b")]).await, 2);
}

#[tokio::test]
async fn the_readers_cannot_write() {
    let (_dir, store) = open().await;
    let write = store.reader.execute_unprepared("DELETE FROM keys").await;
    assert!(write.is_err());
}

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (dir, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    let mut files = 0;
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(files, 3, "database, log, shared memory");
}

async fn pragma(store: &SqlStore, name: &str) -> String {
    let sql = format!("PRAGMA {name}");
    let statement = Statement::from_string(DbBackend::Sqlite, sql);
    let Some(row) = store.writer.query_one_raw(statement).await.unwrap() else {
        return String::new();
    };
    row.try_get_by_index::<String>(0)
        .or_else(|_| row.try_get_by_index::<i64>(0).map(|n| n.to_string()))
        .unwrap()
}

#[tokio::test]
async fn the_writer_syncs_checks_and_erases() {
    let (_dir, store) = open().await;
    for (name, value) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("foreign_keys", "1"),
        ("secure_delete", "1"),
        ("busy_timeout", "2000"),
    ] {
        assert_eq!(pragma(&store, name).await, value, "{name}");
    }
}

#[tokio::test]
async fn a_full_disk_undoes_a_mutation_and_the_next_one_works() {
    let (_dir, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    let full = format!("max_page_count = {}", pragma(&store, "page_count").await);
    pragma(&store, &full).await;
    let mut tx = store.begin().await.unwrap();
    let mut n = 2;
    let error = loop {
        match tx.put_key(&key(n, "b")).await {
            Ok(()) => n += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    drop(tx);
    assert_eq!(store.key(KeyId::from_u128(2)).await.unwrap(), None);
    // The limit was that connection's.
    assert_eq!(put(&store, &[key(2, "b")]).await, 2);
}

#[tokio::test]
async fn a_writers_connection_that_can_only_read_is_replaced() {
    let (_dir, store) = open().await;
    // As where SQLite opened it while the file could not be written to: every change on it fails, and reading goes on.
    pragma(&store, "query_only = ON").await;
    assert_eq!(store.feed(0, 1).await.unwrap().head, 0);
    assert_eq!(put(&store, &[key(1, "a")]).await, 1);
}

#[tokio::test]
async fn a_transaction_that_the_database_rolled_back_does_not_spoil_its_connection() {
    let (_dir, store) = open().await;
    // As after an I/O error: the driver's own rollback then fails, and it goes on believing in the transaction. What it
    // begins next is a savepoint: one that is rolled back stays open, and no later one is ever committed.
    for tx in [
        store.writer.begin_writing().await.unwrap(),
        store.snapshot().await.unwrap(),
    ] {
        tx.execute_unprepared("ROLLBACK").await.unwrap();
    }
    drop(store.begin().await.unwrap());
    assert_eq!(put(&store, &[key(1, "a")]).await, 1);
    for _ in 0..8 {
        assert!(store.key(KeyId::from_u128(1)).await.unwrap().is_some());
    }
    assert_eq!(put(&store, &[key(2, "a")]).await, 2);
}
