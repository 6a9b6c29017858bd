//! What an allowed request looks like to the service behind.

use claviger::grpc::proto::v1;
use claviger::grpc::proto::v1::{Key, Presentation};

use crate::harness::{EnvoyOptions, Rig, RigOptions, basic, demands, header, key};

const JWT: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl";

/// Envoy itself removes no forged header here: what is gone, Claviger has removed.
fn envoy_that_strips_nothing() -> RigOptions {
    RigOptions {
        envoy: EnvoyOptions {
            strips_forged_headers: false,
            routes: vec![demands(
                "/gold",
                &[("scopes", "orders:read"), ("subscription", "gold")],
            )],
            ..EnvoyOptions::default()
        },
        ..RigOptions::default()
    }
}

#[test]
fn a_key_opens_a_route_is_stripped_and_its_identity_is_handed_on() {
    let rig = Rig::start(&envoy_that_strips_nothing());
    rig.admin.subscription("default", "gold");
    let made = rig.admin.make(
        "default",
        Key {
            subscriptions: vec!["gold".to_owned()],
            ..key("reader", &["orders:read"])
        },
    );

    let seen = rig.with_key("/gold/7?page=2", &made.token).seen();
    assert_eq!(seen.path(), "/gold/7?page=2");
    assert_eq!(seen.all("x-api-key"), Vec::<&str>::new());
    assert_eq!(seen.all("x-claviger-key-id"), [&made.id]);
    assert_eq!(seen.all("x-claviger-workspace"), ["default"]);
    assert_eq!(seen.all("x-claviger-subscription"), ["gold"]);
    assert_eq!(seen.all("x-claviger-scopes"), ["orders:read"]);
}

