//! POSTbacks: which events of a key are delivered, and which are not.

use std::time::Duration;

use claviger::grpc::proto::v1;
use tonic::Code;

use super::stage::{
    Made, Stage, asking, creating, details, duration, generated, holding, invalid, mask, ok,
    refused,
};
use crate::harness::{Arrived, Receiver};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A service whose tenant `acme` signs its POSTbacks; returns the secret's text.
pub(super) async fn signing() -> (Stage, String) {
    let stage = Stage::set().await;
    let text = create_secret(&stage).await;
    (stage, text)
}

pub(super) async fn create_secret(stage: &Stage) -> String {
    let request = v1::CreateSigningSecretRequest {
        workspace: "acme".to_owned(),
        ..Default::default()
    };
    let text = ok(stage.acme.postbacks().create_signing_secret(request).await).text;
    stage.server.remember(&text);
    text
}

/// A key whose events go here.
pub(super) fn telling(url: &str) -> v1::Key {
    v1::Key {
        postback_url: url.to_owned(),
        ..holding(&["orders:read"])
    }
}

pub(super) fn receipt(key: &str, id: &str) -> v1::PublishEventRequest {
    v1::PublishEventRequest {
        key_id: key.to_owned(),
        event_id: id.to_owned(),
        r#type: "message.delivered".to_owned(),
        data_json: format!("{{\"receipt\": \"{id}\"}}"),
    }
}

async fn update(stage: &Stage, key: v1::Key, paths: &[&str]) {
    let request = v1::UpdateKeyRequest {
        key: Some(key),
        update_mask: mask(paths),
        ..Default::default()
    };
    ok(stage.acme.keys().update_key(request).await);
}

pub(super) async fn enable(stage: &Stage, made: &Made, enabled: bool) {
    let key = v1::Key {
        id: made.id(),
        enabled: Some(enabled),
        ..Default::default()
    };
    update(stage, key, &["enabled"]).await;
}

