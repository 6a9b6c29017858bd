//! A database that is given another history under a running process, as a restored backup is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger::app::ports::freshness::Reload;
use claviger::app::ports::{Actor, Change, Feed as _, Position, Resource, Store as _, StoreError};
use claviger::domain::decision::Reason;
use claviger::domain::id::WorkspaceId;
use claviger::domain::revision::Revision;
use claviger::domain::time::Time;
use claviger::feed::Follower;
use tokio_util::sync::CancellationToken;

use super::stage::{Made, Stage, is_unknown, request, stage};
use super::store::Commit;
use crate::harness::PATIENCE;

/// The history of a stage.
const BEFORE: u32 = 7;

/// What somebody else does who puts a backup back: a key is gone, and another is open again. With `said`, that this begins
/// another history. Returns where it then is.
async fn put_back(stage: &Stage, gone: &Made, open: &Made, said: Option<Time>) -> Position {
    let epoch = stage.store.position().await.unwrap().epoch + 1;
    let mut tx = stage.store.begin().await.unwrap();
    let n = tx.revision();
    tx.purge_key(gone.id).await.unwrap();
    let mut key = tx.key(open.id).await.unwrap().unwrap();
    (key.settings.enabled, key.revision) = (true, n);
    tx.put_key(&key).await.unwrap();
    tx.set_epoch(epoch).await.unwrap();
    let after = serde_json::json!({
        "epoch_before": format!("{:08x}", epoch - 1),
        "epoch": format!("{epoch:08x}"),
    });
    let change = Change {
        actor: Actor::Recovery,
        action: said.map_or("UPDATE", |_| "ADOPT_RESTORE"),
        resource: Resource::Workspace(WorkspaceId::system()),
        before: None,
        after: Some(after),
        time: said.unwrap_or_else(|| stage.core.clock.now()),
    };
    tx.append(&change).await.unwrap();
    tx.commit().await.unwrap();
    Position { n, epoch }
}