#[test]
fn the_principal_of_a_key_is_handed_on_and_what_the_key_may_is_what_that_one_may() {
    let rig = Rig::start(&envoy_that_strips_nothing());
    let joe = |enabled| v1::UpsertPrincipalRequest {
        principal: Some(v1::Principal {
            id: "joe@example.com".to_owned(),
            enabled: Some(enabled),
            scopes: vec!["orders:read".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    rig.admin.upsert_principal(joe(true)).unwrap();
    let bound = Key {
        principal: "joe@example.com".to_owned(),
        ..key("joe's", &["orders:read", "orders:write"])
    };
    let made = rig.admin.make("default", bound);
    let forged = [
        header("x-api-key", &made.token),
        header("x-claviger-principal", "root"),
        header("x_claviger_principal", "root"),
    ];
    let seen = rig.get("/orders", &forged).seen();
    assert_eq!(seen.all("x-claviger-principal"), ["joe@example.com"]);
    assert_eq!(seen.all("x_claviger_principal"), Vec::<&str>::new());
    assert_eq!(seen.all("x-claviger-scopes"), ["orders:read"]);
    rig.admin.upsert_principal(joe(false)).unwrap();
    let denied = rig.get("/orders", &forged);
    assert_eq!(denied.status, 401);
    assert!(!denied.text().contains("principal"), "{}", denied.text());
}

#[test]
fn every_default_header_carries_a_key_and_none_of_them_reaches_the_service() {
    let rig = Rig::with_routes(Vec::new());
    let made = rig.admin.make("default", key("reader", &["orders:read"]));
    for name in ["x-api-key", "api-key", "apikey", "X-API-Key"] {
        let seen = rig.get("/orders", &[header(name, &made.token)]).seen();
        assert_eq!(seen.all(&name.to_lowercase()), Vec::<&str>::new());
        assert_eq!(seen.all("x-claviger-key-id"), [&made.id]);
    }
    let bearer = format!("Bearer {}", made.token);
    let seen = rig
        .get("/orders", &[header("authorization", bearer)])
        .seen();
    assert_eq!(seen.all("authorization"), Vec::<&str>::new());
}

#[test]
fn a_jwt_in_authorization_beside_a_key_in_its_own_header_is_left_in_place() {
    let rig = Rig::with_routes(Vec::new());
    let made = rig.admin.make("default", key("reader", &["orders:read"]));
    let bearer = format!("Bearer {JWT}");
    let seen = rig
        .get(
            "/orders",
            &[
                header("authorization", &bearer),
                header("x-api-key", &made.token),
            ],
        )
        .seen();
    assert_eq!(seen.all("authorization"), [bearer.as_str()]);
    assert_eq!(seen.all("x-api-key"), Vec::<&str>::new());
}

#[test]
fn forged_identity_headers_are_overwritten_or_removed_in_every_spelling() {
    let rig = Rig::start(&envoy_that_strips_nothing());
    let made = rig.admin.make("default", key("reader", &["orders:read"]));
    let names = [
        "x-claviger-key-id",
        "x-claviger-workspace",
        "x-claviger-principal",
        "x-claviger-subscription",
        "x-claviger-scopes",
    ];
    let mut headers = vec![header("x-api-key", &made.token)];
    for name in names {
        headers.extend(spellings(name).iter().map(|s| header(s, "forged")));
        headers.push(header(name, "forged again"));
        headers.push(header(&name.to_uppercase(), "FORGED"));
    }
    let seen = rig.get("/orders", &headers).seen();
    assert_eq!(seen.all("x-claviger-key-id"), [&made.id]);
    assert_eq!(seen.all("x-claviger-workspace"), ["default"]);
    assert_eq!(seen.all("x-claviger-scopes"), ["orders:read"]);
    let left: Vec<&str> = seen
        .names()
        .into_iter()
        .filter(|n| n.replace('_', "-").starts_with("x-claviger-"))
        .collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// A name with each of its hyphens as such or as an underscore.
fn spellings(name: &str) -> Vec<String> {
    name.chars().fold(vec![String::new()], |all, c| {
        let either: &[char] = if c == '-' { &['-', '_'] } else { &[c] };
        all.iter()
            .flat_map(|s| either.iter().map(move |c| format!("{s}{c}")))
            .collect()
    })
}

#[test]
fn the_sample_lets_no_client_forge_identity_even_where_claviger_is_not_asked() {
    let rig = Rig::with_routes(Vec::new());
    let made = rig.admin.make("default", key("reader", &["orders:read"]));
    let seen = rig
        .get(
            "/orders",
            &[
                header("x-api-key", &made.token),
                header("x-claviger-made-up", "forged"),
                header("x_claviger_key_id", "forged"),
            ],
        )
        .seen();
    assert_eq!(seen.all("x-claviger-made-up"), Vec::<&str>::new());
    assert_eq!(seen.all("x_claviger_key_id"), Vec::<&str>::new());
}

#[test]
fn a_key_in_the_query_is_taken_out_and_the_rest_stays() {
    let rig = rig_with_a_scope_for_hooks();
    let made = rig.admin.make("default", key("hook", &["hooks:post"]));
    let path = format!("/hooks?b=2&apikey={}&a=1", made.token);
    let seen = rig.get(path, &[]).seen();
    let (path, query) = seen.path().split_once('?').unwrap();
    assert_eq!(path, "/hooks");
    let mut pairs: Vec<&str> = query.split('&').collect();
    pairs.sort_unstable();
    assert_eq!(pairs, ["a=1", "b=2"]);
}

#[test]
fn a_query_without_a_key_reaches_the_service_byte_for_byte() {
    let rig = rig_with_a_scope_for_hooks();
    let made = rig.admin.make("default", key("hook", &["hooks:post"]));
    for path in ["/hooks?b=2&flag&a=%31+x&b=1&", "/hooks?", "/hooks"] {
        let seen = rig.with_key(path, &made.token).seen();
        assert_eq!(seen.path(), path);
    }
}

#[test]
fn basic_is_accepted_where_a_scope_says_so_and_taken_out() {
    let rig = rig_with_a_scope_for_hooks();
    let made = rig.admin.make("default", key("hook", &["hooks:post"]));
    for credentials in [format!("user:{}", made.token), format!("{}:", made.token)] {
        let seen = rig
            .get("/hooks", &[header("authorization", basic(&credentials))])
            .seen();
        assert_eq!(seen.all("authorization"), Vec::<&str>::new());
        assert_eq!(seen.all("x-claviger-key-id"), [&made.id]);
    }
}

/// The scope `hooks:post`, whose keys may also come as Basic and in the query; `/hooks` demands it.
fn rig_with_a_scope_for_hooks() -> Rig {
    let rig = Rig::with_routes(vec![demands("/hooks", &[("scopes", "hooks:post")])]);
    let scope = v1::Scope {
        workspace: "default".to_owned(),
        name: "hooks:post".to_owned(),
        presentations: vec![Presentation::Basic.into(), Presentation::Query.into()],
        ..v1::Scope::default()
    };
    rig.admin
        .create_scope(v1::CreateScopeRequest {
            scope: Some(scope),
            ..Default::default()
        })
        .unwrap();
    rig
}

#[test]
fn one_of_several_scopes_is_enough_where_the_route_says_so() {
    let rig = Rig::with_routes(vec![
        demands("/any", &[("any-scopes", "orders:write orders:read")]),
        demands("/all", &[("scopes", "orders:write orders:read")]),
    ]);
    let made = rig.admin.make("default", key("reader", &["orders:read"]));
    assert_eq!(rig.with_key("/any", &made.token).status, 200);
    assert_eq!(rig.with_key("/all", &made.token).status, 403);
}
