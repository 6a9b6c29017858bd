//! `claviger::client` before services of several kinds, against the real process.

mod fake;
mod grpc;
mod guarded;

use claviger::client::{AuthorizeLayer, Demand};
use claviger::grpc::proto::v1;
use http::StatusCode;

use crate::harness::{Admin, Folder, PATIENCE, Process, header, key};
use guarded::Guarded;

#[path = "../../examples/guarded.rs"]
#[expect(
    dead_code,
    reason = "its `main` is for whoever runs the example by itself"
)]
mod example;

/// Claviger with two scopes, and what a layer needs to ask it.
fn claviger(args: &[&str]) -> (Process, Admin) {
    let process = Process::start(&Folder::of_suite(), args);
    let admin = process.admin();
    admin.declare("default", &["orders:read", "orders:write"]);
    (process, admin)
}

/// A layer that demands `orders:read`, with all the time that a busy machine needs.
fn layer(admin: &Admin) -> AuthorizeLayer {
    demanding(admin, Demand::all_of(["orders:read"]))
}

fn demanding(admin: &Admin, demand: Demand) -> AuthorizeLayer {
    AuthorizeLayer::new(admin.channel(), demand).deadline(PATIENCE)
}

#[test]
fn an_allowed_request_arrives_with_the_decision_and_without_its_credential() {
    let (_process, admin) = claviger(&[]);
    admin.subscription("default", "sub1");
    let made = admin.make(
        "default",
        v1::Key {
            labels: [("team".to_owned(), "blue".to_owned())].into(),
            subscriptions: vec!["sub1".to_owned()],
            ..key("reader", &["orders:read"])
        },
    );
    let service = Guarded::start(layer(&admin));
    for credential in [
        header("x-api-key", &made.token),
        header("API-Key", &made.token),
        header("authorization", format!("Bearer {}", made.token)),
    ] {
        let answer = service.get("/orders?page=2", &[credential, header("accept", "a/b")]);
        let seen = answer.json();
        assert_eq!(answer.status, 200, "{seen}");
        assert!(!answer.text().contains(&made.token));
        assert_eq!(seen["path"], "/orders?page=2");
        assert_eq!(seen["headers"]["accept"], "a/b");
        let allowed = &seen["allowed"];
        assert_eq!(allowed["key_id"], made.id);
        assert_eq!(allowed["workspace"], "default");
        assert_eq!(allowed["subscription"], "sub1");
        assert_eq!(allowed["scopes"], serde_json::json!(["orders:read"]));
        assert_eq!(allowed["labels"]["team"], "blue");
        assert!(allowed["revision"].as_str().unwrap().contains('.'));
    }
}

