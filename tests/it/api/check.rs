//! One decision over the wire: each reason with its status, presentations, subscriptions, revisions.

use std::time::Duration;

use claviger::grpc::proto::v1::{self, Decision, Presentation, Reason, Slot};
use tonic::Code;

use super::stage::{Made, Stage, asking, creating, holding, mask, named, ok};

pub(crate) fn from(ip: &str, request: v1::CheckRequest) -> v1::CheckRequest {
    v1::CheckRequest {
        source_ip: ip.to_owned(),
        ..request
    }
}

pub(crate) fn by(presentation: Presentation, request: v1::CheckRequest) -> v1::CheckRequest {
    let token = request.credential.as_ref().unwrap().token.clone();
    let credential = v1::Credential {
        token,
        presentation: presentation.into(),
    };
    v1::CheckRequest {
        credential: Some(credential),
        ..request
    }
}

pub(crate) fn for_subscription(id: &str, request: v1::CheckRequest) -> v1::CheckRequest {
    v1::CheckRequest {
        subscription: id.to_owned(),
        ..request
    }
}

pub(crate) fn http(headers: &[(&str, &str)], path: &str) -> v1::CheckRequest {
    let header = |(name, value): &(&str, &str)| v1::HttpHeader {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    v1::CheckRequest {
        workspace: "acme".to_owned(),
        http: Some(v1::HttpRequest {
            headers: headers.iter().map(header).collect(),
            path: path.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(crate) async fn with(stage: &Stage, key: v1::Key) -> Made {
    stage.make(creating("acme", key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reason_is_told_with_its_status() {
    let stage = Stage::set().await;
    let key = |scopes: &[&str]| holding(scopes);
    let good = with(&stage, key(&["orders:read"])).await;
    let fenced = with(
        &stage,
        v1::Key {
            allowed_cidrs: vec!["192.0.2.0/24".to_owned()],
            ..key(&[])
        },
    )
    .await;
    let bound = with(
        &stage,
        v1::Key {
            subscriptions: vec!["basic".to_owned()],
            ..key(&[])
        },
    )
    .await;
    let disabled = with(
        &stage,
        v1::Key {
            enabled: Some(false),
            ..key(&[])
        },
    )
    .await;
    let short = prost_types::Timestamp {
        seconds: 1_800_000_001,
        nanos: 0,
    };
    let expired = with(
        &stage,
        v1::Key {
            expire_time: Some(short),
            ..key(&[])
        },
    )
    .await;
    let deleted = with(&stage, key(&[])).await;
    ok(stage
        .acme
        .keys()
        .delete_key(v1::DeleteKeyRequest {
            id: deleted.id(),
            ..Default::default()
        })
        .await);
    let revoked = with(&stage, key(&[])).await;
    let request = v1::RegenerateSecretRequest {
        key_id: revoked.id(),
        ..Default::default()
    };
    ok(stage.acme.keys().regenerate_secret(request).await);
    let elsewhere = stage.make(creating("other", named("theirs"))).await;
    let off = v1::Workspace {
        id: "other".to_owned(),
        enabled: Some(false),
        ..Default::default()
    };
    let off = v1::UpdateWorkspaceRequest {
        workspace: Some(off),
        update_mask: mask(&["enabled"]),
        ..Default::default()
    };
    ok(stage.system.directory().update_workspace(off).await);
    let strict = v1::Workspace {
        id: "strict".to_owned(),
        ..Default::default()
    };
    let strict = v1::CreateWorkspaceRequest {
        workspace: Some(strict),
        ..Default::default()
    };
    ok(stage.system.directory().create_workspace(strict).await);
    let deny = v1::WorkspaceSettings {
        undemanded_scopes: v1::UndemandedScopes::Deny.into(),
        ..Default::default()
    };
    stage.configure("strict", deny).await;
    stage.advance(Duration::from_secs(2));

    let ask = |made: &Made| asking("acme", &made.primary, &[]);
    let two = [("x-api-key", good.primary.as_str()), ("apikey", "another")];
    let cases = [
        (
            asking("acme", &good.primary, &["orders:read"]),
            Reason::Ok,
            200,
        ),
        (
            asking("strict", &good.primary, &[]),
            Reason::NothingDemanded,
            403,
        ),
        (http(&[], "/"), Reason::NoCredential, 401),
        (http(&two, "/"), Reason::AmbiguousCredential, 400),
        (
            asking("acme", "not a token", &[]),
            Reason::MalformedCredential,
            401,
        ),
        (
            asking("acme", &"x".repeat(513), &[]),
            Reason::MalformedCredential,
            401,
        ),
        (
            asking("acme", "clv_wrong-checksum", &[]),
            Reason::MalformedCredential,
            401,
        ),
        (
            asking("acme", "nobody-made-this", &[]),
            Reason::UnknownKey,
            401,
        ),
        (
            asking("acme", &elsewhere.primary.replace("clv_", "zzz_"), &[]),
            Reason::UnknownKey,
            401,
        ),
        (
            asking("acme", &elsewhere.primary, &[]),
            Reason::UnknownKey,
            401,
        ),
        (ask(&revoked), Reason::SecretRevoked, 401),
        (ask(&deleted), Reason::KeyDeleted, 401),
        (ask(&disabled), Reason::KeyDisabled, 401),
        (ask(&expired), Reason::KeyExpired, 401),
        (
            asking("other", &elsewhere.primary, &[]),
            Reason::WorkspaceDisabled,
            401,
        ),
        (
            asking("nowhere", &good.primary, &[]),
            Reason::WorkspaceDisabled,
            401,
        ),
        (
            from("198.51.100.1", ask(&fenced)),
            Reason::IpNotAllowed,
            403,
        ),
        (ask(&fenced), Reason::IpUnknown, 403),
        (
            by(Presentation::Query, ask(&good)),
            Reason::PresentationNotAllowed,
            403,
        ),
        (
            for_subscription("pro", ask(&bound)),
            Reason::SubscriptionNotAllowed,
            403,
        ),
        (
            for_subscription("missing", ask(&good)),
            Reason::SubscriptionNotAllowed,
            403,
        ),
        (
            asking("acme", &good.primary, &["orders:read", "orders:write"]),
            Reason::InsufficientScope,
            403,
        ),
    ];
    let mut told = std::collections::BTreeSet::new();
    for (request, reason, status) in cases {
        let answer = stage.check(request).await;
        assert_eq!((answer.reason(), answer.http_status), (reason, status));
        let allow = reason == Reason::Ok;
        assert_eq!(answer.decision() == Decision::Allow, allow, "{reason:?}");
        let recognised = reason == Reason::Ok || reason as i32 > Reason::UnknownKey as i32;
        assert!(
            answer.key_id.is_empty() != recognised || reason == Reason::WorkspaceDisabled,
            "{reason:?}"
        );
        assert!(
            !allow || answer.challenge.is_empty(),
            "{reason:?}: {}",
            answer.challenge
        );
        assert!(status != 401 || !answer.challenge.is_empty(), "{reason:?}");
        assert!(
            allow || answer.scopes.is_empty() && answer.labels.is_empty(),
            "{reason:?}"
        );
        told.insert(reason as i32);
    }
    assert_eq!(told, (1..=16).collect(), "a reason is not told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_says_what_rfc_6750_asks_for_and_no_more() {
    let stage = Stage::set().await;
    let good = with(&stage, holding(&["orders:read"])).await;
    let challenge = |request| async { stage.check(request).await.challenge };
    let bare = challenge(http(&[], "/")).await;
    assert!(
        bare.starts_with("Bearer") && !bare.contains("error="),
        "{bare}"
    );
    let unknown = challenge(asking("acme", "nobody-made-this", &[])).await;
    assert!(unknown.contains("error=\"invalid_token\""), "{unknown}");
    assert_eq!(
        unknown,
        challenge(asking("acme", "clv_wrong-checksum", &[])).await,
        "3 and 4 look the same"
    );
    let scope = challenge(asking("acme", &good.primary, &["orders:write"])).await;
    assert!(
        scope.contains("insufficient_scope") && scope.contains("orders:write"),
        "{scope}"
    );
    let ways = by(
        Presentation::Query,
        asking("acme", &good.primary, &["orders:read"]),
    );
    assert!(!challenge(ways).await.contains("insufficient_scope"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowed_request_is_told_what_its_key_carries() {
    let stage = Stage::set().await;
    let key = v1::Key {
        subscriptions: vec!["basic".to_owned()],
        labels: [("team".to_owned(), "a".to_owned())].into(),
        postback_url: "https://example.com/hook".to_owned(),
        off_the_record: true,
        ..holding(&["orders:*"])
    };
    let made = with(&stage, key).await;
    let answer = stage
        .check(asking("acme", &made.primary, &["orders:read"]))
        .await;
    assert_eq!(
        (answer.workspace.as_str(), answer.key_id.as_str()),
        ("acme", made.key.id.as_str())
    );
    assert_eq!(answer.secret_id, made.secret(Slot::Primary));
    assert_eq!(answer.subscription, "basic", "the key's only one");
    assert_eq!(answer.scopes, ["orders:*"]);
    assert_eq!((answer.labels.len(), answer.off_the_record), (1, true));
    assert_eq!(answer.postback_url, "https://example.com/hook");
    assert!(answer.shadowed.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_and_any_of_are_demanded_together() {
    let stage = Stage::set().await;
    let made = with(&stage, holding(&["orders:read"])).await;
    let wide = with(&stage, holding(&["orders:*"])).await;
    for (all, any, narrow_passes) in [
        (&["orders:read"][..], &[][..], true),
        (&[], &["orders:write", "orders:read"], true),
        (&["orders:read"], &["orders:write"], false),
        (&["orders:write"], &["orders:read"], false),
        (&["orders:read", "orders:read"], &["orders:read"], true),
    ] {
        let ask = |token: &str| v1::CheckRequest {
            any_of_scopes: any.iter().map(|s| (*s).to_owned()).collect(),
            ..asking("acme", token, all)
        };
        assert_eq!(
            stage.check(ask(&made.primary)).await.reason() == Reason::Ok,
            narrow_passes,
            "{all:?} {any:?}"
        );
        assert_eq!(
            stage.check(ask(&wide.primary)).await.reason(),
            Reason::Ok,
            "{all:?} {any:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_not_reached_is_waited_for_and_then_said_so() {
    let stage = Stage::set().await;
    let made = with(&stage, named("a key")).await;
    let at = |revision: &str| v1::CheckRequest {
        at_least_revision: revision.to_owned(),
        ..asking("acme", &made.primary, &[])
    };
    let now = stage.revision().await;
    assert_eq!(stage.check(at(&now)).await.reason(), Reason::Ok);
    let (epoch, n) = now.split_once('.').unwrap();
    let next = format!("{epoch}.{}", n.parse::<u64>().unwrap() + 1);
    let update = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id(),
            enabled: Some(false),
            ..Default::default()
        }),
        ..Default::default()
    };
    let (mut authorize, mut keys) = (stage.system.authorize(), stage.acme.keys());
    let (waited, updated) = tokio::join!(authorize.check(at(&next)), keys.update_key(update));
    assert_eq!(ok(updated).revision, next);
    assert_eq!(
        ok(waited).reason(),
        Reason::KeyDisabled,
        "decided with the change"
    );
    let far = format!("{epoch}.{}", n.parse::<u64>().unwrap() + 1_000);
    let status = stage.system.authorize().check(at(&far)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}
