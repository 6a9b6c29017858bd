//! The Python example, run as it is.

use std::process::Command;

use crate::harness::{Folder, Process, repository, tool};

#[test]
fn the_python_example_makes_checks_and_disables_a_key() {
    let folder = Folder::of_suite();
    let process = Process::start(&folder, &[]);
    let output = Command::new(tool("python"))
        .arg(repository().join("examples/python/check.py"))
        .args(["--address", &process.grpc().to_string(), "--token-file"])
        .arg(folder.data().join("bootstrap-token"))
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");

    let lines: Vec<&str> = said.lines().collect();
    for (line, start) in lines.iter().zip([
        "made key_",
        "DECISION_ALLOW REASON_OK at revision ",
        "disabled it at revision ",
        "DECISION_DENY REASON_KEY_DISABLED at revision ",
        "without a key: UNAUTHENTICATED",
    ]) {
        assert!(line.starts_with(start), "{said}");
    }
    assert_eq!(lines.len(), 5, "{said}");
}
