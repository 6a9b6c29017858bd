//! The real `claviger` binary, running.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;

use super::{Admin, Child, Log, ROOT_KEY, SuiteDatabase, Target, get, register, scan_all};

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_claviger");

/// A folder with the data and the logs of one test. When the last user is gone it is searched for tokens, and removed.
pub(crate) struct Folder {
    dir: TempDir,
    outputs: AtomicUsize,
    database: Option<SuiteDatabase>,
}

impl Folder {
    pub(crate) fn new() -> Arc<Self> {
        Self::with(None)
    }

    /// One of a suite that holds on either database: where it is run on PostgreSQL, so are the processes of this folder.
    pub(crate) fn of_suite() -> Arc<Self> {
        Self::with(SuiteDatabase::create())
    }

    fn with(database: Option<SuiteDatabase>) -> Arc<Self> {
        let dir = TempDir::with_prefix_in("it-", env!("CARGO_TARGET_TMPDIR")).unwrap();
        Arc::new(Self {
            dir,
            outputs: AtomicUsize::new(0),
            database,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The database in it.
    pub(crate) fn database(&self) -> PathBuf {
        self.data().join("claviger.db")
    }

    /// What the service keeps: the data directory, and the files of its tables on PostgreSQL.
    pub(crate) fn kept(&self) -> Vec<PathBuf> {
        let mut places = vec![self.data()];
        places.extend(self.database.iter().flat_map(SuiteDatabase::files));
        places
    }

    /// What stands in the tables on PostgreSQL; on SQLite that is in the data directory.
    pub(crate) fn dump(&self) -> String {
        let dump = self.database.as_ref().map(SuiteDatabase::dump);
        dump.unwrap_or_default()
    }

    /// A new file for the output of a process.
    pub(crate) fn output(&self, name: &str) -> PathBuf {
        let n = self.outputs.fetch_add(1, Ordering::SeqCst);
        self.dir.path().join(format!("{n:03}-{name}.log"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let mut places = vec![self.path().to_owned()];
            places.extend(self.database.iter().flat_map(SuiteDatabase::files));
            let found = scan_all(&places);
            assert!(found.is_empty(), "tokens were left behind: {found:#?}");
        }
    }
}

/// A serving process. Killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) log: Log,
    /// Where metrics and health are served.
    pub(crate) http: SocketAddr,
    folder: Arc<Folder>,
}

impl Process {
    /// Starts it in a folder and waits until it serves.
    pub(crate) fn start(folder: &Arc<Folder>, args: &[&str]) -> Self {
        Self::start_with(folder, args, &[])
    }

    /// The same with variables.
    pub(crate) fn start_with(folder: &Arc<Folder>, args: &[&str], env: &[(&str, &str)]) -> Self {
        Starting::begin(folder, args, env).serving()
    }

    /// The same with a command that ends up running the binary.
    pub(crate) fn start_as(folder: &Arc<Folder>, command: Command) -> Self {
        Starting::run(folder, command, &[]).serving()
    }

    /// Where a listener listens: `grpc`, `admin` or `http`.
    pub(crate) fn address(&self, listener: &str) -> String {
        let address = self.log.seen(|l| listening(l, listener));
        address.unwrap_or_else(|| panic!("there is no listener `{listener}`"))
    }

    /// Where decisions are served, and administration where it has no listener of its own.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.address("grpc").parse().unwrap()
    }

    pub(crate) fn folder(&self) -> &Arc<Folder> {
        &self.folder
    }

    /// The value of a metric, with its labels where it has any.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let text = get(&Target::Tcp(self.http), "/metrics", &[]).text();
        let line = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        let value = text.lines().find_map(line);
        value.unwrap_or_else(|| panic!("there is no metric `{name}`"))
    }

    /// A client with the bootstrap key.
    pub(crate) fn admin(&self) -> Admin {
        self.admin_of(&self.folder.data())
    }

    /// A client with the bootstrap key of this data directory.
    pub(crate) fn admin_of(&self, data: &Path) -> Admin {
        Admin::connect(self.grpc(), Some(bootstrap_token(data)))
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.signal("KILL");
        self.child.wait();
    }

    /// Asks it to stop and waits for that.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.child.signal("TERM");
        self.child.wait()
    }
}

/// A process on its way up.
pub(crate) struct Starting {
    child: Child,
    log: Log,
    folder: Arc<Folder>,
}

impl Starting {
    /// Starts it and does not wait.
    pub(crate) fn begin(folder: &Arc<Folder>, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(BINARY);
        command.args(overriding(&folder.data(), args)).args(args);
        Self::run(folder, command, env)
    }

