//! Calls at the same time: whatever their order, the rules hold.

use std::collections::BTreeSet;

use claviger::grpc::proto::v1::{self, Reason};
use futures::future::join_all;
use tonic::Code;

use super::stage::{
    Stage, creating, details, external, foreign_token, holding, mask, named, ok, request_id,
};

const AT_ONCE: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn one_request_id_at_once_makes_one_key() {
    let stage = Stage::set().await;
    let request = v1::CreateKeyRequest {
        request_id: request_id(1),
        ..creating("acme", named("once"))
    };
    let call = |_| async { ok(stage.acme.keys().create_key(request.clone()).await) };
    let answers = join_all((0..AT_ONCE).map(call)).await;
    let ids: BTreeSet<_> = answers
        .iter()
        .map(|a| a.key.as_ref().unwrap().id.clone())
        .collect();
    let tokens: BTreeSet<_> = answers.iter().map(|a| a.tokens[0].token.clone()).collect();
    assert_eq!((ids.len(), tokens.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_token_at_once_becomes_one_keys() {
    let stage = Stage::set().await;
    let token = foreign_token(1);
    let call = |n: usize| {
        let (token, stage) = (&token, &stage);
        async move {
            let request = v1::CreateKeyRequest {
                primary: external(token),
                ..creating("acme", named(&format!("racer {n}")))
            };
            stage.acme.keys().create_key(request).await
        }
    };
    let answers = join_all((0..AT_ONCE).map(call)).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for status in lost.into_iter().filter_map(Result::err) {
        assert_eq!(
            (status.code(), details(&status).0.as_str()),
            (Code::AlreadyExists, "TOKEN_IN_USE")
        );
    }
    assert_eq!(stage.reason(&token).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_etag_at_once_lets_one_change_pass() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let call = |n: usize| {
        let request = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: made.id(),
                etag: made.key.etag.clone(),
                ..named(&format!("racer {n}"))
            }),
            update_mask: mask(&["display_name"]),
            ..Default::default()
        };
        let mut keys = stage.acme.keys();
        async move { keys.update_key(request).await }
    };
    let answers = join_all((0..AT_ONCE).map(call)).await;
    let won: Vec<_> = answers.iter().filter_map(|a| a.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    let winner = won[0].get_ref().key.as_ref().unwrap();
    assert_eq!(
        stage.get(&made.id()).await.display_name,
        winner.display_name
    );
    for status in answers.iter().filter_map(|a| a.as_ref().err()) {
        assert_eq!(status.code(), Code::Aborted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_who_remove_each_other_at_once_leave_one() {
    let stage = Stage::set().await;
    let one = stage
        .make(creating("system", holding(&["claviger:*"])))
        .await;
    let list = v1::ListKeysRequest {
        workspace: "system".to_owned(),
        ..Default::default()
    };
    let first = ok(stage.system.keys().list_keys(list.clone()).await).keys;
    let first = first.into_iter().find(|k| k.id != one.id()).unwrap();
    let successor = stage.server.client_with(&one.primary);
    let delete = |id: String| v1::DeleteKeyRequest {
        id,
        ..Default::default()
    };
    let (mut left, mut right) = (stage.system.keys(), successor.keys());
    let (a, b) = tokio::join!(
        left.delete_key(delete(one.id())),
        right.delete_key(delete(first.id.clone()))
    );
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    // Whoever came second was no administrator any more.
    let status = a.err().or(b.err()).unwrap();
    assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
    let survivor = if stage.system.keys().list_keys(list.clone()).await.is_ok() {
        &stage.system
    } else {
        &successor
    };
    assert_eq!(ok(survivor.keys().list_keys(list).await).keys.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_of_changes_at_once_have_no_gaps_and_no_doubles() {
    let stage = Stage::set().await;
    let number = |revision: &str| revision.split_once('.').unwrap().1.parse::<u64>().unwrap();
    let before = number(&stage.revision().await);
    let call = |n: usize| {
        let (caller, workspace) = if n.is_multiple_of(2) {
            (&stage.acme, "acme")
        } else {
            (&stage.other, "other")
        };
        let mut keys = caller.keys();
        async move { ok(keys.create_key(creating(workspace, named("racer"))).await).revision }
    };
    let mut revisions: Vec<u64> = join_all((0..AT_ONCE).map(call))
        .await
        .iter()
        .map(|r| number(r))
        .collect();
    revisions.sort_unstable();
    assert_eq!(
        revisions,
        (before + 1..=before + AT_ONCE as u64).collect::<Vec<_>>()
    );
    assert_eq!(number(&stage.revision().await), before + AT_ONCE as u64);
}
