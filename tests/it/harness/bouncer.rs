//! `PgBouncer` before a cluster of the tests: in transaction mode where it is new enough for that, else in session mode.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Child, Folder, repository};

/// A running `PgBouncer`, behind a Unix socket. Ended when dropped.
pub(crate) struct Bouncer {
    socket: PathBuf,
    what: String,
    _child: Child,
}

impl Bouncer {
    /// One in the folder of a cluster, for these users and passwords; what it says goes to the logs.
    pub(super) fn start(cluster: &Path, users: &[(&str, &str)], folder: &Folder) -> Self {
        let dir = cluster.join("bouncer");
        std::fs::create_dir(&dir).unwrap();
        let users: String = users
            .iter()
            .map(|(name, password)| format!("\"{name}\" \"{password}\"\n"))
            .collect();
        std::fs::write(dir.join("users"), users).unwrap();
        let mut command = Command::new(repository().join("scripts/postgres.sh"));
        command.arg("bouncer").arg(cluster);
        let (out, err) = (folder.output("pgb-out"), folder.output("pgb-err"));
        let (child, _, mut log) = Child::start(&mut command, &out, &err);
        let what = log.wait("PgBouncer's version", |line| {
            line.starts_with("PgBouncer ").then(|| line.to_owned())
        });
        log.wait("PgBouncer's start", |line| {
            line.contains("process up").then_some(())
        });
        Self {
            socket: dir.join(".s.PGSQL.6432"),
            what,
            _child: child,
        }
    }

    /// Its version and its mode.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}
