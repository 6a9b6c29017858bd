//! What a restart must not change.

use claviger::grpc::proto::v1::{self, Reason, Slot};
use tonic::Code;

use super::stage::{
    Stage, creating, duration, external, foreign_token, generated, named, ok, refused, request_id,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_key_opens_or_stays_shut_as_before() {
    let stage = Stage::set().await;
    let token = foreign_token(1);
    let open = stage
        .make(v1::CreateKeyRequest {
            secondary: external(&token),
            ..creating("acme", named("open"))
        })
        .await;
    let off = stage
        .make(creating(
            "acme",
            v1::Key {
                enabled: Some(false),
                ..named("off")
            },
        ))
        .await;
    let gone = stage.key(&[]).await;
    ok(stage
        .acme
        .keys()
        .delete_key(v1::DeleteKeyRequest {
            id: gone.id(),
            ..Default::default()
        })
        .await);
    let retiring = stage.key(&[]).await;
    let regenerate = v1::RegenerateSecretRequest {
        key_id: retiring.id(),
        grace: duration(60),
        ..Default::default()
    };
    ok(stage.acme.keys().regenerate_secret(regenerate).await);
    let expected = [
        (&open.primary, Reason::Ok),
        (&token, Reason::Ok),
        (&off.primary, Reason::KeyDisabled),
        (&gone.primary, Reason::KeyDeleted),
        (&retiring.primary, Reason::Ok),
    ];
    let mut before = Vec::new();
    for (token, reason) in &expected {
        assert_eq!(stage.reason(token).await, *reason);
        before.push(stage.check(super::stage::asking("acme", token, &[])).await);
    }
    let read = stage.get(&open.id()).await;
    assert!(read.last_used_time.is_some());
    let stage = stage.restart().await;
    for ((token, _), before) in expected.iter().zip(before) {
        let after = stage.check(super::stage::asking("acme", token, &[])).await;
        assert_eq!(after, before, "revision and all");
    }
    assert_eq!(
        stage.get(&open.id()).await,
        read,
        "the times of last use too"
    );
    stage.advance(std::time::Duration::from_secs(60));
    assert_eq!(stage.reason(&retiring.primary).await, Reason::SecretRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_and_the_rotation_guard_remember() {
    let stage = Stage::set().await;
    let request = v1::CreateKeyRequest {
        request_id: request_id(1),
        secondary: generated(),
        ..creating("acme", named("once"))
    };
    let first = ok(stage.acme.keys().create_key(request.clone()).await);
    let id = first.key.as_ref().unwrap().id.clone();
    assert_eq!(stage.reason(&first.tokens[0].token).await, Reason::Ok);
    let replace = |slot: Slot| v1::RegenerateSecretRequest {
        key_id: id.clone(),
        slot: slot.into(),
        ..Default::default()
    };
    ok(stage
        .acme
        .keys()
        .regenerate_secret(replace(Slot::Secondary))
        .await);
    let stage = stage.restart().await;
    let again = ok(stage.acme.keys().create_key(request).await);
    assert!(first.tokens[..1] == again.tokens, "another token");
    assert!(
        again.token_withheld,
        "the token of a replaced secret is of no use"
    );
    let guarded = stage
        .acme
        .keys()
        .regenerate_secret(replace(Slot::Primary))
        .await;
    refused(guarded, Code::FailedPrecondition, "OTHER_SLOT_UNPROVEN");
}
