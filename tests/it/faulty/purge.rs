//! What is due goes in batches, all of it, and mutations get their turn meanwhile.

use claviger::app::ports::{Feed as _, Store as _};
use claviger::domain::id::{KeyId, SecretId};
use claviger::domain::key::Key;
use claviger::domain::time::Time;
use claviger::domain::token::Tag;

use super::stage::{Made, Stage, stage};

/// More than one change takes.
const DELETED: u128 = 1_300;
const WITH_DEAD_SECRETS: u128 = 700;

/// Copies of a key, with secrets of their own that nobody has a token of.
fn copies(of: &Key, count: u128, change: fn(&mut Key)) -> impl Iterator<Item = Key> {
    let first = of.id.as_u128();
    (1..=count).map(move |n| {
        let mut key = of.clone();
        key.id = KeyId::from_u128(first + n);
        let mut tag = [0; 32];
        tag[..16].copy_from_slice(&(first + n).to_be_bytes());
        key.secrets[0].id = SecretId::from_u128(first + n);
        key.secrets[0].tag = Tag::from_bytes(tag);
        change(&mut key);
        key
    })
}

async fn whole(stage: &Stage, made: &Made) -> Key {
    stage.store.key(made.id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_due_goes_in_one_run_and_a_mutation_does_not_wait_for_its_end() {
    let stage = stage().await;
    let (one, other) = (stage.key().await, stage.key().await);
    let deleted = |key: &mut Key| {
        key.delete_time = Some(Time::from_micros(1));
        key.purge_time = Some(Time::from_micros(2));
    };
    let with_dead = |key: &mut Key| {
        key.secrets[0].revoke_time = Some(Time::from_micros(1));
    };
    let mut keys: Vec<_> = copies(&whole(&stage, &one).await, DELETED, deleted).collect();
    let other = whole(&stage, &other).await;
    keys.extend(copies(&other, WITH_DEAD_SECRETS, with_dead));
    let mut tx = stage.store.begin().await.unwrap();
    tx.put_new_keys(&keys).await.unwrap();
    let n = tx.revision();
    tx.commit().await.unwrap();
    stage.follower.catch_up(stage.at(n)).await.unwrap();
    stage.follower.load().await.unwrap();
    let before = stage.core.index.len();

    let (purged, made) = tokio::join!(stage.core.purge_due(), stage.key());
    assert_eq!(purged.unwrap() as u128, DELETED + WITH_DEAD_SECRETS);
    let head = stage.applied();
    assert!(head - n > 4, "in {} changes", head - n);
    assert!(whole(&stage, &made).await.revision < head);
    // One key and one secret came.
    let after = stage.core.index.len();
    assert_eq!(before.0 + 1 - after.0, DELETED as usize);
    assert_eq!(
        before.1 + 1 - after.1,
        (DELETED + WITH_DEAD_SECRETS) as usize
    );
    let left = stage.store.key(keys[1_500].id).await.unwrap().unwrap();
    assert_eq!(left.secrets, []);
    assert_eq!(stage.store.key(keys[0].id).await.unwrap(), None);
    assert_eq!(stage.core.purge_due().await.unwrap(), 0);
}
