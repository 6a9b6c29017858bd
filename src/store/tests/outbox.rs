//! The outbox: numbers without gaps, one event of a kind, claims that end, and what is cleared away.

use std::time::Duration;

use super::*;
use crate::app::ports::outbox::{
    Delivery, DeliveryQuery, Outbox, OutboxState, Outcome, Sent, Spared, Stored,
};
use crate::domain::postback::{DeliveryState, Failure};

const FAR: Time = Time::from_micros(1_000_000);

fn new(stored: Stored) -> Delivery {
    match stored {
        Stored::New(delivery) => *delivery,
        other => panic!("{other:?}"),
    }
}

/// Takes what is due.
async fn take(
    store: &SqlStore,
    (now, until): (i64, i64),
    limit: u32,
    spared: &Spared,
) -> Vec<Delivery> {
    let due = store.due(at(now), limit, spared).await.unwrap();
    store.claim(&due, at(now), at(until)).await.unwrap()
}

async fn claim(store: &SqlStore, now: i64, until: i64, spared: &Spared) -> Vec<u128> {
    let claimed = take(store, (now, until), 10, spared).await;
    claimed.iter().map(|d| d.id.as_u128()).collect()
}

fn outcome(state: DeliveryState, next: Option<Time>, now: Time) -> Outcome {
    let sent = match state {
        DeliveryState::Delivered => Sent::answered(200),
        _ => Sent::answered(500),
    };
    Outcome {
        state,
        next,
        sent,
        now,
    }
}

#[tokio::test]
async fn events_of_a_key_are_numbered_and_one_of_a_kind_is_written_once() {
    let (_home, store) = open().await;
    let (a, b) = (KeyId::from_u128(1), KeyId::from_u128(2));
    let first = new(store.publish(&event(1, a), None).await.unwrap());
    assert_eq!((first.sequence, first.state), (1, DeliveryState::Pending));
    let mut again = event(2, a);
    again.once = event(1, a).once;
    let Stored::Known(known) = store.publish(&again, None).await.unwrap() else {
        panic!("written twice")
    };
    assert_eq!(known.id, first.id);
    // What was not written took no number.
    assert_eq!(
        new(store.publish(&event(3, a), None).await.unwrap()).sequence,
        2
    );
    assert_eq!(
        new(store.publish(&event(4, b), None).await.unwrap()).sequence,
        1
    );
    let mut tx = store.begin().await.unwrap();
    let mut own = event(5, a);
    own.once = None;
    tx.put_events(&[own, event(6, a)]).await.unwrap();
    tx.append(&key_change(1)).await.unwrap();
    commit(tx).await;
    let six = store
        .delivery(EventId::from_u128(6))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(six.sequence, 4);
    // A transaction that is dropped leaves neither event nor number.
    let mut tx = store.begin().await.unwrap();
    tx.put_events(&[event(7, a)]).await.unwrap();
    drop(tx);
    assert_eq!(
        new(store.publish(&event(8, a), None).await.unwrap()).sequence,
        5
    );
}

#[tokio::test]
async fn a_key_has_at_most_so_many_pending() {
    let (_home, store) = open().await;
    let key = KeyId::from_u128(1);
    for n in 1..=3 {
        new(store.publish(&event(n, key), Some(3)).await.unwrap());
    }
    let full = store.publish(&event(4, key), Some(3)).await.unwrap();
    assert!(matches!(full, Stored::Full), "{full:?}");
    let claimed = take(&store, (20, 90), 1, &Spared::default()).await;
    let done = outcome(DeliveryState::Delivered, None, at(30));
    assert!(store.settle(&claimed[0], &done).await.unwrap());
    new(store.publish(&event(4, key), Some(3)).await.unwrap());
}

#[tokio::test]
async fn what_is_claimed_nobody_else_gets_until_the_claim_ends() {
    let (_home, store) = open().await;
    for n in 1..=3 {
        new(store
            .publish(&event(n, KeyId::from_u128(n)), None)
            .await
            .unwrap());
    }
    assert!(claim(&store, 19, 90, &Spared::default()).await.is_empty());
    let spared = Spared {
        places: Vec::new(),
        keys: vec![KeyId::from_u128(2)],
    };
    assert_eq!(claim(&store, 20, 90, &spared).await, [1, 3]);
    let spared = Spared {
        places: vec!["example.com:443".to_owned()],
        keys: Vec::new(),
    };
    assert!(claim(&store, 20, 90, &spared).await.is_empty());
    assert_eq!(claim(&store, 20, 80, &Spared::default()).await, [2]);
    assert!(claim(&store, 79, 90, &Spared::default()).await.is_empty());
    assert_eq!(claim(&store, 80, 200, &Spared::default()).await, [2]);
    assert_eq!(claim(&store, 90, 200, &Spared::default()).await, [1, 3]);
    // What an earlier process had is due at once where there is no other one.
    store.reclaim(at(91)).await.unwrap();
    assert_eq!(claim(&store, 91, 300, &Spared::default()).await, [1, 2, 3]);
}

