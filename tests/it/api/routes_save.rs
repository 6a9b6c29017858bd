//! What can be saved as a route, and what becomes of it: conflicts, claims, lists, deletion.

use claviger::grpc::proto::v1::{self, Decision, Reason};
use tonic::Code;

use super::check::http;
use super::stage::{Stage, details, mask, ok, refused, request_id, routing};

fn with(id: &str, path: &str, change: impl FnOnce(&mut v1::Route)) -> v1::CreateRouteRequest {
    let mut request = routing("acme", id, path);
    change(request.route.as_mut().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routes_that_are_equally_specific_are_a_conflict_that_names_the_other() {
    use tonic_types::StatusExt as _;
    let stage = Stage::set().await;
    let create = async |request| stage.system.routes().create_route(request).await;
    let first = with("first", "/v1/{a}/x", |r| {
        r.methods = vec!["GET".to_owned(), "PUT".to_owned()];
        r.hosts = vec!["a.example.com".to_owned(), "*.b.example.com".to_owned()];
    });
    ok(create(first).await);
    let clash = |hosts: &[&str], path: &str, methods: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect();
        with("second", path, |r| {
            r.hosts = texts(hosts);
            r.methods = texts(methods);
        })
    };
    let status = refused(
        create(clash(&["A.example.com"], "/v1/{other}/x", &["PUT"])).await,
        Code::AlreadyExists,
        "ROUTE_CONFLICT",
    );
    let info = status.get_error_details().error_info().cloned().unwrap();
    assert_eq!(info.metadata["route"], "first");
    // Each of these is more specific, or less, or about others.
    for (n, good) in [
        clash(&["a.example.com"], "/v1/{other}/x", &["POST"]),
        clash(&["a.example.com"], "/v1/{other}/x", &[]),
        clash(&["c.example.com"], "/v1/{other}/x", &["PUT"]),
        clash(&["*.example.com"], "/v1/{other}/x", &["PUT"]),
        clash(&[], "/v1/{other}/x", &["PUT"]),
        clash(&["a.example.com"], "/v1/y/x", &["PUT"]),
        clash(&["a.example.com"], "/v1/{rest=**}", &["PUT"]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut good = good;
        good.route.as_mut().unwrap().id = format!("good-{n}");
        ok(create(good).await);
    }
    // Another workspace is another world.
    let mut other = clash(&["a.example.com"], "/v1/{a}/x", &["GET"]);
    other.route.as_mut().unwrap().workspace = "other".to_owned();
    ok(create(other).await);
    // An update can come into conflict as well, but not with itself.
    let update = async |id: &str, methods: &[&str]| {
        let request = v1::UpdateRouteRequest {
            route: Some(v1::Route {
                workspace: "acme".to_owned(),
                id: id.to_owned(),
                methods: methods.iter().map(|m| (*m).to_owned()).collect(),
                ..Default::default()
            }),
            update_mask: mask(&["methods"]),
            ..Default::default()
        };
        stage.system.routes().update_route(request).await
    };
    refused(
        update("good-0", &["POST", "GET"]).await,
        Code::AlreadyExists,
        "ROUTE_CONFLICT",
    );
    ok(update("good-0", &["POST", "PATCH"]).await);
    refused(
        create(with("first", "/z", |_| ())).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    // What a deleted route took is free again.
    let delete = v1::DeleteRouteRequest {
        workspace: "acme".to_owned(),
        id: "first".to_owned(),
        ..Default::default()
    };
    ok(stage.system.routes().delete_route(delete).await);
    ok(create(clash(&["a.example.com"], "/v1/{b}/x", &["GET"])).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_checks_everything_and_makes_nothing() {
    let stage = Stage::set().await;
    let dry = v1::CreateRouteRequest {
        validate_only: true,
        ..routing("acme", "r", "/r")
    };
    let before = stage.revision().await;
    let answer = ok(stage.system.routes().create_route(dry.clone()).await);
    assert_eq!(
        (answer.route.unwrap().id.as_str(), answer.revision.as_str()),
        ("r", "")
    );
    assert_eq!(stage.revision().await, before);
    ok(stage
        .system
        .routes()
        .create_route(routing("acme", "r", "/r"))
        .await);
    refused(
        stage.system.routes().create_route(dry).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_is_made_once_and_answered_alike() {
    let stage = Stage::set().await;
    let create = v1::CreateRouteRequest {
        request_id: request_id(70),
        ..routing("acme", "r", "/r")
    };
    let first = ok(stage.system.routes().create_route(create.clone()).await);
    let again = ok(stage.system.routes().create_route(create.clone()).await);
    assert_eq!(first, again);
    let delete = v1::DeleteRouteRequest {
        workspace: "acme".to_owned(),
        id: "r".to_owned(),
        request_id: request_id(71),
        ..Default::default()
    };
    let first = ok(stage.system.routes().delete_route(delete.clone()).await);
    let again = ok(stage.system.routes().delete_route(delete).await);
    assert_eq!(first, again);
    assert_eq!(stage.revision().await, first.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_reads_back_as_it_was_written_and_a_save_of_what_was_read_is_none() {
    let stage = Stage::set().await;
    let value = "a-value-that-nobody-else-has-01";
    stage.server.remember(value);
    let values = v1::HeaderValues {
        values: vec![value.to_owned()],
        tags: Vec::new(),
    };
    let header = v1::HeaderFactor {
        name: "X-Tracking".to_owned(),
        demand: Some(v1::header_factor::Demand::OneOf(values)),
        forward: true,
    };
    let request = with("whole", "/v1/{s}/x", |r| {
        r.display_name = "Whole".to_owned();
        r.hosts = vec!["b.example.com".to_owned(), "*.A.example.com".to_owned()];
        r.methods = vec!["PUT".to_owned(), "GET".to_owned(), "GET".to_owned()];
        r.any_of_scopes = vec!["orders:write".to_owned()];
        r.subscription = Some(v1::SubscriptionSource {
            source: Some(v1::subscription_source::Source::Capture("s".to_owned())),
        });
        r.factors = vec![v1::Factor {
            factor: Some(v1::factor::Factor::Header(header)),
        }];
        r.labels = [("team".to_owned(), "a".to_owned())].into();
    });
    let made = ok(stage.system.routes().create_route(request).await)
        .route
        .unwrap();
    assert_eq!(made.hosts, ["*.a.example.com", "b.example.com"]);
    assert_eq!(made.methods, ["GET", "PUT"]);
    let get = v1::GetRouteRequest {
        workspace: "acme".to_owned(),
        id: "whole".to_owned(),
    };
    let stage = stage.restart().await;
    let read = ok(stage.system.routes().get_route(get).await)
        .route
        .unwrap();
    assert_eq!(read, made);
    let before = stage.revision().await;
    let again = v1::UpdateRouteRequest {
        route: Some(read.clone()),
        update_mask: mask(&["*"]),
        ..Default::default()
    };
    let saved = ok(stage.system.routes().update_route(again).await)
        .route
        .unwrap();
    assert_eq!(saved, read);
    assert_eq!(stage.revision().await, before);
    // The value still counts after it was only given back as a tag.
    let key = stage.key(&["orders:read", "orders:write"]).await;
    let mut request = http(
        &[("x-api-key", &key.primary), ("x-tracking", value)],
        "/v1/basic/x",
    );
    let asked = request.http.as_mut().unwrap();
    (asked.host, asked.method) = ("b.example.com".to_owned(), "GET".to_owned());
    let answer = stage.check(request).await;
    assert_eq!(
        (answer.reason(), answer.subscription.as_str()),
        (Reason::Ok, "basic")
    );
    // An older etag is no longer good.
    let rename = |etag: &str| v1::UpdateRouteRequest {
        route: Some(v1::Route {
            display_name: format!("after {etag}"),
            etag: etag.to_owned(),
            workspace: "acme".to_owned(),
            id: "whole".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.system.routes().update_route(rename(&read.etag)).await);
    let late = v1::UpdateRouteRequest {
        update_mask: mask(&["display_name"]),
        ..rename("\"0\"")
    };
    refused(
        stage.system.routes().update_route(late).await,
        Code::Aborted,
        "ETAG_MISMATCH",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_route_names_can_not_be_taken_from_under_it() {
    let stage = Stage::set().await;
    let fixed = with("fixed", "/fixed", |r| {
        r.subscription = Some(v1::SubscriptionSource {
            source: Some(v1::subscription_source::Source::Fixed("pro".to_owned())),
        });
    });
    ok(stage.system.routes().create_route(fixed).await);
    let scope = v1::DeleteScopeRequest {
        workspace: "acme".to_owned(),
        name: "orders:read".to_owned(),
        ..Default::default()
    };
    let status = refused(
        stage.system.directory().delete_scope(scope).await,
        Code::FailedPrecondition,
        "IN_USE",
    );
    assert!(status.message().contains("route `fixed`"), "{status:?}");
    let subscription = v1::DeleteSubscriptionRequest {
        workspace: "acme".to_owned(),
        id: "pro".to_owned(),
        ..Default::default()
    };
    refused(
        stage
            .system
            .directory()
            .delete_subscription(subscription)
            .await,
        Code::FailedPrecondition,
        "IN_USE",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_listed_a_page_at_a_time_and_go_with_their_workspace() {
    let stage = Stage::set().await;
    let workspace = v1::CreateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "short-lived".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.system.directory().create_workspace(workspace).await);
    let of = |n: u32| {
        with(&format!("r{n}"), &format!("/{n}"), |r| {
            r.workspace = "short-lived".to_owned();
            r.required_scopes.clear();
        })
    };
    for n in [3, 1, 2] {
        ok(stage.system.routes().create_route(of(n)).await);
    }
    let (mut ids, mut token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListRoutesRequest {
            workspace: "short-lived".to_owned(),
            page_size: 2,
            page_token: token,
        };
        let page = ok(stage.system.routes().list_routes(request).await);
        ids.push(page.routes.into_iter().map(|r| r.id).collect::<Vec<_>>());
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, [vec!["r1", "r2"], vec!["r3"]]);
    let delete = v1::DeleteWorkspaceRequest {
        id: "short-lived".to_owned(),
        ..Default::default()
    };
    ok(stage.system.directory().delete_workspace(delete).await);
    let again = v1::CreateWorkspaceRequest {
        workspace: Some(v1::Workspace {
            id: "short-lived".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    ok(stage.system.directory().create_workspace(again).await);
    let request = v1::ListRoutesRequest {
        workspace: "short-lived".to_owned(),
        ..Default::default()
    };
    assert!(
        ok(stage.system.routes().list_routes(request).await)
            .routes
            .is_empty()
    );
    ok(stage.system.routes().create_route(of(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_says_the_workspace_only_where_an_administrator_of_all_says_so() {
    let stage = Stage::set().await;
    let claiming = |workspace: &str| {
        with("hosted", "/{rest=**}", |r| {
            r.workspace = workspace.to_owned();
            r.hosts = vec!["*.acme.example".to_owned(), "acme.example".to_owned()];
            r.claims_hosts = true;
        })
    };
    let key = stage.key(&["orders:read"]).await;
    let ask = async |host: &str| {
        let mut request = http(&[("x-api-key", &key.primary)], "/x");
        request.workspace.clear();
        request.http.as_mut().unwrap().host = host.to_owned();
        let answer = stage.check(request).await;
        (answer.workspace.clone(), answer.decision())
    };
    refused(
        stage.acme.routes().create_route(claiming("acme")).await,
        Code::PermissionDenied,
        "SYSTEM_ONLY",
    );
    assert_eq!(ask("api.acme.example").await.0, "default");
    ok(stage.system.routes().create_route(claiming("acme")).await);
    let acme = ("acme".to_owned(), Decision::Allow);
    assert_eq!(ask("api.acme.example:443").await, acme);
    assert_eq!(ask("ACME.example.").await, acme);
    assert_eq!(ask("other.example").await.0, "default");
    let status = refused(
        stage.system.routes().create_route(claiming("other")).await,
        Code::FailedPrecondition,
        "HOST_CLAIMED",
    );
    assert_eq!(details(&status).0, "HOST_CLAIMED");
    // Its own tenant may change all else of it.
    let update = |route: v1::Route, field: &str| v1::UpdateRouteRequest {
        route: Some(v1::Route {
            id: "hosted".to_owned(),
            workspace: "acme".to_owned(),
            ..route
        }),
        update_mask: mask(&[field]),
        ..Default::default()
    };
    let named = v1::Route {
        display_name: "Hosted".to_owned(),
        ..Default::default()
    };
    ok(stage
        .acme
        .routes()
        .update_route(update(named, "display_name"))
        .await);
    let moved = v1::Route {
        hosts: vec!["victim.example".to_owned()],
        ..Default::default()
    };
    refused(
        stage
            .acme
            .routes()
            .update_route(update(moved, "hosts"))
            .await,
        Code::PermissionDenied,
        "SYSTEM_ONLY",
    );
    let delete = v1::DeleteRouteRequest {
        workspace: "acme".to_owned(),
        id: "hosted".to_owned(),
        ..Default::default()
    };
    ok(stage.system.routes().delete_route(delete).await);
    assert_eq!(ask("api.acme.example").await.0, "default");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_route_that_a_request_would_take_is_told_with_its_captures() {
    let stage = Stage::set().await;
    for (id, path) in [("one", "/v1/{a}/x"), ("rest", "/files/{name}/{rest=**}")] {
        ok(stage
            .system
            .routes()
            .create_route(routing("acme", id, path))
            .await);
    }
    let ask = async |path: &str| {
        let request = v1::MatchRouteRequest {
            workspace: "acme".to_owned(),
            path: path.to_owned(),
            ..Default::default()
        };
        ok(stage.system.routes().match_route(request).await)
    };
    let found = ask("/v1/%61%20b/x?q=1").await;
    assert_eq!(found.route.unwrap().id, "one");
    assert_eq!(found.captures["a"], "a b");
    let found = ask("/files/n/a/b/").await;
    assert_eq!(
        (&*found.captures["name"], &*found.captures["rest"]),
        ("n", "a/b")
    );
    let none = ask("/elsewhere").await;
    assert_eq!((none.route, none.refusal.as_str()), (None, ""));
    let bad = ask("/v1/../x").await;
    assert!(
        bad.route.is_none() && bad.refusal.contains("dot segment"),
        "{bad:?}"
    );
}
