//! Several processes on one database, as far as each database has them: what one wrote the other finds, nobody waits for
//! ever, and of what may happen once, it happens once.

use sea_orm::ConnectionTrait;

use super::*;
use crate::app::ports::{Position, StoreError};

#[tokio::test]
async fn who_starts_together_finds_one_schema_and_one_history() {
    let home = Home::make().await;
    let meta = |epoch| Meta {
        epoch,
        wrapped_keys: vec![1],
        bootstrapped: false,
    };
    let start = async |epoch| {
        let store = home.open().await.unwrap();
        store.initialise(&meta(epoch)).await.unwrap()
    };
    // On SQLite a lock on the data directory keeps the second process out.
    let stands = if home.is_server() {
        let (a, b) = tokio::join!(start(1), start(2));
        assert_eq!(a, b);
        a
    } else {
        start(1).await
    };
    assert_eq!(start(3).await, stands);
}

#[tokio::test]
async fn the_bootstrap_happens_once() {
    let (home, store) = open().await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.set_bootstrapped().await.unwrap());
    commit(tx).await;
    let other = home.open().await.unwrap();
    let mut tx = other.begin().await.unwrap();
    assert!(!tx.set_bootstrapped().await.unwrap());
}

#[tokio::test]
async fn the_position_tells_another_of_a_change_and_of_another_history() {
    let (home, store) = open().await;
    let other = home.open().await.unwrap();
    let at = |n, epoch| Position { n, epoch };
    assert_eq!(other.position().await.unwrap(), at(0, 7));
    put(&store, &[key(1, "a")]).await;
    assert_eq!(other.position().await.unwrap(), at(1, 7));
    let mut tx = store.begin().await.unwrap();
    tx.set_epoch(9).await.unwrap();
    assert_eq!(other.position().await.unwrap(), at(1, 7));
    commit(tx).await;
    assert_eq!(other.position().await.unwrap(), at(2, 9));
    assert_eq!(other.feed(1, 10).await.unwrap().epoch, 9);
}

#[tokio::test]
async fn a_mutation_waits_for_the_one_before_and_reads_what_it_wrote() {
    let (home, store) = open().await;
    let other = home.open().await.unwrap();
    let mut first = store.begin().await.unwrap();
    first.put_key(&key(1, "a")).await.unwrap();
    first.append(&key_change(1)).await.unwrap();
    let second = async {
        let mut tx = other.begin().await.unwrap();
        let found = tx.key(KeyId::from_u128(1)).await.unwrap();
        (tx.revision(), found)
    };
    let (committed, found) = tokio::join!(commit(first), second);
    assert_eq!((committed, found), (1, (2, Some(key(1, "a")))));
}

#[tokio::test]
async fn a_snapshot_does_not_see_what_comes_after_it() {
    let (_home, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    let snapshot = store.snapshot().await.unwrap();
    let count = "SELECT count(*) FROM keys";
    let counted = async || {
        let statement = sea_orm::Statement::from_string(snapshot.get_database_backend(), count);
        let row = snapshot.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).unwrap()
    };
    assert_eq!(counted().await, 1);
    put(&store, &[key(2, "b")]).await;
    assert_eq!(counted().await, 1);
}

#[tokio::test]
async fn a_transaction_with_a_failed_statement_is_never_committed() {
    let (_home, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    let mut twin = key(2, "b");
    twin.secrets[0].tag = tag(100);
    let mut tx = store.begin().await.unwrap();
    let error = tx.put_key(&twin).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(store.key(twin.id).await.unwrap(), None);
    assert_eq!(store.position().await.unwrap().n, 1);
}

#[tokio::test]
async fn two_that_flush_times_of_last_use_at_once_both_do_and_the_latest_stand() {
    let (home, store) = open().await;
    let other = home.open().await.unwrap();
    let keys: Vec<Key> = (1..=300).map(|n| key(n, "k")).collect();
    put(&store, &keys).await;
    let used = |from: i64, backwards: bool| {
        let mut used: Vec<_> = (1..=300_i64)
            .map(|n| {
                let id = SecretId::from_u128(u128::try_from(n).unwrap() * 100);
                (id, at(from + n % 2 * 100))
            })
            .collect();
        if backwards {
            used.reverse();
        }
        used
    };
    for round in 0..5 {
        let (one, two) = (used(1_000 + round, false), used(1_050 + round, true));
        let (one, two) = tokio::join!(store.flush_last_used(&one), other.flush_last_used(&two));
        // On SQLite there is one writer; on PostgreSQL one may have to give way, and comes again.
        for done in [one, two] {
            assert!(
                matches!(done, Ok(()) | Err(StoreError::Unavailable(_))),
                "{done:?}"
            );
        }
    }
    store.flush_last_used(&used(1_000, false)).await.unwrap();
    other.flush_last_used(&used(1_060, true)).await.unwrap();
    for n in [1, 2, 299, 300] {
        let found = store.key(KeyId::from_u128(n)).await.unwrap().unwrap();
        let latest = at(1_060 + i64::try_from(n % 2).unwrap() * 100);
        assert_eq!(found.secrets[0].last_used_time, Some(latest), "{n}");
    }
}

#[tokio::test]
async fn names_are_in_the_order_of_their_bytes_whatever_the_locale() {
    let (_home, store) = open().await;
    // Most locales put `_` and `-` elsewhere, and `ä` before `z`.
    let names = ["a-b", "a_b", "ab", "b", "z", "ä"];
    let mut tx = store.begin().await.unwrap();
    for name in names.iter().rev() {
        tx.put_scope(&scope(&acme(), name)).await.unwrap();
    }
    commit(tx).await;
    let mut sorted = names;
    sorted.sort_unstable();
    let mut found = Vec::new();
    while let [next] = &*store
        .list_scopes(&acme(), found.last().map(String::as_str), 1)
        .await
        .unwrap()
    {
        found.push(next.name.clone());
    }
    assert_eq!(found, sorted);
}