#[test]
fn a_disabled_key_is_refused_by_the_next_request() {
    let (_process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let service = Guarded::start(layer(&admin));
    let ask = || service.get("/orders", &[header("x-api-key", &made.token)]);
    assert_eq!(ask().status, 200);
    admin.enable(&made.id, false).unwrap();
    assert_eq!(ask().status, 401);
    admin.enable(&made.id, true).unwrap();
    assert_eq!(ask().status, 200);
}

#[test]
fn every_class_of_denial_has_its_status_its_challenge_and_its_problem() {
    let (_process, admin) = claviger(&[]);
    let good = admin.make("default", key("reader", &["orders:read"])).token;
    let writer = admin
        .make("default", key("writer", &["orders:write"]))
        .token;
    let elsewhere = v1::Key {
        allowed_cidrs: vec!["203.0.113.0/24".to_owned()],
        ..key("elsewhere", &["orders:read"])
    };
    let elsewhere = admin.make("default", elsewhere).token;

    let service = Guarded::start(layer(&admin));
    let for_sub = Demand::all_of(["orders:read"]).for_subscription("nobody-s");
    let subscribed = Guarded::start(demanding(&admin, for_sub));
    let undemanding = Guarded::start(demanding(&admin, Demand::default()));
    let key_header = |token: &str| vec![header("x-api-key", token)];
    let invalid = Some("Bearer realm=\"claviger\", error=\"invalid_token\"");
    let scope =
        Some("Bearer realm=\"claviger\", error=\"insufficient_scope\", scope=\"orders:read\"");
    let request = Some("Bearer realm=\"claviger\", error=\"invalid_request\"");
    let none = Some("Bearer realm=\"claviger\"");
    let in_basic = vec![header("authorization", format!("Basic {}", basic(&good)))];
    let two = vec![header("x-api-key", &good), header("apikey", &writer)];
    for (service, headers, status, challenge, problem) in [
        (&service, vec![], 401, none, "no-credential"),
        (
            &service,
            key_header("nobody-knows-this-one"),
            401,
            invalid,
            "invalid-key",
        ),
        (
            &service,
            key_header("not\u{e4}visible"),
            401,
            invalid,
            "invalid-key",
        ),
        (&service, two, 400, request, "ambiguous-credential"),
        (
            &service,
            key_header(&writer),
            403,
            scope,
            "insufficient-scope",
        ),
        (
            &service,
            key_header(&elsewhere),
            403,
            None,
            "address-not-allowed",
        ),
        (&service, in_basic, 403, None, "presentation-not-allowed"),
        (
            &subscribed,
            key_header(&good),
            403,
            None,
            "subscription-not-allowed",
        ),
        (&undemanding, key_header(&good), 403, None, "not-open"),
    ] {
        let before = service.count();
        let answer = service.get("/orders", &headers);
        assert_eq!(answer.status, status, "{problem}");
        assert_eq!(answer.header("www-authenticate"), challenge, "{problem}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.json()["type"], format!("urn:claviger:{problem}"));
        assert_eq!(answer.json()["status"], status);
        assert_eq!(service.count(), before, "{problem}: the service was asked");
    }
}

/// The password of `Basic`.
fn basic(token: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("u:{token}"))
}

#[test]
fn a_key_in_the_query_is_taken_only_where_the_workspace_says_so_and_taken_off() {
    let (_process, admin) = claviger(&[]);
    admin.workspace("hooks", &["orders:read"]);
    let made = admin.make("hooks", key("reader", &["orders:read"]));
    let demand = Demand::all_of(["orders:read"]).in_workspace("hooks");
    let service = Guarded::start(demanding(&admin, demand));
    let path = format!("/orders?a=1&apikey={}&b", made.token);
    assert_eq!(service.get(&path, &[]).status, 403);

    let query = v1::Presentation::Query.into();
    let workspace = v1::Workspace {
        id: "hooks".to_owned(),
        settings: Some(v1::WorkspaceSettings {
            presentations: vec![query],
            ..v1::WorkspaceSettings::default()
        }),
        ..v1::Workspace::default()
    };
    admin
        .update_workspace(v1::UpdateWorkspaceRequest {
            workspace: Some(workspace),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["settings.presentations".to_owned()],
            }),
            ..Default::default()
        })
        .unwrap();
    let answer = service.get(&path, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["path"], "/orders?a=1&b");
}

#[test]
fn what_a_client_says_of_its_own_identity_never_arrives() {
    let (_process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let service = Guarded::start(layer(&admin));
    let answer = service.get(
        "/orders",
        &[
            header("x-api-key", &made.token),
            header("x-claviger-key-id", "key_forged"),
            header("X-Claviger_Scopes", "everything"),
            header("x_claviger_anything", "else"),
            header("x-other", "stays"),
        ],
    );
    let seen = answer.json();
    assert_eq!(answer.status, 200, "{seen}");
    let headers = seen["headers"].as_object().unwrap();
    let names: Vec<_> = headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["connection", "host", "x-other"]);
}

