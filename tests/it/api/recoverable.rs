//! Tokens that are kept sealed: revealing them, destroying them, acknowledging that they are saved.

use claviger::grpc::proto::v1::{self, Reason, Slot};
use tonic::Code;

use super::secrets::{revoke, two_slots};
use super::stage::{Stage, creating, digest, external, foreign_token, invalid, named, ok, refused};

#[tokio::test(flavor = "multi_thread")]
async fn only_a_recoverable_workspace_reveals_a_token_and_only_a_live_one() {
    let stage = Stage::set().await;
    let hashed = stage.key(&[]).await;
    let reveal = |key: &str, secret: &str| v1::RevealSecretRequest {
        key_id: key.to_owned(),
        secret_id: secret.to_owned(),
    };
    let keys = || stage.system.keys();
    refused(
        keys().reveal_secret(reveal(&hashed.id(), "")).await,
        Code::FailedPrecondition,
        "NOT_RECOVERABLE",
    );
    let settings = v1::WorkspaceSettings {
        secret_storage: v1::SecretStorage::Recoverable.into(),
        ..Default::default()
    };
    stage.configure("acme", settings).await;
    // What was hashed stays so.
    refused(
        keys().reveal_secret(reveal(&hashed.id(), "")).await,
        Code::FailedPrecondition,
        "NOT_RECOVERABLE",
    );
    let token = foreign_token(3);
    let request = v1::CreateKeyRequest {
        secondary: external(&token),
        ..creating("acme", named("kept"))
    };
    let made = stage.make(request).await;
    assert!(made.key.secrets.iter().all(|s| s.recoverable));
    let before = stage.revision().await;
    let answer = ok(keys().reveal_secret(reveal(&made.id(), "")).await);
    assert_eq!(
        answer.token.unwrap().token,
        made.primary,
        "an empty secret id means the PRIMARY one"
    );
    assert_ne!(stage.revision().await, before, "it is audited");
    let answer = ok(keys()
        .reveal_secret(reveal(&made.id(), &made.secret(Slot::Secondary)))
        .await);
    assert_eq!(answer.token.unwrap().token, token);
    ok(keys()
        .revoke_secret(revoke(&made.id(), &made.secret(Slot::Primary)))
        .await);
    let dead = keys()
        .reveal_secret(reveal(&made.id(), &made.secret(Slot::Primary)))
        .await;
    refused(dead, Code::FailedPrecondition, "NOT_RECOVERABLE");
    let by_digest = v1::CreateKeyRequest {
        primary: digest(&foreign_token(4), 256, false),
        ..creating("acme", named("digest"))
    };
    let by_digest = stage.make(by_digest).await;
    refused(
        keys().reveal_secret(reveal(&by_digest.id(), "")).await,
        Code::FailedPrecondition,
        "NOT_RECOVERABLE",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn back_to_hashed_needs_a_word_and_destroys_the_sealed_tokens() {
    let stage = Stage::set().await;
    let storage = |s: v1::SecretStorage| v1::WorkspaceSettings {
        secret_storage: s.into(),
        ..Default::default()
    };
    stage
        .configure("acme", storage(v1::SecretStorage::Recoverable))
        .await;
    let made = stage.key(&[]).await;
    let back = |acknowledge_warnings| v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "acme".to_owned(),
            settings: Some(storage(v1::SecretStorage::Hashed)),
            ..Default::default()
        }),
        update_mask: super::stage::mask(&["settings.secret_storage"]),
        acknowledge_warnings,
        ..Default::default()
    };
    let directory = || stage.system.directory();
    refused(
        directory().update_workspace(back(false)).await,
        Code::FailedPrecondition,
        "WARNING_NOT_ACKNOWLEDGED",
    );
    let reveal = || v1::RevealSecretRequest {
        key_id: made.id(),
        secret_id: String::new(),
    };
    ok(stage.system.keys().reveal_secret(reveal()).await);
    ok(directory().update_workspace(back(true)).await);
    refused(
        stage.system.keys().reveal_secret(reveal()).await,
        Code::FailedPrecondition,
        "NOT_RECOVERABLE",
    );
    stage
        .configure("acme", storage(v1::SecretStorage::Recoverable))
        .await;
    refused(
        stage.system.keys().reveal_secret(reveal()).await,
        Code::FailedPrecondition,
        "NOT_RECOVERABLE",
    );
    assert_eq!(stage.reason(&made.primary).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_is_noted_once() {
    let stage = Stage::set().await;
    let made = two_slots(&stage).await;
    let acknowledge = |secret: &str| v1::AcknowledgeSecretRequest {
        key_id: made.id(),
        secret_id: secret.to_owned(),
    };
    let one = ok(stage
        .system
        .keys()
        .acknowledge_secret(acknowledge(&made.secret(Slot::Primary)))
        .await);
    let times = |key: &v1::Key| {
        key.secrets
            .iter()
            .filter(|s| s.acknowledge_time.is_some())
            .count()
    };
    assert_eq!(times(&one.key.unwrap()), 1);
    let all = ok(stage
        .system
        .keys()
        .acknowledge_secret(acknowledge(""))
        .await);
    assert_eq!(times(&all.key.unwrap()), 2);
    let before = stage.revision().await;
    ok(stage
        .system
        .keys()
        .acknowledge_secret(acknowledge(""))
        .await);
    assert_eq!(
        stage.revision().await,
        before,
        "repeating it changes nothing"
    );
    invalid(
        stage
            .system
            .keys()
            .acknowledge_secret(acknowledge("x"))
            .await,
        "secret_id",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sealed_tokens_are_void_at_once_and_destroyed_behind_the_answer_whatever_comes_between()
 {
    const KEYS: u32 = 1_600;
    let stage = Stage::set().await;
    let storage = |s: v1::SecretStorage| v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "acme".to_owned(),
            settings: Some(v1::WorkspaceSettings {
                secret_storage: s.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: super::stage::mask(&["settings.secret_storage"]),
        acknowledge_warnings: true,
        ..Default::default()
    };
    let (kept, dropped) = (
        storage(v1::SecretStorage::Recoverable),
        storage(v1::SecretStorage::Hashed),
    );
    ok(stage
        .system
        .directory()
        .update_workspace(kept.clone())
        .await);
    // The newest are those that are moved in.
    stage.advance(std::time::Duration::from_secs(1));
    for first in [0, KEYS / 2] {
        let items = (first..first + KEYS / 2).map(super::import_stream::item);
        let items = items.collect();
        let answer = super::import_stream::one_message(&stage.system, "acme", false, items).await;
        let made = answer.unwrap().results;
        assert!(made.iter().all(|r| r.error.is_none()));
    }
    let tokens = async |stage: &Stage| {
        let request = v1::ListKeysRequest {
            workspace: "acme".to_owned(),
            page_size: 1_000,
            order_by: "create_time desc".to_owned(),
            view: v1::KeyView::WithTokens.into(),
            ..Default::default()
        };
        let page = ok(stage.system.keys().list_keys(request).await);
        let recoverable = page.keys.iter().flat_map(|k| &k.secrets);
        let recoverable = recoverable.filter(|s| s.recoverable).count();
        (page.tokens.len(), recoverable)
    };
    assert_eq!(tokens(&stage).await, (1_000, 1_000));
    ok(stage.system.directory().update_workspace(dropped).await);
    // The newest keys are the last that it comes to.
    assert_eq!(tokens(&stage).await, (0, 0));
    // The process ends before or after the rest is done: what is left, the next one goes on with.
    let stage = stage.restart().await;
    assert_eq!(tokens(&stage).await, (0, 0));
    // It can be switched on again only when nothing of before is left to come back.
    match stage.system.directory().update_workspace(kept).await {
        Ok(_) => assert_eq!(tokens(&stage).await, (0, 0)),
        Err(status) => {
            let (reason, _) = super::stage::details(&status);
            assert_eq!(reason, "STILL_DESTROYING");
        }
    }
}
