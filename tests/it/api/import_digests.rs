//! Taking keys elsewhere: digests in lists, and nowhere else.

use claviger::grpc::proto::v1::import_result::Outcome;
use claviger::grpc::proto::v1::{self, Slot, secret_source::Source};
use tonic::Code;

use super::import_stream::{moved, one_message};
use super::stage::{
    Stage, asking, creating, digest, external, foreign_token, generated, holding, named, ok,
    refused, sha256_hex,
};
use crate::harness::server::Client;

async fn export(client: &Client, view: v1::KeyView) -> v1::ListKeysResponse {
    let request = v1::ListKeysRequest {
        view: view.into(),
        page_size: 1_000,
        ..Default::default()
    };
    ok(client.keys().list_keys(request).await)
}

fn digests(answer: &v1::ListKeysResponse) -> Vec<(String, Slot, String)> {
    let mut found = Vec::new();
    for key in &answer.keys {
        let shown = key.secrets.iter().filter(|s| !s.sha256_hex.is_empty());
        found.extend(shown.map(|s| (key.id.clone(), s.slot(), s.sha256_hex.clone())));
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_one_workspace_are_opened_by_their_tokens_in_another_they_were_taken_to() {
    let stage = Stage::set().await;
    let (token, hashed) = (foreign_token(1), foreign_token(2));
    let two = v1::CreateKeyRequest {
        secondary: generated(),
        ..creating("acme", holding(&["orders:read"]))
    };
    let two = stage.make(two).await;
    let with = |source| v1::CreateKeyRequest {
        primary: source,
        ..creating("acme", named("foreign"))
    };
    stage.make(with(external(&token))).await;
    stage.make(with(digest(&hashed, 200, false))).await;
    let imported = moved("i", named("imported"), external(&foreign_token(3)));
    one_message(&stage.acme, "", false, vec![imported])
        .await
        .unwrap();

    let exported = export(&stage.acme, v1::KeyView::WithDigests).await;
    assert!(exported.tokens.is_empty());
    let mut expected = vec![sha256_hex(&two.primary), sha256_hex(&two.secondary)];
    expected.extend([&token, &hashed, &foreign_token(3)].map(|t| sha256_hex(t)));
    let found: Vec<_> = digests(&exported).into_iter().map(|d| d.2).collect();
    for digest in &expected {
        assert!(found.contains(digest));
    }

    let items = exported.keys.iter().map(|key| {
        let source = |slot: Slot| {
            let secret = key.secrets.iter().find(|s| s.slot() == slot)?;
            Some(v1::SecretSource {
                source: Some(Source::ExternalDigest(v1::ExternalDigest {
                    sha256_hex: secret.sha256_hex.clone(),
                    asserted_entropy_bits: 256,
                    allow_weak: false,
                })),
            })
        };
        v1::ImportItem {
            import_id: key.id.clone(),
            key: Some(key.clone()),
            primary: source(Slot::Primary),
            secondary: source(Slot::Secondary),
        }
    });
    let answer = one_message(&stage.other, "", false, items.collect())
        .await
        .unwrap();
    for result in &answer.results {
        assert_eq!(result.outcome(), Outcome::Created, "{result:?}");
    }
    for token in [
        &two.primary,
        &two.secondary,
        &token,
        &hashed,
        &foreign_token(3),
    ] {
        let decision = stage.check(asking("other", token, &[])).await;
        assert_eq!(decision.reason(), v1::Reason::Ok);
    }
    let found = stage
        .check(asking("other", &two.primary, &["orders:read"]))
        .await;
    assert_eq!(found.reason(), v1::Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_need_the_right_to_reveal_are_audited_and_only_of_keys_the_caller_could_make() {
    let stage = Stage::set().await;
    let reader = stage.caller("acme", &["claviger:keys:read"]).await;
    let request = || v1::ListKeysRequest {
        view: v1::KeyView::WithDigests.into(),
        ..Default::default()
    };
    let before = stage.revision().await;
    refused(
        reader.keys().list_keys(request()).await,
        Code::PermissionDenied,
        "MISSING_SCOPE",
    );
    assert_eq!(stage.revision().await, before);
    let rights = ["claviger:keys:read", "claviger:keys:reveal"];
    let revealer = stage.caller("acme", &rights).await;
    let plain = stage.key(&["orders:read"]).await;
    let before = stage.revision().await;
    let shown = digests(&export(&revealer, v1::KeyView::WithDigests).await);
    assert_ne!(
        stage.revision().await,
        before,
        "a page that shows one is audited"
    );
    let of = |id: &str| shown.iter().filter(|d| d.0 == id).count();
    assert_eq!(of(&plain.id()), 1);
    // The administrators of `acme` hold more than this caller does.
    let keys = export(&revealer, v1::KeyView::WithoutTokens).await.keys;
    for key in &keys {
        let more = key.scopes.iter().any(|s| s == "claviger:*");
        assert_eq!(of(&key.id) == 0, more, "{}", key.id);
    }
    let bound = stage.bound(&rights, &["basic"]).await;
    let theirs = digests(&export(&bound, v1::KeyView::WithDigests).await);
    assert_eq!(theirs.len(), 1, "its own key alone is bound like it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_lives_and_dies_with_its_secret_and_not_with_recoverable() {
    let stage = Stage::set().await;
    let storage = |s: v1::SecretStorage| v1::WorkspaceSettings {
        secret_storage: s.into(),
        ..Default::default()
    };
    stage
        .configure("acme", storage(v1::SecretStorage::Recoverable))
        .await;
    let made = stage.key(&[]).await;
    let of = |answer: &v1::ListKeysResponse| -> Vec<String> {
        let found = digests(answer).into_iter();
        found.filter(|d| d.0 == made.id()).map(|d| d.2).collect()
    };
    let view = v1::KeyView::WithDigests;
    let back = v1::UpdateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "acme".to_owned(),
            settings: Some(storage(v1::SecretStorage::Hashed)),
            ..Default::default()
        }),
        update_mask: super::stage::mask(&["settings.secret_storage"]),
        acknowledge_warnings: true,
        ..Default::default()
    };
    ok(stage.system.directory().update_workspace(back).await);
    assert_eq!(
        of(&export(&stage.acme, view).await),
        [sha256_hex(&made.primary)]
    );
    // A change of the key leaves it as it is; a regenerated secret has its own, the dead one none.
    let renamed = super::escalation::set(&made.id(), named("renamed"), "display_name");
    ok(stage.system.keys().update_key(renamed).await);
    assert_eq!(
        of(&export(&stage.acme, view).await),
        [sha256_hex(&made.primary)]
    );
    let regenerate = v1::RegenerateSecretRequest {
        key_id: made.id(),
        ..Default::default()
    };
    let answer = ok(stage.system.keys().regenerate_secret(regenerate).await);
    let fresh = &answer.tokens[0].token;
    stage.server.remember(fresh);
    assert_eq!(of(&export(&stage.acme, view).await), [sha256_hex(fresh)]);
    // In no other answer.
    for view in [
        v1::KeyView::Unspecified,
        v1::KeyView::WithoutTokens,
        v1::KeyView::WithTokens,
    ] {
        assert!(digests(&export(&stage.acme, view).await).is_empty());
    }
    let key = stage.get(&made.id()).await;
    let answers = [key, answer.key.unwrap()];
    let shown = answers.iter().flat_map(|key| &key.secrets);
    assert!(shown.clone().count() > 0);
    assert!(shown.clone().all(|s| s.sha256_hex.is_empty()));
}
