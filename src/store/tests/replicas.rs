//! The list of replicas: who is entered and stays so, on the database's own clock.

use sea_orm::ConnectionTrait as _;

use super::*;
use crate::app::ports::fleet::{Me, Replicas as _};
use crate::domain::id::ReplicaId;
use crate::domain::replica::{LEASE, Replica, ReplicaState};
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
    store.roll().await.unwrap().replicas
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
async fn a_lease_is_counted_from_its_renewal_on_the_clock_that_the_list_is_read_by() {
    let (_dir, store) = open().await;
    let me = me(1, i64::MAX);
    store
        .enter(&me, ReplicaState::Joining, applied(1))
        .await
        .unwrap();
    let lease = i64::try_from(LEASE.as_micros()).unwrap();
    let mut before = at(0);
    for _ in 0..3 {
        let roll = store.roll().await.unwrap();
        let replica = &roll.replicas[0];
        assert!(before <= replica.seen_time && replica.seen_time <= roll.now);
        // Two readings of one clock, one after the other.
        let given = replica.lease_end.micros() - replica.seen_time.micros();
        assert!((lease..lease + 1_000_000).contains(&given), "{given}");
        before = roll.now;
        assert!(store.renew(&me, applied(1)).await.unwrap());
    }
    end_leases(&store).await;
    let roll = store.roll().await.unwrap();
    assert!(roll.replicas[0].lease_end < roll.now);
    assert!(store.renew(&me, applied(1)).await.unwrap());
    assert!(listed(&store).await[0].lease_end > roll.now);
}

#[tokio::test]
async fn who_renews_says_what_it_applied_and_serves_and_nobody_else_does() {
    let (_dir, store) = open().await;
    assert!(!store.renew(&me(1, 7), applied(6)).await.unwrap());
    assert!(listed(&store).await.is_empty());
    for n in [1, 2] {
        let joining = ReplicaState::Joining;
        store.enter(&me(n, 7), joining, applied(5)).await.unwrap();
    }
    let most = u64::try_from(i64::MAX).unwrap();
    assert!(store.renew(&me(1, 7), applied(most)).await.unwrap());
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
    for me in [&early, &late] {
        let joining = ReplicaState::Joining;
        store.enter(me, joining, applied(5)).await.unwrap();
    }
    assert_eq!(listed(&store).await.len(), 1);
    assert!(!store.renew(&early, applied(9)).await.unwrap());
    assert_eq!(listed(&store).await[0].applied, applied(5));
    // Nor does it take the other one with it when it leaves.
    store.leave(&early).await.unwrap();
    assert!(store.renew(&late, applied(9)).await.unwrap());
    store.leave(&late).await.unwrap();
    assert!(listed(&store).await.is_empty());
    store.leave(&late).await.unwrap();
}

#[tokio::test]
async fn only_who_holds_no_lease_is_struck_off() {
    let (_dir, store) = open().await;
    let [one, two] = [me(1, 7), me(2, 7)];
    for me in [&one, &two] {
        let joining = ReplicaState::Joining;
        store.enter(me, joining, applied(5)).await.unwrap();
    }
    assert!(!store.strike(one.id).await.unwrap());
    end_leases(&store).await;
    assert!(store.renew(&two, applied(5)).await.unwrap());
    assert!(!store.strike(two.id).await.unwrap());
    assert!(store.strike(one.id).await.unwrap());
    assert!(!store.strike(one.id).await.unwrap());
    let left: Vec<_> = listed(&store).await.iter().map(|r| r.id).collect();
    assert_eq!(left, [two.id]);
    assert!(!store.renew(&one, applied(5)).await.unwrap());
}
