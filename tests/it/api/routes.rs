//! Routes in decisions: which one a request takes, what it demands, where the subscription comes from, what else is needed.

use claviger::grpc::proto::v1::{self, Decision, Reason};

use super::check::http;
use super::stage::{Made, Stage, asking, creating, declaring, holding, ok, routing};

/// A request for a path with a key in `x-api-key`.
fn getting(path: &str, token: &str, more: &[(&str, &str)]) -> v1::CheckRequest {
    let mut headers = vec![("x-api-key", token)];
    headers.extend(more);
    let mut request = http(&headers, path);
    let http = request.http.as_mut().unwrap();
    http.method = "GET".to_owned();
    http.host = "api.example.com".to_owned();
    request
}

async fn route(stage: &Stage, route: v1::Route) -> v1::Route {
    let request = v1::CreateRouteRequest {
        route: Some(v1::Route {
            workspace: "acme".to_owned(),
            ..route
        }),
        ..Default::default()
    };
    ok(stage.system.routes().create_route(request).await)
        .route
        .unwrap()
}

/// A route that demands `orders:read`.
fn reading(id: &str, path: &str) -> v1::Route {
    routing("acme", id, path).route.unwrap()
}

async fn decided(stage: &Stage, request: v1::CheckRequest) -> (Reason, String) {
    let answer = stage.check(request).await;
    let allow = answer.decision() == Decision::Allow;
    assert_eq!(allow, answer.reason() == Reason::Ok, "{answer:?}");
    (answer.reason(), answer.route)
}

#[track_caller]
fn is(found: &(Reason, String), reason: Reason, route: &str) {
    assert_eq!((found.0, found.1.as_str()), (reason, route));
}

