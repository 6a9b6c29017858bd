//! With `failure_mode_allow` Envoy lets requests through whose check fails. Nothing a client sends makes a check fail
//! (CVE-2023-27488, CVE-2024-23324): every fault it can cause is a denial.

use crate::harness::{EnvoyOptions, Rig, RigOptions, header, key};

type Request = (String, Vec<(String, Vec<u8>)>);

fn rig(failure_mode_allow: bool, timeout: &'static str, args: Vec<&'static str>) -> Rig {
    Rig::start(&RigOptions {
        args,
        envoy: EnvoyOptions {
            failure_mode_allow,
            timeout,
            ..EnvoyOptions::default()
        },
    })
}

/// Requests that must be denied, with the status of their denial.
fn denied(good: &str, disabled: &str) -> Vec<(&'static str, u16, Request)> {
    let request = |path: &str, headers: &[(String, Vec<u8>)]| (path.to_owned(), headers.to_vec());
    let filler = |n: usize| header(&format!("x-filler-{n}"), vec![0xff; 7 * 1024]);
    let with_key = |token: &[u8]| vec![header("x-api-key", token)];
    let path = |query: &str| format!("/orders?{query}");
    vec![
        ("none", 401, request("/orders", &[])),
        (
            "denied",
            401,
            request("/orders", &with_key(disabled.as_bytes())),
        ),
        (
            "unknown",
            401,
            request("/orders", &with_key(b"of-nobody-0123456789abcdef")),
        ),
        ("malformed", 401, request("/orders", &with_key(b"clv_\xff"))),
        (
            "forbidden",
            403,
            request("/else", &with_key(good.as_bytes())),
        ),
        (
            "two credentials",
            400,
            request(
                "/orders",
                &[header("x-api-key", good), header("api-key", disabled)],
            ),
        ),
        (
            "repeated",
            400,
            request(
                "/orders",
                &[header("x-api-key", good), header("x-api-key", good)],
            ),
        ),
        (
            "not UTF-8 beside",
            401,
            request("/orders", &[header("x-odd", b"\xff\xfe\xc3")]),
        ),
        (
            "not UTF-8 in a name's place",
            401,
            request("/orders", &[header("authorization", b"\xff\xfe \xc3\x28")]),
        ),
        (
            "not UTF-8 in the path",
            401,
            request("/orders?x=%ff%fe%00", &[]),
        ),
        (
            "oversized credential",
            401,
            request("/orders", &with_key(&[b'k'; 50 * 1024])),
        ),
        (
            "oversized headers",
            401,
            request("/orders", &(0..8).map(filler).collect::<Vec<_>>()),
        ),
        (
            "oversized path",
            401,
            request(&path(&"y".repeat(56 * 1024)), &[]),
        ),
        (
            "oversized query key",
            401,
            request(&path(&format!("apikey={}", "k".repeat(50 * 1024))), &[]),
        ),
        (
            "many parameters",
            401,
            request(&path(&"apikeys&".repeat(7000)), &[]),
        ),
        (
            "over Envoy's limit",
            431,
            request("/orders", &(0..9).map(filler).collect::<Vec<_>>()),
        ),
        ("decoded name", 400, request(&path("%61pikey=x"), &[])),
        (
            "a forged deadline",
            401,
            request(
                "/orders",
                &[
                    header("grpc-timeout", "1n"),
                    header("x-envoy-upstream-rq-timeout-ms", "0"),
                ],
            ),
        ),
    ]
}

#[test]
fn no_input_of_a_client_turns_a_denial_into_an_allow_whatever_failure_mode_allow_says() {
    for failure_mode_allow in [false, true] {
        let rig = rig(failure_mode_allow, "20s", Vec::new());
        let good = rig.admin.make("default", key("good", &["orders:read"]));
        let disabled = rig.admin.make("default", key("disabled", &["orders:read"]));
        rig.admin.enable(&disabled.id, false).unwrap();

        assert_eq!(rig.with_key("/orders", &good.token).status, 200);
        for (what, status, (path, headers)) in denied(&good.token, &disabled.token) {
            let response = rig.get(path, &headers);
            assert_eq!(
                response.status,
                status,
                "{what}, failure_mode_allow {failure_mode_allow}: {}",
                response.text()
            );
        }
        assert_eq!(rig.with_key("/orders", &good.token).status, 200);
    }
}

#[test]
fn overload_is_a_denial_with_retry_after_whatever_failure_mode_allow_says() {
    for failure_mode_allow in [false, true] {
        let rig = rig(
            failure_mode_allow,
            "20s",
            vec!["--max-concurrent-decisions", "0"],
        );
        let good = rig.admin.make("default", key("good", &["orders:read"]));
        for headers in [
            vec![header("x-api-key", &good.token)],
            vec![header("x-api-key", "of-nobody-0123456789abcdef")],
            vec![],
        ] {
            let response = rig.get("/orders", &headers);
            assert_eq!(response.status, 503, "{}", response.text());
            let seconds: u32 = response.header("retry-after").unwrap().parse().unwrap();
            assert!(seconds >= 1);
            // Decided before the request was read, so the same plain text for callers of every kind.
            assert_eq!(response.header("content-type"), Some("text/plain"));
        }
        let grpc = [
            header("content-type", "application/grpc"),
            header("x-api-key", &good.token),
        ];
        let response = rig.envoy.get("/orders", &grpc);
        assert_eq!(response.header("grpc-status"), Some("14"));
        assert_eq!(rig.upstream.count(), 0);
    }
}

#[test]
fn a_process_that_hangs_or_is_dead_closes_the_door_unless_failure_mode_allow_opens_it() {
    for failure_mode_allow in [false, true] {
        let mut rig = rig(failure_mode_allow, "1s", Vec::new());
        let good = rig.admin.make("default", key("good", &["orders:read"]));
        assert_eq!(rig.with_key("/orders", &good.token).status, 200);

        // This alone may pass: no client did it. The operator chose.
        let expected = if failure_mode_allow { 200 } else { 503 };
        rig.process.child.signal("STOP");
        assert_eq!(rig.with_key("/orders", &good.token).status, expected);
        assert_eq!(rig.get("/orders", &[]).status, expected);
        rig.process.kill();
        assert_eq!(rig.with_key("/orders", &good.token).status, expected);
        assert_eq!(rig.get("/orders", &[]).status, expected);
    }
}