    /// The same with a command that ends up running the binary.
    pub(crate) fn run(folder: &Arc<Folder>, mut command: Command, env: &[(&str, &str)]) -> Self {
        command.env_clear().env("PATH", search_path());
        command.env("RUST_BACKTRACE", "1").envs(env.iter().copied());
        if let Some(database) = &folder.database {
            command.env("CLAVIGER_DATABASE_URL", database.url());
            command.env("CLAVIGER_ROOT_KEY", ROOT_KEY);
        }
        let (child, _out, log) =
            Child::start(&mut command, &folder.output("out"), &folder.output("err"));
        let folder = Arc::clone(folder);
        Self { child, log, folder }
    }

    /// Waits until it serves.
    pub(crate) fn serving(mut self) -> Process {
        let http = self
            .log
            .wait("the address of `http`", |l| listening(l, "http"));
        self.log.wait("`serving`", |l| event(l, "serving"));
        Process {
            child: self.child,
            log: self.log,
            http: http.parse().unwrap(),
            folder: self.folder,
        }
    }
}

impl Drop for Process {
    /// Where a test fails, what the process said about it is worth reading.
    #[expect(
        clippy::print_stdout,
        reason = "shown by the test runner with the failure"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- the process said:\n{}", self.log.so_far());
        }
    }
}

/// The bootstrap key of a data directory; registered.
pub(crate) fn bootstrap_token(data: &Path) -> String {
    let token = std::fs::read_to_string(data.join("bootstrap-token")).unwrap();
    let token = token.trim().to_owned();
    register(&token);
    token
}

/// Arguments for a process that can't meet another one.
pub(crate) fn serve_args(data: &Path) -> Vec<String> {
    let data = data.to_str().unwrap();
    [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
        "--data-dir",
        data,
        "--log-format",
        "json",
        "--drain-delay",
        "0s",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The usual arguments without those that are given otherwise.
fn overriding(data: &Path, args: &[&str]) -> Vec<String> {
    let mut usual = serve_args(data);
    for pair in args.chunks(2) {
        if let Some(at) = usual.iter().position(|a| a == pair[0]) {
            usual.drain(at..at + 2);
        }
    }
    usual
}

/// Where this machine keeps its programs.
fn search_path() -> std::ffi::OsString {
    #[expect(
        clippy::disallowed_methods,
        reason = "the children of the tests get an environment of their own, but for this"
    )]
    std::env::var_os("PATH").unwrap()
}

/// How a process ended that was not meant to serve.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
}

impl Ended {
    /// The one line that says why, in lower case; all else on standard error must be ordinary events.
    pub(crate) fn complaint(&self) -> String {
        assert!(!self.status.success(), "it ended well:\n{}", self.stderr);
        assert!(self.status.code().is_some(), "{:?}", self.status);
        let complaints: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| match serde_json::from_str::<Value>(line) {
                Ok(event) => event["level"] == "ERROR",
                Err(_) => !line.trim().is_empty(),
            })
            .collect();
        assert_eq!(complaints.len(), 1, "not one line:\n{}", self.stderr);
        let line = complaints[0].to_lowercase();
        assert!(!line.contains("panicked"), "{line}");
        line
    }
}

/// Runs a process that is to end by itself. Later `args` override the usual ones.
pub(crate) fn run(folder: &Folder, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(BINARY);
    command
        .args(overriding(&folder.data(), args))
        .args(args)
        .env_clear()
        .envs(env.iter().copied());
    let (mut child, mut out, mut err) =
        Child::start(&mut command, &folder.output("out"), &folder.output("err"));
    let status = child.wait();
    out.rest();
    Ended {
        status,
        stderr: err.rest(),
    }
}

/// Runs a command that works on a database and ends; whether it ended well, and what it said on standard output and error.
pub(crate) fn offline(
    command: &str,
    args: &[&str],
    env: &[(&str, &str)],
) -> (bool, String, String) {
    let ended = Command::new(BINARY)
        .arg(command)
        .args(args)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (
        ended.status.success(),
        text(&ended.stdout),
        text(&ended.stderr),
    )
}

/// The address in a `listening` event of this listener.
fn listening(line: &str, listener: &str) -> Option<String> {
    let fields = event(line, "listening")?;
    (fields["listener"] == listener).then(|| fields["address"].as_str().unwrap().to_owned())
}

/// The fields of an event, if the line is that event.
fn event(line: &str, message: &str) -> Option<Value> {
    let Ok(mut value) = serde_json::from_str::<Value>(line) else {
        return pretty_event(line, message);
    };
    if value["fields"].is_object() {
        value = value["fields"].take();
    }
    (value["message"] == message).then_some(value)
}

/// The same of a log for people, where no field has a blank.
fn pretty_event(line: &str, message: &str) -> Option<Value> {
    let (_, said) = line.split_once(" INFO ")?;
    let fields = said.trim_start().strip_prefix(message)?.split_whitespace();
    let field = |field: &str| {
        let (name, value) = field.split_once('=')?;
        Some((name.to_owned(), value.trim_matches('"').into()))
    };
    Some(Value::Object(fields.map(field).collect::<Option<_>>()?))
}
