//! Claviger on PostgreSQL: each test has a cluster of its own, which it may stop.

use std::sync::Arc;
use std::time::Instant;

use claviger::grpc::proto::v1;

use crate::harness::{
    Admin, Database, Ended, Folder, Made, PATIENCE, Postgres, Process, ROOT_KEY, Starting, key,
    register, run,
};

mod contention;
mod fleet;
mod history;
mod kept;
mod killed;
mod large;
mod leader;
mod operations;
mod outage;
mod postbacks;
mod replicas;
mod restored;
mod rolling;
mod rotation;
mod secrets;
mod settings;
mod start;
mod together;
mod watch;

/// The first administrator's token, the same for all processes.
pub(crate) const BOOTSTRAP_TOKEN: &str = "boot_pg_Zk3vXw8yRt5LmNc1Hd7AqP0sUe9GjB2fT6iYoKxV";

/// A cluster with an empty database. The folder goes last, so that it is searched for tokens and passwords when all that
/// writes to it has ended.
pub(crate) struct Stage {
    pub(crate) postgres: Postgres,
    pub(crate) database: Database,
    pub(crate) folder: Arc<Folder>,
}

impl Stage {
    pub(crate) fn set() -> Self {
        register(BOOTSTRAP_TOKEN);
        register(ROOT_KEY);
        let folder = Folder::new();
        let postgres = Postgres::start(&folder);
        let database = postgres.create_database();
        Self {
            postgres,
            database,
            folder,
        }
    }

    /// A process with a data directory of this name, serving.
    fn process(&self, name: &str) -> Process {
        self.starting(name).serving()
    }

    /// The same on its way up.
    fn starting(&self, name: &str) -> Starting {
        self.starting_with(
            name,
            &[
                ("CLAVIGER_DATABASE_URL", &self.database.url),
                ("CLAVIGER_ROOT_KEY", ROOT_KEY),
                ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
            ],
        )
    }

    /// The same with other variables.
    pub(crate) fn starting_with(&self, name: &str, environment: &[(&str, &str)]) -> Starting {
        Starting::begin(&self.folder, &["--data-dir", &self.data(name)], environment)
    }

    /// A start that is to fail, with these variables.
    fn fails(&self, environment: &[(&str, &str)]) -> Ended {
        run(
            &self.folder,
            &["--data-dir", &self.data("fails")],
            environment,
        )
    }

    fn data(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }
}

/// A client with the first administrator's key.
pub(crate) fn administrator(process: &Process) -> Admin {
    Admin::connect(process.grpc(), Some(BOOTSTRAP_TOKEN.to_owned()))
}

/// How long a change is waited for on all replicas, once.
const WAIT: prost_types::Duration = prost_types::Duration {
    seconds: 10,
    nanos: 0,
};

/// Makes a key that is let in everywhere.
fn made(admin: &Admin, name: &str) -> Made {
    admin.make("default", key(name, &[]))
}

/// Disables a key, and waits for all replicas.
fn disabling(made: &Made) -> v1::UpdateKeyRequest {
    v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: made.id.clone(),
            enabled: Some(false),
            ..v1::Key::default()
        }),
        wait: v1::Wait::AllReplicas.into(),
        wait_deadline: Some(WAIT),
        ..Default::default()
    }
}

/// Waits until every replica has confirmed a change, and says how many there are: where this machine is starved that may take
/// longer than one wait may be.
fn until_everywhere(admin: &Admin, changed: v1::UpdateKeyResponse) -> i32 {
    let mut found = changed.propagation.unwrap();
    let begun = Instant::now();
    while !found.complete {
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
        let waited = admin.wait_for_revision(v1::WaitForRevisionRequest {
            revision: changed.revision.clone(),
            wait_deadline: Some(WAIT),
        });
        found = waited.unwrap().propagation.unwrap();
    }
    found.total
}

/// What two processes must agree on: every key of `default`, as of which change, and whether it is on. Times of last use
/// are no changes; they come a little later.
fn known(admin: &Admin) -> Vec<(String, String, Option<bool>)> {
    let keys = admin.keys("default").into_iter();
    keys.map(|key| (key.id, key.etag, key.enabled)).collect()
}
