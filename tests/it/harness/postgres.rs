//! A PostgreSQL of a test's own: a cluster in a temporary folder, behind a Unix socket, that can be stopped, frozen, and
//! told to refuse.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use claviger::app::ports::Entropy as _;
use claviger::server::SystemEntropy;
use tempfile::TempDir;

use super::bouncer::Bouncer;
use super::{Child, Folder, Log, Proxy, SOAK, register, repository, sooner_or_later};

/// What the administrator of a cluster is called; `scripts/postgres.sh` says the same.
const ADMINISTRATOR: &str = "postgres";

/// The user that Claviger connects as: it owns its database, and may do nothing else.
const USER: &str = "service";

/// A running cluster. When dropped, however the test ends, it is ended and removed; so it is when the test run is killed.
pub(crate) struct Postgres {
    server: Option<(Child, Log)>,
    /// Ends the server and removes its folder as soon as its input ends.
    guard: std::process::Child,
    dir: PathBuf,
    /// The administrator's, and that of [`USER`].
    passwords: [String; 2],
    databases: AtomicUsize,
    bouncer: OnceLock<Bouncer>,
    folder: Arc<Folder>,
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
        if let Some((mut server, _)) = self.server.take() {
            server.wait();
        }
    }
}

impl Postgres {
    /// Makes a cluster and starts it; what it says goes to the folder's logs, and is searched for tokens and passwords with
    /// them. The long figures are taken on one that syncs to disk; the small tests need not wait for that.
    pub(crate) fn start(folder: &Arc<Folder>) -> Self {
        let dir = TempDir::with_prefix("claviger-pg-").unwrap().keep();
        let guard = script("guard", &dir).stdin(Stdio::piped()).spawn().unwrap();
        let passwords = [new_password(), new_password()];
        let mut this = Self {
            server: None,
            guard,
            dir,
            passwords,
            databases: AtomicUsize::new(0),
            bouncer: OnceLock::new(),
            folder: Arc::clone(folder),
        };
        this.init();
        this.serve();
        let [_, password] = &this.passwords;
        this.sql(&format!("CREATE ROLE {USER} LOGIN PASSWORD '{password}'"));
        this
    }

    fn init(&self) {
        let password = self.folder.path().join("pg-password");
        std::fs::write(&password, &self.passwords[0]).unwrap();
        let made = script("init", &self.dir)
            .stdin(std::fs::File::open(&password).unwrap())
            .status()
            .unwrap();
        std::fs::remove_file(password).unwrap();
        assert!(made.success(), "no cluster could be made");
    }

    /// Starts the server, for the first time or again after [`Self::stop`].
    pub(crate) fn serve(&mut self) {
        assert!(self.server.is_none(), "it is running");
        let mut command = script("serve", &self.dir);
        if !SOAK {
            command.args(["-c", "fsync=off"]);
        }
        let (out, err) = (self.folder.output("pg-out"), self.folder.output("pg-err"));
        let (child, _, mut log) = Child::start(&mut command, &out, &err);
        log.wait("PostgreSQL's start", |line| {
            line.contains("ready to accept connections").then_some(())
        });
        self.server = Some((child, log));
    }

    /// Ends the server at once, without a word to its clients; returns what it said.
    pub(crate) fn stop(&mut self) -> String {
        let (mut child, mut log) = self.server.take().expect("it is running");
        child.signal("QUIT");
        child.wait();
        log.rest()
    }

    /// Stops every process of the server in its tracks: connections stay open, and nothing answers.
    pub(crate) fn freeze(&self) {
        // The server itself first: it then starts no process that would be missed.
        let (server, _) = self.server.as_ref().expect("it is running");
        signal("STOP", &[server.pid()]);
        signal("STOP", &self.processes());
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        signal("CONT", &self.processes());
    }

    /// From now on it says every statement with its values.
    pub(crate) fn log_everything(&self) {
        self.sql("ALTER SYSTEM SET log_statement = 'all'");
        self.sql("ALTER SYSTEM SET log_line_prefix = '%d '");
        self.sql("SELECT pg_reload_conf()");
    }

