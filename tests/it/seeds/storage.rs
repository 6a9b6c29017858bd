//! How tokens are kept. Maximo: "By default, all API keys are encrypted at storage. This setting is controlled by the
//! mxe.secureapikey property", which "Live Refresh" applies immediately. Connxio: "the key … is available to edit in the list".

use claviger::grpc::proto::v1;
use tonic::Code;

use crate::api::stage::{Stage, creating, external, foreign_token, mask, named, ok, refused};

fn storage(storage: v1::SecretStorage, acknowledge_warnings: bool) -> v1::UpdateWorkspaceRequest {
    v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "acme".to_owned(),
            settings: Some(v1::WorkspaceSettings {
                secret_storage: storage.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        update_mask: mask(&["settings.secret_storage"]),
        acknowledge_warnings,
        ..Default::default()
    }
}

/// The list of keys as Connxio shows it: name, key, active, scopes, subscription.
async fn shown(stage: &Stage) -> (Vec<v1::Key>, Vec<String>) {
    let request = v1::ListKeysRequest {
        workspace: "acme".to_owned(),
        view: v1::KeyView::WithTokens.into(),
        ..Default::default()
    };
    let answer = ok(stage.acme.keys().list_keys(request).await);
    let tokens = answer.tokens.into_iter().map(|t| t.token);
    (answer.keys, tokens.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_no_key_can_be_read_from_storage_not_even_by_an_administrator() {
    let stage = Stage::set().await;
    let generated = stage.key(&[]).await;
    let handed_in = foreign_token(1);
    let request = v1::CreateKeyRequest {
        primary: external(&handed_in),
        ..creating("acme", named("from outside"))
    };
    let external = stage.make(request).await;
    for made in [&generated, &external] {
        let request = v1::RevealSecretRequest {
            key_id: made.id(),
            secret_id: String::new(),
        };
        let answer = stage.acme.keys().reveal_secret(request).await;
        refused(answer, Code::FailedPrecondition, "NOT_RECOVERABLE");
    }
    let before = stage.revision().await;
    let (keys, tokens) = shown(&stage).await;
    assert!(keys.len() > 2 && tokens.is_empty());
    assert_eq!(
        stage.revision().await,
        before,
        "nothing was shown, so nothing is audited"
    );
    // When the service has stopped, every file it wrote is searched for both tokens.
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_property_allows_it_the_key_stays_readable_in_the_list_and_encrypted_at_storage()
{
    let stage = Stage::set().await;
    let before = stage.key(&[]).await;
    ok(stage
        .acme
        .directory()
        .update_workspace(storage(v1::SecretStorage::Recoverable, false))
        .await);
    let made = stage.key(&["orders:read"]).await;
    let revision = stage.revision().await;
    let (keys, tokens) = shown(&stage).await;
    assert_eq!(tokens, std::slice::from_ref(&made.primary));
    assert_ne!(
        stage.revision().await,
        revision,
        "each page that shows one is audited"
    );
    let recoverable = |id: &str| {
        let key = keys.iter().find(|k| k.id == id).unwrap();
        key.secrets[0].recoverable
    };
    assert!(recoverable(&made.id()) && !recoverable(&before.id()));
    // And searched for it in every file, too: it is there sealed only.
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_the_property_back_says_what_is_lost_then_applies_at_once_and_for_good() {
    let stage = Stage::set().await;
    let update = async |request| stage.acme.directory().update_workspace(request).await;
    ok(update(storage(v1::SecretStorage::Recoverable, false)).await);
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(stage.key(&[]).await);
    }
    let warning = update(storage(v1::SecretStorage::Hashed, false)).await;
    let status = refused(
        warning,
        Code::FailedPrecondition,
        "WARNING_NOT_ACKNOWLEDGED",
    );
    assert!(
        status.message().contains("3 tokens"),
        "{}",
        status.message()
    );
    assert_eq!(shown(&stage).await.1.len(), 3);
    ok(update(storage(v1::SecretStorage::Hashed, true)).await);
    let (keys, tokens) = shown(&stage).await;
    assert_eq!(tokens, [""; 0]);
    assert!(
        keys.iter()
            .all(|k| k.secrets.iter().all(|s| !s.recoverable))
    );
    ok(update(storage(v1::SecretStorage::Recoverable, false)).await);
    assert_eq!(shown(&stage).await.1, [""; 0], "they are gone");
    for made in &made {
        assert_eq!(stage.reason(&made.primary).await, v1::Reason::Ok);
    }
}
