//! The client's address can't be forged.

use claviger::grpc::proto::v1::{self, Key};

use crate::harness::{EnvoyOptions, Made, Rig, RigOptions, header, key};

const FENCE: &str = "203.0.113.0/24";
const INSIDE: &str = "203.0.113.7";

fn rig(use_remote_address: Option<bool>, args: Vec<&'static str>) -> (Rig, Made) {
    let rig = Rig::start(&RigOptions {
        args,
        envoy: EnvoyOptions {
            use_remote_address,
            ..EnvoyOptions::default()
        },
    });
    let made = rig.admin.make(
        "default",
        Key {
            allowed_cidrs: vec![FENCE.to_owned()],
            ..key("fenced", &["orders:read"])
        },
    );
    (rig, made)
}

/// Headers by which clients try to be somebody else.
fn spoofs() -> Vec<Vec<(String, Vec<u8>)>> {
    let values = [
        INSIDE,
        "203.0.113.7, 10.0.0.1",
        "10.0.0.1, 203.0.113.7",
        "::ffff:203.0.113.7",
    ];
    let mut all: Vec<_> = values
        .iter()
        .map(|v| vec![header("x-forwarded-for", v)])
        .collect();
    for name in [
        "x-real-ip",
        "x-envoy-external-address",
        "x-client-ip",
        "true-client-ip",
    ] {
        all.push(vec![header(name, INSIDE)]);
    }
    all.push(vec![header("forwarded", format!("for={INSIDE}"))]);
    all.push(vec![
        header("x-forwarded-for", INSIDE),
        header("x-forwarded-for", INSIDE),
    ]);
    all
}

#[test]
fn no_header_moves_a_client_into_a_fence_when_envoy_is_the_edge() {
    let (rig, made) = rig(Some(true), Vec::new());
    for mut headers in spoofs() {
        headers.push(header("x-api-key", &made.token));
        assert_eq!(rig.get("/orders", &headers).status, 403, "{headers:?}");
    }
    let here = rig.admin.make(
        "default",
        Key {
            allowed_cidrs: vec!["127.0.0.1".to_owned()],
            ..key("here", &["orders:read"])
        },
    );
    assert_eq!(rig.with_key("/orders", &here.token).status, 200);
}

#[test]
fn no_header_moves_a_client_into_a_fence_with_use_remote_address_unset() {
    for setting in [None, Some(false)] {
        let (rig, made) = rig(setting, Vec::new());
        for mut headers in spoofs() {
            headers.push(header("x-api-key", &made.token));
            let status = rig.get("/orders", &headers).status;
            assert_eq!(status, 403, "{setting:?} {headers:?}");
        }
    }
}

#[test]
fn behind_a_trusted_proxy_the_address_next_to_the_trusted_ones_counts() {
    // With `use_remote_address` Envoy would add an address of this machine: its peer is on the loopback.
    let (rig, made) = rig(None, vec!["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"]);
    for (forwarded, status) in [
        ("203.0.113.7", 200),
        ("198.51.100.9, 203.0.113.7", 200),
        ("203.0.113.7, 10.1.2.3", 200),
        ("::ffff:203.0.113.7", 200),
        ("203.0.113.7, 198.51.100.9", 403),
        ("203.0.113.7, 198.51.100.9, 10.1.2.3", 403),
        ("203.0.113.7, what?", 403),
        ("10.1.2.3", 403),
    ] {
        let headers = [
            header("x-forwarded-for", forwarded),
            header("x-api-key", &made.token),
        ];
        let response = rig.get("/orders", &headers);
        assert_eq!(response.status, status, "{forwarded}");
    }
    for name in ["x-real-ip", "x-envoy-external-address", "forwarded"] {
        let headers = [header(name, INSIDE), header("x-api-key", &made.token)];
        assert_eq!(rig.get("/orders", &headers).status, 403, "{name}");
    }
}

#[test]
fn an_explanation_finds_the_same_address_behind_a_trusted_proxy_as_the_decision() {
    let (rig, made) = rig(None, vec!["--trusted-proxies", "127.0.0.0/8,10.0.0.0/8"]);
    let explain = |peer: &str, forwarded: &str| {
        let headers = [("x-forwarded-for", forwarded), ("x-api-key", &*made.token)];
        let header = |(name, value): (&str, &str)| v1::HttpHeader {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let check = v1::CheckRequest {
            workspace: "default".to_owned(),
            http: Some(v1::HttpRequest {
                headers: headers.map(header).to_vec(),
                path: "/orders".to_owned(),
                ..Default::default()
            }),
            source_ip: peer.to_owned(),
            required_scopes: vec!["orders:read".to_owned()],
            ..Default::default()
        };
        let request = v1::ExplainRequest {
            check: Some(check),
            surface: v1::explain_request::Surface::Envoy.into(),
            ..Default::default()
        };
        let answer = rig.admin.explain(request).unwrap();
        let network = v1::explain_step::Check::Network;
        let mut steps = answer.steps.into_iter();
        let step = steps.find(|step| step.check() == network).unwrap();
        (answer.decision.unwrap().reason(), step.detail)
    };
    for (forwarded, found) in [
        ("203.0.113.7", "203.0.113.7"),
        ("198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 198.51.100.9", "198.51.100.9"),
        ("203.0.113.7, 198.51.100.9, 10.1.2.3", "198.51.100.9"),
        ("10.1.2.3", "10.1.2.3"),
    ] {
        let (reason, detail) = explain("127.0.0.1", forwarded);
        let headers = [
            header("x-forwarded-for", forwarded),
            header("x-api-key", &made.token),
        ];
        let passed = rig.get("/orders", &headers).status == 200;
        assert_eq!(reason == v1::Reason::Ok, passed, "{forwarded}: {detail}");
        assert!(detail.starts_with(found), "{forwarded}: {detail}");
    }
    // Of whom nobody trusts the word does not count.
    let (reason, detail) = explain("198.51.100.9", "203.0.113.7");
    assert_eq!(reason, v1::Reason::IpNotAllowed);
    assert!(detail.starts_with("198.51.100.9"), "{detail}");
}
