//! Explanations: why a request is allowed or denied, step by step, without a trace of having been asked.

use std::time::Duration;

use claviger::grpc::proto::v1::explain_request::Surface;
use claviger::grpc::proto::v1::explain_step::{Check, Outcome};
use claviger::grpc::proto::v1::{self, Reason};
use tonic::Code;

use super::stage::{Made, Stage, asking, creating, holding, ok, refused};
use crate::harness::server::Client;

/// A request about a key without its token.
fn supposing(made: &Made, scopes: &[&str]) -> v1::ExplainRequest {
    let check = v1::CheckRequest {
        credential: None,
        ..asking("acme", "", scopes)
    };
    v1::ExplainRequest {
        check: Some(check),
        key_id: made.id(),
        ..Default::default()
    }
}

async fn explain(client: &Client, request: v1::ExplainRequest) -> v1::ExplainResponse {
    ok(client.insights().explain(request).await)
}

fn reason(answer: &v1::ExplainResponse) -> Reason {
    answer.decision.as_ref().unwrap().reason()
}

fn step(answer: &v1::ExplainResponse, check: Check) -> (Outcome, Reason, &str) {
    let step = answer.steps.iter().find(|s| s.check() == check).unwrap();
    (step.outcome(), step.reason(), &step.detail)
}

