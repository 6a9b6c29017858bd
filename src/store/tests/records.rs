//! What is written is what is read.

use super::*;
use crate::app::ports::{IdempotencyRecord, StoreError};

#[tokio::test]
async fn a_key_reads_back_as_it_was_written() {
    let (_dir, store) = open().await;
    let key = full_key(1);
    put(&store, std::slice::from_ref(&key)).await;
    assert_eq!(store.key(key.id).await.unwrap(), Some(key.clone()));
    assert_eq!(store.key(KeyId::from_u128(2)).await.unwrap(), None);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.key(key.id).await.unwrap(), Some(key));
}

#[tokio::test]
async fn replacing_a_key_drops_what_it_no_longer_lists() {
    let (_dir, store) = open().await;
    let mut key = full_key(1);
    put(&store, std::slice::from_ref(&key)).await;
    let gone = key.secrets.remove(0);
    key.settings.subscriptions.remove(0);
    key.settings.labels.clear();
    key.revision = 13;
    put(&store, std::slice::from_ref(&key)).await;
    assert_eq!(store.key(key.id).await.unwrap(), Some(key.clone()));
    let holder = |tag| {
        let store = store.clone();
        async move { store.secret_holder(&acme(), &tag).await.unwrap() }
    };
    assert_eq!(holder(gone.tag).await, None);
    let stays = &key.secrets[0];
    assert_eq!(holder(stays.tag).await, Some((key.id, stays.id)));
    let mut tx = store.begin().await.unwrap();
    let bound = |id| sub(id);
    assert_eq!(
        tx.key_with_subscription(&acme(), &bound("gold"))
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        tx.key_with_subscription(&acme(), &bound("silver"))
            .await
            .unwrap(),
        Some(key.id)
    );
    assert_eq!(
        tx.key_with_grant(&acme(), "messages:*").await.unwrap(),
        Some(key.id)
    );
    assert_eq!(tx.key_with_grant(&acme(), "messages").await.unwrap(), None);
}

#[tokio::test]
async fn a_key_may_lose_all_its_secrets_and_terms() {
    let (_dir, store) = open().await;
    put(&store, &[full_key(1)]).await;
    let mut bare = key(1, "bare");
    bare.secrets.clear();
    put(&store, std::slice::from_ref(&bare)).await;
    assert_eq!(store.key(bare.id).await.unwrap(), Some(bare));
}

