//! The list of replicas: who is entered and stays so, on the database's own clock.

use sea_orm::ConnectionTrait as _;

use super::*;
use crate::app::ports::fleet::{Me, Place, Renewal, Replicas as _};
use crate::domain::id::ReplicaId;
use crate::domain::replica::{Replica, ReplicaState};
use crate::domain::revision::Revision;

/// A process of a replica, started at this moment of a clock that nobody else goes by.
fn me(n: u128, started: i64) -> Me {
    Me {
        id: ReplicaId::from_u128(n),
        name: format!("Größe {n}"),
        version: "1.2.3".to_owned(),
        strict: n.is_multiple_of(2),
        start_time: at(started),
    }
}

fn applied(n: u64) -> Revision {
    Revision { epoch: u32::MAX, n }
}

async fn listed(store: &SqlStore) -> Vec<Replica> {
    store.roll().await.unwrap()
}

/// From now on everybody's lease is over.
async fn end_leases(store: &SqlStore) {
    let end = "UPDATE replicas SET seen_time = 0, lease_end = 1";
    store.fleet.execute_unprepared(end).await.unwrap();
}

#[tokio::test]
async fn who_is_entered_is_listed_as_it_said_by_id() {
    let (_dir, store) = open().await;
    assert!(listed(&store).await.is_empty());
    let joining = ReplicaState::Joining;
    for n in [3, 1, 2] {
        store.enter(&me(n, 7), joining, applied(5)).await.unwrap();
    }
    let found = listed(&store).await;
    assert_eq!(found.len(), 3);
    for (replica, n) in found.iter().zip(1..) {
        let me = me(n, 7);
        assert_eq!(replica.id, me.id);
        assert_eq!((&replica.name, &replica.version), (&me.name, &me.version));
        assert_eq!((replica.strict, replica.start_time), (me.strict, at(7)));
        assert_eq!((replica.state, replica.applied), (joining, applied(5)));
    }
}

#[tokio::test]
async fn who_was_seen_when_goes_by_the_database_and_by_nobody_else() {
    let (_dir, store) = open().await;
    let me = me(1, i64::MAX);
    let joining = ReplicaState::Joining;
    store.enter(&me, joining, applied(1)).await.unwrap();
    let mut before = at(0);
    for _ in 0..3 {
        let seen = listed(&store).await[0].seen_time;
        assert!(before <= seen);
        before = seen;
        let renewed = store.renew(&me, applied(1)).await.unwrap();
        assert_eq!(renewed, Renewal::Held);
    }
    // A lease that is over is renewed all the same: its holder knows better.
    end_leases(&store).await;
    assert_eq!(store.renew(&me, applied(1)).await.unwrap(), Renewal::Held);
    assert!(listed(&store).await[0].seen_time >= before);
}

#[tokio::test]
async fn who_renews_says_what_it_applied_and_serves_and_nobody_else_does() {
    let (_dir, store) = open().await;
    let renewed = store.renew(&me(1, 7), applied(6)).await.unwrap();
    assert_eq!(renewed, Renewal::Lost);
    assert!(listed(&store).await.is_empty());
    for n in [1, 2] {
        let joining = ReplicaState::Joining;
        store.enter(&me(n, 7), joining, applied(5)).await.unwrap();
    }
    let most = u64::try_from(i64::MAX).unwrap();
    let renewed = store.renew(&me(1, 7), applied(most)).await.unwrap();
    assert_eq!(renewed, Renewal::Held);
    let [one, two] = listed(&store).await.try_into().unwrap();
    assert_eq!(one.state, ReplicaState::Serving);
    assert_eq!(one.applied, applied(most));
    assert_eq!(
        (two.state, two.applied),
        (ReplicaState::Joining, applied(5))
    );
}

#[tokio::test]
async fn a_later_process_takes_over_the_place_and_the_earlier_one_learns_of_it() {
    let (_dir, store) = open().await;
    let (early, late) = (me(1, 7), me(1, 8));
    let enter = async |me| {
        let state = ReplicaState::Serving;
        store.enter(me, state, applied(5)).await.unwrap()
    };
    assert_eq!(enter(&early).await, Place::Free);
    // It enters its own place.
    assert_eq!(enter(&early).await, Place::Free);
    // The other one may live: of what it has applied nothing is known any more.
    assert_eq!(enter(&late).await, Place::Taken);
    assert_eq!(listed(&store).await.len(), 1);
    assert_eq!(listed(&store).await[0].applied, applied(0));
    let renewed = store.renew(&early, applied(9)).await.unwrap();
    assert_eq!(renewed, Renewal::Displaced);
    assert_eq!(listed(&store).await[0].applied, applied(0));
    // Nor does it take the other one with it when it leaves.
    store.leave(&early).await.unwrap();
    let renewed = store.renew(&late, applied(9)).await.unwrap();
    assert_eq!(renewed, Renewal::Held);
    // Who holds no lease any more is not in the way of anybody.
    end_leases(&store).await;
    assert_eq!(enter(&early).await, Place::Free);
    assert_eq!(listed(&store).await[0].applied, applied(5));
    store.leave(&late).await.unwrap();
    store.leave(&early).await.unwrap();
    assert!(listed(&store).await.is_empty());
    store.leave(&early).await.unwrap();
}

#[tokio::test]
async fn only_who_has_said_nothing_since_it_was_seen_is_struck_off() {
    let (_dir, store) = open().await;
    let [one, two] = [me(1, 7), me(2, 7)];
    for me in [&one, &two] {
        let joining = ReplicaState::Joining;
        store.enter(me, joining, applied(5)).await.unwrap();
    }
    let [first, second] = listed(&store).await.try_into().unwrap();
    store.renew(&two, applied(6)).await.unwrap();
    assert!(!store.strike(&second).await.unwrap());
    assert!(store.strike(&first).await.unwrap());
    assert!(!store.strike(&first).await.unwrap());
    let left: Vec<_> = listed(&store).await.iter().map(|r| r.id).collect();
    assert_eq!(left, [two.id]);
    let renewed = store.renew(&one, applied(5)).await.unwrap();
    assert_eq!(renewed, Renewal::Lost);
    // Another process in its place is not the one that was seen.
    end_leases(&store).await;
    let [second] = listed(&store).await.try_into().unwrap();
    let later = me(2, 8);
    store
        .enter(&later, ReplicaState::Serving, applied(5))
        .await
        .unwrap();
    assert!(!store.strike(&second).await.unwrap());
}
