//! The database of a test that is to hold on SQLite and on PostgreSQL: which one it is, the environment says.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::not_checked;
use super::postgres::psql;

/// The root key of processes on it.
pub(crate) const ROOT_KEY: &str =
    "7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7a";

/// A PostgreSQL database of a test's own, in the cluster that `scripts/postgres.sh` runs. Dropped with this.
pub(crate) struct SuiteDatabase {
    administrator: String,
    name: String,
}

impl SuiteDatabase {
    /// None where the suite runs on SQLite.
    pub(crate) fn create() -> Option<Self> {
        static CREATED: AtomicUsize = AtomicUsize::new(0);
        #[expect(
            clippy::disallowed_methods,
            reason = "who runs the tests says what on; nothing of the service is set by it"
        )]
        let administrator = std::env::var("CLAVIGER_TEST_POSTGRES_URL").ok()?;
        let n = CREATED.fetch_add(1, Ordering::SeqCst);
        let name = format!("it_{}_{n}", std::process::id());
        // A locale whose order is not that of bytes: what is ordered must not depend on it. And a copy of the files is
        // quicker than one through the log, where nothing is synced.
        let create = format!(
            "CREATE DATABASE {name} TEMPLATE template0 STRATEGY file_copy ENCODING 'UTF8' \
             LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        psql(&administrator, &create);
        Some(Self {
            administrator,
            name,
        })
    }

    /// The database's own URL.
    pub(crate) fn url(&self) -> String {
        let (server, parameters) = self.administrator.split_once('?').unwrap_or_default();
        let (server, _) = server.rsplit_once('/').expect("a URL with a database");
        format!("{server}/{}?{parameters}", self.name)
    }

    /// The files of its tables, with all that was written to them; none where the cluster is not of this machine.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        psql(&self.administrator, "CHECKPOINT");
        let found = psql(
            &self.url(),
            "SELECT current_setting('data_directory') || '/' || pg_relation_filepath(oid) FROM pg_class \
             WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') OR oid IN \
             (SELECT reltoastrelid FROM pg_class WHERE relnamespace = 'public'::regnamespace)",
        );
        let files: Vec<PathBuf> = found.lines().map(PathBuf::from).collect();
        assert!(files.len() > 10, "{found}");
        if files.iter().all(|file| file.exists()) {
            return files;
        }
        not_checked(
            "tokens in the tables' files on PostgreSQL: the cluster is not of this machine",
        );
        Vec::new()
    }
}

impl SuiteDatabase {
    /// Every row of every table, as text.
    pub(crate) fn dump(&self) -> String {
        let tables = psql(
            &self.url(),
            "SELECT format('COPY %I TO STDOUT;', relname) FROM pg_class \
             WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
        );
        assert!(tables.lines().count() > 10, "{tables}");
        psql(&self.url(), &tables)
    }
}

impl Drop for SuiteDatabase {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // A failing test has something else to say.
        let _ = Command::new("psql")
            .args(["-Xq", "-c", &statement, &self.administrator])
            .output();
    }
}
