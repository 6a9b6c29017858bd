//! Imports as streams: what is repeated, what is in each other's way, and how a stream ends.

use claviger::grpc::proto::v1::import_result::Outcome;
use claviger::grpc::proto::v1::{self, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use super::import::all_keys;
use super::stage::{Stage, details, external, foreign_token, holding, mask, named, ok};
use crate::harness::server::Client;

/// A key to move in.
pub(super) fn moved(
    import_id: &str,
    key: v1::Key,
    primary: Option<v1::SecretSource>,
) -> v1::ImportItem {
    v1::ImportItem {
        import_id: import_id.to_owned(),
        key: Some(key),
        primary,
        secondary: None,
    }
}

/// A key to move in, one of many.
pub(super) fn item(n: u32) -> v1::ImportItem {
    let token = foreign_token(1_000_000 + n);
    moved(
        &format!("item-{n}"),
        named(&format!("moved {n}")),
        external(&token),
    )
}

fn token_of(n: u32) -> String {
    foreign_token(1_000_000 + n)
}

/// A stream under way.
pub(super) struct Importing {
    messages: mpsc::Sender<v1::ImportKeysRequest>,
    answers: Streaming<v1::ImportKeysResponse>,
}

impl Importing {
    async fn begin(client: &Client) -> Self {
        let (messages, receiver) = mpsc::channel(1);
        let mut keys = client.keys();
        let begun = keys.import_keys(ReceiverStream::new(receiver)).await;
        Self {
            messages,
            answers: begun.unwrap().into_inner(),
        }
    }

    async fn send(
        &mut self,
        workspace: &str,
        items: Vec<v1::ImportItem>,
    ) -> Result<v1::ImportKeysResponse, Status> {
        let message = v1::ImportKeysRequest {
            workspace: workspace.to_owned(),
            validate_only: false,
            items,
        };
        self.messages.send(message).await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> Result<v1::ImportKeysResponse, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.expect("an answer for each message"))
    }

    #[track_caller]
    fn ends(answer: Result<v1::ImportKeysResponse, Status>, code: Code, reason: &str) {
        let status = answer.unwrap_err();
        let found = (status.code(), details(&status).0);
        assert_eq!(found, (code, reason.to_owned()), "{}", status.message());
    }
}

/// A whole import of one message.
pub(super) async fn one_message(
    client: &Client,
    workspace: &str,
    validate_only: bool,
    items: Vec<v1::ImportItem>,
) -> Result<v1::ImportKeysResponse, Status> {
    let message = v1::ImportKeysRequest {
        workspace: workspace.to_owned(),
        validate_only,
        items,
    };
    let mut answers = client
        .keys()
        .import_keys(tokio_stream::once(message))
        .await?
        .into_inner();
    let answer = answers.message().await?.expect("an answer");
    assert!(answers.message().await?.is_none(), "one for each message");
    Ok(answer)
}

fn outcomes(answer: &v1::ImportKeysResponse) -> Vec<Outcome> {
    answer.results.iter().map(|r| r.outcome()).collect()
}

