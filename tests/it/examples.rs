//! What the examples in every language have in common: what they are told, and what they do.

use std::process::Command;

use crate::harness::{Folder, Process};

/// Runs an example against a server of its own.
pub(crate) fn walks_a_key_through_its_life(mut example: Command) {
    let folder = Folder::of_suite();
    let process = Process::start(&folder, &[]);
    let output = example
        .args(["--address", &process.grpc().to_string(), "--token-file"])
        .arg(folder.data().join("bootstrap-token"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");

    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "made key_",
        "DECISION_ALLOW REASON_OK at revision ",
        "disabled it at revision ",
        "DECISION_DENY REASON_KEY_DISABLED at revision ",
        "deleted it at revision ",
        "without a key: U",
    ];
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, start) in lines.iter().zip(expected) {
        assert!(line.starts_with(start), "{said}");
    }
    // Go writes the code in its own way.
    let refused = lines[5].to_ascii_uppercase();
    assert!(refused.ends_with(": UNAUTHENTICATED"), "{said}");

    let key = lines[0].trim_start_matches("made ").to_owned();
    let deleted = process.admin().enable(&key, true).unwrap_err();
    assert_eq!(deleted.code(), tonic::Code::FailedPrecondition);
}
