//! By hand: the service as somebody sees it who has `grpcurl` and nothing else, no proto files either.

use std::process::{Command, Output};

use serde_json::Value;

use crate::harness::{Folder, Process, bootstrap_token, key, register, tool};

/// Runs `grpcurl` against the process.
fn grpcurl(process: &Process, token: Option<&str>, before: &[&str], after: &[&str]) -> Output {
    let mut command = Command::new(tool("grpcurl"));
    command.arg("-plaintext").args(before);
    if let Some(token) = token {
        command.args(["-H", &format!("authorization: Bearer {token}")]);
    }
    command.arg(process.grpc().to_string()).args(after);
    command.output().unwrap()
}

/// A call that must succeed.
fn call(process: &Process, token: Option<&str>, method: &str, request: &str) -> Value {
    let output = grpcurl(process, token, &["-d", request], &[method]);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{method}: {complained}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A call that must fail: what grpcurl says about it.
fn failure(process: &Process, token: Option<&str>, method: &str, request: &str) -> String {
    let output = grpcurl(process, token, &["-d", request], &[method]);
    assert!(!output.status.success(), "{method} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn reflection_shows_every_service_with_its_comments() {
    let folder = Folder::of_suite();
    let process = Process::start(&folder, &[]);
    let services = text(grpcurl(&process, None, &[], &["list"]));
    for service in [
        "claviger.v1.Authorize",
        "claviger.v1.Directory",
        "claviger.v1.KeyAdmin",
        "envoy.service.auth.v3.Authorization",
        "grpc.health.v1.Health",
    ] {
        assert!(services.lines().any(|l| l == service), "{services}");
    }
    let described = text(grpcurl(
        &process,
        None,
        &[],
        &["describe", "claviger.v1.CreateKeyRequest"],
    ));
    assert!(
        described.contains("// The workspace to make it in."),
        "{described}"
    );
}

#[test]
fn a_key_is_made_checked_disabled_and_refused_by_hand() {
    let folder = Folder::of_suite();
    let process = Process::start(&folder, &[]);
    let admin = bootstrap_token(&folder.data());
    let admin = Some(admin.as_str());
    let made = call(
        &process,
        admin,
        "claviger.v1.KeyAdmin/CreateKey",
        r#"{"key": {"displayName": "by hand"}}"#,
    );
    let token = made["tokens"][0]["token"].as_str().unwrap();
    register(token);
    let id = made["key"]["id"].as_str().unwrap();
    assert_eq!(made["key"]["state"], "STATE_ACTIVE");

    let check = format!(r#"{{"credential": {{"token": "{token}"}}}}"#);
    let decided = call(&process, None, "claviger.v1.Authorize/Check", &check);
    assert_eq!(decided["decision"], "DECISION_ALLOW");
    assert_eq!(decided["keyId"], id);

    let disable = format!(r#"{{"key": {{"id": "{id}", "enabled": false}}}}"#);
    let changed = call(&process, admin, "claviger.v1.KeyAdmin/UpdateKey", &disable);
    let revision = changed["revision"].as_str().unwrap();
    let check =
        format!(r#"{{"credential": {{"token": "{token}"}}, "atLeastRevision": "{revision}"}}"#);
    let decided = call(&process, None, "claviger.v1.Authorize/Check", &check);
    assert_eq!(decided["decision"], "DECISION_DENY");
    assert_eq!(decided["reason"], "REASON_KEY_DISABLED");
    assert_eq!(decided["httpStatus"], 401);
}

#[test]
fn an_error_names_the_field_at_fault_and_a_stable_reason() {
    let folder = Folder::of_suite();
    let process = Process::start(&folder, &[]);
    let admin = bootstrap_token(&folder.data());
    let request = r#"{"key": {"displayName": "x", "allowedCidrs": ["10.0.0.0/8", "10.0.0.0/99"]}}"#;
    let said = failure(
        &process,
        Some(&admin),
        "claviger.v1.KeyAdmin/CreateKey",
        request,
    );
    assert!(said.contains("Code: InvalidArgument"), "{said}");
    assert!(said.contains("google.rpc.ErrorInfo"), "{said}");
    assert!(said.contains("key.allowed_cidrs[1]"), "{said}");
}

#[test]
fn no_administrative_call_works_without_a_key_or_with_one_that_has_no_right_to_it() {
    let folder = Folder::of_suite();
    let process = Process::start(&folder, &[]);
    let admin = process.admin();
    admin.declare("default", &["orders:read"]);
    let data_key = admin.make("default", key("no administrator", &["orders:read"]));
    for service in ["claviger.v1.KeyAdmin", "claviger.v1.Directory"] {
        let methods = text(grpcurl(&process, None, &[], &["list", service]));
        assert!(methods.lines().count() > 10, "{methods}");
        // As listed by the server itself: a call that is added later is in this test from its first day.
        for method in methods.lines() {
            let method = method.replacen(&format!("{service}."), &format!("{service}/"), 1);
            let said = failure(&process, None, &method, "{}");
            assert!(said.contains("Code: Unauthenticated"), "{method}: {said}");
            let unknown = "of-nobody-0123456789abcdef";
            let said = failure(&process, Some(unknown), &method, "{}");
            assert!(said.contains("Code: Unauthenticated"), "{method}: {said}");
            let said = failure(&process, Some(&data_key.token), &method, "{}");
            assert!(said.contains("Code: PermissionDenied"), "{method}: {said}");
        }
    }
}
