//! How long keys live: the workspace's default and longest lifetime, for keys that are made, moved in and changed.

use std::time::Duration;

use claviger::grpc::proto::v1::import_result::Outcome;
use claviger::grpc::proto::v1::{self, Reason};
use tonic::Code;

use super::import_stream::one_message;
use super::stage::{Stage, creating, duration, external, foreign_token, mask, named, ok, refused};

const DAY: u64 = 86_400;

fn lifetimes(default: u64, longest: u64) -> v1::WorkspaceSettings {
    let span = |days: u64| duration(days * DAY).filter(|_| days > 0);
    v1::WorkspaceSettings {
        default_lifetime: span(default),
        longest_lifetime: span(longest),
        ..Default::default()
    }
}

fn ending(at: Option<i64>) -> v1::Key {
    v1::Key {
        expire_time: at.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
        ..named("a key")
    }
}

/// How many days after it was made a key ends.
fn days(key: &v1::Key) -> Option<i64> {
    let made = key.create_time.unwrap().seconds;
    key.expire_time.map(|end| (end.seconds - made) / DAY as i64)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_without_an_end_gets_the_default_and_else_the_longest_lifetime() {
    let stage = Stage::set().await;
    assert_eq!(days(&stage.key(&[]).await.key), None);
    stage.configure("acme", lifetimes(30, 90)).await;
    let made = stage.key(&[]).await;
    assert_eq!(days(&made.key), Some(30));
    stage.configure("acme", lifetimes(0, 90)).await;
    assert_eq!(days(&stage.key(&[]).await.key), Some(90));
    stage.configure("acme", lifetimes(30, 0)).await;
    assert_eq!(days(&stage.key(&[]).await.key), Some(30));
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    stage.advance(Duration::from_secs(30 * DAY));
    assert_eq!(stage.reason(&made.primary).await, Reason::KeyExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beyond_the_longest_lifetime_is_refused_when_made_changed_and_moved_in() {
    let stage = Stage::set().await;
    let eternal = stage.key(&[]).await;
    let made_at = eternal.key.create_time.unwrap().seconds;
    let after = |days: i64| Some(made_at + days * DAY as i64);
    stage.configure("acme", lifetimes(0, 90)).await;
    let keys = || stage.system.keys();
    let too_long = (Code::InvalidArgument, "LIFETIME_TOO_LONG");
    let create = |end| {
        let request = creating("acme", ending(end));
        async move { keys().create_key(request).await }
    };
    refused(create(after(91)).await, too_long.0, too_long.1);
    let made = ok(create(after(90)).await).key.unwrap();

    let update = |id: &str, end: Option<i64>| {
        let request = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: id.to_owned(),
                ..ending(end)
            }),
            update_mask: mask(&["expire_time"]),
            ..Default::default()
        };
        async move { keys().update_key(request).await }
    };
    refused(update(&made.id, after(91)).await, too_long.0, too_long.1);
    refused(update(&made.id, None).await, too_long.0, too_long.1);
    ok(update(&made.id, after(10)).await);
    ok(update(&made.id, after(90)).await);
    // It counts from when the key was made, not from now: a key is not kept alive for ever by updates.
    stage.advance(Duration::from_secs(30 * DAY));
    refused(update(&made.id, after(91)).await, too_long.0, too_long.1);

    // A key from before the rule stays, and can be changed otherwise, and to a shorter life.
    let rename = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: eternal.id(),
            ..named("renamed")
        }),
        ..Default::default()
    };
    ok(keys().update_key(rename).await);
    ok(update(&eternal.id(), after(400)).await);
    refused(
        update(&eternal.id(), after(401)).await,
        too_long.0,
        too_long.1,
    );
    assert_eq!(stage.reason(&eternal.primary).await, Reason::Ok);

    let item = |id: &str, end: Option<i64>, n: u32| v1::ImportItem {
        import_id: id.to_owned(),
        key: Some(v1::Key {
            create_time: Some(prost_types::Timestamp {
                seconds: 1_500_000_000,
                nanos: 0,
            }),
            ..ending(end)
        }),
        primary: external(&foreign_token(n)),
        secondary: None,
    };
    let items = vec![
        item("far", after(30 + 91), 1),
        item("near", after(30 + 90), 2),
        item("open", None, 3),
    ];
    for n in 1..=3 {
        stage.server.remember(&foreign_token(n));
    }
    let answer = one_message(&stage.system, "acme", false, items).await;
    let results = answer.unwrap().results;
    let outcomes: Vec<_> = results.iter().map(v1::ImportResult::outcome).collect();
    assert_eq!(
        outcomes,
        [Outcome::Refused, Outcome::Created, Outcome::Created]
    );
    assert_eq!(results[0].error.clone().unwrap().reason, too_long.1);
    let moved = stage.get(&results[2].key_id).await;
    let end = moved.expire_time.unwrap().seconds;
    assert_eq!(end, after(30 + 90).unwrap(), "it counts from the import");
}
