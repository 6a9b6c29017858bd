//! Administrators that are bound to subscriptions.

use claviger::grpc::proto::v1::{self};
use tonic::Code;

use super::escalation::{escalation, set};
use super::stage::{Stage, creating, declaring, holding, named, ok, refused, routing, sha256_hex};

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_bound_to_subscriptions_sees_and_makes_only_theirs() {
    let stage = Stage::set().await;
    let bound = stage.bound(&["claviger:*"], &["basic"]).await;
    let key = |subscriptions: &[&str]| v1::Key {
        subscriptions: subscriptions.iter().map(|s| (*s).to_owned()).collect(),
        ..holding(&["orders:read"])
    };
    let theirs = stage.make(creating("acme", key(&["basic"]))).await;
    let foreign = [
        stage.make(creating("acme", key(&["pro"]))).await,
        stage.make(creating("acme", key(&["basic", "pro"]))).await,
        stage.make(creating("acme", key(&[]))).await,
    ];
    let keys = || bound.keys();
    ok(keys().get_key(v1::GetKeyRequest { id: theirs.id() }).await);
    let missing = (Code::NotFound, "NOT_FOUND");
    for other in &foreign {
        let id = || other.id();
        refused(
            keys().get_key(v1::GetKeyRequest { id: id() }).await,
            missing.0,
            missing.1,
        );
        refused(
            keys()
                .update_key(set(&id(), named("x"), "display_name"))
                .await,
            missing.0,
            missing.1,
        );
        refused(
            keys()
                .delete_key(v1::DeleteKeyRequest {
                    id: id(),
                    ..Default::default()
                })
                .await,
            missing.0,
            missing.1,
        );
        let regenerate = v1::RegenerateSecretRequest {
            key_id: id(),
            ..Default::default()
        };
        refused(
            keys().regenerate_secret(regenerate).await,
            missing.0,
            missing.1,
        );
        let lookup = v1::LookupKeyRequest {
            sha256_hex: sha256_hex(&other.primary),
            ..Default::default()
        };
        refused(keys().lookup_key(lookup).await, missing.0, missing.1);
    }
    let listed = ok(keys().list_keys(v1::ListKeysRequest::default()).await).keys;
    assert!(
        listed.iter().all(|k| k.subscriptions == ["basic"]),
        "{listed:?}"
    );
    assert!(listed.iter().any(|k| k.id == theirs.id()));
    // A key it makes is bound like itself where it does not say; to nothing and to others it binds none.
    for subscriptions in [&[][..], &["basic"]] {
        let made = ok(keys()
            .create_key(creating("acme", key(subscriptions)))
            .await);
        assert_eq!(made.key.unwrap().subscriptions, ["basic"]);
    }
    for subscriptions in [&["pro"][..], &["basic", "pro"]] {
        escalation(
            keys()
                .create_key(creating("acme", key(subscriptions)))
                .await,
        );
    }
    for subscriptions in [&[][..], &["pro"], &["basic", "pro"]] {
        escalation(
            keys()
                .update_key(set(&theirs.id(), key(subscriptions), "subscriptions"))
                .await,
        );
    }
    // What concerns the whole workspace is not theirs.
    let denied = bound
        .directory()
        .create_scope(declaring("acme", "new"))
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let denied = bound
        .routes()
        .create_route(routing("acme", "new", "/new"))
        .await
        .unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let list = v1::ListSubscriptionsRequest::default();
    let seen = ok(bound.directory().list_subscriptions(list).await).subscriptions;
    assert_eq!(
        seen.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(),
        ["basic"]
    );
    let get = v1::GetSubscriptionRequest {
        id: "pro".to_owned(),
        ..Default::default()
    };
    refused(
        bound.directory().get_subscription(get).await,
        missing.0,
        missing.1,
    );
}
