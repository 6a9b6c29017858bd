//! Requests that parties may read differently, and requests that are odd: none of them opens more than it should.

use crate::harness::{EnvoyOptions, Made, Rig, RigOptions, basic, header, key};

fn rig(encode_raw_headers: bool) -> (Rig, Made, Made) {
    let rig = Rig::start(&RigOptions {
        envoy: EnvoyOptions {
            encode_raw_headers,
            ..EnvoyOptions::default()
        },
        ..RigOptions::default()
    });
    let one = rig.admin.make("default", key("one", &["orders:read"]));
    let two = rig.admin.make("default", key("two", &["orders:read"]));
    (rig, one, two)
}

#[test]
fn two_credentials_are_refused_whichever_comes_first() {
    let (rig, one, two) = rig(true);
    let places = |a: &Made, b: &Made| {
        let bearer = header("authorization", format!("Bearer {}", a.token));
        [
            vec![header("x-api-key", &a.token), header("api-key", &b.token)],
            vec![bearer, header("x-api-key", &b.token)],
            vec![
                header("x-api-key", &a.token),
                header("authorization", basic(&b.token)),
            ],
        ]
    };
    let (a, b) = (places(&one, &two), places(&two, &one));
    for headers in a.into_iter().chain(b) {
        assert_eq!(rig.get("/orders", &headers).status, 400);
        let reversed: Vec<_> = headers.into_iter().rev().collect();
        assert_eq!(rig.get("/orders", &reversed).status, 400);
    }
    let query = format!("/orders?apikey={}", one.token);
    assert_eq!(rig.with_key(&query, &two.token).status, 400);
}

#[test]
fn a_repeated_header_is_refused_with_and_without_encode_raw_headers() {
    for encode_raw_headers in [true, false] {
        let (rig, one, two) = rig(encode_raw_headers);
        assert_eq!(rig.with_key("/orders", &one.token).status, 200);
        for (a, b) in [(&one, &two), (&two, &one), (&one, &one)] {
            let repeated = [header("x-api-key", &a.token), header("X-Api-Key", &b.token)];
            let status = rig.get("/orders", &repeated).status;
            assert_eq!(status, 400, "encode_raw_headers: {encode_raw_headers}");
            let joined = format!("{}, {}", a.token, b.token);
            assert_eq!(rig.with_key("/orders", &joined).status, 400);
        }
        let bearers = [
            header("authorization", format!("Bearer {}", one.token)),
            header("authorization", format!("Bearer {}", two.token)),
        ];
        assert_eq!(rig.get("/orders", &bearers).status, 400);
    }
}

#[test]
fn a_parameter_name_that_only_some_would_read_as_the_keys_is_refused() {
    let (rig, one, two) = rig(true);
    for name in ["%61pikey", "APIKEY", "ApiKey", "api%6Bey", "%41PIKEY"] {
        let path = format!("/orders?x=1&{name}={}", one.token);
        assert_eq!(rig.get(&path, &[]).status, 400, "{name}");
        assert_eq!(rig.with_key(&path, &two.token).status, 400, "{name}");
    }
    let twice = format!("/orders?apikey={}&apikey={}", one.token, two.token);
    assert_eq!(rig.get(&twice, &[]).status, 400);
}

#[test]
fn bytes_that_are_not_utf_8_change_no_decision() {
    for encode_raw_headers in [true, false] {
        let (rig, one, _) = rig(encode_raw_headers);
        let odd = header("x-odd", b"caf\xe9 \xff\xfe");
        let good = header("x-api-key", &one.token);
        assert_eq!(rig.get("/orders", std::slice::from_ref(&odd)).status, 401);
        assert_eq!(rig.get("/orders", &[odd, good]).status, 200);

        let mut token = one.token.clone().into_bytes();
        token.push(0xff);
        assert_eq!(
            rig.get("/orders", &[header("x-api-key", &token)]).status,
            401
        );
        token.insert(0, 0xc3);
        assert_eq!(
            rig.get("/orders", &[header("x-api-key", &token)]).status,
            401
        );
        let bearer = [b"Bearer ".as_slice(), &token].concat();
        let response = rig.get("/orders", &[header("authorization", bearer)]);
        assert!([400, 401].contains(&response.status));
    }
}

