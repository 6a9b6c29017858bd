//! POSTbacks: how they are delivered, to receivers that fail, redirect, cut, say that they are gone, and come back.

use std::collections::HashSet;
use std::time::Duration;

use claviger::grpc::proto::v1::{self, delivery::Failure, delivery::State};
use tonic::Code;

use super::postbacks::{DAY, create_secret, enable, receipt, signing, telling};
use super::stage::{Made, Stage, creating, duration, mask, ok, refused, request_id};
use crate::harness::{Answer, PATIENCE, Receiver};

async fn list(stage: &Stage, key: &str) -> Vec<v1::Delivery> {
    let request = v1::ListDeliveriesRequest {
        key_id: key.to_owned(),
        ..Default::default()
    };
    ok(stage.acme.postbacks().list_deliveries(request).await).deliveries
}

/// Waits until the only delivery of a key is as wanted. An answer is written down after it has come.
pub(super) async fn settled(
    stage: &Stage,
    key: &str,
    wanted: impl Fn(&v1::Delivery) -> bool,
) -> v1::Delivery {
    let look = async {
        loop {
            let mut found = list(stage, key).await;
            let delivery = found.pop().unwrap();
            if wanted(&delivery) {
                return delivery;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look)
        .await
        .expect("the delivery settles")
}

pub(super) fn after(attempts: u32) -> impl Fn(&v1::Delivery) -> bool {
    move |d| d.attempts == attempts && (d.failure != 0 || d.state() == State::Delivered)
}

async fn make(stage: &Stage, receiver: &Receiver) -> Made {
    stage.make(creating("acme", telling(&receiver.url()))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_redirects_and_cuts_gets_the_event_when_it_comes_back() {
    let (stage, secret) = signing().await;
    let mut receiver = Receiver::start();
    let mut elsewhere = Receiver::start();
    receiver.answer(Answer::Status(500));
    let made = make(&stage, &receiver).await;
    let first = receiver.next().await;
    let delivery = settled(&stage, &made.id(), after(1)).await;
    assert_eq!(
        (delivery.state(), delivery.failure(), delivery.http_status),
        (State::Pending, Failure::Status, 500)
    );
    let due = delivery.next_attempt_time.unwrap();
    let from = delivery.last_attempt_time.unwrap();
    let wait =
        (due.seconds - from.seconds) * 1_000 + i64::from((due.nanos - from.nanos) / 1_000_000);
    assert!((4_500..=5_500).contains(&wait), "{wait} ms");

    receiver.answer(Answer::Redirect(elsewhere.url()));
    stage.advance(Duration::from_secs(6));
    receiver.next().await;
    let delivery = settled(&stage, &made.id(), after(2)).await;
    assert_eq!(delivery.failure(), Failure::Redirect);
    assert_eq!(delivery.http_status, 302);

    receiver.answer(Answer::Cut);
    stage.advance(Duration::from_secs(6 * 60));
    receiver.next().await;
    let delivery = settled(&stage, &made.id(), after(3)).await;
    assert_eq!(
        (delivery.failure(), delivery.http_status),
        (Failure::Broken, 0)
    );

    receiver.answer(Answer::Status(202));
    stage.advance(Duration::from_secs(28 * 60));
    let last = receiver.next().await;
    let delivery = settled(&stage, &made.id(), after(4)).await;
    assert_eq!(
        (delivery.state(), delivery.failure(), delivery.http_status),
        (State::Delivered, Failure::Unspecified, 202)
    );
    assert!(delivery.end_time.is_some() && delivery.next_attempt_time.is_none());
    // The same event each time, and each attempt signed at its own moment.
    assert_eq!((&first.id, &first.body), (&last.id, &last.body));
    assert_ne!(first.timestamp, last.timestamp);
    assert!(first.is_signed(&secret) && last.is_signed(&secret));
    assert!(elsewhere.rest().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_day_it_is_dead_and_can_be_sent_again() {
    let (stage, _) = signing().await;
    let mut receiver = Receiver::start();
    receiver.answer(Answer::Status(503));
    let made = make(&stage, &receiver).await;
    for attempt in 1..=10 {
        receiver.next().await;
        settled(&stage, &made.id(), after(attempt)).await;
        // Longer than the longest pause between two.
        stage.advance(Duration::from_secs(7 * 3_600));
    }
    let dead = settled(&stage, &made.id(), |d| d.state() == State::Dead).await;
    assert_eq!((dead.attempts, dead.failure()), (10, Failure::Status));
    let list_dead = v1::ListDeliveriesRequest {
        workspace: "acme".to_owned(),
        state: State::Dead.into(),
        ..Default::default()
    };
    let listed = ok(stage.acme.postbacks().list_deliveries(list_dead).await);
    assert_eq!(listed.deliveries, std::slice::from_ref(&dead));

    receiver.answer(Answer::Status(200));
    let redeliver = v1::RedeliverEventRequest {
        id: dead.id.clone(),
    };
    let answer = ok(stage.acme.postbacks().redeliver_event(redeliver).await);
    assert_eq!(answer.delivery.unwrap().state(), State::Pending);
    assert_eq!(receiver.next().await.id, dead.id);
    let delivered = settled(&stage, &made.id(), |d| d.state() == State::Delivered).await;
    assert_eq!((delivered.attempts, delivered.sequence), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_gone_is_left_alone() {
    let (stage, _) = signing().await;
    let mut receiver = Receiver::start();
    receiver.answer(Answer::Status(410));
    let made = make(&stage, &receiver).await;
    receiver.next().await;
    let dead = settled(&stage, &made.id(), |d| d.state() == State::Dead).await;
    assert_eq!((dead.attempts, dead.failure()), (1, Failure::Gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_changed_counts_for_what_is_pending_and_one_that_is_cleared_ends_it() {
    let (stage, _) = signing().await;
    let (mut old, mut new) = (Receiver::start(), Receiver::start());
    old.answer(Answer::Status(500));
    let made = make(&stage, &old).await;
    old.next().await;
    settled(&stage, &made.id(), after(1)).await;
    let set = async |url: String| {
        let key = v1::Key {
            id: made.id(),
            postback_url: url,
            ..Default::default()
        };
        let request = v1::UpdateKeyRequest {
            key: Some(key),
            update_mask: mask(&["postback_url"]),
            ..Default::default()
        };
        ok(stage.acme.keys().update_key(request).await);
    };
    new.answer(Answer::Status(500));
    set(new.url()).await;
    stage.advance(Duration::from_secs(6));
    assert_eq!(new.next().await.kind(), "key.created");
    settled(&stage, &made.id(), after(2)).await;
    set(String::new()).await;
    stage.advance(Duration::from_secs(6 * 60));
    let dead = settled(&stage, &made.id(), |d| d.state() == State::Dead).await;
    assert_eq!(dead.failure(), Failure::NoUrl);
    assert!(old.rest().is_empty() && new.rest().is_empty());
    let redeliver = v1::RedeliverEventRequest { id: dead.id };
    refused(
        stage.acme.postbacks().redeliver_event(redeliver).await,
        Code::FailedPrecondition,
        "NO_POSTBACK_URL",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_unsigned_and_a_secret_lets_what_waited_go() {
    let stage = Stage::set().await;
    let mut receiver = Receiver::start();
    let made = make(&stage, &receiver).await;
    let waiting = settled(&stage, &made.id(), after(1)).await;
    assert_eq!(waiting.failure(), Failure::NoSigningSecret);
    let test = v1::TestPostbackRequest { key_id: made.id() };
    refused(
        stage.acme.postbacks().test_postback(test).await,
        Code::FailedPrecondition,
        "NO_SIGNING_SECRET",
    );
    assert!(receiver.rest().is_empty());
    let secret = create_secret(&stage).await;
    // Without a wait for its next attempt.
    assert!(receiver.next().await.is_signed(&secret));
}

/// More than the database has connections to read from: an attempt that waits for one holds up neither the others nor what
/// takes the next.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_due_at_once_are_delivered_by_their_first_signed_attempt() {
    const KEYS: usize = 48;
    let stage = Stage::set().await;
    let mut receiver = Receiver::start();
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        let made = make(&stage, &receiver).await;
        let waiting = settled(&stage, &made.id(), after(1)).await;
        assert_eq!(waiting.failure(), Failure::NoSigningSecret);
        keys.push(made);
    }
    create_secret(&stage).await;
    let mut told = HashSet::new();
    for _ in 0..KEYS {
        told.insert(receiver.next().await.id);
    }
    assert_eq!(told.len(), KEYS);
    for made in &keys {
        let delivered = settled(&stage, &made.id(), after(2)).await;
        assert_eq!(delivered.state(), State::Delivered);
        assert_eq!(delivered.attempts, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_secret_signs_beside_the_new_one_until_its_overlap_ends() {
    let (stage, old) = signing().await;
    let mut receiver = Receiver::start();
    let made = make(&stage, &receiver).await;
    let arrived = receiver.next().await;
    assert!(arrived.is_signed(&old));
    let mut postbacks = stage.acme.postbacks();
    let create = v1::CreateSigningSecretRequest {
        workspace: "acme".to_owned(),
        ..Default::default()
    };
    refused(
        postbacks.create_signing_secret(create).await,
        Code::FailedPrecondition,
        "SIGNING_SECRET_EXISTS",
    );
    let rotate = v1::RotateSigningSecretRequest {
        workspace: "acme".to_owned(),
        overlap: duration(3_600),
        request_id: request_id(1),
    };
    let rotated = ok(postbacks.rotate_signing_secret(rotate.clone()).await);
    stage.server.remember(&rotated.text);
    // The text is in the first answer alone.
    let again = ok(postbacks.rotate_signing_secret(rotate).await);
    assert!(again.text.is_empty() && again.text_withheld);
    assert_eq!(again.signing_secret, rotated.signing_secret);

    enable(&stage, &made, false).await;
    let both = receiver.next().await;
    assert_eq!(both.signature.split(' ').count(), 2);
    assert!(both.is_signed(&old) && both.is_signed(&rotated.text));
    let list = v1::ListSigningSecretsRequest {
        workspace: "acme".to_owned(),
    };
    let listed = ok(postbacks.list_signing_secrets(list.clone()).await);
    let ends: Vec<_> = listed
        .signing_secrets
        .iter()
        .map(|s| s.expire_time.is_some())
        .collect();
    assert_eq!(ends, [false, true]);
    stage.advance(Duration::from_secs(3_600));
    enable(&stage, &made, true).await;
    let one = receiver.next().await;
    assert!(!one.is_signed(&old) && one.is_signed(&rotated.text));
    let listed = ok(postbacks.list_signing_secrets(list).await);
    assert_eq!(listed.signing_secrets.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_most_four_secrets_sign_and_an_overlap_of_nothing_ends_the_old_one() {
    let (stage, _) = signing().await;
    let mut postbacks = stage.acme.postbacks();
    let mut rotate = async |overlap| {
        let request = v1::RotateSigningSecretRequest {
            workspace: "acme".to_owned(),
            overlap,
            ..Default::default()
        };
        let text = ok(postbacks.rotate_signing_secret(request).await).text;
        stage.server.remember(&text);
        let list = v1::ListSigningSecretsRequest {
            workspace: "acme".to_owned(),
        };
        let listed = ok(postbacks.list_signing_secrets(list).await);
        listed.signing_secrets.len()
    };
    assert_eq!(rotate(None).await, 2);
    assert_eq!(rotate(None).await, 3);
    assert_eq!(rotate(None).await, 4);
    assert_eq!(rotate(None).await, 4);
    assert_eq!(rotate(duration(0)).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_is_sent_at_once_and_says_what_came_of_it() {
    let (stage, secret) = signing().await;
    let mut receiver = Receiver::start();
    let made = make(&stage, &receiver).await;
    receiver.next().await;
    let test = async || {
        let request = v1::TestPostbackRequest { key_id: made.id() };
        stage.acme.postbacks().test_postback(request).await
    };
    let answer = ok(test().await);
    assert!(answer.delivered);
    let arrived = receiver.next().await;
    assert_eq!(
        (arrived.kind().as_str(), &arrived.id),
        ("postback.test", &answer.id)
    );
    assert!(arrived.is_signed(&secret));
    refused(test().await, Code::ResourceExhausted, "TOO_MANY_TESTS");
    receiver.answer(Answer::Redirect("https://example.com".to_owned()));
    stage.advance(Duration::from_secs(5));
    let answer = ok(test().await);
    assert!(!answer.delivered);
    assert_eq!(
        (answer.failure(), answer.http_status),
        (Failure::Redirect, 302)
    );
    // Nothing of it is stored, and no number is taken.
    assert_eq!(list(&stage, &made.id()).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_private_networks_are_refused_with_their_reason() {
    let (stage, _) = signing().await;
    for url in [
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "https://0xa.0.0.1/",
    ] {
        let made = stage.make(creating("acme", telling(url))).await;
        let delivery = settled(&stage, &made.id(), after(1)).await;
        assert_eq!(delivery.failure(), Failure::AddressRefused, "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_listed_newest_first_by_page_and_filter() {
    let (stage, _) = signing().await;
    let receiver = Receiver::start();
    let made = make(&stage, &receiver).await;
    for n in 0..4 {
        // Ids of one millisecond are in no order.
        stage.advance(Duration::from_millis(1));
        let mut postbacks = stage.acme.postbacks();
        ok(postbacks
            .publish_event(receipt(&made.id(), &n.to_string()))
            .await);
    }
    let mut request = v1::ListDeliveriesRequest {
        workspace: "acme".to_owned(),
        r#type: "message.delivered".to_owned(),
        page_size: 3,
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = ok(stage
            .acme
            .postbacks()
            .list_deliveries(request.clone())
            .await);
        seen.extend(page.deliveries.into_iter().map(|d| d.event_id));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ["3", "2", "1", "0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_delivered_after_a_restart_and_forgotten_in_time() {
    let (stage, secret) = signing().await;
    let mut receiver = Receiver::start();
    receiver.answer(Answer::Status(500));
    let made = make(&stage, &receiver).await;
    let first = receiver.next().await;
    settled(&stage, &made.id(), after(1)).await;
    let stage = stage.restart().await;
    receiver.answer(Answer::Status(200));
    stage.advance(Duration::from_secs(6));
    let again = receiver.next().await;
    assert_eq!(again.id, first.id);
    assert!(again.is_signed(&secret));
    settled(&stage, &made.id(), |d| d.state() == State::Delivered).await;
    stage.advance(15 * DAY);
    let gone = async {
        while !list(&stage, &made.id()).await.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, gone)
        .await
        .expect("delivered events are cleared away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_takes_its_events_and_secrets_along() {
    let stage = Stage::set().await;
    let id = || "passing".to_owned();
    let workspace = || v1::CreateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: id(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let mut directory = stage.system.directory();
    ok(directory.create_workspace(workspace()).await);
    let create = v1::CreateSigningSecretRequest {
        workspace: id(),
        ..Default::default()
    };
    let made = ok(stage.system.postbacks().create_signing_secret(create).await);
    stage.server.remember(&made.text);
    let key = v1::Key {
        postback_url: "https://127.0.0.1:1024/".to_owned(),
        display_name: "k".to_owned(),
        ..Default::default()
    };
    let key = stage.make(creating("passing", key)).await;
    let purge = v1::DeleteKeyRequest {
        id: key.id(),
        purge: true,
        ..Default::default()
    };
    ok(stage.system.keys().delete_key(purge).await);
    let delete = v1::DeleteWorkspaceRequest {
        id: id(),
        ..Default::default()
    };
    ok(directory.delete_workspace(delete).await);
    ok(directory.create_workspace(workspace()).await);
    let listed = v1::ListDeliveriesRequest {
        workspace: id(),
        ..Default::default()
    };
    let listed = ok(stage.system.postbacks().list_deliveries(listed).await);
    assert_eq!(listed.deliveries, []);
    let secrets = v1::ListSigningSecretsRequest { workspace: id() };
    let secrets = ok(stage.system.postbacks().list_signing_secrets(secrets).await);
    assert_eq!(secrets.signing_secrets, []);
}