    /// Ends all connections to a database, and takes no more.
    pub(crate) fn refuse(&self, database: &Database) {
        let name = &database.name;
        self.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
        self.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ));
    }

    /// Takes connections again.
    pub(crate) fn accept(&self, database: &Database) {
        let name = &database.name;
        self.sql(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    }

    /// Makes an empty database that [`USER`] owns.
    pub(crate) fn create_database(&self) -> Database {
        let n = self.databases.fetch_add(1, Ordering::SeqCst);
        let name = format!("claviger_{n}");
        self.sql(&format!("CREATE DATABASE {name} OWNER {USER}"));
        let url = self.url(USER, &self.passwords[1], &name);
        Database { name, url }
    }

    /// Gives [`USER`] another password; returns the database's new URL.
    pub(crate) fn change_password(&mut self, database: &Database) -> Database {
        let password = new_password();
        self.sql(&format!("ALTER ROLE {USER} PASSWORD '{password}'"));
        let url = self.url(USER, &password, &database.name);
        self.passwords[1] = password;
        Database {
            name: database.name.clone(),
            url,
        }
    }

    fn url(&self, user: &str, password: &str, database: &str) -> String {
        let dir = self.dir.display();
        format!("postgres://{user}:{password}@localhost/{database}?host={dir}")
    }

    /// The rows of a statement as the administrator, columns split by `|`.
    fn sql(&self, statement: &str) -> String {
        let [password, _] = &self.passwords;
        psql(&self.url(ADMINISTRATOR, password, "postgres"), statement)
    }

    /// A shell's command that serves the cluster on PostgreSQL's own port, and knows the administrator's password: for who
    /// has a network apart. It must not run already.
    pub(crate) fn shell(&self) -> String {
        assert!(self.server.is_none(), "it is running");
        let script = repository().join("scripts/postgres.sh");
        let [password, _] = &self.passwords;
        format!(
            "export PGPASSWORD={password}; '{}' serve '{}' -c listen_addresses=127.0.0.1 -c fsync=off",
            script.display(),
            self.dir.display()
        )
    }

    /// A way to the server on which things can go wrong.
    pub(crate) fn proxy(&self) -> Proxy {
        Proxy::before_socket(&self.dir.join(".s.PGSQL.5432"))
    }

    /// `PgBouncer` before it: what a process sets for its sessions is set for its user, as it must be.
    pub(crate) fn bouncer(&self) -> &Bouncer {
        self.bouncer.get_or_init(|| {
            for (setting, limit) in [
                ("lock_timeout", "2s"),
                ("statement_timeout", "10s"),
                ("idle_in_transaction_session_timeout", "5s"),
            ] {
                self.sql(&format!("ALTER ROLE {USER} SET {setting} = '{limit}'"));
            }
            let users = [(USER, &*self.passwords[1])];
            Bouncer::start(&self.dir, &users, &self.folder)
        })
    }

    /// A copy of its files as they are. It must not run.
    pub(crate) fn copy(&self) -> PathBuf {
        let copy = self.dir.join("copy");
        self.put(&self.data(), &copy);
        copy
    }

    /// Puts such a copy back in the place of its files. It must not run.
    pub(crate) fn put_back(&self, copy: &Path) {
        std::fs::remove_dir_all(self.data()).unwrap();
        self.put(copy, &self.data());
    }

    fn put(&self, from: &Path, to: &Path) {
        assert!(self.server.is_none(), "it is running");
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.unwrap().success(), "the files can't be copied");
    }

    /// Where it keeps its files.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// All processes of the server.
    fn processes(&self) -> Vec<u32> {
        processes(&self.data())
    }
}

/// All processes of the server that keeps its files there: each works in that folder.
fn processes(data: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let process = PathBuf::from(format!("/proc/{pid}"));
        std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == data)
            && std::fs::read_to_string(process.join("comm"))
                .is_ok_and(|name| name.trim() == "postgres")
    })
    .collect()
}

