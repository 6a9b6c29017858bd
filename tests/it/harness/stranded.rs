//! A transaction that somebody began and left open: it keeps PostgreSQL from cleaning up, and must hold up nobody.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use super::Database;

/// It stays open until it is dropped.
pub(crate) struct Stranded {
    client: Child,
    backend: String,
}

impl Stranded {
    /// Begins one with a number of its own, in a database.
    pub(crate) fn begin(database: &Database) -> Self {
        let mut client = Command::new("psql")
            .args(["-XqAt", "-v", "ON_ERROR_STOP=1", &database.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("PostgreSQL's `psql` is on the path");
        let begin = b"BEGIN;\nSELECT pg_backend_pid() FROM pg_current_xact_id();\n";
        client.stdin.as_mut().unwrap().write_all(begin).unwrap();
        let mut backend = String::new();
        let said = client.stdout.as_mut().unwrap();
        BufReader::new(said).read_line(&mut backend).unwrap();
        Self {
            client,
            backend: backend.trim().to_owned(),
        }
    }

    /// Nobody has ended it.
    pub(crate) fn assert_idle(&self, database: &Database) {
        let backend = &self.backend;
        let state = database.sql(&format!(
            "SELECT state FROM pg_stat_activity WHERE pid = {backend}"
        ));
        assert_eq!(state, "idle in transaction");
    }
}

impl Drop for Stranded {
    fn drop(&mut self) {
        let _ = self.client.kill();
        let _ = self.client.wait();
    }
}
