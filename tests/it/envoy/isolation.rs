//! Whose keys open what, and from when on no more.

use crate::harness::{Rig, demands, key};

#[test]
fn a_disabled_key_is_refused_from_the_very_next_request_on() {
    let rig = Rig::with_routes(Vec::new());
    let made = rig.admin.make("default", key("reader", &["orders:read"]));
    for _ in 0..20 {
        assert_eq!(rig.with_key("/orders", &made.token).status, 200);
        rig.admin.enable(&made.id, false).unwrap();
        assert_eq!(rig.with_key("/orders", &made.token).status, 401);
        rig.admin.enable(&made.id, true).unwrap();
    }
}

#[test]
fn a_key_of_another_workspace_of_system_and_the_bootstrap_key_open_nothing() {
    let mut rig = Rig::with_routes(vec![
        demands("/acme", &[("workspace", "acme"), ("scopes", "orders:read")]),
        demands(
            "/system",
            &[("workspace", "system"), ("scopes", "claviger:keys:read")],
        ),
        demands(
            "/nowhere",
            &[("workspace", "nowhere"), ("scopes", "orders:read")],
        ),
        demands("/rights", &[("scopes", "claviger:keys:read")]),
    ]);
    rig.admin.workspace("acme", &["orders:read"]);
    let ours = rig.admin.make("default", key("ours", &["orders:read"]));
    let theirs = rig.admin.make("acme", key("theirs", &["orders:read"]));
    let system = rig
        .admin
        .make("system", key("system", &["claviger:keys:read"]));
    let manager = rig
        .admin
        .make("default", key("manager", &["claviger:keys:read"]));
    let data = rig.process.folder().data();
    let bootstrap = std::fs::read_to_string(data.join("bootstrap-token")).unwrap();

    assert_eq!(rig.with_key("/orders", &ours.token).status, 200);
    assert_eq!(rig.with_key("/acme", &theirs.token).status, 200);

    let refused = [
        ("/acme", ours.token.as_str()),
        ("/orders", &theirs.token),
        ("/nowhere", &ours.token),
        ("/nowhere", &theirs.token),
    ];
    let administrators = [system.token.as_str(), &manager.token, bootstrap.trim()];
    let paths = [
        "/orders", "/acme", "/system", "/nowhere", "/rights", "/else",
    ];
    let everywhere = paths
        .iter()
        .flat_map(|path| administrators.iter().map(move |token| (*path, *token)));
    for (n, (path, token)) in refused.into_iter().chain(everywhere).enumerate() {
        let path = format!("{path}/{n}");
        let response = rig.get(&path, &[crate::harness::header("x-api-key", token)]);
        assert!([401, 403].contains(&response.status), "{path}");
        let entry = rig.envoy.access(&path);
        let reason = entry["reason"].as_str().unwrap();
        assert!(
            ["UNKNOWN_KEY", "WORKSPACE_DISABLED", "NOTHING_DEMANDED"].contains(&reason),
            "{path}: {reason}"
        );
        assert!(entry["key"].is_null() || entry["key"] == "", "{entry}");
    }
}