#[tokio::test]
async fn a_purged_key_leaves_nothing() {
    let (_dir, store) = open().await;
    let key = full_key(1);
    put(&store, std::slice::from_ref(&key)).await;
    let mut tx = store.begin().await.unwrap();
    assert!(tx.has_keys(&acme()).await.unwrap());
    tx.purge_key(key.id).await.unwrap();
    assert!(!tx.has_keys(&acme()).await.unwrap());
    commit(tx).await;
    assert_eq!(store.key(key.id).await.unwrap(), None);
    let tag = key.secrets[0].tag;
    assert_eq!(store.secret_holder(&acme(), &tag).await.unwrap(), None);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(
        tx.key_with_grant(&acme(), "messages:*").await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_tag_is_unique_within_a_workspace_and_not_across() {
    let (_dir, store) = open().await;
    let first = key(1, "a");
    let mut other = key(2, "b");
    other.secrets[0].tag = first.secrets[0].tag;
    put(&store, std::slice::from_ref(&first)).await;
    let mut tx = store.begin().await.unwrap();
    let error = tx.put_key(&other).await.unwrap_err();
    let StoreError::Corrupt(text) = error else {
        panic!("{error}");
    };
    // SQLite names the columns, PostgreSQL the index.
    let named = ["secrets.workspace_id, secrets.tag", "secrets_by_tag"];
    assert!(named.iter().any(|name| text.contains(name)), "{text}");
    drop(tx);
    other.workspace = "globex".parse().unwrap();
    put(&store, std::slice::from_ref(&other)).await;
    let holder = store.secret_holder(&other.workspace, &other.secrets[0].tag);
    assert_eq!(holder.await.unwrap(), Some((other.id, other.secrets[0].id)));
}

#[tokio::test]
async fn a_mutation_that_is_dropped_leaves_no_gap() {
    let (_dir, store) = open().await;
    assert_eq!(put(&store, &[key(1, "a")]).await, 1);
    for n in 2..5 {
        let mut tx = store.begin().await.unwrap();
        assert_eq!(tx.revision(), 2);
        tx.put_key(&key(n, "b")).await.unwrap();
    }
    assert_eq!(put(&store, &[key(9, "c")]).await, 2);
    assert_eq!(store.feed(0, 100).await.unwrap().head, 2);
    assert_eq!(store.key(KeyId::from_u128(2)).await.unwrap(), None);
}

#[tokio::test]
async fn mutations_that_meet_wait_for_each_other() {
    let (_dir, store) = open().await;
    let tasks = (1..=20).map(|n| {
        let store = store.clone();
        async move { put(&store, &[key(n, "a")]).await }
    });
    let mut revisions = futures::future::join_all(tasks).await;
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_mutation_abandoned_at_any_point_is_done_or_not_done() {
    let (_dir, store) = open().await;
    let mut polls = 1;
    for n in 1..=48 {
        let key = [key(n, "a")];
        let mut mutation = Box::pin(put(&store, &key));
        for _ in 0..polls {
            if futures::poll!(&mut mutation).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(mutation);
        polls = if n % 12 == 0 { 1 } else { polls * 2 };
    }
    // Taken after all that was abandoned has been undone: it waits for the one connection.
    let last = put(&store, &[key(99, "z")]).await;
    let batch = store.feed(0, 1_000).await.unwrap();
    assert_eq!(batch.upto, last);
    assert_eq!(batch.keys.len() as u64, last);
    assert!(batch.keys.iter().all(|(_, key)| key.is_some()));
}

#[tokio::test]
async fn a_time_of_last_use_only_goes_forward_and_outlives_a_change() {
    let (_dir, store) = open().await;
    let mut key = key(1, "a");
    key.secrets.push(secret(101, Slot::Secondary));
    put(&store, std::slice::from_ref(&key)).await;
    let [first, second] = [key.secrets[0].id, key.secrets[1].id];
    let gone = SecretId::from_u128(999);
    let used = [(first, at(50)), (second, at(40)), (gone, at(60))];
    store.flush_last_used(&used).await.unwrap();
    store.flush_last_used(&[(first, at(45))]).await.unwrap();
    let head = store.feed(0, 100).await.unwrap().head;
    assert_eq!(head, 1, "times of last use take no revision");
    // The change was made from a state that knew no use.
    key.revision = 2;
    put(&store, std::slice::from_ref(&key)).await;
    let found = store.key(key.id).await.unwrap().unwrap();
    let times: Vec<_> = found.secrets.iter().map(|s| s.last_used_time).collect();
    assert_eq!(times, [Some(at(50)), Some(at(40))]);
}

#[tokio::test]
async fn sealed_tokens_are_counted_and_destroyed_by_workspace() {
    let (_dir, store) = open().await;
    let mut foreign = full_key(2);
    foreign.workspace = "globex".parse().unwrap();
    put(
        &store,
        &[full_key(1), full_key(3), full_key(4), foreign.clone()],
    )
    .await;
    assert_eq!(store.count_sealed(&acme()).await.unwrap(), 3);
    let mut tx = store.begin().await.unwrap();
    let (last, destroyed) = tx.destroy_sealed(&acme(), None, 2).await.unwrap();
    assert_eq!((last, destroyed), (Some(KeyId::from_u128(3)), 2));
    let rest = tx.destroy_sealed(&acme(), last, 2).await.unwrap();
    assert_eq!(rest, (None, 1));
    let again = tx.destroy_sealed(&acme(), None, 9).await.unwrap();
    assert_eq!(again, (None, 0), "there is nothing left");
    // The counter is taken, and nothing else of it: an empty change would be a gap.
    tx.append(&change(Resource::Workspace(acme())))
        .await
        .unwrap();
    commit(tx).await;
    assert_eq!(store.count_sealed(&acme()).await.unwrap(), 0);
    assert_eq!(store.count_sealed(&foreign.workspace).await.unwrap(), 1);
}

#[tokio::test]
async fn grants_that_were_made_use_of_add_up_and_no_change_of_the_key_loses_them() {
    let (_dir, store) = open().await;
    let mut key = full_key(1);
    put(&store, &[key.clone(), full_key(2)]).await;
    let (one, other) = (key.id, KeyId::from_u128(2));
    let used = |grants: &[&str]| grants.iter().map(|g| (*g).to_owned()).collect::<Vec<_>>();
    let gone = KeyId::from_u128(99);
    let first = [(one, used(&["b", "a"])), (gone, used(&["x"]))];
    store.flush_exercised(&first).await.unwrap();
    store
        .flush_exercised(&[(one, used(&["c", "a"]))])
        .await
        .unwrap();
    key.revision = 2;
    put(&store, &[key]).await;
    let found = store.exercised(&[one, other, gone]).await.unwrap();
    let of = |id: KeyId| {
        found
            .get(&id)
            .map(|g| g.iter().cloned().collect::<Vec<_>>())
    };
    assert_eq!(of(one), Some(used(&["a", "b", "c"])));
    assert_eq!((of(other), of(gone)), (Some(Vec::new()), None));
}

#[tokio::test]
async fn the_directory_reads_back_and_a_workspace_takes_its_own_with_it() {
    let (_dir, store) = open().await;
    let (a, b) = (workspace("acme"), workspace("globex"));
    let mut tx = store.begin().await.unwrap();
    for w in [&a, &b] {
        tx.put_workspace(w).await.unwrap();
        for name in ["y", "x"] {
            tx.put_scope(&scope(&w.id, name)).await.unwrap();
            tx.put_subscription(&subscription(&w.id, name))
                .await
                .unwrap();
        }
    }
    commit(tx).await;
    assert_eq!(store.workspace(&a.id).await.unwrap(), Some(a.clone()));
    assert_eq!(
        store.list_workspaces(Some(&a.id), 10).await.unwrap(),
        std::slice::from_ref(&b)
    );
    assert_eq!(
        store.list_scopes(&a.id, Some("x"), 10).await.unwrap(),
        [scope(&a.id, "y")]
    );
    assert_eq!(
        store.scope(&a.id, "x").await.unwrap(),
        Some(scope(&a.id, "x"))
    );
    let list = |only: Option<Vec<SubscriptionId>>| {
        let (store, id) = (store.clone(), a.id.clone());
        async move {
            store
                .list_subscriptions(&id, only.as_deref(), None, 10)
                .await
                .unwrap()
        }
    };
    let both = [subscription(&a.id, "x"), subscription(&a.id, "y")];
    assert_eq!(list(None).await, both);
    assert_eq!(list(Some(vec![sub("y"), sub("z")])).await, both[1..]);
    assert_eq!(list(Some(vec![])).await, []);

    let mut tx = store.begin().await.unwrap();
    tx.delete_workspace(&a.id).await.unwrap();
    tx.delete_scope(&b.id, "x").await.unwrap();
    tx.delete_subscription(&b.id, &sub("x")).await.unwrap();
    assert_eq!(tx.scopes(&b.id).await.unwrap(), [scope(&b.id, "y")]);
    assert_eq!(tx.subscription(&b.id, &sub("x")).await.unwrap(), None);
    commit(tx).await;
    assert_eq!(store.workspace(&a.id).await.unwrap(), None);
    assert_eq!(list(None).await, []);
    assert_eq!(store.list_scopes(&a.id, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_stored_answer_reads_back_and_forgets_its_tokens() {
    let (_dir, store) = open().await;
    let owner = KeyId::from_u128(1);
    let [one, two] = [7, 6].map(SecretId::from_u128);
    let record = |id: u8, time: i64| IdempotencyRecord {
        id: [id; 32],
        fingerprint: [2; 32],
        answer: "{}".to_owned(),
        key: Some(owner),
        sealed: vec![(one, vec![1, 2]), (two, vec![3])],
        create_time: at(time),
    };
    let mut tx = store.begin().await.unwrap();
    tx.put_idempotency(&record(1, 100)).await.unwrap();
    tx.put_idempotency(&record(2, 200)).await.unwrap();
    let found = tx.idempotency(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(found.sealed, record(1, 100).sealed);
    assert_eq!((found.key, found.fingerprint), (Some(owner), [2; 32]));
    assert_eq!((found.answer.as_str(), found.create_time), ("{}", at(100)));
    assert!(tx.idempotency(&[3; 32]).await.unwrap().is_none());
    tx.forget_tokens(owner, Some(one)).await.unwrap();
    let found = tx.idempotency(&[2; 32]).await.unwrap().unwrap();
    assert_eq!(found.sealed, [(two, vec![3])]);
    commit(tx).await;

    let mut tx = store.begin().await.unwrap();
    let again = IdempotencyRecord {
        answer: "again".to_owned(),
        sealed: vec![(two, vec![4])],
        ..record(1, 100)
    };
    tx.put_idempotency(&again).await.unwrap();
    let found = tx.idempotency(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((found.answer, found.sealed), (again.answer, again.sealed));
    commit(tx).await;

    store.expire_idempotency(at(50), at(150)).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.idempotency(&[1; 32]).await.unwrap().unwrap().sealed, []);
    assert_eq!(
        tx.idempotency(&[2; 32])
            .await
            .unwrap()
            .unwrap()
            .sealed
            .len(),
        1
    );
    tx.forget_tokens(owner, None).await.unwrap();
    assert_eq!(tx.idempotency(&[2; 32]).await.unwrap().unwrap().sealed, []);
    commit(tx).await;

    store.expire_idempotency(at(150), at(0)).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert!(tx.idempotency(&[1; 32]).await.unwrap().is_none());
    assert!(tx.idempotency(&[2; 32]).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_due_to_go_is_found() {
    let (_dir, store) = open().await;
    let mut deleted = key(1, "a");
    deleted.delete_time = Some(at(20));
    deleted.purge_time = Some(at(50));
    let mut ended = key(2, "b");
    ended.secrets.push(secret(201, Slot::Secondary));
    ended.secrets[0].retire_time = Some(at(70));
    ended.secrets[1].retire_time = Some(at(70));
    ended.secrets[1].revoke_time = Some(at(60));
    put(&store, &[deleted.clone(), ended.clone(), key(3, "c")]).await;
    assert_eq!(store.due_for_purge(at(49), 9).await.unwrap(), []);
    assert_eq!(store.due_for_purge(at(50), 9).await.unwrap(), [deleted.id]);
    let ended_before = |t| {
        let store = store.clone();
        async move { store.with_secrets_ended_before(at(t), 9).await.unwrap() }
    };
    assert_eq!(ended_before(60).await, []);
    assert_eq!(ended_before(61).await, [ended.id]);
    assert_eq!(ended_before(99).await, [ended.id]);
}

#[tokio::test]
async fn the_first_to_initialise_wins_and_the_bootstrap_is_remembered() {
    let (_dir, store) = open().await;
    let stands = store.meta().await.unwrap().unwrap();
    assert_eq!((stands.epoch, stands.bootstrapped), (7, false));
    let late = Meta {
        epoch: 8,
        wrapped_keys: vec![4],
        bootstrapped: true,
    };
    assert_eq!(store.initialise(&late).await.unwrap(), stands);
    let mut tx = store.begin().await.unwrap();
    tx.set_bootstrapped().await.unwrap();
    commit(tx).await;
    assert!(store.meta().await.unwrap().unwrap().bootstrapped);
}

#[tokio::test]
async fn keys_of_a_workspace_leave_out_deleted_ones() {
    let (_dir, store) = open().await;
    put(&store, &[key(1, "a"), full_key(2), key(3, "c")]).await;
    let mut tx = store.begin().await.unwrap();
    let found = tx.keys_of(&acme()).await.unwrap();
    assert_eq!(found, [key(1, "a"), key(3, "c")]);
}

#[tokio::test]
async fn many_keys_go_at_once_with_all_that_is_theirs_and_no_others() {
    let (_dir, store) = open().await;
    let mut keys: Vec<_> = (1..=1_200).map(|n| key(n, "k")).collect();
    keys.extend((2_000..2_003).map(full_key));
    put(&store, &keys).await;
    let gone: Vec<_> = keys.iter().map(|key| key.id).skip(1).take(1_201).collect();
    let mut tx = store.begin().await.unwrap();
    tx.purge_keys(&gone).await.unwrap();
    commit(tx).await;
    let left = [keys[0].id, keys[1_202].id];
    for key in &keys {
        let found = store.key(key.id).await.unwrap();
        assert_eq!(found.is_some(), left.contains(&key.id), "{}", key.id);
    }
    let of_gone = keys[1].secrets[0].tag;
    let holder = store.secret_holder(&acme(), &of_gone).await.unwrap();
    assert_eq!(holder, None);
    let due = store.due_for_purge(at(60), 10).await.unwrap();
    assert_eq!(due, [keys[1_202].id]);
}

#[tokio::test]
async fn secrets_that_ended_go_from_many_keys_at_once_and_the_others_stay() {
    let (_dir, store) = open().await;
    let keys: Vec<_> = (1..=600).map(full_key).chain([key(900, "k")]).collect();
    put(&store, &keys).await;
    let due = store
        .with_secrets_ended_before(at(31), 1_000)
        .await
        .unwrap();
    assert_eq!(due.len(), 600);
    let mut tx = store.begin().await.unwrap();
    tx.forget_secrets(&due, at(31), at(44)).await.unwrap();
    let revision = commit(tx).await;
    for (key, touched) in [(&keys[0], true), (&keys[599], true), (&keys[600], false)] {
        let found = store.key(key.id).await.unwrap().unwrap();
        let mut expected = key.clone();
        if touched {
            // Revoked at 30; the other one is still in force.
            expected.secrets.remove(0);
            expected.update_time = at(44);
            expected.revision = revision;
        }
        assert_eq!(found, expected);
    }
    let due = store
        .with_secrets_ended_before(at(31), 1_000)
        .await
        .unwrap();
    assert_eq!(due, []);
}
