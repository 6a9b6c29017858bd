//! Where a test's database lives: in a folder, or on the PostgreSQL server that `CLAVIGER_TEST_POSTGRES_URL` names, whose
//! user must be allowed to create databases. Each test has a database of its own, which goes with its end.

use std::hash::{BuildHasher as _, RandomState};

use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
use tempfile::TempDir;

use crate::store::{OpenError, SqlStore};

pub(super) enum Home {
    Folder(TempDir),
    Server { admin: String, name: String },
}

impl Home {
    pub(super) async fn make() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "a test has no other way to be told which server to run on"
        )]
        let admin = std::env::var("CLAVIGER_TEST_POSTGRES_URL");
        match admin {
            Ok(admin) if !admin.is_empty() => {
                let name = format!(
                    "claviger_test_{:016x}",
                    RandomState::new().hash_one(std::process::id())
                );
                // A locale whose order is not that of bytes: what is ordered must not depend on it.
                let create = format!(
                    "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' \
                     LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LC_COLLATE 'C' LC_CTYPE 'C'"
                );
                run(&admin, &create).await;
                Self::Server { admin, name }
            }
            _ => Self::Folder(tempfile::tempdir().unwrap()),
        }
    }

    pub(super) fn is_server(&self) -> bool {
        matches!(self, Self::Server { .. })
    }

    pub(super) async fn open(&self) -> Result<SqlStore, OpenError> {
        match self {
            Self::Folder(dir) => SqlStore::open(&dir.path().join("claviger.db")).await,
            Self::Server { admin, name } => SqlStore::connect(&url_of(admin, name)).await,
        }
    }

    pub(super) async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        match self {
            Self::Folder(dir) => SqlStore::migrate_file(&dir.path().join("claviger.db")).await,
            Self::Server { admin, name } => SqlStore::migrate_server(&url_of(admin, name)).await,
        }
    }

    /// The folder, for tests of SQLite alone.
    pub(super) fn folder(&self) -> &std::path::Path {
        match self {
            Self::Folder(dir) => dir.path(),
            Self::Server { .. } => panic!("a test of SQLite runs on PostgreSQL"),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Self::Server { admin, name } = self else {
            return;
        };
        let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        // The test's runtime is busy with this very call.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(run(admin, &drop));
            });
        });
    }
}

fn url_of(admin: &str, name: &str) -> String {
    let mut url = url::Url::parse(admin).unwrap();
    url.set_path(name);
    url.to_string()
}

async fn run(admin: &str, sql: &str) {
    let mut options = ConnectOptions::new(admin);
    options.max_connections(1).sqlx_logging(false);
    let connection = Database::connect(options).await.unwrap();
    connection.execute_unprepared(sql).await.unwrap();
    connection.close().await.unwrap();
}