#[test]
fn sixty_kilobytes_of_headers_are_decided_about() {
    let (rig, one, _) = rig(true);
    let filler = |n: usize| header(&format!("x-filler-{n}"), vec![b'f'; 7 * 1024]);
    let mut headers: Vec<_> = (0..8).map(filler).collect();
    assert_eq!(rig.get("/orders", &headers).status, 401);
    headers.push(header("x-api-key", &one.token));
    assert_eq!(rig.get("/orders", &headers).status, 200);
    // One more is over Envoy's own limit.
    headers.push(filler(9));
    assert_eq!(rig.get("/orders", &headers).status, 431);

    let long = format!("/orders?x={}", "y".repeat(56 * 1024));
    assert_eq!(rig.get(&long, &[]).status, 401);
    assert_eq!(rig.with_key(&long, &one.token).status, 200);
}

#[test]
fn a_credential_of_fifty_kilobytes_is_an_invalid_key() {
    let (rig, one, _) = rig(true);
    let long = one.token.repeat(1000);
    assert_eq!(rig.with_key("/orders", &long).status, 401);
    let query = format!("/orders?apikey={long}");
    assert_eq!(rig.get(&query, &[]).status, 401);
    let bearer = header("authorization", format!("Bearer {long}"));
    assert_eq!(rig.get("/orders", &[bearer]).status, 401);
}

#[test]
fn spaces_tabs_and_an_empty_value_make_no_credential() {
    let (rig, one, _) = rig(true);
    assert_eq!(rig.with_key("/orders", "").status, 401);
    assert_eq!(
        rig.with_key("/orders", &format!("a {}", one.token)).status,
        401
    );
    assert_eq!(
        rig.with_key("/orders", &format!("{}\tb", one.token)).status,
        401
    );
    assert_eq!(
        rig.get("/orders", &[header("authorization", "Bearer")])
            .status,
        401
    );
    assert_eq!(rig.get("/orders?apikey=", &[]).status, 401);
}

#[test]
fn no_spelling_of_a_path_reaches_what_another_path_demands() {
    let (rig, one, _) = rig(true);
    // `/orders` demands `orders:read`; all else demands nothing and is refused.
    for path in [
        "/x/../orders",
        "/./orders",
        "//orders",
        "/orders/../admin",
        "/orders/..;/admin",
        "/orders%2f..%2fadmin",
        "/orders/%2e%2e/admin",
        "/orders\\..\\admin",
        "/ORDERS",
    ] {
        assert_ne!(rig.get(path, &[]).status, 200, "{path}");
        let response = rig.with_key(path, &one.token);
        if response.status == 200 {
            let seen = response.seen();
            let path = seen.path();
            assert!(path.starts_with("/orders"), "{path}");
            assert!(!path.contains("/../") && !path.contains("%2e"), "{path}");
        }
    }
}

#[test]
fn headers_that_claim_another_path_method_or_client_change_nothing() {
    let (rig, one, _) = rig(true);
    for (name, value) in [
        ("x-envoy-original-path", "/orders"),
        ("x-original-url", "/orders"),
        ("x-rewrite-url", "/orders"),
        ("x-forwarded-uri", "/orders"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-http-method-override", "OPTIONS"),
        ("x-envoy-auth-partial-body", "true"),
        ("x-envoy-auth-failure-mode-allowed", "true"),
        ("x-ext-authz-check-result", "allowed"),
        ("claviger.scopes", ""),
    ] {
        let forged = header(name, value);
        let keyless = rig.get("/orders", std::slice::from_ref(&forged));
        assert_eq!(keyless.status, 401, "{name}");
        let elsewhere = rig.get("/else", &[forged, header("x-api-key", &one.token)]);
        assert_eq!(elsewhere.status, 403, "{name}");
    }
}

#[test]
fn control_bytes_in_a_request_open_nothing() {
    let (rig, one, _) = rig(true);
    let before = rig.upstream.count();
    for bytes in [&b"\0"[..], b"\x01", b"\x7f", b"\x0b"] {
        let token = [one.token.as_bytes(), bytes].concat();
        let response = rig.envoy.get("/orders", &[header("x-api-key", &token)]);
        assert!([400, 401].contains(&response.status), "{bytes:?}");
        let path = [b"/orders?x=", bytes].concat();
        assert_ne!(rig.envoy.get(&path, &[]).status, 200, "{bytes:?}");
    }
    assert_eq!(rig.upstream.count(), before);
}