/// A database of a cluster.
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Database {
    /// The URL that leads there by way of a proxy.
    pub(crate) fn url_by(&self, proxy: &Proxy) -> String {
        let (server, _) = self.url.split_once('?').expect("a URL with parameters");
        let address = proxy.address().to_string();
        format!("{}?sslmode=disable", server.replace("localhost", &address))
    }

    /// The rows of a statement as Claviger's own user, columns split by `|`.
    pub(crate) fn sql(&self, statement: &str) -> String {
        psql(&self.url, statement)
    }

    /// A backup of all of it, by PostgreSQL's own tool.
    pub(crate) fn dump(&self, file: &Path) {
        let args = ["--clean", "--if-exists", "--no-owner", "--file"];
        let ran = self.run(Command::new("pg_dump").args(args).arg(file).arg(&self.url));
        assert_eq!(ran, Ok(()), "{}", self.name);
    }

    /// Puts a backup back in the place of what is there, in one step, under whoever uses it: who locks tables one after the
    /// other meets those who do so in another order, and tries again.
    pub(crate) fn restore(&self, file: &Path) {
        let args = ["-Xq", "-1", "-v", "ON_ERROR_STOP=1", "-f"];
        let ran = sooner_or_later(|| {
            let ran = self.run(Command::new("psql").args(args).arg(file).arg(&self.url));
            match &ran {
                Err(complaint) if complaint.contains("deadlock detected") => Err(complaint.clone()),
                _ => Ok(ran),
            }
        });
        assert_eq!(ran, Ok(()), "{}", self.name);
    }

    fn run(&self, command: &mut Command) -> Result<(), String> {
        let output = command
            .output()
            .expect("PostgreSQL's tools are on the path");
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        output.status.success().then_some(()).ok_or(complained)
    }
}

/// A password that no log may hold from now on.
fn new_password() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes).unwrap();
    let password: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    register(&password);
    password
}

fn script(what: &str, dir: &Path) -> Command {
    let mut command = Command::new(repository().join("scripts/postgres.sh"));
    command.arg(what).arg(dir);
    command
}

fn signal(name: &str, pids: &[u32]) {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    // One that has ended meanwhile is no fault.
    let _ = Command::new("bash")
        .args(["-c", &format!("kill -{name} \"$@\"; true"), "bash"])
        .args(pids)
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

/// Runs a statement, and gives its rows as text.
pub(crate) fn psql(url: &str, statement: &str) -> String {
    let output = Command::new("psql")
        .args(["-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, url])
        .output()
        .expect("PostgreSQL's `psql` is on the path");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{statement}: {complained}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_cluster_is_stopped_frozen_and_refusing_when_told_and_leaves_nothing_behind() {
    let folder = Folder::new();
    let mut postgres = Postgres::start(&folder);
    let database = postgres.create_database();
    database.sql("CREATE TABLE t (n int); INSERT INTO t VALUES (7)");
    postgres.refuse(&database);
    assert!(!answers(&database, "60"));
    postgres.accept(&database);
    assert!(answers(&database, "60"));
    postgres.freeze();
    assert!(!answers(&database, "0.5"));
    postgres.thaw();
    assert!(answers(&database, "60"));
    let renewed = postgres.change_password(&database);
    assert!(!answers(&database, "60") && answers(&renewed, "60"));
    postgres.stop();
    assert!(!answers(&renewed, "60"));
    postgres.serve();
    assert_eq!(renewed.sql("SELECT n FROM t"), "7");

    // Frozen to the end: also that must not keep it from being removed.
    postgres.freeze();
    let (dir, data) = (postgres.dir.clone(), postgres.data());
    assert!(processes(&data).len() > 3);
    drop(postgres);
    assert!(!dir.exists());
    // The folder is gone, but what works in it would still name it.
    assert_eq!(processes(&data), Vec::<u32>::new());
    let gone = data.with_file_name("data (deleted)");
    assert_eq!(processes(&gone), Vec::<u32>::new());
}

/// Does a query succeed within so many seconds?
fn answers(database: &Database, seconds: &str) -> bool {
    Command::new("timeout")
        .args([seconds, "psql", "-XqAt", "-c", "SELECT 1", &database.url])
        .output()
        .unwrap()
        .status
        .success()
}
