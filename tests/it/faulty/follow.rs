//! What the follower does with more changes than it reads in one go, and with a feed that is behind.

use std::sync::Arc;

use async_trait::async_trait;
use claviger::app::ports::{
    Actor, Change, Feed as _, FeedBatch, Keep, KeepNothing, Meta, Resource, Standing, Store as _,
    StoreError, Taking,
};
use claviger::domain::decision::Reason;
use claviger::feed::Follower;
use claviger::index::{Index, Live};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::stage::{Made, Stage, is_unknown, stage};
use super::store::Commit;

/// Changes in all, and in each revision: a batch ends in the middle of one.
const CHANGES: u64 = 2_500;
const IN_EACH: u64 = 7;

/// Changes a key `times` times in one revision, as another process would: the follower is not told. Returns the revision.
async fn change_elsewhere(stage: &Stage, key: &Made, enabled: bool, times: u64) -> u64 {
    let mut tx = stage.store.begin().await.unwrap();
    let n = tx.revision();
    let mut key = tx.key(key.id).await.unwrap().unwrap();
    key.settings.display_name = format!("changed in {n}");
    key.settings.enabled = enabled;
    key.revision = n;
    tx.put_key(&key).await.unwrap();
    let change = Change {
        actor: Actor::Service,
        action: "UPDATE",
        resource: Resource::Key(key.workspace, key.id),
        before: None,
        after: None,
        time: stage.core.clock.now(),
    };
    for _ in 0..times {
        tx.append(&change).await.unwrap();
    }
    tx.commit().await.unwrap();
    n
}

