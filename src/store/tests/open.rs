//! Opening: what is there again, what is refused and in which words, who waits for whom.

use sea_orm::ConnectionTrait;

use super::*;
use crate::app::ports::StoreError;
use crate::store::OpenError;

#[tokio::test]
async fn a_database_opens_again_with_what_it_holds() {
    let (home, store) = open().await;
    put(&store, &[full_key(1)]).await;
    store.close().await.unwrap();
    assert!(matches!(
        store.begin().await.err(),
        Some(StoreError::Unavailable(_))
    ));
    let store = home.open().await.unwrap();
    assert_eq!(store.key(full_key(1).id).await.unwrap(), Some(full_key(1)));
    assert_eq!(put(&store, &[key(2, "b")]).await, 2);
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let (home, store) = open().await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)";
    store.writer.execute_unprepared(newer).await.unwrap();
    store.close().await.unwrap();
    let error = home.open().await.unwrap_err();
    assert!(matches!(&error, OpenError::NewerSchema { step, .. } if step == "m9999_future"));
    assert!(error.to_string().contains("newer version"), "{error}");
}

#[tokio::test]
async fn a_schema_that_was_only_extended_is_gone_on_with() {
    let (home, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    for newer in ["m9998_expand_labels", "m9999_contract_1_labels"] {
        let newer =
            format!("INSERT INTO seaql_migrations (version, applied_at) VALUES ('{newer}', 0)");
        store.writer.execute_unprepared(&newer).await.unwrap();
    }
    store.close().await.unwrap();
    let store = home.open().await.unwrap();
    assert_eq!(put(&store, &[key(2, "b")]).await, 2);
    let newest =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_contract_2_labels', 0)";
    store.writer.execute_unprepared(newest).await.unwrap();
    let error = home.open().await.unwrap_err();
    assert!(
        matches!(&error, OpenError::NewerSchema { step, .. } if step == "m9999_contract_2_labels")
    );
}

#[tokio::test]
async fn the_schema_is_brought_up_to_date_once() {
    let home = Home::make().await;
    let steps = home.migrate().await.unwrap();
    assert_eq!(steps.first().map(String::as_str), Some("m0001_initial"));
    assert_eq!(home.migrate().await.unwrap(), Vec::<String>::new());
    let store = home.open().await.unwrap();
    initialise(&store).await;
    assert_eq!(put(&store, &[key(1, "a")]).await, 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_without_its_password() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // It hangs up on whoever calls.
    let hang_up = async {
        loop {
            drop(listener.accept().await.unwrap());
        }
    };
    let url = format!("postgres://claviger:s3cret@127.0.0.1:{port}/keys");
    let error = tokio::select! {
        opened = SqlStore::connect(&url) => opened.unwrap_err(),
        () = hang_up => unreachable!(),
    };
    assert!(matches!(error, OpenError::Unreachable { .. }), "{error}");
    let text = format!("{error} {error:?}");
    assert!(text.contains(&format!("127.0.0.1:{port}/keys")), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_writer_elsewhere_makes_a_mutation_unavailable_and_reads_go_on() {
    let (home, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    let other = home.open().await.unwrap();
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
