//! The last usable administrator of `system` can't be taken away, whichever way.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Slot};
use tonic::{Code, Response, Status};

use super::stage::{Stage, creating, holding, mask, named, ok, refused};

#[track_caller]
fn last<T: std::fmt::Debug>(result: Result<Response<T>, Status>) {
    refused(result, Code::FailedPrecondition, "LAST_ADMINISTRATOR");
}

fn set(id: &str, key: v1::Key, path: &str) -> v1::UpdateKeyRequest {
    v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: id.to_owned(),
            ..key
        }),
        update_mask: mask(&[path]),
        ..Default::default()
    }
}

/// The first administrator's key.
async fn bootstrap(stage: &Stage) -> v1::Key {
    let request = v1::ListKeysRequest {
        workspace: "system".to_owned(),
        ..Default::default()
    };
    let mut keys = ok(stage.system.keys().list_keys(request).await).keys;
    assert_eq!(keys.len(), 1);
    keys.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_disabled_deleted_revoked_narrowed_or_let_expire() {
    let stage = Stage::set().await;
    let key = bootstrap(&stage).await;
    assert_eq!(key.scopes, ["claviger:*"]);
    // Others with less, elsewhere, or unusable, do not count.
    stage
        .make(creating("system", holding(&["claviger:keys:*"])))
        .await;
    stage
        .make(creating(
            "system",
            v1::Key {
                enabled: Some(false),
                ..holding(&["claviger:*"])
            },
        ))
        .await;
    let before = stage.revision().await;
    let (id, keys) = (key.id.clone(), || stage.system.keys());
    last(
        keys()
            .update_key(set(
                &id,
                v1::Key {
                    enabled: Some(false),
                    ..Default::default()
                },
                "enabled",
            ))
            .await,
    );
    last(
        keys()
            .update_key(set(&id, holding(&["claviger:keys:*"]), "scopes"))
            .await,
    );
    last(
        keys()
            .update_key(set(&id, v1::Key::default(), "scopes"))
            .await,
    );
    let past = v1::Key {
        expire_time: Some(prost_types::Timestamp {
            seconds: 1_800_000_000,
            nanos: 0,
        }),
        ..Default::default()
    };
    last(keys().update_key(set(&id, past, "expire_time")).await);
    for purge in [false, true] {
        last(
            keys()
                .delete_key(v1::DeleteKeyRequest {
                    id: id.clone(),
                    purge,
                    ..Default::default()
                })
                .await,
        );
    }
    let revoke = v1::RevokeSecretRequest {
        key_id: id.clone(),
        secret_id: key.secrets[0].id.clone(),
        ..Default::default()
    };
    last(keys().revoke_secret(revoke).await);
    assert_eq!(stage.revision().await, before);
    // Renaming it is no matter.
    ok(keys()
        .update_key(set(&id, named("root"), "display_name"))
        .await);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_left_to_a_moment_in_which_it_would_expire() {
    let stage = Stage::set().await;
    let key = bootstrap(&stage).await;
    let soon = prost_types::Timestamp {
        seconds: 1_800_000_060,
        nanos: 0,
    };
    let soon = v1::Key {
        expire_time: Some(soon),
        ..Default::default()
    };
    last(
        stage
            .system
            .keys()
            .update_key(set(&key.id, soon, "expire_time"))
            .await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_will_expire_does_not_stand_in_for_ever() {
    let stage = Stage::set().await;
    let key = bootstrap(&stage).await;
    let soon = prost_types::Timestamp {
        seconds: 1_800_000_060,
        nanos: 0,
    };
    let mortal = v1::Key {
        expire_time: Some(soon),
        ..holding(&["claviger:*"])
    };
    stage.make(creating("system", mortal)).await;
    last(
        stage
            .system
            .keys()
            .delete_key(v1::DeleteKeyRequest {
                id: key.id,
                ..Default::default()
            })
            .await,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_second_one_the_first_can_go() {
    let stage = Stage::set().await;
    let first = bootstrap(&stage).await;
    let second = stage
        .make(creating("system", holding(&["claviger:*"])))
        .await;
    let successor = stage.server.client_with(&second.primary);
    ok(successor
        .keys()
        .delete_key(v1::DeleteKeyRequest {
            id: first.id,
            ..Default::default()
        })
        .await);
    last(
        successor
            .keys()
            .delete_key(v1::DeleteKeyRequest {
                id: second.id(),
                ..Default::default()
            })
            .await,
    );
    // Its secret can be replaced: the new one is usable.
    let regenerate = v1::RegenerateSecretRequest {
        key_id: second.id(),
        slot: Slot::Primary.into(),
        ..Default::default()
    };
    let fresh = ok(successor.keys().regenerate_secret(regenerate).await).tokens[0]
        .token
        .clone();
    let get = v1::GetKeyRequest { id: second.id() };
    refused(
        successor.keys().get_key(get.clone()).await,
        Code::Unauthenticated,
        "UNAUTHENTICATED",
    );
    ok(stage.server.client_with(&fresh).keys().get_key(get).await);
    stage.advance(Duration::from_secs(1));
}
