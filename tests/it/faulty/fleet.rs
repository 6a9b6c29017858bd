//! What is said to be everywhere is, in whatever order processes join, fall silent and stop.

use std::sync::Arc;
use std::time::Duration;

use claviger::app::error::Code;
use claviger::app::fleet::Propagation;
use claviger::app::ports::KeepNothing;
use claviger::domain::decision::Reason;
use claviger::domain::id::ReplicaId;
use claviger::domain::replica::{LEASE, MARGIN};
use claviger::domain::revision::Revision;

use super::list::{List, SharedClock, Step};
use super::stage::{Made, Part, Stage, stage_of};

/// Nobody waits for so long.
const LONG: Duration = Duration::from_secs(60);

/// A part that decides as long as it holds a lease, or for good.
pub(super) fn part(list: &List, clock: &SharedClock, id: u128, strict: bool) -> Part {
    let clock = clock.clone();
    Part {
        id,
        strict,
        replicas: Arc::new(list.clone()),
        keep: Arc::new(KeepNothing),
        since_boot: Arc::new(move || clock.now()),
    }
}

/// A fleet of one, which has joined; its list, and the clock of all.
pub(super) async fn one(strict: bool) -> (Stage, List, SharedClock) {
    let clock = SharedClock::default();
    let list = List::new(clock.clone());
    let one = stage_of(part(&list, &clock, 1, strict)).await;
    one.core.join().await.unwrap();
    (one, list, clock)
}

impl Stage {
    pub(super) fn me(&self) -> ReplicaId {
        self.core.fleet.me().id
    }

    pub(super) fn decides(&self) -> bool {
        self.core.may_decide().is_ok()
    }

    /// How far it is that all it knows of has come.
    pub(super) async fn come(&self) -> Propagation {
        let revision = self.core.index.applied();
        self.core.propagation(revision, Duration::ZERO).await
    }

    /// It follows the feed, and says so.
    pub(super) async fn follows_and_speaks(&self) {
        self.hear().await.unwrap();
        self.core.speak().await.unwrap();
    }

    /// It is refused here, for that was answered to be so everywhere.
    pub(super) fn refuses(&self, key: &Made) {
        assert!(self.decides());
        assert_eq!(self.ask(key), Reason::KeyDisabled);
    }
}

