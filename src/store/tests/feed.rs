//! Feed and load: each row as it is in one snapshot, each revision whole.

use super::*;
use crate::app::ports::Loaded;

#[tokio::test]
async fn the_feed_names_what_was_touched_as_it_is_now() {
    let (_dir, store) = open().await;
    put(&store, &[key(1, "a"), key(2, "b"), key(3, "c")]).await;
    let w = workspace("acme");
    let mut tx = store.begin().await.unwrap();
    tx.put_workspace(&w).await.unwrap();
    tx.put_scope(&scope(&w.id, "x")).await.unwrap();
    tx.put_subscription(&subscription(&w.id, "s"))
        .await
        .unwrap();
    tx.purge_key(KeyId::from_u128(3)).await.unwrap();
    for resource in [
        Resource::Scope(w.id.clone(), "x".to_owned()),
        Resource::Subscription(w.id.clone(), sub("s")),
        Resource::Subscription(w.id.clone(), sub("gone")),
        Resource::Workspace("gone".parse().unwrap()),
    ] {
        tx.append(&change(resource)).await.unwrap();
    }
    tx.append(&key_change(3)).await.unwrap();
    tx.append(&key_change(1)).await.unwrap();
    assert_eq!(commit(tx).await, 2);

    let batch = store.feed(1, 100).await.unwrap();
    assert_eq!((batch.upto, batch.head, batch.epoch), (2, 2, 7));
    let one = KeyId::from_u128(1);
    let three = KeyId::from_u128(3);
    assert_eq!(batch.keys, [(one, Some(key(1, "a"))), (three, None)]);
    assert_eq!(
        batch.workspaces,
        [
            (w.id.clone(), Some((w.clone(), vec![scope(&w.id, "x")]))),
            ("gone".parse().unwrap(), None)
        ]
    );
    assert_eq!(
        batch.subscriptions,
        [
            ((w.id.clone(), sub("gone")), None),
            ((w.id.clone(), sub("s")), Some(subscription(&w.id, "s")))
        ]
    );
}

#[tokio::test]
async fn a_feed_with_nothing_new_stays_where_it_is() {
    let (_dir, store) = open().await;
    put(&store, &[key(1, "a")]).await;
    for after in [1, 5] {
        let batch = store.feed(after, 100).await.unwrap();
        assert_eq!((batch.upto, batch.head), (after, 1));
        assert!(batch.keys.is_empty());
    }
}

#[tokio::test]
async fn a_limit_never_splits_a_revision() {
    let (_dir, store) = open().await;
    put(&store, &[key(1, "a"), key(2, "b")]).await;
    put(&store, &[key(3, "c"), key(4, "d"), key(5, "e")]).await;
    // A mutation without a change, as a stored answer alone is one.
    commit(store.begin().await.unwrap()).await;
    for (after, limit, upto, keys) in [
        (0, 1, 1, 2),
        (0, 2, 1, 2),
        (0, 3, 2, 5),
        (1, 1, 2, 3),
        (0, 5, 2, 5),
        (0, 6, 3, 5),
        (2, 1, 3, 0),
    ] {
        let batch = store.feed(after, limit).await.unwrap();
        let found = (batch.upto, batch.keys.len(), batch.head);
        assert_eq!(found, (upto, keys, 3), "after {after}, limit {limit}");
    }
}

#[tokio::test]
async fn load_gives_what_was_put_and_the_directory_first() {
    let (_dir, store) = open().await;
    let ids: Vec<Workspace> = (0..3).map(|n| workspace(&format!("w{n}"))).collect();
    let mut tx = store.begin().await.unwrap();
    for w in &ids {
        tx.put_workspace(w).await.unwrap();
        tx.put_scope(&scope(&w.id, "x")).await.unwrap();
        tx.put_subscription(&subscription(&w.id, "s"))
            .await
            .unwrap();
    }
    // More than one page, and more than one `IN`.
    let mut keys: Vec<Key> = (2..1_300).map(|n| key(n, "k")).collect();
    keys.insert(0, full_key(1));
    keys[3].secrets.clear();
    keys[4].settings.labels = BTreeMap::from([("tier".to_owned(), "1".to_owned())]);
    for key in &keys {
        tx.put_key(key).await.unwrap();
    }
    commit(tx).await;

    let mut loaded = Vec::new();
    let revision = store.load(&mut |item| loaded.push(item)).await.unwrap().n;
    assert_eq!(revision, 1);
    let mut loaded = loaded.into_iter();
    for w in &ids {
        let item = loaded.next();
        let Some(Loaded::Workspace(found, scopes)) = item else {
            panic!("{item:?}");
        };
        assert_eq!((&*found, scopes), (w, vec![scope(&w.id, "x")]));
    }
    for w in &ids {
        let item = loaded.next();
        let Some(Loaded::Subscription(found)) = item else {
            panic!("{item:?}");
        };
        assert_eq!(found, subscription(&w.id, "s"));
    }
    let found: Vec<Key> = loaded
        .map(|item| match item {
            Loaded::Key(key) => *key,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(found.len(), keys.len());
    for (found, key) in found.iter().zip(&keys) {
        assert_eq!(decisive(found), decisive(key));
    }
}

/// What decisions ask for of a key.
fn decisive(key: &Key) -> Key {
    let nothing = self::key(key.id.as_u128(), "");
    let mut settings = key.settings.clone();
    settings.display_name = String::new();
    settings.description = String::new();
    let of_secret = |secret: &Secret| Secret {
        slot: Slot::Primary,
        hint: String::new(),
        sealed: None,
        create_time: at(0),
        regenerated: false,
        revocation_reason: RevocationReason::Unspecified,
        acknowledge_time: None,
        leak_time: None,
        ..secret.clone()
    };
    let mut secrets: Vec<_> = key.secrets.iter().map(of_secret).collect();
    secrets.sort_by_key(|secret| secret.id);
    Key {
        settings,
        secrets,
        purge_time: None,
        workspace: key.workspace.clone(),
        delete_time: key.delete_time,
        revision: key.revision,
        ..nothing
    }
}

#[tokio::test]
async fn the_oldest_changes_are_pruned_whole_and_who_needed_them_is_told() {
    let (_home, store) = open().await;
    for revision in 1..=6_i64 {
        let mut tx = store.begin().await.unwrap();
        for n in 0..2 {
            let mut change = key_change(n);
            change.time = at(revision * 10);
            tx.append(&change).await.unwrap();
        }
        commit(tx).await;
    }
    // Of the third revision the limit sees half.
    assert_eq!(store.prune_changes(at(50), 5).await.unwrap(), 4);
    assert!(store.feed(0, 10).await.unwrap().pruned);
    assert!(store.feed(1, 10).await.unwrap().pruned);
    let batch = store.feed(2, 10).await.unwrap();
    assert_eq!((batch.pruned, batch.upto), (false, 6));
    // A limit below a revision's size still gets on.
    assert_eq!(store.prune_changes(at(50), 1).await.unwrap(), 2);
    assert_eq!(store.prune_changes(at(50), 100).await.unwrap(), 2);
    assert_eq!(store.prune_changes(at(50), 100).await.unwrap(), 0);
    // The newest stays, however old.
    assert_eq!(store.prune_changes(at(1_000), 100).await.unwrap(), 2);
    assert_eq!(store.prune_changes(at(1_000), 100).await.unwrap(), 0);
    assert!(!store.feed(5, 10).await.unwrap().pruned);
    assert!(!store.feed(6, 10).await.unwrap().pruned);
}
