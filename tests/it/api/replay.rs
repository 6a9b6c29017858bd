//! Calls that are repeated with the same `request_id`: the same answer, and the token for a while.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Reason, Slot};
use tonic::Code;

use super::stage::{
    Stage, creating, external, foreign_token, generated, holding, mask, named, ok, refused,
    request_id,
};

fn create(n: u32) -> v1::CreateKeyRequest {
    v1::CreateKeyRequest {
        request_id: request_id(n),
        secondary: generated(),
        ..creating("acme", holding(&["orders:read"]))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_call_again_answers_the_same_with_the_token() {
    let stage = Stage::set().await;
    let first = ok(stage.acme.keys().create_key(create(1)).await);
    let revision = stage.revision().await;
    stage.advance(Duration::from_secs(599));
    let again = ok(stage.acme.keys().create_key(create(1)).await);
    assert_eq!(again.tokens.len(), 2);
    assert_eq!(format!("{:?}", again.key), format!("{:?}", first.key));
    for (one, other) in first.tokens.iter().zip(&again.tokens) {
        assert!(
            one.token == other.token && one.secret_id == other.secret_id,
            "another token"
        );
    }
    assert_eq!(
        (again.revision, again.token_withheld),
        (first.revision, false)
    );
    assert_eq!(stage.revision().await, revision, "nothing was made again");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_ten_minutes_the_token_is_withheld_for_good() {
    let stage = Stage::set().await;
    let first = ok(stage.acme.keys().create_key(create(1)).await);
    stage.advance(Duration::from_secs(600));
    let again = ok(stage.acme.keys().create_key(create(1)).await);
    assert!(again.token_withheld && again.tokens.is_empty());
    assert_eq!(again.key.unwrap().id, first.key.unwrap().id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_token_is_withheld_from_then_on() {
    let stage = Stage::set().await;
    let first = ok(stage.acme.keys().create_key(create(1)).await);
    let key = first.key.unwrap();
    let saved = &first.tokens[0];
    let one = v1::AcknowledgeSecretRequest {
        key_id: key.id.clone(),
        secret_id: saved.secret_id.clone(),
    };
    ok(stage.acme.keys().acknowledge_secret(one).await);
    let again = ok(stage.acme.keys().create_key(create(1)).await);
    assert!(again.token_withheld);
    let left: Vec<_> = again.tokens.iter().map(|t| t.secret_id.as_str()).collect();
    assert_eq!(left, [first.tokens[1].secret_id.as_str()]);
    let all = v1::AcknowledgeSecretRequest {
        key_id: key.id,
        secret_id: String::new(),
    };
    ok(stage.acme.keys().acknowledge_secret(all).await);
    let again = ok(stage.acme.keys().create_key(create(1)).await);
    assert!(again.token_withheld && again.tokens.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_regenerated_token_is_repeated_and_withheld_in_the_same_way() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let request = || v1::RegenerateSecretRequest {
        key_id: made.id(),
        slot: Slot::Primary.into(),
        request_id: request_id(2),
        ..Default::default()
    };
    let first = ok(stage.acme.keys().regenerate_secret(request()).await);
    let again = ok(stage.acme.keys().regenerate_secret(request()).await);
    assert!(
        first.tokens[0].token == again.tokens[0].token,
        "another token"
    );
    assert_eq!(
        stage.reason(&again.tokens[0].token).await,
        Reason::Ok,
        "the repeated call replaced nothing"
    );
    stage.advance(Duration::from_secs(600));
    let again = ok(stage.acme.keys().regenerate_secret(request()).await);
    assert!(again.token_withheld && again.tokens.is_empty());
    assert_eq!(stage.reason(&first.tokens[0].token).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_for_another_request_is_refused() {
    let stage = Stage::set().await;
    ok(stage.acme.keys().create_key(create(1)).await);
    let before = stage.revision().await;
    let mut other = create(1);
    other.key.as_mut().unwrap().display_name = "another".to_owned();
    let status = refused(
        stage.acme.keys().create_key(other).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    assert_eq!(super::stage::details(&status).1, ["request_id"]);
    let external = |n| v1::CreateKeyRequest {
        primary: external(&foreign_token(n)),
        request_id: request_id(3),
        ..creating("acme", named("imported"))
    };
    ok(stage.acme.keys().create_key(external(1)).await);
    ok(stage.acme.keys().create_key(external(1)).await);
    refused(
        stage.acme.keys().create_key(external(2)).await,
        Code::InvalidArgument,
        "REQUEST_ID_REUSED",
    );
    assert_ne!(stage.revision().await, before);
    assert_eq!(stage.reason(&foreign_token(2)).await, Reason::UnknownKey);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_its_callers_and_its_methods_own() {
    let stage = Stage::set().await;
    let first = ok(stage.acme.keys().create_key(create(1)).await);
    let colleague = stage.caller("acme", &["claviger:*"]).await;
    let second = ok(colleague.keys().create_key(create(1)).await);
    assert_ne!(first.key.as_ref().unwrap().id, second.key.unwrap().id);
    let update = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: first.key.unwrap().id,
            ..named("renamed")
        }),
        update_mask: mask(&["display_name"]),
        request_id: request_id(1),
        ..Default::default()
    };
    assert_eq!(
        ok(stage.acme.keys().update_key(update).await)
            .key
            .unwrap()
            .display_name,
        "renamed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mutation_with_an_id_is_made_once() {
    let stage = Stage::set().await;
    let made = stage
        .make(v1::CreateKeyRequest {
            secondary: generated(),
            ..creating("acme", named("a key"))
        })
        .await;
    let id = made.id();
    let keys = || stage.acme.keys();
    let update = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: id.clone(),
            ..named("renamed")
        }),
        request_id: request_id(10),
        ..Default::default()
    };
    let revoke = v1::RevokeSecretRequest {
        key_id: id.clone(),
        secret_id: made.secret(Slot::Secondary),
        request_id: request_id(11),
        ..Default::default()
    };
    let delete = v1::DeleteKeyRequest {
        id: id.clone(),
        request_id: request_id(12),
        ..Default::default()
    };
    let undelete = v1::UndeleteKeyRequest {
        id: id.clone(),
        request_id: request_id(13),
        ..Default::default()
    };
    let purge = v1::DeleteKeyRequest {
        id,
        purge: true,
        request_id: request_id(14),
        ..Default::default()
    };
    let mut revision = stage.revision().await;
    for round in 0..2 {
        let revisions = [
            ok(keys().update_key(update.clone()).await).revision,
            ok(keys().revoke_secret(revoke.clone()).await).revision,
            ok(keys().delete_key(delete.clone()).await).revision,
            ok(keys().undelete_key(undelete.clone()).await).revision,
            ok(keys().delete_key(purge.clone()).await).revision,
        ];
        let now = stage.revision().await;
        assert_eq!(now, revisions[4]);
        if round == 1 {
            assert_eq!(now, revision, "the second round changed something");
        }
        revision = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_may_be_repeated_with_its_id_once_it_can_succeed() {
    let stage = Stage::set().await;
    let request = v1::CreateKeyRequest {
        request_id: request_id(1),
        ..creating("acme", holding(&["late"]))
    };
    super::stage::invalid(
        stage.acme.keys().create_key(request.clone()).await,
        "key.scopes[0]",
    );
    ok(stage
        .acme
        .directory()
        .create_scope(super::stage::declaring("acme", "late"))
        .await);
    ok(stage.acme.keys().create_key(request).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_lost_its_rights_since_is_given_no_token_again() {
    let stage = Stage::set().await;
    let rights = ["claviger:keys:write", "claviger:directory:write"];
    let maker = stage.key(&rights).await;
    let caller = stage.server.client_with(&maker.primary);
    let request = v1::CreateKeyRequest {
        request_id: request_id(1),
        ..creating("acme", holding(&["claviger:directory:write"]))
    };
    assert_eq!(
        ok(caller.keys().create_key(request.clone()).await)
            .tokens
            .len(),
        1
    );
    let narrow = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: maker.id(),
            ..holding(&rights[..1])
        }),
        update_mask: mask(&["scopes"]),
        ..Default::default()
    };
    ok(stage.system.keys().update_key(narrow).await);
    let again = ok(caller.keys().create_key(request).await);
    assert!(again.token_withheld && again.tokens.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_a_secret_that_is_dead_by_now_is_withheld() {
    let stage = Stage::set().await;
    let first = ok(stage.acme.keys().create_key(create(1)).await);
    let id = first.key.as_ref().unwrap().id.clone();
    let replace = v1::RegenerateSecretRequest {
        key_id: id.clone(),
        slot: Slot::Secondary.into(),
        ..Default::default()
    };
    ok(stage.acme.keys().regenerate_secret(replace).await);
    let again = ok(stage.acme.keys().create_key(create(1)).await);
    assert!(again.token_withheld && again.tokens == first.tokens[..1]);
    let delete = v1::DeleteKeyRequest {
        id,
        ..Default::default()
    };
    ok(stage.acme.keys().delete_key(delete).await);
    let again = ok(stage.acme.keys().create_key(create(1)).await);
    assert!(again.token_withheld && again.tokens.is_empty());
}
