//! Whose place in the fleet it is, and of what is said there: after a kill, beside a copy of the data directory, on a database that was
//! put back, and where nothing is kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::app::ports::{
    Actor, Change, Feed as _, FeedBatch, Keep, KeepNothing, Meta, Resource, Standing, Store as _,
    StoreError, Taking,
};
use claviger::domain::decision::Reason;
use claviger::domain::id::ReplicaId;
use claviger::domain::replica::{LEASE, ReplicaState};
use claviger::domain::revision::Revision;
use futures::FutureExt as _;

use super::fleet::{one, part};
use super::list::{List, SharedClock, Step};
use super::stage::{Part, Stage, stage_of, workspace};

const MOMENT: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_decides_at_once_in_its_place_and_confirms_when_it_is_surely_its_own() {
    for strict in [false, true] {
        let (killed, list, clock) = one(strict).await;
        let key = killed.key().await;
        let back = killed.another(part(&list, &clock, 1, strict)).await;
        drop(killed);
        back.core.join().await.unwrap();
        assert!(back.decides() && back.me() == ReplicaId::from_u128(1));
        // The life before may be another process, which lives.
        let found = back.disable_everywhere(&key, Duration::ZERO).await;
        assert!(!found.complete && found.total == 1, "{found:?}");
        for _ in 0..LEASE.as_secs() {
            clock.advance(Duration::from_secs(1));
            back.core.speak().await.unwrap();
        }
        clock.advance(MOMENT);
        back.core.speak().await.unwrap();
        let found = back.come().await;
        assert!(found.complete && found.total == 1, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_in_whose_place_another_one_with_a_copy_of_its_directory_is_takes_another_one() {
    for strict in [false, true] {
        let (one, list, clock) = one(strict).await;
        let key = one.key().await;
        let copy = one.another(part(&list, &clock, 1, strict)).await;
        copy.core.join().await.unwrap();
        assert_eq!(list.entered().len(), 1);
        // The first one does not know of it, decides, and is in nobody's list: nothing is said to be everywhere.
        let found = copy.disable_everywhere(&key, Duration::ZERO).await;
        assert!(!found.complete, "{found:?}");
        assert_eq!(one.ask(&key), Reason::Ok);
        assert!(!one.come().await.complete);

        one.core.speak().await.unwrap();
        assert!(one.me() != copy.me() && copy.me() == ReplicaId::from_u128(1));
        assert!(one.decides() && list.entered().len() == 2);
        let found = copy.come().await;
        assert!(!found.complete && found.total == 2, "{found:?}");
        // Neither changes its place again.
        let places = [one.me(), copy.me()];
        for _ in 0..LEASE.as_secs() {
            clock.advance(Duration::from_secs(1));
            for process in [&one, &copy] {
                process.follows_and_speaks().await;
            }
        }
        clock.advance(MOMENT);
        for process in [&one, &copy] {
            process.core.speak().await.unwrap();
        }
        assert_eq!([one.me(), copy.me()], places);
        let found = copy.come().await;
        assert!(found.complete && found.total == 2, "{found:?}");
        one.refuses(&key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_id_that_join_at_once_end_in_two_places() {
    let (first, list, clock) = one(false).await;
    let [ours, theirs] = [list.of_another(), list.of_another()];
    let one = first.another(part(&ours, &clock, 2, false)).await;
    let two = first.another(part(&theirs, &clock, 2, false)).await;
    let (about_to, go) = ours.hold(Step::BeforeRenew);
    let script = async {
        about_to.await.unwrap();
        two.core.join().await.unwrap();
        go.send(()).unwrap();
    };
    let (joined, ()) = tokio::join!(one.core.join(), script);
    joined.unwrap();
    assert!(one.decides() && two.decides());
    assert_ne!(one.me(), two.me());
    assert_eq!(list.entered().len(), 3);
}

/// Puts the database into another history, in which so much happened.
async fn replace(stage: &Stage) {
    let mut tx = stage.store.begin().await.unwrap();
    tx.set_epoch(stage.core.index.epoch() + 1).await.unwrap();
    let change = Change {
        actor: Actor::Recovery,
        action: "RESTORE",
        resource: Resource::Workspace(workspace()),
        before: None,
        after: None,
        time: stage.core.clock.now(),
    };
    tx.append(&change).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_database_in_another_history_nothing_is_confirmed_by_whoever_notices_it() {
    let (one, list, _) = one(false).await;
    one.key().await;
    let before = one.core.index.applied();
    assert_eq!(one.follower.confirmed(), before);
    replace(&one).await;
    let error = one.hear().await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
    let nothing = Revision { n: 0, ..before };
    assert_eq!(one.follower.confirmed(), nothing);
    // Nobody is woken for it, again and again.
    let waited = one
        .follower
        .wait_for_confirmed(nothing.next())
        .now_or_never();
    assert!(waited.is_none());
    one.core.speak().await.unwrap();
    assert_eq!(list.entered()[0].applied.n, 0);
    let found = one.core.propagation(before, Duration::ZERO).await;
    assert!(!found.complete, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_to_another_database_than_it_left_confirms_nothing_from_the_first_word_on() {
    for replaced in [false, true] {
        let (before, list, clock) = one(false).await;
        before.key().await;
        let one = before.another(part(&list, &clock, 1, false)).await;
        let known = one.core.index.applied();
        one.core.fleet.resume();
        assert!(one.decides());
        // What it was before has lost its lease by now.
        clock.advance(LEASE);
        if replaced {
            replace(&before).await;
        }
        // Nothing but this looks at the database, be it that it is said twice.
        for _ in 0..2 {
            one.core.speak().await.unwrap();
            let [entered] = list.entered().try_into().unwrap();
            assert_eq!(entered.state, ReplicaState::Serving);
            let confirmed = if replaced { 0 } else { known.n };
            let confirmed = Revision {
                n: confirmed,
                ..known
            };
            assert_eq!(entered.applied, confirmed);
        }
        assert!(one.decides());
    }
}

/// Takes down where the process stands, and how it is entered then.
struct Standings {
    list: List,
    on: bool,
    stood: Mutex<Vec<(Standing, Vec<ReplicaState>)>>,
}

#[async_trait]
impl Keep for Standings {
    fn begin(&self, _: &Meta) -> Box<dyn Taking> {
        Box::new(KeepNothing)
    }

    fn append(&self, _: &FeedBatch) {}

    fn current(&self) {}

    fn kept(&self) -> u64 {
        u64::MAX
    }

    async fn wait_for(&self, _: u64) {}

    fn is_on(&self) -> bool {
        self.on
    }

    async fn stand(&self, standing: Standing) -> Result<(), StoreError> {
        let entered = self.list.entered().into_iter();
        let states = entered.map(|replica| replica.state).collect();
        self.stood.lock().unwrap().push((standing, states));
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_is_entered_as_serving_may_start_without_the_database_and_only_until_it_leaves() {
    for on in [true, false] {
        let clock = SharedClock::default();
        let list = List::new(clock.clone());
        let keep = Arc::new(Standings {
            list: list.clone(),
            on,
            stood: Mutex::default(),
        });
        let part = Part {
            keep: keep.clone(),
            ..part(&list, &clock, 1, false)
        };
        let one = stage_of(part).await;
        one.core.join().await.unwrap();
        one.core.leave().await.unwrap();
        assert!(list.entered().is_empty() && !one.decides());
        let serving = || vec![ReplicaState::Serving];
        let left = (Standing::Left, serving());
        // Who is about to join may be dropped from the list without a word: that is no standing.
        let stood = match on {
            true => vec![(Standing::Entered, serving()), left],
            false => vec![left],
        };
        assert_eq!(*keep.stood.lock().unwrap(), stood);
    }
}