#[tokio::test]
async fn who_reports_late_is_not_believed() {
    let (_home, store) = open().await;
    new(store
        .publish(&event(1, KeyId::from_u128(1)), None)
        .await
        .unwrap());
    let next = async |now: i64| {
        let mut claimed = take(&store, (now, now + 10), 1, &Spared::default()).await;
        claimed.pop().unwrap()
    };
    let early = next(20).await;
    let late = next(30).await;
    assert_eq!((early.attempts, late.attempts), (1, 2));
    let dead = outcome(DeliveryState::Dead, None, at(31));
    assert!(!store.settle(&early, &dead).await.unwrap());
    let again = outcome(DeliveryState::Pending, Some(at(50)), at(31));
    assert!(store.settle(&late, &again).await.unwrap());
    assert!(!store.settle(&late, &dead).await.unwrap());
    let stands = store.delivery(early.id).await.unwrap().unwrap();
    assert_eq!(
        (
            stands.state,
            stands.status,
            stands.failure,
            stands.next_attempt_time
        ),
        (
            DeliveryState::Pending,
            Some(500),
            Some(Failure::Status),
            Some(at(50))
        )
    );
}

#[tokio::test]
async fn two_who_claim_at_once_never_get_the_same() {
    let (_home, store) = open().await;
    for n in 1..=40 {
        new(store
            .publish(&event(n, KeyId::from_u128(n)), None)
            .await
            .unwrap());
    }
    let spared = Spared::default();
    let all_of = async || {
        let mut all = Vec::new();
        loop {
            // Each looks at the same ones, and then takes what the others have left of them.
            let due = store.due(at(20), 5, &spared).await.unwrap();
            if due.is_empty() {
                return all;
            }
            let claimed = store.claim(&due, at(20), FAR).await.unwrap();
            all.extend(claimed.iter().map(|d| d.id.as_u128()));
        }
    };
    let (mut all, other, third) = tokio::join!(all_of(), all_of(), all_of());
    all.extend(other.into_iter().chain(third));
    all.sort_unstable();
    assert_eq!(all, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_has_ended_is_cleared_away_in_time_and_goes_with_its_key_and_workspace() {
    let (_home, store) = open().await;
    let key = KeyId::from_u128(1);
    for n in 1..=4 {
        new(store.publish(&event(n, key), None).await.unwrap());
    }
    let claimed = take(&store, (20, 90), 3, &Spared::default()).await;
    let delivered = outcome(DeliveryState::Delivered, None, at(100));
    let dead = outcome(DeliveryState::Dead, None, at(100));
    for (one, outcome) in claimed.iter().zip([delivered, dead, dead]) {
        assert!(store.settle(one, &outcome).await.unwrap());
    }
    let expected = OutboxState {
        pending: 1,
        dead: 2,
        oldest: Some(at(20)),
    };
    assert_eq!(store.outbox_state().await.unwrap(), expected);
    assert_eq!(
        store.clear_away(at(100), at(100), at(100)).await.unwrap(),
        0
    );
    assert_eq!(
        store.clear_away(at(101), at(100), at(100)).await.unwrap(),
        1
    );
    // The purge of a key leaves what is still to be delivered.
    let mut tx = store.begin().await.unwrap();
    tx.purge_key(key).await.unwrap();
    tx.append(&key_change(1)).await.unwrap();
    commit(tx).await;
    let state = store.outbox_state().await.unwrap();
    assert_eq!((state.pending, state.dead), (1, 0));
    let mut tx = store.begin().await.unwrap();
    tx.put_signing_secret(&signing_secret(1)).await.unwrap();
    tx.delete_workspace(&acme()).await.unwrap();
    tx.append(&change(Resource::Workspace(acme())))
        .await
        .unwrap();
    commit(tx).await;
    assert_eq!(store.outbox_state().await.unwrap(), OutboxState::default());
    let secrets = Outbox::signing_secrets(&store, &acme()).await.unwrap();
    assert!(secrets.is_empty(), "{secrets:?}");
}

#[tokio::test]
async fn an_ended_delivery_begins_anew_and_one_that_is_tried_is_left() {
    let (_home, store) = open().await;
    let key = KeyId::from_u128(1);
    new(store.publish(&event(1, key), None).await.unwrap());
    let redeliver = async |url: Option<&str>| {
        let mut tx = store.begin().await.unwrap();
        let id = EventId::from_u128(1);
        let found = tx.redeliver(id, url, at(200)).await.unwrap();
        tx.append(&key_change(1)).await.unwrap();
        commit(tx).await;
        found.unwrap()
    };
    let claimed = take(&store, (20, 90), 1, &Spared::default()).await;
    let tried = redeliver(None).await;
    assert_eq!((tried.attempts, tried.next_attempt_time), (1, Some(at(90))));
    let dead = outcome(DeliveryState::Dead, None, at(30));
    assert!(store.settle(&claimed[0], &dead).await.unwrap());
    let anew = redeliver(Some("https://new.example/")).await;
    assert_eq!(
        (anew.state, anew.attempts, anew.url.as_str(), anew.end_time),
        (DeliveryState::Pending, 0, "https://new.example/", None)
    );
    // It goes with what is pending, wherever that is sent.
    let mut tx = store.begin().await.unwrap();
    tx.retarget_events(key, "https://third.example/")
        .await
        .unwrap();
    tx.append(&key_change(1)).await.unwrap();
    commit(tx).await;
    let spared = Spared {
        places: vec!["third.example:443".to_owned()],
        keys: Vec::new(),
    };
    assert!(claim(&store, 200, 300, &spared).await.is_empty());
    assert_eq!(claim(&store, 200, 300, &Spared::default()).await, [1]);
}

#[tokio::test]
async fn expiries_are_found_until_they_are_told_and_secrets_go_a_day_after_their_end() {
    let (_home, store) = open().await;
    let with = |n: u128, url: &str, expire: Option<i64>| {
        let mut key = key(n, "k");
        key.settings.postback_url = url.to_owned();
        key.settings.expire_time = expire.map(at);
        key
    };
    let url = "https://example.com/hook";
    let mut deleted = with(4, url, Some(50));
    deleted.delete_time = Some(at(1));
    let keys = [
        with(1, url, Some(50)),
        with(2, "", Some(50)),
        with(3, url, None),
        deleted,
        with(5, url, Some(51)),
        with(6, url, Some(40)),
    ];
    put(&store, &keys).await;
    let find = async || {
        let found = store
            .expiries("expired@", at(40), at(50), 10)
            .await
            .unwrap();
        found.iter().map(|e| e.key.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(find().await, [1]);
    let mut told = event(1, KeyId::from_u128(1));
    told.once = Some("expired@50".to_owned());
    new(store.publish(&told, None).await.unwrap());
    assert!(find().await.is_empty());

    let mut tx = store.begin().await.unwrap();
    let mut ended = signing_secret(1);
    tx.put_signing_secret(&ended).await.unwrap();
    ended.expire_time = Some(at(100));
    tx.put_signing_secret(&ended).await.unwrap();
    tx.put_signing_secret(&signing_secret(2)).await.unwrap();
    tx.append(&key_change(1)).await.unwrap();
    commit(tx).await;
    let ids = async || {
        let secrets = Outbox::signing_secrets(&store, &acme()).await.unwrap();
        secrets.iter().map(|s| s.id.as_u128()).collect::<Vec<_>>()
    };
    store.clear_away(at(0), at(0), at(101)).await.unwrap();
    assert_eq!(ids().await, [2, 1]);
    let later = at(101).plus(Duration::from_secs(86_400));
    store.clear_away(at(0), at(0), later).await.unwrap();
    assert_eq!(ids().await, [2]);
}

#[tokio::test]
async fn deliveries_are_listed_newest_first() {
    let (_home, store) = open().await;
    for n in 1..=4 {
        let key = KeyId::from_u128(n % 2);
        new(store.publish(&event(n, key), None).await.unwrap());
    }
    let query = DeliveryQuery {
        workspace: acme(),
        key: None,
        state: Some(DeliveryState::Pending),
        kind: None,
        before: Some(EventId::from_u128(4)),
        limit: 2,
    };
    let ids = async |query: &DeliveryQuery| {
        let found = store.list_deliveries(query).await.unwrap();
        found.iter().map(|d| d.id.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&query).await, [3, 2]);
    let of_key = DeliveryQuery {
        key: Some(KeyId::from_u128(0)),
        ..query.clone()
    };
    assert_eq!(ids(&of_key).await, [2]);
    let dead = DeliveryQuery {
        state: Some(DeliveryState::Dead),
        ..query
    };
    assert!(ids(&dead).await.is_empty());
}
