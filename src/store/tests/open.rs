//! Opening: what is refused, in which words; who may read the files.

use sea_orm::ConnectionTrait;

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