async fn bound(stage: &Stage, scopes: &[&str], subscriptions: &[&str]) -> Made {
    let key = v1::Key {
        subscriptions: subscriptions.iter().map(|s| (*s).to_owned()).collect(),
        ..holding(scopes)
    };
    stage.make(creating("acme", key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_takes_the_most_specific_route_and_meets_its_demands() {
    let stage = Stage::set().await;
    route(&stage, reading("orders", "/v1/{subscription}/orders")).await;
    let writing = v1::Route {
        methods: vec!["POST".to_owned(), "PUT".to_owned()],
        required_scopes: vec!["orders:write".to_owned()],
        ..reading("writing", "/v1/{subscription}/orders")
    };
    route(&stage, writing).await;
    let health = v1::Route {
        access: v1::Access::Public.into(),
        required_scopes: Vec::new(),
        ..reading("health", "/v1/health/orders")
    };
    route(&stage, health).await;
    let reader = stage.key(&["orders:read"]).await;
    let ask = |path: &str| getting(path, &reader.primary, &[]);
    is(
        &decided(&stage, ask("/v1/x/orders?page=2")).await,
        Reason::Ok,
        "orders",
    );
    is(
        &decided(&stage, ask("/v1/x/orders/")).await,
        Reason::Ok,
        "orders",
    );
    let mut posting = ask("/v1/x/orders");
    posting.http.as_mut().unwrap().method = "POST".to_owned();
    is(
        &decided(&stage, posting).await,
        Reason::InsufficientScope,
        "writing",
    );
    // Everybody passes a public route, even with a key that is none.
    let nobody = getting("/v1/health/orders", "nobody", &[]);
    let answer = stage.check(nobody).await;
    assert_eq!(
        (answer.decision(), answer.key_id.as_str()),
        (Decision::Allow, "")
    );
    // What no route takes is judged by what it demands itself.
    is(&decided(&stage, ask("/v2")).await, Reason::Ok, "");
    let demanding = v1::CheckRequest {
        required_scopes: vec!["orders:write".to_owned()],
        ..ask("/v1/x/orders")
    };
    is(
        &decided(&stage, demanding).await,
        Reason::InsufficientScope,
        "orders",
    );
    let denying = v1::WorkspaceSettings {
        unmatched_requests: v1::UnmatchedRequests::Deny.into(),
        ..Default::default()
    };
    stage.configure("acme", denying).await;
    is(&decided(&stage, ask("/v2")).await, Reason::RouteUnknown, "");
    is(
        &decided(&stage, asking("acme", &reader.primary, &[])).await,
        Reason::RouteUnknown,
        "",
    );
    is(
        &decided(&stage, ask("/v1/x/orders")).await,
        Reason::Ok,
        "orders",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_can_be_read_in_two_ways_is_refused_where_there_are_routes() {
    let stage = Stage::set().await;
    let reader = stage.key(&["orders:read"]).await;
    let odd = [
        "/v1//orders",
        "/v1/../orders",
        "/v1/%2e%2e/orders",
        "/v1/..;/orders",
        "/v1/a%2forders",
        "/v1/a%5corders",
        "/v1/%25",
        "/v1/%00",
        "/v1\\orders",
        "/v1#orders",
        "v1",
        "*",
    ];
    for path in odd {
        let found = decided(&stage, getting(path, &reader.primary, &[])).await;
        is(&found, Reason::Ok, "");
    }
    route(&stage, reading("orders", "/orders")).await;
    for path in odd {
        let found = decided(&stage, getting(path, &reader.primary, &[])).await;
        assert_eq!(found.0, Reason::RouteUnknown, "{path}");
    }
    // The query is nobody's path.
    let found = decided(&stage, getting("/orders?a=/../%2f//", &reader.primary, &[])).await;
    is(&found, Reason::Ok, "orders");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_route_is_taken_whatever_the_path_and_one_that_is_misspelt_is_refused() {
    let stage = Stage::set().await;
    route(&stage, reading("orders", "/orders")).await;
    let reader = stage.key(&["orders:read"]).await;
    let nothing = stage.key(&[]).await;
    let naming = |token: &str, route: &str| v1::CheckRequest {
        route: route.to_owned(),
        ..asking("acme", token, &[])
    };
    is(
        &decided(&stage, naming(&reader.primary, "orders")).await,
        Reason::Ok,
        "orders",
    );
    let refused = decided(&stage, naming(&nothing.primary, "orders")).await;
    is(&refused, Reason::InsufficientScope, "orders");
    is(
        &decided(&stage, naming(&reader.primary, "order")).await,
        Reason::RouteUnknown,
        "",
    );
    let insufficient = stage.check(naming(&nothing.primary, "orders")).await;
    assert!(
        insufficient.challenge.contains("scope=\"orders:read\""),
        "{insufficient:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_subscription_comes_from_where_the_route_says() {
    use v1::subscription_source::Source;
    let stage = Stage::set().await;
    let from = |source: Source| {
        Some(v1::SubscriptionSource {
            source: Some(source),
        })
    };
    let captured = v1::Route {
        subscription: from(Source::Capture("subscription".to_owned())),
        ..reading("captured", "/v1/{subscription}/orders")
    };
    let told = v1::Route {
        subscription: from(Source::Header("X-Subscription".to_owned())),
        ..reading("told", "/told")
    };
    let fixed = v1::Route {
        subscription: from(Source::Fixed("basic".to_owned())),
        ..reading("fixed", "/fixed")
    };
    for one in [captured, told, fixed] {
        route(&stage, one).await;
    }
    let basic = bound(&stage, &["orders:read"], &["basic"]).await;
    let both = bound(&stage, &["orders:read"], &["basic", "pro"]).await;
    let check = async |made: &Made, path: &str, more: &[(&str, &str)], asked: &str| {
        let request = v1::CheckRequest {
            subscription: asked.to_owned(),
            ..getting(path, &made.primary, more)
        };
        let answer = stage.check(request).await;
        (answer.reason(), answer.subscription)
    };
    let good = |id: &str| (Reason::Ok, id.to_owned());
    let refused = (Reason::SubscriptionNotAllowed, String::new());
    assert_eq!(
        check(&basic, "/v1/basic/orders", &[], "").await,
        good("basic")
    );
    assert_eq!(
        check(&basic, "/v1/%62asic/orders", &[], "").await,
        good("basic")
    );
    assert_eq!(check(&basic, "/v1/pro/orders", &[], "").await, refused);
    assert_eq!(check(&both, "/v1/pro/orders", &[], "").await, good("pro"));
    assert_eq!(check(&both, "/v1/nobody-s/orders", &[], "").await, refused);
    // Who asks for one must mean the same.
    assert_eq!(
        check(&both, "/v1/pro/orders", &[], "pro").await,
        good("pro")
    );
    assert_eq!(check(&both, "/v1/pro/orders", &[], "basic").await, refused);
    let header = ("x-subscription", "pro");
    assert_eq!(check(&both, "/told", &[header], "").await, good("pro"));
    assert_eq!(check(&both, "/told", &[], "").await, good(""));
    assert_eq!(check(&both, "/told", &[header, header], "").await, refused);
    assert_eq!(check(&basic, "/told", &[header], "").await, refused);
    assert_eq!(check(&both, "/fixed", &[], "").await, good("basic"));
    // A route that is named finds it in the path all the same.
    let named = |path: &str| v1::CheckRequest {
        route: "captured".to_owned(),
        ..getting(path, &both.primary, &[])
    };
    let answer = stage.check(named("/v1/pro/orders")).await;
    assert_eq!(
        (answer.reason(), answer.subscription.as_str()),
        (Reason::Ok, "pro")
    );
    assert_eq!(
        stage.check(named("/v1/pro")).await.reason(),
        Reason::RouteUnknown
    );
}

fn factor(factor: v1::factor::Factor) -> v1::Factor {
    v1::Factor {
        factor: Some(factor),
    }
}

fn header(name: &str, demand: v1::header_factor::Demand) -> v1::Factor {
    factor(v1::factor::Factor::Header(v1::HeaderFactor {
        name: name.to_owned(),
        demand: Some(demand),
        forward: false,
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_factor_is_demanded_beside_the_key() {
    use v1::header_factor::Demand;
    let stage = Stage::set().await;
    ok(stage
        .system
        .directory()
        .create_scope(declaring("acme", "tracking"))
        .await);
    let jwt = factor(v1::factor::Factor::Jwt(v1::JwtFactor {
        payload: String::new(),
        claim: "scope".to_owned(),
        values: vec!["messages".to_owned(), "all".to_owned()],
    }));
    let value = "the-value-of-a-tracking-header-1";
    stage.server.remember(value);
    let values = v1::HeaderValues {
        values: vec![value.to_owned(), "another".to_owned()],
        tags: Vec::new(),
    };
    for (id, demanded) in [
        ("jwt", vec![jwt]),
        (
            "present",
            vec![header("X-Request-Source", Demand::Present(true))],
        ),
        ("one-of", vec![header("x-tracking", Demand::OneOf(values))]),
        (
            "key",
            vec![header(
                "x-tracking",
                Demand::KeyWithScope("tracking".to_owned()),
            )],
        ),
    ] {
        let with = v1::Route {
            factors: demanded,
            ..reading(id, &format!("/{id}"))
        };
        let made = route(&stage, with).await;
        // Of values only tags come back.
        assert!(!format!("{made:?}").contains(value));
    }
    let key = stage.key(&["orders:read"]).await;
    let tracking = stage.key(&["tracking"]).await;
    let two_in_one = stage.key(&["orders:read", "tracking"]).await;
    let check = async |path: &str, more: &[(&str, &str)], claims: &[(&str, &str)]| {
        let claim = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let request = v1::CheckRequest {
            verified_claims: claims.iter().map(claim).collect(),
            ..getting(path, &key.primary, more)
        };
        stage.check(request).await.reason()
    };
    let missing = Reason::FactorMissing;
    for (claims, expected) in [
        (&[("scope", "read messages")][..], Reason::Ok),
        (&[("scope", "all")], Reason::Ok),
        (&[("scope", "message")], missing),
        (&[("sub", "messages")], missing),
        (&[], missing),
    ] {
        assert_eq!(check("/jwt", &[], claims).await, expected, "{claims:?}");
    }
    assert_eq!(check("/present", &[], &[]).await, missing);
    assert_eq!(
        check("/present", &[("x-request-source", " ")], &[]).await,
        missing
    );
    assert_eq!(
        check("/present", &[("x-request-source", "x")], &[]).await,
        Reason::Ok
    );
    for (sent, expected) in [
        (vec![value], Reason::Ok),
        (vec!["another"], Reason::Ok),
        (vec!["anothe"], missing),
        (vec![value, value], missing),
        (vec![], missing),
    ] {
        let headers: Vec<_> = sent.iter().map(|v| ("X-Tracking", *v)).collect();
        assert_eq!(check("/one-of", &headers, &[]).await, expected, "{sent:?}");
    }
    let with_key = async |token: &str| check("/key", &[("x-tracking", token)], &[]).await;
    assert_eq!(with_key(&tracking.primary).await, Reason::Ok);
    assert_eq!(with_key("nobody").await, missing);
    assert_eq!(
        with_key(&stage.key(&["orders:read"]).await.primary).await,
        missing
    );
    // One key is one factor, whatever it may do.
    let mut twice = getting(
        "/key",
        &two_in_one.primary,
        &[("x-tracking", &two_in_one.primary)],
    );
    assert_eq!(stage.check(twice.clone()).await.reason(), missing);
    twice.http.as_mut().unwrap().headers[1].value = tracking.primary.clone();
    let answer = stage.check(twice).await;
    assert_eq!((answer.reason(), answer.http_status), (Reason::Ok, 200));
    let disable = v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: tracking.id(),
            enabled: Some(false),
            ..Default::default()
        }),
        update_mask: super::stage::mask(&["enabled"]),
        ..Default::default()
    };
    ok(stage.system.keys().update_key(disable).await);
    let answer = stage
        .check(getting(
            "/key",
            &key.primary,
            &[("x-tracking", &tracking.primary)],
        ))
        .await;
    assert_eq!((answer.reason(), answer.http_status), (missing, 401));
    assert!(answer.challenge.starts_with("Bearer"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_says_where_a_key_may_be() {
    use v1::credential_location::Location;
    let stage = Stage::set().await;
    let at = |location| v1::CredentialLocation {
        location: Some(location),
    };
    let own = v1::Route {
        locations: vec![at(Location::Header("Connxio-Api-Key".to_owned()))],
        ..reading("own", "/own")
    };
    let bearer = v1::Route {
        locations: vec![at(Location::Bearer(true))],
        ..reading("bearer", "/bearer")
    };
    let oauth = v1::Route {
        factors: vec![factor(v1::factor::Factor::Jwt(v1::JwtFactor {
            claim: "sub".to_owned(),
            ..Default::default()
        }))],
        ..reading("oauth", "/oauth")
    };
    for one in [own, bearer, oauth] {
        route(&stage, one).await;
    }
    // An imported token may have the shape of a JWT.
    let dotted = "6a1f9c2e7b3d48.50c6e1f7a2b9d4.8c3e6f1a7d2b9054c6e1f";
    let dotted = stage
        .make(v1::CreateKeyRequest {
            primary: super::stage::external(dotted),
            ..creating("acme", holding(&["orders:read"]))
        })
        .await;
    let token = "6a1f9c2e7b3d48.50c6e1f7a2b9d4.8c3e6f1a7d2b9054c6e1f";
    assert!(!dotted.id().is_empty());
    let key = stage.key(&["orders:read"]).await;
    let check = async |path: &str, headers: &[(&str, &str)]| {
        let request = v1::CheckRequest {
            verified_claims: [("sub".to_owned(), "x".to_owned())].into(),
            ..http(headers, path)
        };
        stage.check(request).await.reason()
    };
    let plain = format!("Bearer {}", key.primary);
    let jwt = format!("Bearer {token}");
    for (path, headers, expected) in [
        ("/own", vec![("connxio-api-key", &*key.primary)], Reason::Ok),
        (
            "/own",
            vec![("x-api-key", &*key.primary)],
            Reason::NoCredential,
        ),
        (
            "/own",
            vec![("authorization", &*plain)],
            Reason::NoCredential,
        ),
        ("/bearer", vec![("authorization", &*plain)], Reason::Ok),
        ("/bearer", vec![("authorization", &*jwt)], Reason::Ok),
        (
            "/elsewhere",
            vec![("authorization", &*jwt)],
            Reason::NoCredential,
        ),
        ("/elsewhere", vec![("authorization", &*plain)], Reason::Ok),
        (
            "/oauth",
            vec![("authorization", &*plain)],
            Reason::NoCredential,
        ),
        (
            "/oauth",
            vec![("authorization", &*jwt), ("x-api-key", &*key.primary)],
            Reason::Ok,
        ),
        (
            "/oauth",
            vec![("authorization", &*plain), ("x-api-key", &*key.primary)],
            Reason::Ok,
        ),
    ] {
        assert_eq!(check(path, &headers).await, expected, "{path} {headers:?}");
    }
}