/// Changes a key in most of them, and disables another in the last. Returns the last revision.
async fn change_a_lot_elsewhere(stage: &Stage, often: &Made, at_last: &Made) -> u64 {
    for _ in 1..CHANGES.div_ceil(IN_EACH) {
        change_elsewhere(stage, often, true, IN_EACH).await;
    }
    change_elsewhere(stage, at_last, false, IN_EACH).await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_changes_than_one_batch_holds_are_applied_in_order_by_one_catch_up() {
    let stage = stage().await;
    let (first, last) = (stage.key().await, stage.key().await);
    let before = stage.applied();
    let n = change_a_lot_elsewhere(&stage, &first, &last).await;
    assert_eq!(stage.ask(&last), Reason::Ok, "nobody has told us");
    stage.store.take_reads();
    stage.follower.catch_up(stage.at(n)).await.unwrap();

    let reads = stage.store.take_reads();
    assert_eq!(reads.len(), 3, "{reads:?}");
    let mut reached = before;
    for read in &reads {
        assert_eq!((read.after, read.head), (reached, n), "{reads:?}");
        assert!(read.upto > reached, "{reads:?}");
        reached = read.upto;
    }
    assert_eq!((reached, stage.applied()), (n, n));
    assert_eq!(stage.ask(&first), Reason::Ok);
    assert_eq!(stage.ask(&last), Reason::KeyDisabled);
    stage.index_equals_database(&[&first, &last]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doubt_is_not_lifted_before_the_last_batch() {
    let stage = stage().await;
    let (doubted, last) = (stage.key().await, stage.key().await);
    stage.store.next_commit(Commit::UnknownNotMade);
    is_unknown(stage.disable(&doubted, None).await);
    let before = stage.applied();
    let n = change_a_lot_elsewhere(&stage, &doubted, &last).await;

    // One more batch each time; each brings newer states of the key in doubt.
    let mut reached = before;
    for _ in 0..2 {
        stage.store.feed_fails_after(1);
        stage.follower.catch_up(stage.at(n)).await.unwrap_err();
        assert!(stage.applied() > reached && stage.applied() < n);
        reached = stage.applied();
        assert!(stage.in_doubt(&doubted));
        assert_eq!(stage.ask(&doubted), Reason::KeyDisabled);
    }
    stage.store.feed_fails_after(1);
    stage.follower.catch_up(stage.at(n)).await.unwrap();
    stage.store.heal();
    assert_eq!(stage.ask(&doubted), Reason::Ok);
    stage.index_equals_database(&[&doubted, &last]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_the_feed_does_not_have_yet_is_never_said_to_be_applied() {
    let stage = stage().await;
    let key = stage.key().await;
    let n = stage.applied();
    for ahead in [n + 1, n + 1_000] {
        let error = stage.follower.catch_up(stage.at(ahead)).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(stage.applied(), n);
    }
    // A change of another process goes half the way: it is applied, and still is not what was asked for.
    change_elsewhere(&stage, &key, false, 1).await;
    stage.follower.catch_up(stage.at(n + 2)).await.unwrap_err();
    assert_eq!(stage.applied(), n + 1);
    assert_eq!(stage.ask(&key), Reason::KeyDisabled);
    stage.follower.catch_up(stage.at(n + 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_behind_what_was_pruned_loads_everything_again() {
    let stage = stage().await;
    let (stays, goes) = (stage.key().await, stage.key().await);
    assert_eq!(stage.ask(&goes), Reason::Ok);
    let mut tx = stage.store.begin().await.unwrap();
    let resource = Resource::Key(super::stage::workspace(), goes.id);
    tx.purge_key(goes.id).await.unwrap();
    let purged = Change {
        actor: Actor::Service,
        action: "PURGE",
        resource,
        before: None,
        after: None,
        time: stage.core.clock.now(),
    };
    tx.append(&purged).await.unwrap();
    tx.commit().await.unwrap();
    change_elsewhere(&stage, &stays, false, 1).await;
    let n = change_elsewhere(&stage, &stays, false, 1).await;
    // All but the newest, so that nothing in the feed names the key that is gone.
    let later = stage
        .core
        .clock
        .now()
        .plus(std::time::Duration::from_secs(1));
    stage.store.prune_changes(later, 1_000).await.unwrap();
    stage.follower.catch_up(stage.at(n)).await.unwrap();
    assert_eq!(stage.applied(), n);
    assert_eq!(stage.ask(&stays), Reason::KeyDisabled);
    assert_eq!(stage.ask(&goes), Reason::UnknownKey);
    stage.index_equals_database(&[&stays]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_changes_overtake_does_not_take_them_for_another_history() {
    let stage = stage().await;
    let stop = CancellationToken::new();
    let (read, answer) = stage.store.hold_next_position();
    let script = async {
        read.await.unwrap();
        // Applied while the answer of before is on its way.
        stage.key().await;
        let (read, next) = stage.store.hold_next_position();
        answer.send(()).unwrap();
        read.await.unwrap();
        stop.cancel();
        next.send(()).unwrap();
    };
    let poll = stage
        .follower
        .poll(std::time::Duration::from_millis(1), stop.clone());
    futures::future::join(poll, script).await;
    // It would be refused now, and for ever.
    stage.key().await;
}

/// Has kept what the test says.
struct Slow(watch::Sender<u64>);

#[async_trait]
impl Keep for Slow {
    fn begin(&self, _: &Meta) -> Box<dyn Taking> {
        Box::new(KeepNothing)
    }

    fn append(&self, _: &FeedBatch) {}

    fn current(&self) {}

    fn kept(&self) -> u64 {
        *self.0.borrow()
    }

    async fn wait_for(&self, n: u64) {
        let mut kept = self.0.subscribe();
        kept.wait_for(|kept| *kept >= n).await.unwrap();
    }

    fn is_on(&self) -> bool {
        true
    }

    async fn stand(&self, _: Standing) -> Result<(), StoreError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_is_in_force_at_once_and_confirmed_only_when_it_is_kept() {
    let stage = stage().await;
    let key = stage.key().await;
    let slow = Arc::new(Slow(watch::Sender::new(0)));
    let lookup = stage.core.envelope.lookup().clone();
    let index = Index::new(lookup, stage.core.index.epoch());
    let index = Arc::new(Live::new(index));
    let store = Arc::new(stage.store.clone());
    let follower = Follower::keeping(store, index.clone(), slow.clone());
    let before = follower.load().await.unwrap();
    slow.0.send_replace(before);
    assert_eq!(follower.confirmed(), stage.at(before));

    let n = change_elsewhere(&stage, &key, false, 1).await;
    let mut caught_up = std::pin::pin!(follower.catch_up(stage.at(n)));
    tokio::select! {
        biased;
        ended = &mut caught_up => panic!("{ended:?} before it was kept"),
        () = follower.wait_for(stage.at(n)) => {}
    }
    assert_eq!(index.applied().n, n);
    assert_eq!(follower.confirmed(), stage.at(before));
    slow.0.send_replace(n);
    // Where this machine is starved, it may have given up by now; it then says so, and nothing else.
    match caught_up.await {
        Ok(()) => {}
        Err(StoreError::Unavailable(_)) => follower.catch_up(stage.at(n)).await.unwrap(),
        Err(error) => panic!("{error}"),
    }
    assert_eq!(follower.confirmed(), stage.at(n));
}
