//! Principals that are synchronised from where they are kept.

use claviger::grpc::proto::v1::{self, Reason, SyncMode};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::stage::{Stage, asking, bound_to, creating, details, knowing, ok, somebody};
use crate::harness::server::Client;

/// A message of a synchronisation of `acme`.
pub(super) fn message(mode: SyncMode, principals: Vec<v1::Principal>) -> v1::SyncPrincipalsRequest {
    v1::SyncPrincipalsRequest {
        workspace: "acme".to_owned(),
        mode: mode.into(),
        principals,
        ..Default::default()
    }
}

fn commit(expected_count: u64) -> Option<v1::SyncCommit> {
    Some(v1::SyncCommit { expected_count })
}

/// The result of a synchronisation of these messages.
pub(super) async fn sync(
    client: &Client,
    messages: Vec<v1::SyncPrincipalsRequest>,
) -> Result<v1::SyncResult, Status> {
    let mut answers = client
        .directory()
        .sync_principals(tokio_stream::iter(messages))
        .await?
        .into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await? {
        assert!(last.is_none(), "the result is the last word");
        last = answer.result;
    }
    Ok(last.expect("a result"))
}

/// All of one message, committed.
async fn whole(
    client: &Client,
    mode: SyncMode,
    principals: Vec<v1::Principal>,
) -> Result<v1::SyncResult, Status> {
    let count = principals.len() as u64;
    let message = v1::SyncPrincipalsRequest {
        commit: commit(count),
        ..message(mode, principals)
    };
    sync(client, vec![message]).await
}

fn counts(result: &v1::SyncResult) -> [u64; 5] {
    [
        result.created,
        result.updated,
        result.unchanged,
        result.disabled,
        result.refused,
    ]
}

#[track_caller]
fn fails<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, reason: &str) {
    let status = result.unwrap_err();
    let found = (status.code(), details(&status).0);
    assert_eq!(found, (code, reason.to_owned()), "{}", status.message());
}

async fn all(stage: &Stage) -> Vec<v1::Principal> {
    let request = v1::ListPrincipalsRequest {
        page_size: 1_000,
        workspace: "acme".to_owned(),
        ..Default::default()
    };
    ok(stage.system.directory().list_principals(request).await).principals
}