fn kinds(all: &[Arrived]) -> Vec<String> {
    all.iter().map(Arrived::kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_key_is_told_in_numbers_without_gaps() {
    let (stage, _) = signing().await;
    let mut receiver = Receiver::start();
    let made = stage.make(creating("acme", telling(&receiver.url()))).await;
    enable(&stage, &made, false).await;
    enable(&stage, &made, true).await;
    let regenerate = v1::RegenerateSecretRequest {
        key_id: made.id(),
        source: generated(),
        grace: duration(3_600),
        ..Default::default()
    };
    let regenerated = ok(stage.acme.keys().regenerate_secret(regenerate).await);
    stage.server.remember(&regenerated.tokens[0].token);
    let delete = v1::DeleteKeyRequest {
        id: made.id(),
        ..Default::default()
    };
    ok(stage.acme.keys().delete_key(delete.clone()).await);
    let undelete = v1::UndeleteKeyRequest {
        id: made.id(),
        ..Default::default()
    };
    ok(stage.acme.keys().undelete_key(undelete).await);
    // Nothing that a receiver is told of: a name.
    let renamed = v1::Key {
        id: made.id(),
        display_name: "renamed".to_owned(),
        ..Default::default()
    };
    update(&stage, renamed, &["display_name"]).await;
    let purge = v1::DeleteKeyRequest {
        purge: true,
        ..delete
    };
    ok(stage.acme.keys().delete_key(purge).await);

    let all = receiver.take(8).await;
    let expected = [
        "key.created",
        "key.disabled",
        "key.enabled",
        "key.secret_retiring",
        "key.regenerated",
        "key.deleted",
        "key.undeleted",
        "key.deleted",
    ];
    assert_eq!(kinds(&all), expected);
    let numbers: Vec<_> = all.iter().map(Arrived::sequence).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    for arrived in &all {
        let json = arrived.json();
        assert_eq!(json["key_id"], made.id());
        assert_eq!(json["workspace"], "acme");
        assert_eq!(json["id"], arrived.id);
        assert_eq!(arrived.path, "/hook");
        for token in [&made.primary, &regenerated.tokens[0].token] {
            assert!(!arrived.body.contains(token.as_str()));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_without_a_url_tells_nothing_and_takes_nothing() {
    let (stage, _) = signing().await;
    let made = stage.make(creating("acme", holding(&[]))).await;
    let list = v1::ListDeliveriesRequest {
        workspace: "acme".to_owned(),
        ..Default::default()
    };
    let listed = ok(stage.acme.postbacks().list_deliveries(list).await);
    assert_eq!(listed.deliveries, []);
    let mut postbacks = stage.acme.postbacks();
    refused(
        postbacks.publish_event(receipt(&made.id(), "a")).await,
        Code::FailedPrecondition,
        "NO_POSTBACK_URL",
    );
    let test = v1::TestPostbackRequest { key_id: made.id() };
    refused(
        postbacks.test_postback(test).await,
        Code::FailedPrecondition,
        "NO_POSTBACK_URL",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_services_publish_is_delivered_as_it_is_and_once_by_its_id() {
    let (stage, _) = signing().await;
    let mut receiver = Receiver::start();
    let made = stage.make(creating("acme", telling(&receiver.url()))).await;
    assert_eq!(receiver.next().await.kind(), "key.created");
    let service = stage.caller("acme", &["claviger:postbacks:publish"]).await;
    let mut request = receipt(&made.id(), "m-1");
    request.data_json = r#"{"n": 12345678901234567890.50, "s": "\u0000 ü"}"#.to_owned();
    let first = ok(service.postbacks().publish_event(request.clone()).await);
    let again = ok(service.postbacks().publish_event(request.clone()).await);
    assert!(!first.duplicate && again.duplicate);
    let (first, again) = (first.delivery.unwrap(), again.delivery.unwrap());
    assert_eq!((first.id.clone(), first.sequence), (again.id, 2));

    let arrived = receiver.next().await;
    assert_eq!(arrived.id, first.id);
    assert!(
        arrived
            .body
            .ends_with(&format!("\"data\":{}}}", request.data_json))
    );
    assert_eq!(arrived.json()["event_id"], "m-1");
    // The same id for something else is a mistake.
    for other in [
        v1::PublishEventRequest {
            data_json: "{}".to_owned(),
            ..request.clone()
        },
        v1::PublishEventRequest {
            r#type: "message.failed".to_owned(),
            ..request.clone()
        },
    ] {
        let status = invalid(service.postbacks().publish_event(other).await, "event_id");
        assert_eq!(details(&status).0, "EVENT_ID_REUSED");
    }
    // Of another key it is another event; and no number is lost by what was refused.
    let other = stage.make(creating("acme", telling(&receiver.url()))).await;
    let of_other = v1::PublishEventRequest {
        key_id: other.id(),
        ..request
    };
    assert!(!ok(service.postbacks().publish_event(of_other).await).duplicate);
    let next = ok(service
        .postbacks()
        .publish_event(receipt(&made.id(), "m-2"))
        .await);
    assert_eq!(next.delivery.unwrap().sequence, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_is_told_of_once_a_week_ahead_and_once_when_it_comes() {
    let (stage, _) = signing().await;
    let mut receiver = Receiver::start();
    let now = 1_800_000_000;
    let key = v1::Key {
        expire_time: Some(prost_types::Timestamp {
            seconds: now + 10 * 86_400,
            nanos: 0,
        }),
        ..telling(&receiver.url())
    };
    let made = stage.make(creating("acme", key)).await;
    assert_eq!(receiver.next().await.kind(), "key.created");
    stage.advance(4 * DAY);
    let expiring = receiver.next().await;
    assert_eq!(expiring.kind(), "key.expiring");
    assert_eq!(
        expiring.json()["data"]["expire_time"],
        "2027-01-25T08:00:00Z"
    );
    stage.advance(6 * DAY);
    assert_eq!(receiver.next().await.kind(), "key.expired");
    // Later looks find nothing new to tell: the next event has the next number.
    stage.advance(DAY);
    enable(&stage, &made, false).await;
    let disabled = receiver.next().await;
    assert_eq!(
        (disabled.kind().as_str(), disabled.sequence()),
        ("key.disabled", 4)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cause_one_event_of_a_kind_in_an_hour() {
    let (stage, _) = signing().await;
    let mut receiver = Receiver::start();
    let key = v1::Key {
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        ..telling(&receiver.url())
    };
    let made = stage.make(creating("acme", key)).await;
    assert_eq!(receiver.next().await.kind(), "key.created");
    let from = |ip: &str| v1::CheckRequest {
        source_ip: ip.to_owned(),
        ..asking("acme", &made.primary, &["orders:read"])
    };
    for n in 0..50 {
        stage.check(from(&format!("203.0.113.{n}"))).await;
    }
    let outside = receiver.next().await;
    assert_eq!(outside.kind(), "key.used_outside_networks");
    let data = &outside.json()["data"];
    assert_eq!(data["source_ip"], "203.0.113.0");
    assert_eq!(data["reason"], "IP_NOT_ALLOWED");
    enable(&stage, &made, false).await;
    assert_eq!(receiver.next().await.kind(), "key.disabled");
    for _ in 0..50 {
        stage.check(from("192.0.2.1")).await;
    }
    let dead = receiver.next().await;
    assert_eq!(
        (dead.kind().as_str(), dead.sequence()),
        ("key.dead_key_used", 4)
    );
    stage.advance(Duration::from_secs(3_600));
    stage.check(from("192.0.2.1")).await;
    let later = receiver.next().await;
    assert_eq!(
        (later.kind().as_str(), later.sequence()),
        ("key.dead_key_used", 5)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn off_the_record_nothing_is_told_of_requests() {
    let (stage, _) = signing().await;
    let mut receiver = Receiver::start();
    let key = v1::Key {
        off_the_record: true,
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        ..telling(&receiver.url())
    };
    let made = stage.make(creating("acme", key)).await;
    let from = |ip: &str| v1::CheckRequest {
        source_ip: ip.to_owned(),
        ..asking("acme", &made.primary, &["orders:read"])
    };
    stage.check(from("203.0.113.9")).await;
    enable(&stage, &made, false).await;
    stage.check(from("192.0.2.1")).await;
    enable(&stage, &made, true).await;
    // What administrators do is told; what requests did has no number among it.
    let all = receiver.take(3).await;
    assert_eq!(kinds(&all), ["key.created", "key.disabled", "key.enabled"]);
    assert_eq!(all[2].sequence(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_are_https_without_users_and_on_ports_of_their_own() {
    let stage = Stage::set().await;
    let mut keys = stage.acme.keys();
    for url in [
        "http://example.com/",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://example.com/#fragment",
        "ftp://example.com/",
        "//example.com/",
    ] {
        invalid(
            keys.create_key(creating("acme", telling(url))).await,
            "key.postback_url",
        );
    }
    // This process allows loopback, so `http` to it is good enough for development.
    for url in ["https://example.com:8443/a?b=c", "http://127.0.0.1:8080/"] {
        let made = ok(keys.create_key(creating("acme", telling(url))).await);
        stage.server.remember(&made.tokens[0].token);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_bound_to_subscriptions_sees_events_of_its_own_keys_alone() {
    let (stage, _) = signing().await;
    let key = |subscription: &str| v1::Key {
        subscriptions: vec![subscription.to_owned()],
        ..telling("https://127.0.0.1:1024/")
    };
    let mine = stage.make(creating("acme", key("basic"))).await;
    let other = stage.make(creating("acme", key("pro"))).await;
    let rights = ["claviger:keys:read", "claviger:postbacks:publish"];
    let bound = stage.bound(&rights, &["basic"]).await;
    let list = |key: &str| v1::ListDeliveriesRequest {
        workspace: "acme".to_owned(),
        key_id: key.to_owned(),
        ..Default::default()
    };
    let mut postbacks = bound.postbacks();
    let listed = ok(postbacks.list_deliveries(list(&mine.id())).await);
    assert_eq!(listed.deliveries.len(), 1);
    refused(
        postbacks.list_deliveries(list(&other.id())).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    refused(
        postbacks.list_deliveries(list("")).await,
        Code::PermissionDenied,
        "BOUND_TO_SUBSCRIPTIONS",
    );
    refused(
        postbacks.publish_event(receipt(&other.id(), "a")).await,
        Code::NotFound,
        "NOT_FOUND",
    );
    ok(postbacks.publish_event(receipt(&mine.id(), "a")).await);
    let theirs = ok(stage
        .acme
        .postbacks()
        .list_deliveries(list(&other.id()))
        .await);
    let redeliver = v1::RedeliverEventRequest {
        id: theirs.deliveries[0].id.clone(),
    };
    refused(
        postbacks.redeliver_event(redeliver).await,
        Code::NotFound,
        "NOT_FOUND",
    );
}
