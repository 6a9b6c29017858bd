//! Claviger's routes behind Envoy: which one is taken, what is stripped, what is refused.

use claviger::grpc::proto::v1;

use crate::harness::{Rig, Route, basic, demands, header, key};

fn rig(routes: Vec<Route>, own: Vec<v1::Route>) -> Rig {
    let rig = Rig::with_routes(routes);
    for route in own {
        rig.admin
            .create_route(v1::CreateRouteRequest {
                route: Some(v1::Route {
                    workspace: "default".to_owned(),
                    ..route
                }),
                ..Default::default()
            })
            .unwrap();
    }
    rig
}

fn route(id: &str, path: &str, scopes: &[&str]) -> v1::Route {
    v1::Route {
        id: id.to_owned(),
        path: path.to_owned(),
        required_scopes: scopes.iter().map(|s| (*s).to_owned()).collect(),
        ..Default::default()
    }
}

#[test]
fn the_route_is_found_by_method_host_and_path_and_replaces_a_demand_in_the_configuration() {
    let of_host = v1::Route {
        hosts: vec!["service.test".to_owned()],
        ..route("writing", "/api/{name}", &["orders:write"])
    };
    let posting = v1::Route {
        methods: vec!["POST".to_owned()],
        ..route("posting", "/api/orders", &["orders:write"])
    };
    let reading = v1::Route {
        methods: vec!["GET".to_owned()],
        hosts: vec!["*.test".to_owned()],
        ..route("reading", "/api/orders/{id}", &["orders:read"])
    };
    let mut rig = rig(vec![demands("/api", &[])], vec![of_host, posting, reading]);
    let reader = rig.admin.make("default", key("reader", &["orders:read"]));
    let writer = rig.admin.make("default", key("writer", &["orders:write"]));
    assert_eq!(rig.with_key("/api/orders/7?a=b", &reader.token).status, 200);
    assert_eq!(rig.with_key("/api/orders/7", &writer.token).status, 403);
    assert_eq!(rig.with_key("/api/anything", &writer.token).status, 200);
    assert_eq!(rig.with_key("/api/anything", &reader.token).status, 403);
    // What no route takes and nothing is demanded of is not open.
    let refused = rig.with_key("/api", &reader.token);
    assert!(refused.status == 403 && refused.text().contains("not-open"));
    let entry = rig.envoy.access("/api");
    assert_eq!(entry["reason"], "NOTHING_DEMANDED");
}

#[test]
fn a_route_can_be_named_and_one_that_does_not_exist_is_refused() {
    let rig = rig(
        vec![
            demands("/named", &[("route", "writing")]),
            demands(
                "/misspelt",
                &[("route", "writting"), ("scopes", "orders:read")],
            ),
        ],
        vec![route("writing", "/nobody-asks-for-this", &["orders:write"])],
    );
    let reader = rig.admin.make("default", key("reader", &["orders:read"]));
    let writer = rig.admin.make("default", key("writer", &["orders:write"]));
    assert_eq!(rig.with_key("/named/x", &writer.token).status, 200);
    assert_eq!(rig.with_key("/named/x", &reader.token).status, 403);
    let refused = rig.with_key("/misspelt", &reader.token);
    assert!(refused.status == 403 && refused.text().contains("route-unknown"));
}

#[test]
fn everybody_passes_a_public_route_and_only_dedicated_headers_are_taken_off() {
    let public = v1::Route {
        access: v1::Access::Public.into(),
        ..route("public", "/public/{rest=**}", &[])
    };
    let rig = rig(vec![demands("/public", &[])], vec![public]);
    let authorization = basic("user:password");
    let seen = rig
        .get(
            "/public/a?apikey=mine&b",
            &[
                header("authorization", &authorization),
                header("x-api-key", "nobody"),
                header("x-claviger-key-id", "forged"),
            ],
        )
        .seen();
    assert_eq!(seen.path(), "/public/a?apikey=mine&b");
    assert_eq!(seen.all("authorization"), [authorization.as_str()]);
    assert!(seen.all("x-api-key").is_empty());
    assert!(seen.all("x-claviger-key-id").is_empty());
    assert_eq!(seen.all("x-claviger-workspace"), ["default"]);
}

#[test]
fn a_path_that_envoy_lets_through_and_servers_may_read_differently_is_refused() {
    let catch_all = v1::Route {
        access: v1::Access::Public.into(),
        ..route("open", "/api/{rest=**}", &[])
    };
    let admin = route("admin", "/api/admin", &["orders:write"]);
    let rig = rig(vec![demands("/api", &[])], vec![catch_all, admin]);
    assert_eq!(rig.get("/api/x", &[]).status, 200);
    assert_eq!(rig.get("/api/admin", &[]).status, 401);
    assert_eq!(rig.get("/api/%61dmin", &[]).status, 401);
    assert_eq!(rig.get("/api/admin/", &[]).status, 401);
    for path in [
        "/api/admin;x=1",
        "/api/..;/admin",
        "/api/%252e%252e/admin",
        "/api/x%00",
    ] {
        let status = rig.get(path, &[]).status;
        assert!(matches!(status, 400 | 403), "{path}: {status}");
    }
}
