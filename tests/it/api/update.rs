//! Changing settings: masks, guards, and that a change is in force before it is answered.

use claviger::grpc::proto::v1::{self, Reason};
use tonic::Code;

use super::stage::{Stage, asking, holding, mask, named, ok, refused};

fn full() -> v1::Key {
    v1::Key {
        description: "as made".to_owned(),
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        labels: [("team".to_owned(), "a".to_owned())].into(),
        postback_url: "https://example.com/hook".to_owned(),
        off_the_record: true,
        enforcement: Some(v1::Enforcement {
            network: v1::EnforcementMode::Shadow.into(),
            scopes: v1::EnforcementMode::Shadow.into(),
            ..Default::default()
        }),
        ..holding(&["orders:read"])
    }
}

fn update(id: &str, key: v1::Key, paths: Option<&[&str]>) -> v1::UpdateKeyRequest {
    v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: id.to_owned(),
            ..key
        }),
        update_mask: paths.and_then(mask),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_mask_the_populated_fields_change() {
    let stage = Stage::set().await;
    let made = stage.make(super::stage::creating("acme", full())).await;
    let request = update(&made.id(), named("renamed"), None);
    let after = ok(stage.system.keys().update_key(request).await)
        .key
        .unwrap();
    assert_eq!(after.display_name, "renamed");
    assert_eq!(
        (
            after.description.as_str(),
            after.scopes.len(),
            after.labels.len()
        ),
        ("as made", 1, 1)
    );
    // `enabled` is populated when it is there, false too.
    let request = update(
        &made.id(),
        v1::Key {
            enabled: Some(false),
            ..Default::default()
        },
        None,
    );
    let after = ok(stage.system.keys().update_key(request).await)
        .key
        .unwrap();
    assert_eq!(
        (after.enabled, after.display_name.as_str()),
        (Some(false), "renamed")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_mask_its_fields_change_and_can_be_emptied() {
    let stage = Stage::set().await;
    let made = stage.make(super::stage::creating("acme", full())).await;
    let paths = [
        "labels",
        "allowed_cidrs",
        "postback_url",
        "off_the_record",
        "enforcement.network",
    ];
    let request = update(&made.id(), named("not in the mask"), Some(&paths));
    let after = ok(stage.system.keys().update_key(request).await)
        .key
        .unwrap();
    assert_eq!(after.display_name, "a key");
    assert!(
        after.labels.is_empty() && after.allowed_cidrs.is_empty() && after.postback_url.is_empty()
    );
    assert!(!after.off_the_record);
    let enforcement = after.enforcement.unwrap();
    assert_ne!(enforcement.network(), v1::EnforcementMode::Shadow);
    assert_eq!(
        enforcement.scopes(),
        v1::EnforcementMode::Shadow,
        "the other parts stay"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_means_all_fields() {
    let stage = Stage::set().await;
    let made = stage.make(super::stage::creating("acme", full())).await;
    let request = update(
        &made.id(),
        v1::Key {
            enabled: Some(true),
            ..named("bare")
        },
        Some(&["*"]),
    );
    let after = ok(stage.system.keys().update_key(request).await)
        .key
        .unwrap();
    assert_eq!(
        (after.display_name.as_str(), after.description.as_str()),
        ("bare", "")
    );
    assert!(after.scopes.is_empty() && after.labels.is_empty() && !after.off_the_record);
    assert_ne!(
        after.enforcement.unwrap_or_default().scopes(),
        v1::EnforcementMode::Shadow
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_change_is_said_so() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let before = stage.revision().await;
    let empty = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            ..named("x")
        }),
        update_mask: mask(&[]),
        ..Default::default()
    };
    refused(
        stage.system.keys().update_key(empty).await,
        Code::InvalidArgument,
        "NOTHING_TO_CHANGE",
    );
    let unpopulated = update(&made.id(), v1::Key::default(), None);
    refused(
        stage.system.keys().update_key(unpopulated).await,
        Code::InvalidArgument,
        "NOTHING_TO_CHANGE",
    );
    assert_eq!(stage.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etag_guards_every_change_of_a_key() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let (id, stale) = (made.id(), made.key.etag.clone());
    let guarded = |etag: &str, name: &str| {
        update(
            &id,
            v1::Key {
                etag: etag.to_owned(),
                ..named(name)
            },
            Some(&["display_name"]),
        )
    };
    let fresh = ok(stage
        .system
        .keys()
        .update_key(guarded(&stale, "first"))
        .await)
    .key
    .unwrap()
    .etag;
    assert_ne!(fresh, stale);
    let before = stage.revision().await;
    let keys = || stage.system.keys();
    let aborted = (Code::Aborted, "ETAG_MISMATCH");
    refused(
        keys().update_key(guarded(&stale, "second")).await,
        aborted.0,
        aborted.1,
    );
    let delete = v1::DeleteKeyRequest {
        id: id.clone(),
        etag: stale.clone(),
        ..Default::default()
    };
    refused(keys().delete_key(delete).await, aborted.0, aborted.1);
    let regenerate = v1::RegenerateSecretRequest {
        key_id: id.clone(),
        etag: stale.clone(),
        ..Default::default()
    };
    refused(
        keys().regenerate_secret(regenerate).await,
        aborted.0,
        aborted.1,
    );
    let revoke = v1::RevokeSecretRequest {
        key_id: id.clone(),
        secret_id: made.secret(v1::Slot::Primary),
        etag: stale.clone(),
        ..Default::default()
    };
    refused(keys().revoke_secret(revoke).await, aborted.0, aborted.1);
    assert_eq!(stage.revision().await, before);
    let delete = v1::DeleteKeyRequest {
        id: id.clone(),
        etag: fresh,
        ..Default::default()
    };
    ok(keys().delete_key(delete).await);
    let undelete = v1::UndeleteKeyRequest {
        id,
        etag: stale,
        ..Default::default()
    };
    refused(keys().undelete_key(undelete).await, aborted.0, aborted.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_when_it_is_answered() {
    let stage = Stage::set().await;
    let made = stage.key(&["orders:read"]).await;
    let id = made.id();
    let asked = asking("acme", &made.primary, &["orders:read"]);
    let steps: [(v1::Key, &str, Reason); 6] = [
        (
            v1::Key {
                enabled: Some(false),
                ..Default::default()
            },
            "enabled",
            Reason::KeyDisabled,
        ),
        (
            v1::Key {
                enabled: Some(true),
                ..Default::default()
            },
            "enabled",
            Reason::Ok,
        ),
        (
            holding(&["orders:write"]),
            "scopes",
            Reason::InsufficientScope,
        ),
        (holding(&["orders:*"]), "scopes", Reason::Ok),
        (
            v1::Key {
                allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
                ..Default::default()
            },
            "allowed_cidrs",
            Reason::IpUnknown,
        ),
        (v1::Key::default(), "allowed_cidrs", Reason::Ok),
    ];
    for (key, path, reason) in steps {
        let answer = ok(stage
            .system
            .keys()
            .update_key(update(&id, key, Some(&[path])))
            .await);
        let decision = stage.check(asked.clone()).await;
        assert_eq!(decision.reason(), reason, "{path}");
        assert_eq!(
            decision.revision, answer.revision,
            "decided at the revision of the change"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_not_changed() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let delete = v1::DeleteKeyRequest {
        id: made.id(),
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(delete).await);
    let before = stage.revision().await;
    let status = stage
        .system
        .keys()
        .update_key(update(&made.id(), named("x"), None))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let regenerate = v1::RegenerateSecretRequest {
        key_id: made.id(),
        ..Default::default()
    };
    let status = stage
        .system
        .keys()
        .regenerate_secret(regenerate)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert_eq!(stage.revision().await, before);
}