fn names(found: &Propagation) -> Vec<ReplicaId> {
    found.unconfirmed.iter().map(|r| r.id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enters_after_a_change_was_said_to_be_everywhere_has_it_before_it_decides() {
    let (one, list, clock) = one(false).await;
    let key = one.key().await;
    let theirs = list.of_another();
    let two = one.another(part(&theirs, &clock, 2, false)).await;
    assert_eq!(two.ask(&key), Reason::Ok);
    let (about_to, go) = theirs.hold(Step::BeforeEnter);
    let script = async {
        about_to.await.unwrap();
        let found = one.disable_everywhere(&key, LONG).await;
        assert!(found.complete && found.total == 1, "{found:?}");
        assert!(!two.decides());
        go.send(()).unwrap();
    };
    let (joined, ()) = tokio::join!(two.core.join(), script);
    joined.unwrap();
    two.refuses(&key);
    assert!(one.come().await.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_entered_before_a_change_is_waited_for_be_it_that_it_saw_nothing_of_it() {
    let (one, list, clock) = one(false).await;
    let key = one.key().await;
    let two = one
        .another(part(&list.of_another(), &clock, 2, false))
        .await;
    // It looks how far the database is, and hears it late.
    let (looked, go) = two.store.hold_next_position();
    let script = async {
        looked.await.unwrap();
        let found = one.disable_everywhere(&key, Duration::ZERO).await;
        assert!(!found.complete && found.total == 2, "{found:?}");
        assert_eq!(names(&found), [two.me()]);
        go.send(()).unwrap();
    };
    let (joined, ()) = tokio::join!(two.core.join(), script);
    joined.unwrap();
    // It knew no better and decides; nobody was told otherwise.
    assert!(two.decides());
    let found = one.come().await;
    assert!(!found.complete && names(&found) == [two.me()], "{found:?}");
    two.follows_and_speaks().await;
    two.refuses(&key);
    assert!(one.come().await.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enters_between_a_change_and_the_look_at_the_list_is_in_it_or_has_the_change() {
    let (one, list, clock) = one(false).await;
    let key = one.key().await;
    let two = one
        .another(part(&list.of_another(), &clock, 2, false))
        .await;
    // The list is read after the change was made, and comes when the other one has joined.
    let (read, go) = list.hold(Step::AfterRoll);
    let script = async {
        read.await.unwrap();
        two.core.join().await.unwrap();
        two.refuses(&key);
        go.send(()).unwrap();
    };
    let (found, ()) = tokio::join!(one.disable_everywhere(&key, LONG), script);
    assert!(found.complete && found.total == 1, "{found:?}");
    two.refuses(&key);
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_database_sets_its_clock_a_strict_replica_counts_until_it_has_stopped() {
    let (one, list, clock) = one(true).await;
    let key = one.key().await;
    let two = one.another(part(&list.of_another(), &clock, 2, true)).await;
    two.core.join().await.unwrap();
    assert!(one.come().await.complete);
    // By the database's clock its lease is over; it can't renew it, and goes by its own.
    list.jump(Duration::from_secs(3_600));
    let refused = one.disable_everywhere(&key, Duration::ZERO).await;
    for _ in 0..LEASE.as_secs() - 1 {
        assert!(two.decides());
        assert_eq!(two.ask(&key), Reason::Ok);
        let found = one.come().await;
        assert!(!found.complete && names(&found) == [two.me()], "{found:?}");
        clock.advance(Duration::from_secs(1));
        one.core.speak().await.unwrap();
    }
    assert!(!two.decides(), "its own second comes first");
    assert!(!refused.complete && !one.come().await.complete);
    clock.advance(MARGIN);
    one.core.speak().await.unwrap();
    let found = one.come().await;
    assert!(found.complete && found.total == 1, "{found:?}");
    assert!(!two.decides());
    // It is back only with the change.
    two.core.speak().await.unwrap();
    two.refuses(&key);
    assert!(one.come().await.complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_renews_its_lease_after_it_was_seen_silent_is_not_forgotten() {
    let (one, list, clock) = one(false).await;
    let two = one
        .another(part(&list.of_another(), &clock, 2, false))
        .await;
    two.core.join().await.unwrap();
    let alive = async || {
        let error = one
            .core
            .forget_replica(&one.caller(), two.me())
            .await
            .unwrap_err();
        assert_eq!(error.reason, "REPLICA_ALIVE");
    };
    // It was not seen for a lease yet, whatever the database's clock says.
    list.jump(Duration::from_secs(3_600));
    alive().await;
    clock.advance(LEASE);
    let (read, go) = list.hold(Step::AfterRoll);
    let script = async {
        read.await.unwrap();
        two.core.speak().await.unwrap();
        go.send(()).unwrap();
    };
    tokio::join!(alive(), script);
    assert_eq!(list.entered().len(), 2);
    alive().await;
    clock.advance(LEASE);
    let caller = one.caller();
    let silent = one.core.forget_replica(&caller, two.me());
    silent.await.unwrap();
    assert_eq!(list.entered().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_others_ends_when_the_process_lets_its_connections_go() {
    let (one, list, clock) = one(false).await;
    let key = one.key().await;
    let two = one
        .another(part(&list.of_another(), &clock, 2, false))
        .await;
    two.core.join().await.unwrap();
    let next = Revision {
        n: one.core.index.applied().n + 100,
        ..one.core.index.applied()
    };
    let (looked, go) = list.hold(Step::AfterRoll);
    let script = async {
        looked.await.unwrap();
        // What is being looked at does not hold it up either.
        one.core.fleet.stop_waiting();
    };
    let (found, unreached, ()) = tokio::join!(
        one.disable_everywhere(&key, LONG),
        one.core.wait_for_revision(next, LONG),
        script
    );
    drop(go);
    assert!(!found.complete && found.elapsed < LONG, "{found:?}");
    let unreached = unreached.unwrap_err();
    assert_eq!(
        (unreached.code, unreached.reason),
        (Code::Unavailable, "SHUTTING_DOWN")
    );
    // Who asks after that is told how it stands.
    let found = one.come().await;
    assert!(!found.complete && names(&found) == [two.me()], "{found:?}");
    two.follows_and_speaks().await;
    let found = one.core.propagation(one.core.index.applied(), LONG).await;
    assert!(found.complete, "{found:?}");
}