/// The step that decided, where one did.
fn deciding(answer: &v1::ExplainResponse) -> Option<(Check, Reason, String)> {
    let failed: Vec<_> = answer
        .steps
        .iter()
        .filter(|s| s.outcome() == Outcome::Failed)
        .collect();
    assert!(failed.len() < 2, "{failed:?}");
    let failed = failed.first()?;
    Some((failed.check(), failed.reason(), failed.detail.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supposed_request_is_explained_without_its_token() {
    let stage = Stage::set().await;
    let key = v1::Key {
        allowed_cidrs: vec!["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()],
        subscriptions: vec!["basic".to_owned()],
        ..holding(&["orders:read"])
    };
    let made = stage.make(creating("acme", key)).await;
    let mut request = supposing(&made, &["orders:read"]);
    request.check.as_mut().unwrap().source_ip = "203.0.113.9".to_owned();
    let denied = explain(&stage.acme, request.clone()).await;
    assert_eq!(reason(&denied), Reason::IpNotAllowed);
    assert_eq!(
        deciding(&denied).unwrap(),
        (
            Check::Network,
            Reason::IpNotAllowed,
            "203.0.113.9 is in none of 10.0.0.0/8 and 2001:db8::/32".to_owned()
        )
    );
    let outcomes: Vec<_> = denied.steps.iter().map(|s| s.outcome()).collect();
    use Outcome::{Failed, NotReached, Passed, Skipped};
    assert_eq!(
        outcomes,
        [
            Passed, Passed, Passed, Passed, Failed, NotReached, NotReached, NotReached, NotReached
        ]
    );
    request.check.as_mut().unwrap().source_ip = "10.1.2.3".to_owned();
    let allowed = explain(&stage.acme, request.clone()).await;
    assert_eq!((reason(&allowed), deciding(&allowed)), (Reason::Ok, None));
    let (outcome, _, detail) = step(&allowed, Check::Network);
    assert_eq!((outcome, detail), (Passed, "10.1.2.3 is in 10.0.0.0/8"));
    assert_eq!(step(&allowed, Check::Factors).0, Skipped);
    assert_eq!(allowed.decision.unwrap().subscription, "basic");

    let check = request.check.as_mut().unwrap();
    check.required_scopes = vec!["orders:read".to_owned(), "orders:write".to_owned()];
    let lacking = explain(&stage.acme, request).await;
    let (check, reason, detail) = deciding(&lacking).unwrap();
    assert_eq!((check, reason), (Check::Scopes, Reason::InsufficientScope));
    assert_eq!(
        detail,
        "the key lacks `orders:write`; it holds `orders:read`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_request_is_explained_with_the_place_of_its_credential() {
    let stage = Stage::set().await;
    let made = stage.key(&["orders:read"]).await;
    let header = |name: &str, value: &str| v1::HttpHeader {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let ask = async |headers: Vec<v1::HttpHeader>, path: &str| {
        let check = v1::CheckRequest {
            credential: None,
            http: Some(v1::HttpRequest {
                headers,
                path: path.to_owned(),
                ..Default::default()
            }),
            ..asking("acme", "", &["orders:read"])
        };
        let request = v1::ExplainRequest {
            check: Some(check),
            ..Default::default()
        };
        explain(&stage.acme, request).await
    };
    let token = made.primary.as_str();
    let found = ask(vec![header("X-Api-Key", token)], "/").await;
    assert_eq!(reason(&found), Reason::Ok);
    assert_eq!(
        step(&found, Check::Credential).2,
        "one, in header `x-api-key`"
    );
    assert_eq!(found.decision.as_ref().unwrap().key_id, made.id());

    let none = ask(vec![header("authorization", "Bearer a.b.c")], "/").await;
    let (check, why, detail) = deciding(&none).unwrap();
    assert_eq!((check, why), (Check::Credential, Reason::NoCredential));
    assert!(
        detail.contains("header `apikey`") && detail.contains("a JWT"),
        "{detail}"
    );

    let two = vec![header("x-api-key", token), header("apikey", "another")];
    let (_, why, detail) = deciding(&ask(two, "/").await).unwrap();
    assert_eq!(why, Reason::AmbiguousCredential);
    assert_eq!(
        detail,
        "header `x-api-key` and header `apikey` hold different values"
    );
    let (_, _, detail) = deciding(&ask(Vec::new(), "/?APIKEY=x").await).unwrap();
    assert!(detail.contains("in another case"), "{detail}");

    let by_query = ask(Vec::new(), &format!("/?apikey={token}")).await;
    let (check, why, detail) = deciding(&by_query).unwrap();
    assert_eq!(
        (check, why),
        (Check::Presentation, Reason::PresentationNotAllowed)
    );
    assert_eq!(
        detail,
        "QUERY is accepted neither by the workspace (HEADER and BEARER) nor by the scopes demanded"
    );
    // The words never hold what was presented.
    for answer in [found, by_query] {
        assert!(!format!("{answer:?}").contains(token));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_explains_as_envoy_would_be_answered_and_as_an_internal_service_would() {
    let stage = Stage::set().await;
    let made = stage.key(&[]).await;
    let through = |surface: Surface| v1::ExplainRequest {
        surface: surface.into(),
        ..supposing(&made, &[])
    };
    let internal = explain(&stage.acme, through(Surface::Authorize)).await;
    assert_eq!(reason(&internal), Reason::Ok);
    let envoys = explain(&stage.acme, through(Surface::Envoy)).await;
    let (check, why, detail) = deciding(&envoys).unwrap();
    assert_eq!((check, why), (Check::Demand, Reason::NothingDemanded));
    assert!(detail.contains("`undemanded_scopes` is ALLOW"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_time_can_be_supposed() {
    let stage = Stage::set().await;
    let end = prost_types::Timestamp {
        seconds: 1_800_000_000 + 3_600,
        nanos: 0,
    };
    let key = v1::Key {
        expire_time: Some(end),
        ..holding(&["orders:read"])
    };
    let made = stage.make(creating("acme", key)).await;
    let at = |seconds: i64| v1::ExplainRequest {
        at_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        ..supposing(&made, &["orders:read"])
    };
    let before = explain(&stage.acme, at(end.seconds - 1)).await;
    assert_eq!(reason(&before), Reason::Ok);
    let after = explain(&stage.acme, at(end.seconds)).await;
    assert_eq!(after.time.unwrap(), end);
    assert_eq!(
        deciding(&after).unwrap(),
        (
            Check::Life,
            Reason::KeyExpired,
            "the key expired at 2027-01-15T09:00:00Z".to_owned()
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_shadow_is_shown_as_such_and_does_not_decide() {
    let stage = Stage::set().await;
    let key = v1::Key {
        allowed_cidrs: vec!["10.0.0.0/8".to_owned()],
        enforcement: Some(v1::Enforcement {
            network: v1::EnforcementMode::Shadow.into(),
            ..Default::default()
        }),
        ..holding(&["orders:read"])
    };
    let made = stage.make(creating("acme", key)).await;
    let answer = explain(&stage.acme, supposing(&made, &["orders:read"])).await;
    assert_eq!(reason(&answer), Reason::Ok);
    let (outcome, why, detail) = step(&answer, Check::Network);
    assert_eq!((outcome, why), (Outcome::Shadowed, Reason::IpUnknown));
    assert!(detail.contains("only from 10.0.0.0/8"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn being_explained_leaves_no_trace() {
    let stage = Stage::set().await;
    let key = v1::Key {
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..holding(&["orders:read"])
    };
    let made = stage.make(creating("acme", key)).await;
    let before = (stage.revision().await, stage.get(&made.id()).await);
    let mut request = v1::ExplainRequest {
        check: Some(asking("acme", &made.primary, &["orders:read"])),
        ..Default::default()
    };
    for _ in 0..3 {
        let answer = explain(&stage.acme, request.clone()).await;
        let decision = answer.decision.unwrap();
        assert_eq!(decision.reason(), Reason::Ok);
        assert!(decision.labels.is_empty(), "those are for who reads keys");
        stage.advance(Duration::from_secs(2));
    }
    // A use would be written by the time that one of another key is.
    let other = stage.key(&[]).await;
    assert_eq!(stage.reason(&other.primary).await, Reason::Ok);
    let used = async |id: String| stage.get(&id).await.last_used_time;
    while used(other.id()).await.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(used(made.id()).await, None);
    let after = stage.get(&made.id()).await;
    assert_eq!((before.1.etag, after.last_used_time), (after.etag, None));
    // A revision that is not there yet is waited for, and not for ever.
    request.check.as_mut().unwrap().at_least_revision = {
        let (epoch, n) = before.0.split_once('.').unwrap();
        format!("{epoch}.{}", n.parse::<u64>().unwrap() + 1_000)
    };
    let late = stage.acme.insights().explain(request).await;
    refused(late, Code::DeadlineExceeded, "REVISION_NOT_REACHED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_explained_only_to_who_may_see_it() {
    let stage = Stage::set().await;
    let key = v1::Key {
        subscriptions: vec!["pro".to_owned()],
        ..holding(&["orders:read"])
    };
    let made = stage.make(creating("acme", key)).await;
    let by_token = v1::ExplainRequest {
        check: Some(asking("acme", &made.primary, &["orders:read"])),
        ..Default::default()
    };
    let right = ["claviger:insights:read"];
    let own = stage.bound(&right, &["pro"]).await;
    let foreign = stage.bound(&right, &["basic"]).await;
    for request in [by_token, supposing(&made, &["orders:read"])] {
        let seen = explain(&own, request.clone()).await;
        assert_eq!(reason(&seen), Reason::Ok);
        let hidden = foreign.insights().explain(request.clone()).await;
        refused(hidden, Code::NotFound, "NOT_FOUND");
        let hidden = stage.other.insights().explain(request).await;
        refused(hidden, Code::NotFound, "NOT_FOUND");
    }
    // Another tenant's token is to this tenant what it is to its requests: unknown.
    let theirs = stage
        .make(creating("other", holding(&["orders:read"])))
        .await;
    let request = v1::ExplainRequest {
        check: Some(asking("", &theirs.primary, &["orders:read"])),
        ..Default::default()
    };
    let answer = explain(&stage.acme, request).await;
    assert_eq!(
        deciding(&answer).unwrap(),
        (
            Check::Identity,
            Reason::UnknownKey,
            "workspace `acme` has no such secret".to_owned()
        )
    );
    let by_id = v1::ExplainRequest {
        check: None,
        ..supposing(&theirs, &[])
    };
    let hidden = stage.acme.insights().explain(by_id).await;
    refused(hidden, Code::NotFound, "NOT_FOUND");
    // A secret that is another key's is not this one's.
    let spare = stage.key(&[]).await;
    let mixed = v1::ExplainRequest {
        secret_id: spare.secret(v1::Slot::Primary),
        ..supposing(&made, &[])
    };
    refused(
        stage.acme.insights().explain(mixed).await,
        Code::NotFound,
        "NOT_FOUND",
    );
}
