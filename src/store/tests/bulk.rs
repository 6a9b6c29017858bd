//! Many keys at once: the same rows as one by one.

use super::{acme, at, change, commit, full_key, key, open, sub, subscription, tag, workspace};
use crate::app::ports::{ImportRecord, Resource, Store as _};
use crate::domain::id::{KeyId, SecretId};
use crate::domain::secret::Slot;

fn record(n: u128) -> ImportRecord {
    ImportRecord {
        import_id: format!("row-{n}"),
        key: KeyId::from_u128(n),
        fingerprint: [n as u8; 32],
    }
}

#[tokio::test]
async fn keys_written_in_bulk_read_back_as_they_were_with_their_changes_in_order() {
    let (_dir, store) = open().await;
    // More than one statement takes, and not a multiple of it.
    let mut keys: Vec<_> = (1..=237).map(|n| key(n, &format!("key {n}"))).collect();
    keys.push(full_key(238));
    let mut tx = store.begin().await.unwrap();
    tx.put_new_keys(&keys).await.unwrap();
    let changes: Vec<_> = keys
        .iter()
        .map(|key| change(Resource::Key(acme(), key.id)))
        .collect();
    tx.append_many(&changes[..1]).await.unwrap();
    tx.append(&changes[1]).await.unwrap();
    tx.append_many(&changes[2..]).await.unwrap();
    commit(tx).await;
    for key in &keys {
        assert_eq!(store.key(key.id).await.unwrap().as_ref(), Some(key));
    }
    let batch = store.feed(0, 1_000).await.unwrap();
    let read: Vec<_> = batch.keys.into_iter().filter_map(|(_, key)| key).collect();
    assert_eq!(read, keys);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(
        tx.key_with_subscription(&acme(), &sub("gold"))
            .await
            .unwrap(),
        Some(keys[237].id),
        "it can be found by its terms"
    );
    let mut found = tx
        .keys(&keys.iter().map(|k| k.id).collect::<Vec<_>>())
        .await
        .unwrap();
    found.sort_by_key(|key| key.id);
    assert_eq!(found, keys);
}

#[tokio::test]
async fn holders_are_found_by_tag_within_their_workspace() {
    let (_dir, store) = open().await;
    let mut tx = store.begin().await.unwrap();
    tx.put_new_keys(&[key(1, "a"), key(2, "b")]).await.unwrap();
    let tags = [tag(100), tag(200), tag(300)];
    let mut found = tx.holders(&acme(), &tags).await.unwrap();
    found.sort_by_key(|(_, key, _)| *key);
    let expected = [1, 2].map(|n| {
        (
            tag(n * 100),
            KeyId::from_u128(n),
            SecretId::from_u128(n * 100),
        )
    });
    assert_eq!(found, expected);
    let elsewhere = "other".parse().unwrap();
    assert_eq!(tx.holders(&elsewhere, &tags).await.unwrap(), []);
    assert_eq!(tx.holders(&acme(), &[]).await.unwrap(), []);
}

#[tokio::test]
async fn imports_are_remembered_beyond_their_keys_and_not_beyond_their_workspace() {
    let (_dir, store) = open().await;
    let mut tx = store.begin().await.unwrap();
    tx.put_workspace(&workspace("acme")).await.unwrap();
    tx.put_new_keys(&[key(1, "a")]).await.unwrap();
    tx.remember_imports(&acme(), &[record(1), record(2)], at(5))
        .await
        .unwrap();
    tx.purge_key(KeyId::from_u128(1)).await.unwrap();
    let ids = ["row-1", "row-2", "row-3"];
    let mut found = tx.imported(&acme(), &ids).await.unwrap();
    found.sort_by(|a, b| a.import_id.cmp(&b.import_id));
    assert_eq!(found, [record(1), record(2)]);
    let elsewhere = "other".parse().unwrap();
    assert_eq!(tx.imported(&elsewhere, &ids).await.unwrap(), []);
    tx.delete_workspace(&acme()).await.unwrap();
    assert_eq!(tx.imported(&acme(), &ids).await.unwrap(), []);
}

#[tokio::test]
async fn a_sealed_digest_is_read_only_when_asked_for_survives_changes_and_goes_with_its_secret() {
    let (_dir, store) = open().await;
    let mut made = key(1, "a");
    made.secrets[0].sealed_digest = Some(vec![7; 61]);
    let ids = [made.id];
    let mut tx = store.begin().await.unwrap();
    tx.put_key(&made).await.unwrap();
    let mut read = tx.key(made.id).await.unwrap().unwrap();
    assert_eq!(read.secrets[0].sealed_digest, None);
    read.settings.display_name = "b".to_owned();
    let mut second = super::secret(101, Slot::Secondary);
    second.sealed_digest = Some(vec![8; 61]);
    read.secrets.push(second);
    tx.put_key(&read).await.unwrap();
    let secret = SecretId::from_u128;
    let mut digests = tx.sealed_digests(&ids).await.unwrap();
    digests.sort();
    let both = [
        (made.id, secret(100), vec![7; 61]),
        (made.id, secret(101), vec![8; 61]),
    ];
    assert_eq!(digests, both);
    // Sealed tokens are destroyed apart.
    tx.destroy_sealed(&acme(), None, 9).await.unwrap();
    assert_eq!(tx.sealed_digests(&ids).await.unwrap().len(), 2);
    read.secrets[0].revoke_time = Some(at(20));
    tx.put_key(&read).await.unwrap();
    assert_eq!(tx.sealed_digests(&ids).await.unwrap(), both[1..]);
    tx.purge_key(made.id).await.unwrap();
    assert_eq!(tx.sealed_digests(&ids).await.unwrap(), []);
}

#[tokio::test]
async fn only_subscriptions_that_there_are_are_found() {
    let (_dir, store) = open().await;
    let mut tx = store.begin().await.unwrap();
    tx.put_subscription(&subscription(&acme(), "gold"))
        .await
        .unwrap();
    let ids = [sub("gold"), sub("silver")];
    let found = tx.subscriptions(&acme(), &ids).await.unwrap();
    assert_eq!(found, [sub("gold")]);
    assert_eq!(tx.subscriptions(&acme(), &[]).await.unwrap(), []);
}
