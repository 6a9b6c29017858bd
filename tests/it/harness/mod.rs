//! What the integration tests are made of: processes, clients, Envoy, an upstream, and a watch over tokens.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

mod admin;
mod bouncer;
mod child;
mod envoy;
mod http;
mod load;
pub(crate) mod many;
mod postgres;
mod process;
mod proxy;
mod receiver;
mod rig;
mod secrets;
pub(crate) mod server;
mod stranded;
mod suite;
mod upstream;

pub(crate) use admin::{Admin, Made, check_of, key};
pub(crate) use child::{Child, Log};
pub(crate) use envoy::{Envoy, EnvoyOptions, Route, Sample, for_two, sample_path};
pub(crate) use http::{Connection, Response, Target, basic, get, header};
pub(crate) use load::{Questions, Visitors, Writers, Written, is_delay, revision};
pub(crate) use postgres::{Database, Postgres, psql};
pub(crate) use process::{
    BINARY, Ended, Folder, Process, Starting, bootstrap_token, offline, run, serve_args,
};
pub(crate) use proxy::{Fault, Proxy};
pub(crate) use receiver::{Answer, Arrived, Receiver, authority};
pub(crate) use rig::{Rig, RigOptions, demands};
pub(crate) use secrets::{register, scan, scan_all};
pub(crate) use stranded::Stranded;
pub(crate) use suite::{ROOT_KEY, SuiteDatabase};
pub(crate) use upstream::Upstream;

/// How long a test waits for an event that must come. Never a measure of speed: it only ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits between two looks at what is written in the background.
#[expect(
    clippy::disallowed_methods,
    reason = "the service tells nobody when it has written; who looks has no runtime, and gives up after `PATIENCE`"
)]
pub(crate) fn between_looks() {
    std::thread::sleep(Duration::from_millis(20));
}

/// Looks again and again until there is what is looked for. Where it never is, what was seen last is shown.
pub(crate) fn sooner_or_later<T, S: std::fmt::Debug>(mut look: impl FnMut() -> Result<T, S>) -> T {
    let began = std::time::Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => assert!(began.elapsed() < PATIENCE, "{seen:#?}"),
        }
        between_looks();
    }
}

/// Whether the long figures are run: `make soak` sets this when it builds.
pub(crate) const SOAK: bool = option_env!("CLAVIGER_SOAK").is_some();

/// How many minutes an outage lasts in the long figures; counts grow with it, and 10 is the whole of them.
pub(crate) const MINUTES: u32 = match option_env!("CLAVIGER_SOAK") {
    Some(minutes) => match u32::from_str_radix(minutes, 10) {
        Ok(minutes) => minutes,
        Err(_) => panic!("`CLAVIGER_SOAK` is a number of minutes"),
    },
    None => 0,
};

/// Notes a figure that a test has shown; `make test` prints it, `make soak` keeps it.
pub(crate) fn figure(text: &str) {
    note("figures", text);
}

/// The repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A tool that `make tools` sets up.
pub(crate) fn tool(name: &str) -> PathBuf {
    match name {
        "python" => tools("python/bin/python"),
        _ => tools(&format!("bin/{name}")),
    }
}

/// A file or folder that `make tools` sets up.
pub(crate) fn tools(path: &str) -> PathBuf {
    let full = repository().join("target/tools").join(path);
    assert!(
        full.exists(),
        "`{path}` is not set up: run `make tools` once (expected {})",
        full.display()
    );
    full
}

/// Is this root? Some faults (a full disk, a database nobody can write to) can only be staged by root.
pub(crate) fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let id = Command::new("id").arg("-u").output().unwrap();
        id.stdout.trim_ascii() == b"0"
    })
}

/// May this user, on this machine, run a command in namespaces of its own? Root in a container often may not.
pub(crate) fn may_unshare(args: &[&str]) -> bool {
    let output = Command::new("unshare").args(args).output();
    output.is_ok_and(|o| o.status.success())
}

/// Notes that this machine does not allow a check; `make test` prints it.
pub(crate) fn not_checked(what: &str) {
    note("not-checked", what);
}

fn note(file: &str, line: &str) {
    let dir = repository().join("target/it");
    std::fs::create_dir_all(&dir).unwrap();
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join(file))
        .unwrap();
    writeln!(file, "{line}").unwrap();
}
