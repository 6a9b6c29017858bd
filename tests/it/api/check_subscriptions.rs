//! Which subscription a request is accounted to, and restrictions in shadow.

use claviger::grpc::proto::v1::{self, Presentation, Reason};

use super::check::{by, for_subscription, from, with};
use super::stage::{Stage, asking, named, ok};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_accounted_to_the_subscription_it_asks_for_or_the_only_one() {
    let stage = Stage::set().await;
    let key = |subscriptions: &[&str]| v1::Key {
        subscriptions: subscriptions.iter().map(|s| (*s).to_owned()).collect(),
        ..named("a key")
    };
    let (free, one, two) = (
        with(&stage, key(&[])).await,
        with(&stage, key(&["pro"])).await,
        with(&stage, key(&["basic", "pro"])).await,
    );
    for (made, asked, accounted) in [
        (&free, "", ""),
        (&free, "basic", "basic"),
        (&one, "", "pro"),
        (&one, "pro", "pro"),
        (&two, "", ""),
        (&two, "basic", "basic"),
    ] {
        let answer = stage
            .check(for_subscription(asked, asking("acme", &made.primary, &[])))
            .await;
        assert_eq!(
            (answer.reason(), answer.subscription.as_str()),
            (Reason::Ok, accounted),
            "{asked}"
        );
    }
    let off = v1::UpdateSubscriptionRequest {
        subscription: Some(v1::Subscription {
            workspace: "acme".to_owned(),
            id: "pro".to_owned(),
            enabled: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.acme.directory().update_subscription(off).await);
    for made in [&free, &one, &two] {
        let answer = stage
            .check(for_subscription("pro", asking("acme", &made.primary, &[])))
            .await;
        assert_eq!(answer.reason(), Reason::SubscriptionNotAllowed);
    }
    let shadow = v1::Enforcement {
        subscription: v1::EnforcementMode::Shadow.into(),
        ..Default::default()
    };
    let made = with(
        &stage,
        v1::Key {
            enforcement: Some(shadow),
            ..key(&["basic"])
        },
    )
    .await;
    let answer = stage
        .check(for_subscription("pro", asking("acme", &made.primary, &[])))
        .await;
    assert_eq!(
        (answer.reason(), answer.subscription.as_str()),
        (Reason::Ok, ""),
        "billed to none"
    );
    assert_eq!(answer.shadowed, [i32::from(Reason::SubscriptionNotAllowed)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shadow_reports_each_restriction_and_lets_the_request_pass() {
    let stage = Stage::set().await;
    let on = i32::from(v1::EnforcementMode::Shadow);
    let key = v1::Key {
        enforcement: Some(v1::Enforcement {
            network: on,
            presentation: on,
            subscription: on,
            scopes: on,
        }),
        allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
        subscriptions: vec!["basic".to_owned()],
        ..named("a key")
    };
    let made = with(&stage, key).await;
    let request = by(
        Presentation::Query,
        for_subscription("pro", asking("acme", &made.primary, &["orders:read"])),
    );
    let answer = stage.check(from("198.51.100.1", request)).await;
    assert_eq!(answer.reason(), Reason::Ok);
    let shadowed: Vec<Reason> = answer.shadowed().collect();
    use Reason::{InsufficientScope, IpNotAllowed, PresentationNotAllowed, SubscriptionNotAllowed};
    assert_eq!(
        shadowed,
        [
            IpNotAllowed,
            PresentationNotAllowed,
            SubscriptionNotAllowed,
            InsufficientScope
        ]
    );
    // What is no restriction of the key can't be in shadow.
    let off = v1::Key {
        id: made.id(),
        enabled: Some(false),
        ..Default::default()
    };
    ok(stage
        .acme
        .keys()
        .update_key(v1::UpdateKeyRequest {
            key: Some(off),
            ..Default::default()
        })
        .await);
    assert_eq!(stage.reason(&made.primary).await, Reason::KeyDisabled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_subscriptions_are_all_disabled_opens_nothing() {
    let stage = Stage::set().await;
    let key = |subscriptions: &[&str]| v1::Key {
        subscriptions: subscriptions.iter().map(|s| (*s).to_owned()).collect(),
        ..named("a key")
    };
    let one = with(&stage, key(&["pro"])).await;
    let two = with(&stage, key(&["basic", "pro"])).await;
    let free = with(&stage, key(&[])).await;
    let refused = Reason::SubscriptionNotAllowed;
    for (disabled, expected) in [
        ("pro", [refused, Reason::Ok, Reason::Ok]),
        ("basic", [refused, refused, Reason::Ok]),
    ] {
        let off = v1::UpdateSubscriptionRequest {
            subscription: Some(v1::Subscription {
                workspace: "acme".to_owned(),
                id: disabled.to_owned(),
                enabled: Some(false),
                ..Default::default()
            }),
            ..Default::default()
        };
        ok(stage.acme.directory().update_subscription(off).await);
        for (made, expected) in [&one, &two, &free].into_iter().zip(expected) {
            assert_eq!(stage.reason(&made.primary).await, expected, "{disabled}");
        }
    }
}