fn reasons(answer: &v1::ImportKeysResponse) -> Vec<String> {
    let reason = |r: &v1::ImportResult| r.error.clone().unwrap_or_default().reason;
    answer.results.iter().map(reason).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_thousand_is_imported_in_its_order_around_what_is_refused() {
    let stage = Stage::set().await;
    let wrong = |n: &u32| n % 7 == 3;
    let items = (0..1_000).map(|n| {
        let mut item = item(n);
        if wrong(&n) {
            item.key = Some(holding(&["undeclared"]));
        }
        item
    });
    let mut stream = Importing::begin(&stage.acme).await;
    let answer = stream.send("acme", items.collect()).await.unwrap();
    assert_eq!(answer.revision, stage.revision().await);
    for (n, result) in (0..).zip(&answer.results) {
        assert_eq!(result.import_id, format!("item-{n}"));
        let expected = if wrong(&n) {
            Outcome::Refused
        } else {
            Outcome::Created
        };
        assert_eq!(result.outcome(), expected, "{result:?}");
    }
    for n in [0, 1, 2, 399, 400, 401, 800, 998] {
        let expected = if wrong(&n) {
            Reason::UnknownKey
        } else {
            Reason::Ok
        };
        assert_eq!(stage.reason(&token_of(n)).await, expected, "{n}");
    }
    // The same again, and the rest of the keys.
    let again = stream
        .send("", (0..1_000).map(item).collect())
        .await
        .unwrap();
    for (n, result) in (0..).zip(&again.results) {
        let before = &answer.results[n as usize];
        if wrong(&n) {
            assert_eq!(result.outcome(), Outcome::Created);
        } else {
            assert_eq!(result.outcome(), Outcome::AlreadyImported);
            assert_eq!(result.key_id, before.key_id);
        }
    }
    assert_eq!(all_keys(&stage, "acme").await.len(), 1_000, "a page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_once_within_a_message_and_across_messages() {
    let stage = Stage::set().await;
    let same = |import_id: &str, n| v1::ImportItem {
        import_id: import_id.to_owned(),
        ..item(n)
    };
    let refused = v1::ImportItem {
        key: Some(holding(&["undeclared"])),
        ..same("refused", 2)
    };
    let mut stream = Importing::begin(&stage.acme).await;
    let items = vec![same("a", 1), same("b", 1), refused, same("c", 2)];
    for validate_only in [true, false] {
        // Checked or made, the first that can have a token has it.
        let answer = one_message(&stage.other, "", validate_only, items.clone())
            .await
            .unwrap();
        let made = if validate_only {
            Outcome::Valid
        } else {
            Outcome::Created
        };
        let expected = [made, Outcome::Refused, Outcome::Refused, made];
        assert_eq!(outcomes(&answer), expected);
        assert_eq!(reasons(&answer), ["", "TOKEN_IN_USE", "INVALID_FIELD", ""]);
    }
    let answer = stream.send("acme", items).await.unwrap();
    let first = answer.results[0].key_id.clone();
    let message = answer.results[1].error.clone().unwrap().message;
    assert!(message.contains(&first), "{message}");
    let answer = stream
        .send("acme", vec![same("d", 2), same("e", 3)])
        .await
        .unwrap();
    assert_eq!(reasons(&answer), ["TOKEN_IN_USE", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_id_is_remembered_with_its_content_whatever_became_of_the_key() {
    let stage = Stage::set().await;
    let other = |n: u32| v1::ImportItem {
        import_id: format!("item-{n}"),
        ..item(n + 500)
    };
    let items = vec![item(1), item(1), other(1), item(2), item(3)];
    let answer = one_message(&stage.acme, "", false, items).await.unwrap();
    let (made, already) = (Outcome::Created, Outcome::AlreadyImported);
    let expected = [made, already, Outcome::Refused, made, made];
    assert_eq!(outcomes(&answer), expected);
    assert_eq!(reasons(&answer)[2], "IMPORT_ID_REUSED");
    assert_eq!(answer.results[1].key_id, answer.results[0].key_id);
    let ids: Vec<_> = [0, 3, 4].map(|i| answer.results[i].key_id.clone()).to_vec();
    let keys = || stage.system.keys();
    // One is switched off, one deleted, one purged.
    let off = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: ids[0].clone(),
            enabled: Some(false),
            ..Default::default()
        }),
        update_mask: mask(&["enabled"]),
        ..Default::default()
    };
    ok(keys().update_key(off).await);
    for (id, purge) in [(&ids[1], false), (&ids[2], true)] {
        let delete = v1::DeleteKeyRequest {
            id: id.clone(),
            purge,
            ..Default::default()
        };
        ok(keys().delete_key(delete).await);
    }
    let before = (stage.revision().await, all_keys(&stage, "acme").await);
    // What an answer says of a key is no part of what it is.
    let mut with_output = item(2);
    with_output.key.as_mut().unwrap().etag = "7".to_owned();
    let items = vec![item(1), with_output, item(3)];
    let answer = one_message(&stage.acme, "", false, items).await.unwrap();
    assert_eq!(outcomes(&answer), [already; 3]);
    let found: Vec<_> = answer.results.iter().map(|r| r.key_id.clone()).collect();
    assert_eq!(found, ids);
    let items = vec![other(1), other(2), other(3)];
    let answer = one_message(&stage.acme, "", false, items).await.unwrap();
    assert_eq!(reasons(&answer), ["IMPORT_ID_REUSED"; 3]);
    assert_eq!(answer.results[2].error.clone().unwrap().field, "import_id");
    let after = (stage.revision().await, all_keys(&stage, "acme").await);
    assert_eq!(after, before);
    assert_eq!(stage.reason(&token_of(3)).await, Reason::UnknownKey);
    // Of another workspace's imports nothing is known.
    let answer = one_message(&stage.other, "", false, vec![item(1)])
        .await
        .unwrap();
    assert_eq!(outcomes(&answer), [made]);
}

#[tokio::test(flavor = "multi_thread")]
async fn validating_changes_nothing_and_says_what_would_be() {
    let stage = Stage::set().await;
    one_message(&stage.acme, "", false, vec![item(1)])
        .await
        .unwrap();
    let before = (stage.revision().await, all_keys(&stage, "acme").await);
    let undeclared = moved("x", holding(&["undeclared"]), external(&token_of(9)));
    let items = vec![item(1), item(2), undeclared, item(2)];
    let answer = one_message(&stage.acme, "", true, items.clone())
        .await
        .unwrap();
    let expected = [
        Outcome::AlreadyImported,
        Outcome::Valid,
        Outcome::Refused,
        Outcome::AlreadyImported,
    ];
    assert_eq!(outcomes(&answer), expected);
    assert_eq!((&*answer.revision, &*answer.results[1].key_id), ("", ""));
    let after = (stage.revision().await, all_keys(&stage, "acme").await);
    assert_eq!(after, before);
    assert_eq!(stage.reason(&token_of(2)).await, Reason::UnknownKey);
    let answer = one_message(&stage.acme, "", false, items).await.unwrap();
    assert_eq!(outcomes(&answer)[1], Outcome::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_keeps_to_what_its_first_message_said() {
    let stage = Stage::set().await;
    let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
    let mut stream = Importing::begin(&stage.system).await;
    stream.send("acme", vec![item(1)]).await.unwrap();
    stream.send("acme", vec![]).await.unwrap();
    stream.send("", vec![item(2)]).await.unwrap();
    Importing::ends(stream.send("other", vec![item(3)]).await, code, reason);
    let mut stream = Importing::begin(&stage.acme).await;
    stream.send("", vec![item(4)]).await.unwrap();
    let late = v1::ImportKeysRequest {
        validate_only: true,
        items: vec![item(5)],
        ..Default::default()
    };
    stream.messages.send(late).await.unwrap();
    Importing::ends(stream.answer().await, code, reason);
    let found: Vec<_> = all_keys(&stage, "acme").await;
    let moved = found.iter().filter(|k| k.display_name.starts_with("moved"));
    assert_eq!(moved.count(), 3);
    let nowhere = one_message(&stage.system, "nowhere", false, vec![]).await;
    Importing::ends(nowhere, Code::NotFound, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_loses_its_right_in_the_middle_is_stopped_and_what_was_answered_stands() {
    let stage = Stage::set().await;
    let losses = [
        (
            holding(&[]),
            "scopes",
            Code::PermissionDenied,
            "MISSING_SCOPE",
        ),
        (
            v1::Key {
                enabled: Some(false),
                ..named("a key")
            },
            "enabled",
            Code::Unauthenticated,
            "UNAUTHENTICATED",
        ),
    ];
    for (n, (loss, field, code, reason)) in (0..).map(|n| n * 10).zip(losses) {
        let caller = stage.key(&["claviger:keys:write"]).await;
        let client = stage.server.client_with(&caller.primary);
        let mut stream = Importing::begin(&client).await;
        stream.send("", vec![item(n)]).await.unwrap();
        let update = v1::UpdateKeyRequest {
            key: Some(v1::Key {
                id: caller.id(),
                ..loss
            }),
            update_mask: mask(&[field]),
            ..Default::default()
        };
        ok(stage.system.keys().update_key(update).await);
        let answer = stream.send("", vec![item(n + 1)]).await;
        Importing::ends(answer, code, reason);
        assert_eq!(stage.reason(&token_of(n)).await, Reason::Ok);
        assert_eq!(stage.reason(&token_of(n + 1)).await, Reason::UnknownKey);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_silent_for_too_long_is_ended() {
    let stage = Stage::set().await;
    let (_messages, receiver) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(receiver));
    // Its own deadline stands for the service's, which ends it in the same way.
    request.set_timeout(std::time::Duration::from_millis(300));
    let begun = stage.acme.keys().import_keys(request).await;
    let status = begun.unwrap().into_inner().message().await.unwrap_err();
    let found = (status.code(), details(&status).0);
    assert_eq!(
        found,
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_ends_streams_between_messages_and_a_second_run_completes_the_set() {
    let stage = Stage::set().await;
    let mut stream = Importing::begin(&stage.acme).await;
    let half = stream.send("", (0..500).map(item).collect()).await.unwrap();
    let stage = stage.restart().await;
    let stopped = stream.answers.message().await;
    Importing::ends(
        stopped.map(Option::unwrap_or_default),
        Code::Unavailable,
        "SHUTTING_DOWN",
    );
    let mut stream = Importing::begin(&stage.acme).await;
    let whole = stream
        .send("", (0..1_000).map(item).collect())
        .await
        .unwrap();
    for (before, now) in half.results.iter().zip(&whole.results) {
        assert_eq!(now.outcome(), Outcome::AlreadyImported);
        assert_eq!(now.key_id, before.key_id);
    }
    assert!(
        outcomes(&whole)[500..]
            .iter()
            .all(|o| *o == Outcome::Created)
    );
    assert_eq!(stage.reason(&token_of(0)).await, Reason::Ok);
    assert_eq!(stage.reason(&token_of(999)).await, Reason::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_tears_nothing() {
    let stage = Stage::set().await;
    for (round, steps) in (0..).zip([1, 20, 60, 150, 400, 2_000]) {
        let items: Vec<_> = (0..450).map(|n| item(round * 450 + n)).collect();
        // A connection of its own, torn down after some steps.
        let client = stage.server.client_as(&stage.acme);
        super::hangup::hang_up_after(steps, one_message(&client, "", false, items.clone())).await;
        drop(client);
        let answer = one_message(&stage.acme, "", false, items).await.unwrap();
        let one_of = [Outcome::Created, Outcome::AlreadyImported];
        assert!(outcomes(&answer).iter().all(|o| one_of.contains(o)));
        assert_eq!(stage.reason(&token_of(round * 450)).await, Reason::Ok);
        assert_eq!(stage.reason(&token_of(round * 450 + 449)).await, Reason::Ok);
    }
}
