//! The command where keys come, age and leak: what it prints, and what it does.

use std::io::Write as _;
use std::process::{Command, Stdio};

use claviger::grpc::proto::v1::Reason;
use serde_json::Value;

use crate::harness::{BINARY, Folder, Process, key, register};

/// Runs a command against a process with its first administrator's token; what it printed.
fn claviger(process: &Process, args: &[&str], input: &str) -> (String, String) {
    let mut child = Command::new(BINARY)
        .args(args)
        .args(["--endpoint", &format!("http://{}", process.grpc())])
        .arg("--token-file")
        .arg(process.folder().data().join("bootstrap-token"))
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let ended = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&ended.stdout), text(&ended.stderr));
    assert!(ended.status.success(), "{args:?}: {out}{err}");
    (out, err)
}

#[test]
fn a_subscription_is_made_with_its_key_and_what_needs_attention_is_listed_and_summed_up() {
    let folder = Folder::new();
    let process = Process::start(&folder, &[]);
    process
        .admin()
        .declare("default", &["orders:read", "orders:write"]);
    let create = [
        "subscriptions",
        "create",
        "gold",
        "--provision",
        "--scope",
        "orders:read,orders:write",
    ];
    let (made, note) = claviger(&process, &[&create[..], &["-o", "json"]].concat(), "");
    let made: Value = serde_json::from_str(&made).unwrap();
    let tokens = made["tokens"].as_array().unwrap();
    tokens
        .iter()
        .for_each(|t| register(t["token"].as_str().unwrap()));
    assert_eq!((tokens.len(), note.as_str()), (2, ""));
    let id = made["key"]["id"].as_str().unwrap();

    let (listed, summary) = claviger(&process, &["hygiene", "--all"], "");
    for text in [
        id,
        "NO_EXPIRY",
        "UNACKNOWLEDGED",
        "SEVERAL_SCOPES",
        "can be regenerated now:  PRIMARY, SECONDARY",
    ] {
        assert!(listed.contains(text), "{text}: {listed}");
    }
    assert!(
        summary.contains("looked at 1 keys") && summary.contains("SEVERAL_SCOPES 1"),
        "{summary}"
    );
    let (json, _) = claviger(
        &process,
        &["hygiene", "--finding", "weak-secret", "-o", "json"],
        "",
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["keys"], serde_json::json!([]));
    assert_eq!(json["summary"]["counts"]["NO_EXPIRY"], 1);
}

#[test]
fn a_leaked_token_is_reported_from_standard_input_and_in_the_format_of_github() {
    let folder = Folder::new();
    let process = Process::start(&folder, &[]);
    let admin = process.admin();
    let made = admin.make("default", key("leaked", &[]));
    claviger(
        &process,
        &[
            "workspaces",
            "update",
            "default",
            "--leak-policy",
            "disable",
        ],
        "",
    );
    let report = ["leaks", "report", "--url", "https://git.example/a/b"];
    let (said, _) = claviger(&process, &report, &made.token);
    assert!(
        said.starts_with("TRUE_POSITIVE\n") && said.contains("DISABLED"),
        "{said}"
    );
    assert_eq!(
        admin.decide("default", &made.token).reason(),
        Reason::KeyDisabled
    );
    let (said, _) = claviger(&process, &report, &made.token);
    assert!(said.contains("reported before, nothing changed"), "{said}");

    let found = |token: &str| serde_json::json!({"token": token, "type": "claviger", "url": "https://x.example", "source": "content"});
    let body = Value::from(vec![
        found(&made.token),
        found("nobody-made-this-9f86d081884c7d65"),
    ]);
    let (feedback, _) = claviger(
        &process,
        &["leaks", "report", "--format", "github"],
        &body.to_string(),
    );
    assert!(!feedback.contains(&made.token));
    let feedback: Value = serde_json::from_str(&feedback).unwrap();
    let labels: Vec<_> = feedback
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["label"].clone())
        .collect();
    assert_eq!(labels, ["true_positive", "false_positive"]);
    // SHA-256 of 32 bytes, as base64.
    assert!(
        feedback[0]["token_hash"]
            .as_str()
            .is_some_and(|hash| hash.len() == 44)
    );
}

#[test]
fn the_rules_for_scanners_are_those_of_the_workspaces_prefixes() {
    let folder = Folder::new();
    let process = Process::start(&folder, &[]);
    claviger(
        &process,
        &[
            "workspaces",
            "create",
            "acme",
            "--token-prefix",
            "acme_live",
        ],
        "",
    );
    claviger(
        &process,
        &["workspaces", "create", "bare", "--token-prefix", ""],
        "",
    );
    let (rules, note) = claviger(&process, &["leak-rules", "--prefix", "k8"], "");
    for rule in ["claviger-clv", "claviger-acme-live", "claviger-k8"] {
        assert!(rules.contains(&format!("id = \"{rule}\"")), "{rules}");
    }
    assert!(note.contains("without a prefix"), "{note}");
    let (one, _) = claviger(
        &process,
        &["leak-rules", "-w", "acme", "--format", "github"],
        "",
    );
    let one: Value = serde_json::from_str(&one).unwrap();
    let pattern = &one["custom_patterns"][0]["secret_format"];
    assert_eq!(pattern, "acme_live_[A-Za-z0-9_-]{48}");
    assert_eq!(one["custom_patterns"].as_array().unwrap().len(), 1);
}
