//! What `deploy/` and `docker-compose.yml` say, checked as far as it goes without Docker and systemd: parsed and linted by
//! the tools of their makers, compared with the settings that there are, and each process started by hand.

mod compose;
mod envoy;
mod image;
mod scenario;
mod unit;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use claviger::config::settings_table;
use tempfile::TempDir;

use crate::harness::{BINARY, register, repository};

/// The lines of a file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap()
}

/// Secrets as `deploy/make-secrets.sh` makes them; away from any data, as they should be.
struct Secrets {
    dir: TempDir,
}

impl Secrets {
    fn make() -> Self {
        let this = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let made = this.script();
        assert!(made.status.success(), "{made:?}");
        register(this.read("bootstrap-token").trim());
        register(this.read("postgres-password").trim());
        this
    }

    /// Runs the script on this folder.
    fn script(&self) -> std::process::Output {
        Command::new(repository().join("deploy/make-secrets.sh"))
            .arg(self.path())
            .output()
            .unwrap()
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("secrets")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.file(name)).unwrap()
    }
}

/// Each variable is one that there is, and all of them together are valid settings.
fn assert_settings(variables: &BTreeMap<String, String>) {
    let table = settings_table();
    for name in variables.keys() {
        assert!(
            table.contains(&format!("| `{name}` |")),
            "`{name}` is no setting"
        );
    }
    let checked = Command::new(BINARY)
        .arg("check-config")
        .env_clear()
        .envs(variables)
        .output()
        .unwrap();
    let complained = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{variables:?}: {complained}");
}

/// The seconds of a setting such as `5s`.
fn seconds(text: &str) -> u64 {
    text.strip_suffix('s').unwrap().parse().unwrap()
}

/// How long a process may take to end: it drains, and then has 20 seconds.
fn time_to_stop(variables: &BTreeMap<String, String>) -> u64 {
    seconds(&variables["CLAVIGER_DRAIN_DELAY"]) + 20
}

#[test]
fn secrets_are_made_once_and_for_their_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let secrets = Secrets::make();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&secrets.path()), 0o700);
    // The container's user is not the owner, and is not let into the folder either: each file is mounted by itself.
    let files = [
        "bootstrap-token",
        "database-url",
        "postgres-password",
        "root-key",
    ];
    for name in files {
        assert_eq!(mode(&secrets.file(name)), 0o444, "{name}");
    }
    assert_eq!(secrets.path().read_dir().unwrap().count(), files.len());
    let root_key = secrets.read("root-key");
    let again = secrets.script();
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("is there already"));
    assert_eq!(secrets.read("root-key"), root_key);
    assert_ne!(Secrets::make().read("root-key"), root_key);
}
