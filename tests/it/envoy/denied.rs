//! Every reason for a denial, as the client sees it and as Envoy's access log tells it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use claviger::grpc::proto::v1::{self, Key};

use crate::harness::{
    EnvoyOptions, PATIENCE, Response, Rig, RigOptions, basic, demands, header, key, register,
};

type Headers = Vec<(String, Vec<u8>)>;

/// A request that is denied for this reason.
struct Case {
    reason: &'static str,
    status: u16,
    path: &'static str,
    headers: Headers,
}

fn case(reason: &'static str, status: u16, path: &'static str, headers: Headers) -> Case {
    Case {
        reason,
        status,
        path,
        headers,
    }
}

fn in_header(token: &str) -> Headers {
    vec![header("x-api-key", token)]
}

/// A rig, and a request for every reason but `IP_UNKNOWN` (which needs a client without an address).
fn cases() -> (Rig, Vec<Case>) {
    let rig = Rig::with_routes(vec![
        demands("/write", &[("scopes", "orders:write")]),
        demands(
            "/gold",
            &[("scopes", "orders:read"), ("subscription", "gold")],
        ),
        demands(
            "/closed",
            &[("workspace", "closed"), ("scopes", "orders:read")],
        ),
    ]);
    let admin = &rig.admin;
    let reader = |name: &str| key(name, &["orders:read"]);
    admin.subscription("default", "gold");
    admin.subscription("default", "silver");

    let good = admin.make("default", reader("good"));
    let deleted = admin.make("default", reader("deleted"));
    admin
        .delete_key(v1::DeleteKeyRequest {
            id: deleted.id,
            ..Default::default()
        })
        .unwrap();
    let disabled = admin.make("default", reader("disabled"));
    admin.enable(&disabled.id, false).unwrap();
    let revoked = admin.make("default", reader("revoked"));
    let replaced = admin
        .regenerate_secret(v1::RegenerateSecretRequest {
            key_id: revoked.id.clone(),
            ..Default::default()
        })
        .unwrap();
    register(&replaced.tokens[0].token);
    admin.workspace("closed", &["orders:read"]);
    let closed = admin.make("closed", reader("closed"));
    admin.enable_workspace("closed", false);
    let elsewhere = admin.make(
        "default",
        Key {
            allowed_cidrs: vec!["203.0.113.0/24".to_owned()],
            ..reader("elsewhere")
        },
    );
    let silver = admin.make(
        "default",
        Key {
            subscriptions: vec!["silver".to_owned()],
            ..reader("silver")
        },
    );
    let two = vec![
        header("x-api-key", &good.token),
        header("api-key", &disabled.token),
    ];
    let password = vec![header("authorization", basic(&format!("u:{}", good.token)))];
    let all = vec![
        case("NOTHING_DEMANDED", 403, "/else", in_header(&good.token)),
        case("NO_CREDENTIAL", 401, "/orders", Vec::new()),
        case("AMBIGUOUS_CREDENTIAL", 400, "/orders", two),
        case(
            "MALFORMED_CREDENTIAL",
            401,
            "/orders",
            in_header(&misspelt(&good.token)),
        ),
        case(
            "UNKNOWN_KEY",
            401,
            "/orders",
            in_header("of-nobody-0123456789abcdef"),
        ),
        case("SECRET_REVOKED", 401, "/orders", in_header(&revoked.token)),
        case("KEY_DELETED", 401, "/orders", in_header(&deleted.token)),
        case("KEY_DISABLED", 401, "/orders", in_header(&disabled.token)),
        case("KEY_EXPIRED", 401, "/orders", in_header(&expired(&rig))),
        case(
            "WORKSPACE_DISABLED",
            401,
            "/closed",
            in_header(&closed.token),
        ),
        case(
            "IP_NOT_ALLOWED",
            403,
            "/orders",
            in_header(&elsewhere.token),
        ),
        case("PRESENTATION_NOT_ALLOWED", 403, "/orders", password),
        case(
            "SUBSCRIPTION_NOT_ALLOWED",
            403,
            "/gold",
            in_header(&silver.token),
        ),
        case("INSUFFICIENT_SCOPE", 403, "/write", in_header(&good.token)),
    ];
    (rig, all)
}

/// A generated token with one of its random characters changed, so that its checksum is wrong.
fn misspelt(token: &str) -> String {
    let at = token.len() - 20;
    let change = |(n, c)| match (n == at, c) {
        (true, 'A') => 'B',
        (true, _) => 'A',
        (false, c) => c,
    };
    token.chars().enumerate().map(change).collect()
}

/// A key whose time is over: it opens the route at first, and one second later no more.
fn expired(rig: &Rig) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process under test reads this clock"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = now + Duration::from_secs(2);
    let made = rig.admin.make(
        "default",
        Key {
            expire_time: Some(prost_types::Timestamp {
                seconds: i64::try_from(at.as_secs()).unwrap(),
                nanos: 0,
            }),
            ..key("expires", &["orders:read"])
        },
    );
    let deadline = Instant::now() + PATIENCE;
    while rig.with_key("/orders", &made.token).status == 200 {
        assert!(Instant::now() < deadline, "the key never expires");
    }
    made.token
}