/// Polls until this is so.
async fn poll_until(follower: &Follower, mut so: impl FnMut() -> bool) {
    let stop = CancellationToken::new();
    let look = async {
        let begun = Instant::now();
        while !so() {
            assert!(begun.elapsed() < PATIENCE, "it does not come");
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let poll = follower.poll(Duration::from_millis(1), stop.clone());
    futures::future::join(poll, look).await;
}

async fn follows(stage: &Stage, there: Position) {
    let applied = || stage.core.index.applied();
    poll_until(&stage.follower, || applied() == Revision::from(there)).await;
}

fn refused(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_history_takes_over_in_one_step_and_what_belongs_to_the_one_before_ends() {
    let stage = stage().await;
    let (gone, open) = (stage.key().await, stage.key().await);
    stage.disable(&open, request(1)).await.unwrap();
    let before = stage.core.index.applied();
    let next = before.next();
    let there = put_back(&stage, &gone, &open, Some(stage.core.clock.now())).await;
    assert_eq!(stage.ask(&gone), Reason::Ok, "nobody has told us");
    let made_there = stage.disable(&gone, None).await.unwrap_err();
    assert_eq!(made_there.reason, "DATABASE_REPLACED");

    // These wait for what never comes.
    let waiting = futures::future::join(
        stage.follower.wait_for(next.next()),
        stage.follower.wait_for_confirmed(next.next()),
    );
    futures::future::join(waiting, follows(&stage, there)).await;
    assert_eq!(stage.follower.confirmed(), Revision::from(there));
    assert_eq!(stage.ask(&gone), Reason::UnknownKey);
    assert_eq!(stage.ask(&open), Reason::Ok);
    stage.index_equals_database(&[&open]).await;
    let reloads = |why| stage.follower.freshness().reloads(why);
    assert_eq!((reloads(Reload::Replaced), reloads(Reload::Pruned)), (1, 0));
    assert!(!stage.follower.freshness().is_refused());

    // A revision of before is never said to be applied, be its number high or low.
    for n in [1, before.n, there.n, there.n + 9] {
        let old = Revision { n, ..before };
        assert!(refused(&stage.follower.catch_up(old).await.unwrap_err()));
        let waited = stage.core.wait_for_revision(old, PATIENCE).await;
        assert_eq!(waited.unwrap_err().reason, "OTHER_EPOCH");
    }
    // Changes go on in the new one; a call of before that the backup knows is answered as then.
    stage.disable(&open, None).await.unwrap();
    assert_eq!(stage.ask(&open), Reason::KeyDisabled);
    let again = stage.disable(&open, request(1)).await.unwrap();
    assert_eq!(again.revision, Some(before));
    assert!(!again.value.settings.enabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_half_way_decides_nothing() {
    let stage = stage().await;
    let (gone, open) = (stage.key().await, stage.key().await);
    stage.disable(&open, None).await.unwrap();
    let before = stage.core.index.applied();
    // All but the key that was made last is read by then.
    stage.store.loads_fail(true);
    let there = put_back(&stage, &gone, &open, Some(stage.core.clock.now())).await;
    poll_until(&stage.follower, || stage.store.failed_loads() > 2).await;
    assert_eq!(stage.core.index.applied(), before);
    assert_eq!(stage.ask(&gone), Reason::Ok);
    assert_eq!(stage.ask(&open), Reason::KeyDisabled);
    assert!(stage.follower.freshness().is_refused());
    stage.store.loads_fail(false);
    follows(&stage, there).await;
    assert_eq!(stage.ask(&gone), Reason::UnknownKey);
    assert_eq!(stage.ask(&open), Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_nobody_is_known_to_have_begun_is_not_followed() {
    let stage = stage().await;
    let (gone, open) = (stage.key().await, stage.key().await);
    stage.disable(&open, None).await.unwrap();
    let before = stage.core.index.applied();
    put_back(&stage, &gone, &open, None).await;
    let freshness = stage.follower.freshness();
    poll_until(&stage.follower, || freshness.is_refused()).await;
    assert_eq!(stage.core.index.applied(), before);
    assert_eq!(stage.ask(&gone), Reason::Ok);
    assert_eq!(stage.ask(&open), Reason::KeyDisabled);
    let refused = stage.disable(&gone, None).await.unwrap_err();
    assert_eq!(refused.reason, "DATABASE_REPLACED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_was_left_is_not_gone_back_to() {
    let stage = stage().await;
    let (first, second, open) = (stage.key().await, stage.key().await, stage.key().await);
    let long_ago = Time::from_micros(1);
    let follower = Follower::new(Arc::new(stage.store.clone()), stage.core.index.clone());
    let follower = follower.timed_by(stage.core.clock.clone());
    follower.load().await.unwrap();
    // Begun long ago, but from the history that is followed: nobody else can have.
    let there = put_back(&stage, &first, &open, Some(long_ago)).await;
    poll_until(&follower, || stage.core.index.epoch() == there.epoch).await;
    assert_eq!(stage.ask(&first), Reason::UnknownKey);

    // A backup of the history of before: how it began is known, and was long ago.
    let mut tx = stage.store.begin().await.unwrap();
    tx.purge_key(second.id).await.unwrap();
    tx.set_epoch(BEFORE).await.unwrap();
    let begun = Change {
        actor: Actor::Recovery,
        action: "RESTORE",
        resource: Resource::Workspace(WorkspaceId::system()),
        before: None,
        after: Some(serde_json::json!({ "epoch_before": "00000006", "epoch": "00000007" })),
        time: long_ago,
    };
    tx.append(&begun).await.unwrap();
    tx.commit().await.unwrap();
    poll_until(&follower, || follower.freshness().is_refused()).await;
    assert_eq!(stage.core.index.epoch(), there.epoch);
    assert_eq!(stage.ask(&second), Reason::Ok);

    // Given a new one now, it is followed.
    let mut tx = stage.store.begin().await.unwrap();
    let epoch = there.epoch + 5;
    tx.set_epoch(epoch).await.unwrap();
    let after = serde_json::json!({ "epoch": format!("{epoch:08x}") });
    let begun = Change {
        after: Some(after),
        time: stage.core.clock.now(),
        ..begun
    };
    tx.append(&begun).await.unwrap();
    tx.commit().await.unwrap();
    poll_until(&follower, || stage.core.index.epoch() == epoch).await;
    assert_eq!(stage.ask(&second), Reason::UnknownKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_is_not_followed_whatever_it_says() {
    let stage = stage().await;
    let (gone, open) = (stage.key().await, stage.key().await);
    let follower = Follower::new(Arc::new(stage.store.clone()), stage.core.index.clone());
    let follower = follower.fitting(|_| false);
    let before = follower.load().await.unwrap();
    put_back(&stage, &gone, &open, Some(stage.core.clock.now())).await;
    poll_until(&follower, || follower.freshness().is_refused()).await;
    assert_eq!(
        stage.core.index.applied(),
        Revision {
            epoch: BEFORE,
            n: before
        }
    );
    assert_eq!(stage.ask(&gone), Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_doubt_stays_refused_in_the_index_that_takes_over() {
    let stage = stage().await;
    let (doubted, gone, open) = (stage.key().await, stage.key().await, stage.key().await);
    stage.store.next_commit(Commit::UnknownNotMade);
    is_unknown(stage.disable(&doubted, None).await);
    let there = put_back(&stage, &gone, &open, Some(stage.core.clock.now())).await;
    stage.store.rows_fail(true);
    follows(&stage, there).await;
    assert!(stage.in_doubt(&doubted));
    assert_eq!(stage.ask(&doubted), Reason::KeyDisabled);
    stage.store.rows_fail(false);
    poll_until(&stage.follower, || !stage.in_doubt(&doubted)).await;
    assert_eq!(stage.ask(&doubted), Reason::Ok);
    stage.index_equals_database(&[&doubted, &open]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_the_use_of_keys_outlives_the_index() {
    let stage = stage().await;
    let (used, gone) = (stage.key().await, stage.key().await);
    assert_eq!(stage.decide(&used), Reason::Ok);
    let usage = |key: &Made| {
        let index = stage.core.index.now();
        let view = index.view();
        view.key(key.id).unwrap().secrets[0].usage.clone()
    };
    let before = usage(&used);
    assert!(before.last_used().is_some());
    let there = put_back(&stage, &gone, &used, Some(stage.core.clock.now())).await;
    follows(&stage, there).await;
    assert!(Arc::ptr_eq(&before, &usage(&used)));
}
