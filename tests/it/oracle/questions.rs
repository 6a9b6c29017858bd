//! Questions about a small world, most of which come close to an ALLOW.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::routes::TRACKING_VALUE;
use super::worlds::{PRESENTATIONS, moment, tokens};
use super::{Presented, Question};

const DEMANDS: [&str; 4] = ["orders:read", "orders:write", "hooks", "orders"];

/// What else a client may send as a token.
fn junk() -> Vec<Vec<u8>> {
    [
        "clv_wrong-checksum",
        "acme_live_wrong",
        "nobody",
        "a b",
        "tab\there",
        "ZZ",
        "zz,zz",
        "a,b",
        "",
    ]
    .iter()
    .map(|t| t.as_bytes().to_vec())
    .chain([
        vec![b'x'; 512],
        vec![b'x'; 513],
        vec![0xff, 0xfe],
        vec![0x7f],
        vec![0x21],
    ])
    .collect()
}

fn token() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<Vec<u8>> = tokens().into_iter().map(|(_, t)| t.into_bytes()).collect();
    prop_oneof![12 => select(known), 1 => select(junk())]
}

/// A header or parameter that may carry a token.
#[derive(Debug, Clone)]
enum Part {
    Header(&'static str, Vec<u8>),
    Parameter(&'static str, Vec<u8>),
}

fn part() -> impl Strategy<Value = Part> {
    let header = select(vec![
        "x-api-key",
        "X-API-Key",
        "apikey",
        "api-key",
        "x-other",
        "authorization",
    ]);
    let name = select(vec![
        "apikey",
        "key",
        "ApiKey",
        "%61pikey",
        "other",
        "apikey%00",
    ]);
    let encoded = |t: Vec<u8>| {
        t.iter()
            .map(|b| format!("%{b:02x}"))
            .collect::<String>()
            .into_bytes()
    };
    let basic =
        |user: &str, password: &[u8]| STANDARD.encode([user.as_bytes(), b":", password].concat());
    prop_oneof![
        6 => (header, token()).prop_map(|(name, value)| Part::Header(name, value)),
        3 => (select(vec!["Bearer ", "bearer ", "BEARER ", "Digest "]), token())
            .prop_map(|(scheme, t)| Part::Header("Authorization", [scheme.as_bytes(), &t].concat())),
        2 => token().prop_map(move |t| Part::Header("authorization", format!("Basic {}", basic("joe", &t)).into_bytes())),
        1 => token().prop_map(|t| {
            let pair = STANDARD.encode([t.as_slice(), b":"].concat());
            Part::Header("authorization", format!("basic {pair}").into_bytes())
        }),
        1 => select(vec!["Basic ???", "Basic am9l", "Basic am9lOnp6,am9lOnp6", "Basic ", "Bearer", "Bearer a.b.c,zz"])
            .prop_map(|value| Part::Header("authorization", value.as_bytes().to_vec())),
        1 => select(vec!["a%", "a%zz", "%", "zz%2", "%7a%7A"])
            .prop_map(|value| Part::Parameter("apikey", value.as_bytes().to_vec())),
        4 => (name, token(), any::<bool>())
            .prop_map(move |(name, t, plain)| Part::Parameter(name, if plain { t } else { encoded(t) })),
    ]
}

/// What else a request says to routes.
fn beside() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    let tracking = prop_oneof![
        3 => Just(TRACKING_VALUE.as_bytes().to_vec()),
        3 => token(),
        1 => Just(b"".to_vec()),
    ];
    let pair = |name: &'static str, value: Vec<u8>| (name.as_bytes().to_vec(), value);
    let one = prop_oneof![
        2 => tracking.prop_map(move |value| pair("X-Track", value)),
        1 => select(vec!["basic", "pro", "none", ""]).prop_map(move |s| pair("x-sub", s.into())),
    ];
    prop::collection::vec(one, 0..=2)
}

const PATHS: [&str; 12] = [
    "/orders",
    "/orders/",
    "/orders/basic",
    "/orders/pro/",
    "/orders/%62asic",
    "/orders/none",
    "/elsewhere/x",
    "/",
    "/orders/..",
    "/orders//x",
    "/orders/%2f",
    "",
];

fn request() -> impl Strategy<Value = Presented> {
    let parts = prop_oneof![1 => prop::collection::vec(part(), 0..=1), 5 => prop::collection::vec(part(), 1..=1), 2 => prop::collection::vec(part(), 2..=3)];
    (parts, select(PATHS.to_vec()), beside()).prop_map(|(parts, path, beside)| {
        let mut headers = vec![(b"host".to_vec(), b"example.com".to_vec())];
        headers.extend(beside);
        let mut path = format!("{path}?page=1").into_bytes();
        if path == b"?page=1" {
            path.clear();
        }
        for part in parts {
            match part {
                Part::Header(name, value) => headers.push((name.as_bytes().to_vec(), value)),
                Part::Parameter(name, value) if !path.is_empty() => {
                    path.extend([b"&", name.as_bytes(), b"=", value.as_slice()].concat());
                }
                Part::Parameter(..) => {}
            }
        }
        Presented::Http { headers, path }
    })
}

/// A route's name, a method, and verified claims.
fn attributes() -> impl Strategy<Value = (String, String, Vec<(String, String)>)> {
    let route = prop_oneof![10 => Just(""), 1 => select(vec!["all", "one", "rest", "missing"])];
    let method = select(vec!["GET", "POST", ""]);
    let claims = select(vec![
        vec![],
        vec![("scope", "good")],
        vec![("scope", "bad good")],
        vec![("scope", "bad")],
        vec![("sub", "good")],
    ]);
    (route, method, claims).prop_map(|(route, method, claims)| {
        let text = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        (
            route.to_owned(),
            method.to_owned(),
            claims.into_iter().map(text).collect(),
        )
    })
}

/// A question, mostly about `acme`.
pub(crate) fn question() -> impl Strategy<Value = Question> {
    let workspace = prop_oneof![12 => Just("acme"), 3 => Just("beta"), 1 => Just("system"), 1 => Just("nobody")];
    let plain = (token(), select(PRESENTATIONS.to_vec())).prop_map(|(t, p)| Presented::Token(t, p));
    let credential = prop_oneof![1 => plain, 1 => request()];
    let ips = [
        "192.0.2.7",
        "::ffff:192.0.2.9",
        "198.51.100.1",
        "2001:db8::1",
        "2001:db9::1",
    ];
    let ip = prop_oneof![1 => Just(None), 4 => select(ips.to_vec()).prop_map(|ip| ip.parse().ok())];
    let demands = || prop_oneof![3 => Just(Vec::new()), 3 => subsequence(DEMANDS.to_vec(), 1..=2)];
    let subscription =
        prop_oneof![3 => Just(None), 2 => select(vec!["basic", "pro", "other"]).prop_map(Some)];
    (
        workspace,
        credential,
        ip,
        (demands(), demands()),
        subscription,
        any::<bool>(),
        (moment(), attributes()),
    )
        .prop_map(
            |(
                workspace,
                credential,
                source_ip,
                (all_of, any_of),
                subscription,
                via_envoy,
                (now, (route, method, claims)),
            )| {
                Question {
                    workspace: workspace.to_owned(),
                    credential,
                    source_ip,
                    all_of: all_of.into_iter().map(str::to_owned).collect(),
                    any_of: any_of.into_iter().map(str::to_owned).collect(),
                    subscription: subscription.map(str::to_owned),
                    via_envoy,
                    now,
                    route,
                    method,
                    claims,
                }
            },
        )
}
