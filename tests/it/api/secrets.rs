//! Replacing, ending and revealing secrets.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Reason, Slot, secret};
use tonic::{Code, Response, Status};

use super::stage::{
    Made, Stage, creating, digest, duration, external, foreign_token, generated, named, ok, refused,
};

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn replace(key: &str, slot: Slot) -> v1::RegenerateSecretRequest {
    v1::RegenerateSecretRequest {
        key_id: key.to_owned(),
        slot: slot.into(),
        ..Default::default()
    }
}

pub(crate) async fn regenerate(
    stage: &Stage,
    request: v1::RegenerateSecretRequest,
) -> Result<Response<v1::RegenerateSecretResponse>, Status> {
    stage.system.keys().regenerate_secret(request).await
}

pub(crate) fn token(answer: &v1::RegenerateSecretResponse) -> String {
    answer.tokens[0].token.clone()
}

pub(crate) fn revoke(key: &str, secret: &str) -> v1::RevokeSecretRequest {
    v1::RevokeSecretRequest {
        key_id: key.to_owned(),
        secret_id: secret.to_owned(),
        ..Default::default()
    }
}

pub(crate) async fn two_slots(stage: &Stage) -> Made {
    let request = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating("acme", named("two slots"))
    };
    stage.make(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_grace_the_old_value_is_refused_from_the_answer_on() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    // An unspecified slot means PRIMARY.
    let answer = ok(regenerate(&stage, replace(&made.id(), Slot::Unspecified)).await);
    assert_eq!(stage.reason(&made.primary).await, Reason::SecretRevoked);
    assert_eq!(stage.reason(&token(&answer)).await, Reason::Ok);
    let key = answer.key.unwrap();
    let old = key
        .secrets
        .iter()
        .find(|s| s.id == made.secret(Slot::Primary))
        .unwrap();
    assert_eq!(
        (old.state(), old.revocation_reason()),
        (secret::State::Revoked, v1::RevocationReason::Superseded)
    );
    assert_eq!(
        key.secrets[0].state(),
        secret::State::Active,
        "live ones come first"
    );
    let decision = stage
        .check(super::stage::asking("acme", &made.primary, &[]))
        .await;
    assert_eq!(
        (decision.key_id, decision.secret_id),
        (made.id(), made.secret(Slot::Primary))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_grace_the_old_value_is_accepted_until_the_clock_says_otherwise() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let request = v1::RegenerateSecretRequest {
        grace: duration(3_600),
        ..replace(&made.id(), Slot::Primary)
    };
    let answer = ok(regenerate(&stage, request).await);
    let state = |key: &v1::Key| {
        key.secrets
            .iter()
            .find(|s| s.id == made.secret(Slot::Primary))
            .unwrap()
            .state()
    };
    assert_eq!(state(&answer.key.clone().unwrap()), secret::State::Retiring);
    stage.advance(HOUR - Duration::from_micros(1));
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    stage.advance(Duration::from_micros(1));
    assert_eq!(stage.reason(&made.primary).await, Reason::SecretRevoked);
    assert_eq!(stage.reason(&token(&answer)).await, Reason::Ok);
    assert_eq!(state(&stage.get(&made.id()).await), secret::State::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_never_outlives_the_key() {
    let stage = Stage::set().await;
    let end = prost_types::Timestamp {
        seconds: 1_800_000_000 + 60,
        nanos: 0,
    };
    let made = stage
        .make(creating(
            "acme",
            v1::Key {
                expire_time: Some(end),
                ..named("short")
            },
        ))
        .await;
    let request = v1::RegenerateSecretRequest {
        grace: duration(3_600),
        ..replace(&made.id(), Slot::Primary)
    };
    let key = ok(regenerate(&stage, request).await).key.unwrap();
    let old = key
        .secrets
        .iter()
        .find(|s| s.id == made.secret(Slot::Primary))
        .unwrap();
    assert_eq!(old.expire_time, Some(end));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_slot_is_filled_and_an_external_value_taken() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let answer = ok(regenerate(&stage, replace(&made.id(), Slot::Secondary)).await);
    assert_eq!(answer.tokens[0].slot(), Slot::Secondary);
    let (by_token, by_digest) = (foreign_token(1), foreign_token(2));
    let request = v1::RegenerateSecretRequest {
        source: external(&by_token),
        ..replace(&made.id(), Slot::Primary)
    };
    assert!(ok(regenerate(&stage, request).await).tokens.is_empty());
    let request = v1::RegenerateSecretRequest {
        source: digest(&by_digest, 256, false),
        force: true,
        ..replace(&made.id(), Slot::Secondary)
    };
    ok(regenerate(&stage, request).await);
    assert_eq!(stage.reason(&by_token).await, Reason::Ok);
    assert_eq!(stage.reason(&by_digest).await, Reason::Ok);
    assert_eq!(stage.reason(&token(&answer)).await, Reason::SecretRevoked);
    assert_eq!(stage.reason(&made.primary).await, Reason::SecretRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_secrets_may_retire_at_once_and_no_more() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let request = v1::RegenerateSecretRequest {
        grace: duration(3_600),
        ..replace(&made.id(), Slot::Primary)
    };
    for _ in 0..8 {
        ok(regenerate(&stage, request.clone()).await);
    }
    let before = stage.revision().await;
    refused(
        regenerate(&stage, request.clone()).await,
        Code::FailedPrecondition,
        "TOO_MANY_RETIRING",
    );
    assert_eq!(stage.revision().await, before);
    // At once is always possible, and so is ending a retiring one.
    ok(regenerate(
        &stage,
        v1::RegenerateSecretRequest {
            grace: None,
            ..request.clone()
        },
    )
    .await);
    ok(stage
        .system
        .keys()
        .revoke_secret(revoke(&made.id(), &made.secret(Slot::Primary)))
        .await);
    ok(regenerate(&stage, request.clone()).await);
    stage.advance(HOUR);
    ok(regenerate(&stage, request).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_secret_is_refused_at_once_with_its_reason_on_record() {
    let stage = Stage::set().await;
    let made = two_slots(&stage).await;
    let request = v1::RevokeSecretRequest {
        reason: v1::RevocationReason::KeyCompromise.into(),
        ..revoke(&made.id(), &made.secret(Slot::Primary))
    };
    let key = ok(stage.system.keys().revoke_secret(request.clone()).await)
        .key
        .unwrap();
    let gone = key
        .secrets
        .iter()
        .find(|s| s.id == request.secret_id)
        .unwrap();
    assert_eq!(
        (gone.state(), gone.revocation_reason()),
        (secret::State::Revoked, v1::RevocationReason::KeyCompromise)
    );
    assert!(gone.expire_time.is_some());
    assert_eq!(stage.reason(&made.primary).await, Reason::SecretRevoked);
    assert_eq!(stage.reason(&made.secondary).await, Reason::Ok);
    let status = stage
        .system
        .keys()
        .revoke_secret(request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    // The last one too, and another key's never.
    ok(stage
        .system
        .keys()
        .revoke_secret(revoke(&made.id(), &made.secret(Slot::Secondary)))
        .await);
    let stranger = stage.key(&[]).await;
    let mixed = revoke(&made.id(), &stranger.secret(Slot::Primary));
    refused(
        stage.system.keys().revoke_secret(mixed).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    assert_eq!(stage.reason(&stranger.primary).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_two_slots_are_demanded_neither_is_left_empty() {
    let stage = Stage::set().await;
    let settings = v1::WorkspaceSettings {
        slots: v1::SlotPolicy::Two.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    let made = stage.key(&[]).await;
    let before = stage.revision().await;
    for slot in [Slot::Primary, Slot::Secondary] {
        let answer = stage
            .system
            .keys()
            .revoke_secret(revoke(&made.id(), &made.secret(slot)))
            .await;
        refused(answer, Code::FailedPrecondition, "SLOT_REQUIRED");
    }
    assert_eq!(stage.revision().await, before);
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
    // A retiring one is not one of the two.
    let request = v1::RegenerateSecretRequest {
        grace: duration(3_600),
        ..replace(&made.id(), Slot::Primary)
    };
    ok(regenerate(&stage, request).await);
    ok(stage
        .system
        .keys()
        .revoke_secret(revoke(&made.id(), &made.secret(Slot::Primary)))
        .await);
    assert_eq!(stage.reason(&made.primary).await, Reason::SecretRevoked);
}