fn crowd(n: u32) -> Vec<v1::Principal> {
    (0..n)
        .map(|i| somebody(&format!("user-{i:03}"), &["orders:read"]))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upsert_makes_and_changes_who_is_sent_and_leaves_the_others() {
    let stage = Stage::set().await;
    let result = whole(&stage.acme, SyncMode::Upsert, crowd(20))
        .await
        .unwrap();
    assert_eq!(counts(&result), [20, 0, 0, 0, 0]);
    assert_eq!(stage.revision().await, result.revision);
    let mut sent = crowd(25).split_off(10);
    sent[0].scopes = vec!["orders:write".to_owned()];
    sent[1].enabled = Some(false);
    sent[2].display_name = "Twelve".to_owned();
    let result = whole(&stage.acme, SyncMode::Unspecified, sent)
        .await
        .unwrap();
    assert_eq!(counts(&result), [5, 3, 7, 0, 0]);
    let all = all(&stage).await;
    assert_eq!(all.len(), 25);
    assert!(
        all.iter()
            .all(|p| (p.id == "user-011") == (p.enabled == Some(false)))
    );
    assert_eq!(all[10].scopes, ["orders:write"]);
    assert_eq!(all[12].display_name, "Twelve");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_synchronisation_of_the_same_changes_nothing_not_even_a_revision() {
    let stage = Stage::set().await;
    for mode in [SyncMode::ReplaceAll, SyncMode::Upsert] {
        let first = whole(&stage.acme, mode, crowd(30)).await.unwrap();
        assert_eq!(first.created + first.unchanged, 30);
        let before = (stage.revision().await, all(&stage).await);
        let again = whole(&stage.acme, mode, crowd(30)).await.unwrap();
        assert_eq!(counts(&again), [0, 0, 30, 0, 0]);
        assert_eq!((stage.revision().await, all(&stage).await), before);
        assert_eq!(again.revision, before.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_all_disables_who_is_gone_whose_keys_then_open_nothing() {
    let stage = Stage::set().await;
    whole(&stage.acme, SyncMode::ReplaceAll, crowd(20))
        .await
        .unwrap();
    let made = stage
        .make(creating("acme", bound_to("user-019", &[])))
        .await;
    let result = whole(&stage.acme, SyncMode::ReplaceAll, crowd(18))
        .await
        .unwrap();
    assert_eq!(counts(&result), [0, 0, 18, 2, 0]);
    assert_eq!(stage.reason(&made.primary).await, Reason::PrincipalDisabled);
    let gone: Vec<_> = all(&stage)
        .await
        .into_iter()
        .filter(|p| p.enabled == Some(false))
        .map(|p| p.id)
        .collect();
    assert_eq!(gone, ["user-018", "user-019"]);
    // Who comes back is enabled again.
    let result = whole(&stage.acme, SyncMode::ReplaceAll, crowd(20))
        .await
        .unwrap();
    assert_eq!(counts(&result), [0, 2, 18, 0, 0]);
    let check = asking("acme", &made.primary, &["orders:read"]);
    assert_eq!(stage.check(check).await.reason(), Reason::Ok);
    // Nobody else's are touched.
    ok(stage
        .system
        .directory()
        .upsert_principal(knowing("other", "zoe", &[]))
        .await);
    whole(&stage.acme, SyncMode::ReplaceAll, crowd(20))
        .await
        .unwrap();
    let zoe = v1::GetPrincipalRequest {
        workspace: "other".to_owned(),
        id: "zoe".to_owned(),
    };
    let zoe = ok(stage.system.directory().get_principal(zoe).await).principal;
    assert_eq!(zoe.unwrap().enabled, Some(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_all_is_refused_where_more_than_a_tenth_would_be_gone_unless_forced() {
    let stage = Stage::set().await;
    whole(&stage.acme, SyncMode::ReplaceAll, crowd(20))
        .await
        .unwrap();
    let before = stage.revision().await;
    for left in [17, 1, 0] {
        let answer = whole(&stage.acme, SyncMode::ReplaceAll, crowd(left)).await;
        fails(answer, Code::FailedPrecondition, "TOO_MANY_GONE");
    }
    assert_eq!(stage.revision().await, before);
    let forced = v1::SyncPrincipalsRequest {
        force: true,
        commit: commit(17),
        ..message(SyncMode::ReplaceAll, crowd(17))
    };
    let result = sync(&stage.acme, vec![forced]).await.unwrap();
    assert_eq!(counts(&result), [0, 0, 17, 3, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_applied_without_a_commit_or_with_a_wrong_count() {
    let stage = Stage::set().await;
    let before = stage.revision().await;
    let parts = || {
        vec![
            message(SyncMode::Upsert, crowd(2)),
            message(SyncMode::Upsert, crowd(4).split_off(2)),
        ]
    };
    fails(
        sync(&stage.acme, parts()).await,
        Code::FailedPrecondition,
        "NOT_COMMITTED",
    );
    fails(
        sync(&stage.acme, Vec::new()).await,
        Code::FailedPrecondition,
        "NOT_COMMITTED",
    );
    for count in [0, 3, 5] {
        let mut parts = parts();
        parts[1].commit = commit(count);
        fails(
            sync(&stage.acme, parts).await,
            Code::FailedPrecondition,
            "WRONG_COUNT",
        );
    }
    // Nor where the client hangs up before it.
    let (messages, receiver) = mpsc::channel(1);
    let mut directory = stage.acme.directory();
    let begun = directory
        .sync_principals(ReceiverStream::new(receiver))
        .await;
    let mut answers = begun.unwrap().into_inner();
    messages
        .send(message(SyncMode::Upsert, crowd(3)))
        .await
        .unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().received, 3);
    drop((messages, answers));
    assert_eq!(stage.revision().await, before);
    assert!(all(&stage).await.is_empty());
    let mut parts = parts();
    parts.push(v1::SyncPrincipalsRequest {
        commit: commit(4),
        ..Default::default()
    });
    let result = sync(&stage.acme, parts).await.unwrap();
    assert_eq!(counts(&result), [4, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_come_of_it_and_changes_nothing() {
    let stage = Stage::set().await;
    whole(&stage.acme, SyncMode::Upsert, crowd(20))
        .await
        .unwrap();
    let before = (stage.revision().await, all(&stage).await);
    let mut sent = crowd(22).split_off(2);
    sent[0].scopes.clear();
    sent[1].scopes = vec!["undeclared".to_owned()];
    let dry = v1::SyncPrincipalsRequest {
        validate_only: true,
        commit: commit(20),
        ..message(SyncMode::ReplaceAll, sent)
    };
    let result = sync(&stage.acme, vec![dry]).await.unwrap();
    assert_eq!(counts(&result), [2, 1, 16, 2, 1]);
    assert_eq!(result.revision, "");
    assert_eq!((stage.revision().await, all(&stage).await), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_at_fault_stays_as_it_was_and_keeps_no_other() {
    let stage = Stage::set().await;
    whole(&stage.acme, SyncMode::ReplaceAll, crowd(3))
        .await
        .unwrap();
    let librarian = stage.caller("acme", &["claviger:directory:write"]).await;
    let mut sent = crowd(3);
    sent[1].scopes = vec!["orders:read".to_owned(), "undeclared".to_owned()];
    sent.push(somebody("climber", &["claviger:keys:write"]));
    sent.push(somebody("no good", &[]));
    sent.push(somebody("user-000", &[]));
    sent.push(v1::Principal {
        display_name: "x".repeat(129),
        ..somebody("user-002", &[])
    });
    sent.push(somebody("new", &["orders:write"]));
    let result = whole(&librarian, SyncMode::ReplaceAll, sent).await.unwrap();
    assert_eq!(counts(&result), [1, 0, 2, 0, 5]);
    let faults: Vec<_> = result
        .faults
        .iter()
        .map(|f| (f.index, f.id.as_str(), f.reason.as_str(), f.field.as_str()))
        .collect();
    assert_eq!(
        faults,
        [
            (1, "user-001", "INVALID_FIELD", "principal.scopes[1]"),
            (3, "climber", "ESCALATION", ""),
            (4, "no good", "INVALID_FIELD", "principal.id"),
            (5, "user-000", "SENT_TWICE", "principal.id"),
            (6, "user-002", "SENT_TWICE", "principal.id"),
        ]
    );
    let all = all(&stage).await;
    let ids: Vec<_> = all.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(ids, ["new", "user-000", "user-001", "user-002"]);
    assert!(all.iter().all(|p| p.enabled == Some(true)));
    assert_eq!(all[2].scopes, ["orders:read"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn later_messages_say_what_the_first_said_or_nothing() {
    let stage = Stage::set().await;
    let first = || message(SyncMode::Upsert, crowd(1));
    type Odd = fn(&mut v1::SyncPrincipalsRequest);
    let odd: [(&str, Odd); 4] = [
        ("workspace", |m| m.workspace = "other".to_owned()),
        ("mode", |m| m.mode = SyncMode::ReplaceAll.into()),
        ("validate_only", |m| m.validate_only = true),
        ("force", |m| m.force = true),
    ];
    for (field, spoil) in odd {
        let mut second = v1::SyncPrincipalsRequest::default();
        spoil(&mut second);
        let status = sync(&stage.system, vec![first(), second])
            .await
            .unwrap_err();
        assert_eq!(details(&status).1, [field], "{}", status.message());
    }
    assert!(all(&stage).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_right_meanwhile_applies_nothing() {
    let stage = Stage::set().await;
    let made = stage.key(&["claviger:directory:write"]).await;
    let librarian = stage.server.client_with(&made.primary);
    let (messages, receiver) = mpsc::channel(1);
    let mut directory = librarian.directory();
    let begun = directory
        .sync_principals(ReceiverStream::new(receiver))
        .await;
    let mut answers = begun.unwrap().into_inner();
    messages
        .send(message(SyncMode::Upsert, crowd(3)))
        .await
        .unwrap();
    answers.message().await.unwrap().unwrap();
    let disable = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            enabled: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.system.keys().update_key(disable).await);
    let last = v1::SyncPrincipalsRequest {
        commit: commit(3),
        ..Default::default()
    };
    messages.send(last).await.unwrap();
    fails(
        answers.message().await,
        Code::Unauthenticated,
        "UNAUTHENTICATED",
    );
    assert!(all(&stage).await.is_empty());
}
