//! Claviger on PostgreSQL: each test has a cluster of its own, which it may stop.

use std::sync::Arc;

use crate::harness::{
    Admin, Database, Ended, Folder, Postgres, Process, ROOT_KEY, Starting, register, run,
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

/// What two processes must agree on: every key of `default`, as of which change, and whether it is on. Times of last use
/// are no changes; they come a little later.
fn known(admin: &Admin) -> Vec<(String, String, Option<bool>)> {
    let keys = admin.keys("default").into_iter();
    keys.map(|key| (key.id, key.etag, key.enabled)).collect()
}
