//! `deploy/claviger.service`.

use std::collections::BTreeMap;
use std::process::Command;

use super::{Secrets, assert_settings, read, seconds, time_to_stop};
use crate::harness::{BINARY, not_checked};

/// All values of a name.
fn values(name: &str) -> Vec<String> {
    let of_name = |line: &str| {
        let (own, value) = line.split_once('=')?;
        (own == name).then(|| value.to_owned())
    };
    read("deploy/claviger.service")
        .lines()
        .filter_map(of_name)
        .collect()
}

#[test]
fn the_unit_has_valid_settings_and_time_to_drain() {
    let secrets = Secrets::make();
    let variables: BTreeMap<String, String> = values("Environment")
        .iter()
        .map(|variable| {
            let (name, value) = variable.split_once('=').unwrap();
            let value = match value.strip_prefix("%d/") {
                Some(credential) => {
                    let loaded = format!("{credential}:/etc/claviger/{credential}");
                    assert!(values("LoadCredential").contains(&loaded));
                    secrets.file(credential).to_str().unwrap().to_owned()
                }
                None => value.replace("%S", "/var/lib"),
            };
            (name.to_owned(), value)
        })
        .collect();
    assert_settings(&variables);
    let folder = format!("/var/lib/{}", values("StateDirectory")[0]);
    assert_eq!(variables["CLAVIGER_DATA_DIR"], folder);
    assert!(seconds(&values("TimeoutStopSec")[0]) > time_to_stop(&variables));
    assert_eq!(values("KillSignal"), ["SIGTERM"]);
}

#[test]
fn systemd_understands_the_unit_and_finds_it_locked_up() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("claviger.service");
    let text = read("deploy/claviger.service");
    assert_eq!(
        text.matches("ExecStart=/usr/local/bin/claviger ").count(),
        1
    );
    std::fs::write(&file, text.replace("/usr/local/bin/claviger", BINARY)).unwrap();
    let Ok(verified) = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&file)
        .output()
    else {
        not_checked("the systemd unit: needs `systemd-analyze`");
        return;
    };
    let complained = String::from_utf8_lossy(&verified.stderr);
    // It may have something to say of the machine's own units, which ours waits for.
    let of_ours = complained.contains("claviger.service");
    assert!(verified.status.success() && !of_ours, "{complained}");

    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--threshold=20"])
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    // 2.0 of 10: what systemd calls well protected.
    assert!(output.status.success(), "{said}");
}
