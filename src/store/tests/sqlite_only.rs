//! What SQLite alone has: its file, who may read it, its settings, its full disk. Run on SQLite wherever the others run.

use sea_orm::{
    ConnectionTrait, Database, DbBackend, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait as _,
};

use super::*;
use crate::app::ports::StoreError;
use crate::store::OpenError;

#[tokio::test]
async fn closing_folds_the_log_into_the_file() {
    let (home, store) = open_sqlite().await;
    put(&store, &[key(1, "a")]).await;
    assert!(home.folder().join("claviger.db-wal").exists());
    store.close().await.unwrap();
    assert!(!home.folder().join("claviger.db-wal").exists());
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

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (home, store) = open_sqlite().await;
    put(&store, &[key(1, "a")]).await;
    let mut files = 0;
    for entry in std::fs::read_dir(home.folder()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(
        files, 6,
        "database, log, shared memory; the same of the records"
    );
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
    let (_home, store) = open_sqlite().await;
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
    let (_home, store) = open_sqlite().await;
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
    let (_home, store) = open_sqlite().await;
    // As where SQLite opened it while the file could not be written to: every change on it fails, and reading goes on.
    pragma(&store, "query_only = ON").await;
    assert_eq!(store.feed(0, 1).await.unwrap().head, 0);
    assert_eq!(put(&store, &[key(1, "a")]).await, 1);
}