#[test]
fn a_key_bound_to_networks_is_judged_by_the_address_of_the_connection_or_the_one_found() {
    let (_process, admin) = claviger(&[]);
    let bound = |cidr: &str| v1::Key {
        allowed_cidrs: vec![cidr.to_owned()],
        ..key("bound", &["orders:read"])
    };
    let here = admin.make("default", bound("127.0.0.0/8")).token;
    let there = admin.make("default", bound("203.0.113.0/24")).token;
    let behind_proxy = layer(&admin).peer(|head| {
        let forwarded = head.headers.get("x-real-ip")?;
        forwarded.to_str().ok()?.parse().ok()
    });
    let direct = Guarded::start(layer(&admin));
    let behind_proxy = Guarded::start(behind_proxy);
    let nowhere = Guarded::start(layer(&admin).peer(|_| None));
    let status = |service: &Guarded, token: &str| {
        let headers = [
            header("x-api-key", token),
            header("x-real-ip", "203.0.113.9"),
        ];
        service.get("/orders", &headers).status
    };
    assert_eq!(status(&direct, &here), 200);
    assert_eq!(status(&direct, &there), 403);
    assert_eq!(status(&behind_proxy, &here), 403);
    assert_eq!(status(&behind_proxy, &there), 200);
    assert_eq!(status(&nowhere, &here), 403);
}

#[test]
fn a_request_is_refused_while_claviger_is_down_or_frozen_and_passes_when_it_is_back() {
    let (mut process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let patient = Guarded::start(layer(&admin));
    let hasty = Guarded::start(layer(&admin).deadline(std::time::Duration::from_millis(1)));
    let teapot = Guarded::start(layer(&admin).status_on_fault(StatusCode::IM_A_TEAPOT));
    let lenient = Guarded::start(layer(&admin).status_on_fault(StatusCode::OK));
    let credential = [header("x-api-key", &made.token)];
    assert_eq!(patient.get("/orders", &credential).status, 200);

    process.child.signal("STOP");
    let answer = hasty.get("/orders", &credential);
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["type"], "urn:claviger:undecided");
    process.child.signal("CONT");
    assert_eq!(patient.get("/orders", &credential).status, 200);

    process.kill();
    for (service, status) in [(&patient, 503), (&teapot, 418), (&lenient, 503)] {
        let before = service.count();
        assert_eq!(service.get("/orders", &credential).status, status);
        assert_eq!(service.count(), before);
    }
}

#[test]
fn more_requests_than_are_taken_are_told_to_come_back() {
    let (_process, admin) = claviger(&["--max-concurrent-decisions", "0"]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let credential = [header("x-api-key", &made.token)];
    for layer in [layer(&admin), layer(&admin).max_concurrent(0)] {
        let answer = Guarded::start(layer).get("/orders", &credential);
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.json()["type"], "urn:claviger:overloaded");
    }
}

#[test]
fn a_demand_that_claviger_does_not_understand_opens_nothing() {
    let (_process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let credential = [header("x-api-key", &made.token)];
    for (demand, status) in [
        (Demand::all_of(["not a scope"]), 503),
        (Demand::all_of([""; 65]), 503),
        (Demand::any_of(["orders:nobody-declared"]), 403),
        (Demand::any_key().in_workspace("elsewhere"), 401),
        (Demand::any_key(), 200),
        (Demand::any_of(["orders:write", "orders:read"]), 200),
    ] {
        let service = Guarded::start(demanding(&admin, demand.clone()));
        let answer = service.get("/orders", &credential);
        assert_eq!(answer.status, status, "{demand:?}: {}", answer.text());
    }
}

#[test]
fn the_example_serves_whom_claviger_allows() {
    let (_process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let channel = admin.channel();
    let service = Guarded::serving(|listener| async move {
        example::serve(listener, channel).await.unwrap();
    });
    let no_key = service.get("/orders", &[]);
    assert!([401, 503].contains(&no_key.status), "{}", no_key.text());
    // The example keeps the deadline of 200 ms, which a busy machine may miss: asked until it is decided about.
    let credential = [header("x-api-key", &made.token)];
    let answer = (0..1_000)
        .map(|_| service.get("/orders", &credential))
        .find(|answer| answer.status != 503)
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.text(), format!("no orders for {} yet\n", made.id));
}
