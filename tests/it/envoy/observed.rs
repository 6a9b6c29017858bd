//! What Envoy's log and later filters get to know, and what not; and that the sample is valid as it is.

use std::process::Command;

use claviger::grpc::proto::v1::Key;

use crate::harness::{Rig, demands, header, key, sample_path, tool};

#[test]
fn envoy_accepts_the_sample_configuration_as_it_is() {
    let output = Command::new(tool("envoy"))
        .args(["--mode", "validate", "-c"])
        .arg(sample_path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Deprecated"), "{said}");
}

#[test]
fn the_access_log_gets_the_decision_the_key_and_the_revision_and_no_token() {
    let mut rig = Rig::with_routes(vec![demands(
        "/gold",
        &[("scopes", "orders:read"), ("subscription", "gold")],
    )]);
    rig.admin.subscription("default", "gold");
    let made = rig.admin.make(
        "default",
        Key {
            subscriptions: vec!["gold".to_owned()],
            off_the_record: true,
            ..key("reader", &["orders:read"])
        },
    );
    assert_eq!(rig.with_key("/gold/allowed", &made.token).status, 200);
    let entry = rig.envoy.access("/gold/allowed");
    assert_eq!(entry["decision"], "ALLOW");
    assert_eq!(entry["reason"], "OK");
    assert_eq!(entry["key"], made.id);
    assert_eq!(entry["subscription"], "gold");
    assert_eq!(entry["off_the_record"], true);
    let decided = rig.admin.decide("default", &made.token);
    assert_eq!(entry["revision"], decided.revision);

    // On a denial too, with the key where one was recognised.
    rig.admin.enable(&made.id, false).unwrap();
    assert_eq!(rig.with_key("/gold/denied", &made.token).status, 401);
    let entry = rig.envoy.access("/gold/denied");
    assert_eq!(entry["decision"], "DENY");
    assert_eq!(entry["reason"], "KEY_DISABLED");
    assert_eq!(entry["key"], made.id);
    assert_ne!(entry["revision"], decided.revision);

    // A key in the query is in no log, refused or not: the folder of this test is searched for it at the end.
    let path = format!("/gold/query?apikey={}", made.token);
    assert_eq!(rig.get(&path, &[]).status, 401);
    let path = format!("/gold/odd?%61pikey={}", made.token);
    assert_eq!(rig.get(&path, &[header("referer", "x")]).status, 400);
    rig.envoy.access("/gold/query");
    rig.envoy.access("/gold/odd");
}
