//! Looking keys up by token, and expiry by the clock.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Reason, key};
use tonic::Code;

use super::stage::{Stage, creating, mask, named, ok, refused, sha256_hex};

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_tells_whose_token_it_is_and_does_not_count_as_use() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let look = |token: &str, sha256_hex: &str| v1::LookupKeyRequest {
        workspace: "acme".to_owned(),
        token: token.to_owned(),
        sha256_hex: sha256_hex.to_owned(),
    };
    let hex = sha256_hex(&made.primary);
    for request in [
        look(&made.primary, ""),
        look("", &hex),
        look("", &hex.to_uppercase()),
    ] {
        let found = ok(stage.acme.keys().lookup_key(request).await);
        assert_eq!(found.key.unwrap().id, made.id());
        assert_eq!(found.secret_id, made.secret(v1::Slot::Primary));
    }
    assert_eq!(stage.get(&made.id()).await.last_used_time, None);
    let unknown = look("nobody-made-this-9f86d081884c7d65", "");
    refused(
        stage.acme.keys().lookup_key(unknown).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    // Another tenant's token is unknown in one's own workspace.
    let own = v1::LookupKeyRequest {
        workspace: String::new(),
        ..look(&made.primary, "")
    };
    refused(
        stage.other.keys().lookup_key(own).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    let delete = v1::DeleteKeyRequest {
        id: made.id(),
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete).await);
    let found = ok(stage.acme.keys().lookup_key(look(&made.primary, "")).await);
    assert_eq!(
        found.key.unwrap().state,
        i32::from(key::State::Deleted),
        "dead secrets too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_expires_by_the_clock_and_not_before() {
    let stage = Stage::set().await;
    let end = prost_types::Timestamp {
        seconds: 1_800_000_000 + 86_400,
        nanos: 0,
    };
    let made = stage
        .make(creating(
            "acme",
            v1::Key {
                expire_time: Some(end),
                ..named("a day")
            },
        ))
        .await;
    stage.advance(Duration::from_secs(86_400) - Duration::from_micros(1));
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    stage.advance(Duration::from_micros(1));
    assert_eq!(stage.reason(&made.primary).await, Reason::KeyExpired);
    assert_eq!(
        stage.get(&made.id()).await.state,
        i32::from(key::State::Expired)
    );
    // Expiry is a setting like others: it can be taken away again.
    let request = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            ..Default::default()
        }),
        update_mask: mask(&["expire_time"]),
        ..Default::default()
    };
    ok(stage.system.keys().update_key(request).await);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
}