/// What every refused HTTP client gets: a problem document, and the challenge of RFC 6750 that fits the reason.
fn assert_refusal(reason: &str, status: u16, response: &Response) {
    assert_eq!(response.status, status, "{reason}: {}", response.text());
    assert_eq!(
        response.header("content-type"),
        Some("application/problem+json"),
        "{reason}"
    );
    let problem = response.json();
    assert_eq!(problem["status"], status, "{reason}");
    assert!(problem["title"].is_string(), "{reason}: {problem}");
    let challenge = response.all("www-authenticate").join(", ");
    match reason {
        "NO_CREDENTIAL" => assert!(
            challenge.starts_with("Bearer") && !challenge.contains("error="),
            "{reason}: {challenge}"
        ),
        "INSUFFICIENT_SCOPE" => assert!(
            challenge.contains("error=\"insufficient_scope\"")
                && challenge.contains("scope=\"orders:write\""),
            "{reason}: {challenge}"
        ),
        _ if status == 401 => assert!(
            challenge.contains("error=\"invalid_token\""),
            "{reason}: {challenge}"
        ),
        _ if status == 400 => assert!(
            challenge.contains("error=\"invalid_request\""),
            "{reason}: {challenge}"
        ),
        _ => assert!(!challenge.contains("error="), "{reason}: {challenge}"),
    }
}

#[test]
fn every_reason_has_its_status_challenge_and_body_for_http_callers_and_stands_in_the_access_log() {
    let (mut rig, cases) = cases();
    for case in &cases {
        let path = format!("{}/{}", case.path, case.reason.to_lowercase());
        let before = rig.upstream.count();
        let response = rig.envoy.get(&path, &case.headers);
        assert_refusal(case.reason, case.status, &response);
        assert_eq!(rig.upstream.count(), before, "{}", case.reason);

        let entry = rig.envoy.access(&path);
        assert_eq!(entry["reason"], case.reason);
        assert_eq!(entry["decision"], "DENY", "{}", case.reason);
        assert_eq!(entry["status"], case.status, "{}", case.reason);
    }
}

#[test]
fn every_reason_is_a_grpc_status_with_a_plain_message_for_grpc_callers() {
    let (rig, cases) = cases();
    for case in &cases {
        let mut headers = case.headers.clone();
        headers.push(header("content-type", "application/grpc"));
        headers.push(header("te", "trailers"));
        let before = rig.upstream.count();
        let response = rig.envoy.get(case.path, &headers);
        assert_eq!(rig.upstream.count(), before, "{}", case.reason);

        // Envoy derives the gRPC status from the HTTP status: 16 from 401, 7 from 403. From 400 it would make 13
        // (INTERNAL), so those come as one of the two.
        assert_eq!(response.status, 200, "{}", case.reason);
        let status = response.header("grpc-status").unwrap();
        match case.status {
            401 => assert_eq!(status, "16", "{}", case.reason),
            403 => assert_eq!(status, "7", "{}", case.reason),
            _ => assert!(["16", "7"].contains(&status), "{}: {status}", case.reason),
        }
        let message = response.header("grpc-message").unwrap();
        assert!(
            !message.is_empty() && !message.contains(['{', '}', '<', '"']),
            "{}: {message}",
            case.reason
        );
    }
}

#[test]
fn a_client_can_not_tell_an_unknown_key_from_a_dead_one() {
    let (rig, cases) = cases();
    let alike = [
        "MALFORMED_CREDENTIAL",
        "UNKNOWN_KEY",
        "SECRET_REVOKED",
        "KEY_DELETED",
        "KEY_DISABLED",
        "KEY_EXPIRED",
        "WORKSPACE_DISABLED",
    ];
    let mut first: Option<Response> = None;
    for reason in alike {
        let case = cases.iter().find(|c| c.reason == reason).unwrap();
        let mut response = rig.envoy.get(case.path, &case.headers);
        assert_eq!(response.status, 401);
        response.headers.retain(|(name, _)| name != "date");
        let first = first.get_or_insert_with(|| response.clone());
        assert_eq!(first.headers, response.headers, "{reason}");
        assert_eq!(first.body, response.body, "{reason}");
    }
}

#[test]
fn a_fenced_key_is_refused_where_the_client_has_no_address() {
    let mut rig = Rig::start(&RigOptions {
        envoy: EnvoyOptions {
            on_unix_socket: true,
            ..EnvoyOptions::default()
        },
        ..RigOptions::default()
    });
    let fenced = rig.admin.make(
        "default",
        Key {
            allowed_cidrs: vec!["127.0.0.0/8".to_owned()],
            ..key("fenced", &["orders:read"])
        },
    );
    let free = rig.admin.make("default", key("free", &["orders:read"]));
    assert_eq!(rig.with_key("/orders", &free.token).status, 200);
    for (name, value) in [
        ("x-other", "1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-envoy-external-address", "127.0.0.1"),
    ] {
        let path = format!("/orders/{name}");
        let headers = [header("x-api-key", &fenced.token), header(name, value)];
        let response = rig.envoy.get(&path, &headers);
        assert_refusal("IP_UNKNOWN", 403, &response);
        assert_eq!(rig.envoy.access(&path)["reason"], "IP_UNKNOWN");
    }
}

#[test]
fn a_denial_says_nothing_about_the_key() {
    let (rig, cases) = cases();
    for case in &cases {
        let response = rig.envoy.get(case.path, &case.headers);
        let text = format!("{:?} {}", response.headers, response.text());
        for word in ["key_", "sec_", "silver", "203.0.113"] {
            assert!(!text.contains(word), "{}: {text}", case.reason);
        }
    }
}
