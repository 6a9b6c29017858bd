//! A large set of keys moves in through `claviger import` while decisions are asked for; both processes are killed half-way;
//! it is resumed, compared with the file, and loaded again by the next start.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{Decision, Reason};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::harness::{
    Admin, BINARY, Child, Folder, Process, Questions, SOAK, figure, key, register,
};

/// How many keys move in; a million with `make soak`.
const KEYS: usize = if SOAK { 1_000_000 } else { 3_000 };
/// How many of them are reported when it is cut off. The command sends a thousand at once.
const HALF: usize = KEYS / 2 - 1_000;
/// How many are there to be read by then. A small set stops half-way and is cut off while it waits for the rest: the test is
/// never too late. A large one goes on, and is cut off in the middle of writes.
const FED: usize = if SOAK { KEYS } else { KEYS / 2 };
/// How many questions tell how long a decision takes when nothing else happens.
const BASELINE: usize = if SOAK { 4_000 } else { 100 };
/// Longest that a transfer may take. It ends a test that hangs and measures nothing.
const TRANSFER: Duration = Duration::from_secs(if SOAK { 3_600 } else { 300 });

#[test]
fn a_set_that_was_cut_off_half_way_and_resumed_is_exactly_what_the_file_holds() {
    let folder = Folder::new();
    let data = folder.data();
    moves_in("SQLite", &folder, &data, || Process::start(&folder, &[]));
}

/// The whole story on one kind of database. `start` starts a process on the same database each time, with `data` as its
/// directory.
pub(crate) fn moves_in(kind: &str, folder: &Arc<Folder>, data: &Path, start: impl Fn() -> Process) {
    let set = Set::write(folder.path().join("set.jsonl"));
    let mut process = start();
    let empty = memory(&process, "VmRSS");
    let admin = process.admin_of(data);
    let asked = admin.make("default", key("asked", &[]));
    let expected = [(asked.token.clone(), Reason::Ok)];

    let questions = Questions::start(&admin, &expected);
    questions.wait_for(BASELINE);
    let quiet = questions.stop();
    assert!(quiet.faults.is_empty(), "{:?}", quiet.faults);

    // Half-way, and then no more: neither who sends nor who receives has a chance to put anything in order.
    let report = folder.path().join("report");
    let half = Half::feed(folder, &set);
    let mut import = Import::start(folder, &process, data, &half.pipe, &["--report"], &report);
    let mut reported = Lines::of(&report);
    import.until(|| reported.count() >= HALF);
    import.child.signal("KILL");
    process.kill();
    import.child.wait();
    half.end();
    let before = reported.count();
    assert!(before < KEYS, "it was too late to cut it off");

    let mut process = start();
    let admin = process.admin_of(data);
    let questions = Questions::start(&admin, &expected);
    let begun = Instant::now();
    let resume = ["--resume", "--report"];
    let ended = Import::start(folder, &process, data, &set.path, &resume, &report).end();
    let took = begun.elapsed();
    assert!(ended.success(), "{ended}");
    let busy = questions.stop();
    assert!(busy.faults.is_empty(), "{:?}", busy.faults);
    let peak = memory(&process, "VmHWM");

    // What the report says, what an export says, and what the file holds are one.
    let created = outcomes(&report, "CREATED");
    assert_eq!(
        created + outcomes(&report, "ALREADY_IMPORTED"),
        KEYS,
        "each item is confirmed once"
    );
    set.assert_is_what_there_is(folder, &process, data, &asked.token);
    set.assert_opens(&admin);

    // A finished file once more: every item is known, and no revision is used up.
    let revision = admin.decide("default", &asked.token).revision;
    let again = folder.path().join("again");
    let ended = Import::start(folder, &process, data, &set.path, &["--report"], &again).end();
    assert!(ended.success(), "{ended}");
    assert_eq!(outcomes(&again, "ALREADY_IMPORTED"), KEYS);
    let after = admin.decide("default", &asked.token).revision;
    assert_eq!(after, revision);

    assert!(process.stop().success());
    let begun = Instant::now();
    let process = start();
    let started = begun.elapsed();
    let resident = memory(&process, "VmRSS");
    set.assert_opens(&process.admin_of(data));
    std::fs::remove_file(&set.path).unwrap();

    figure(&format!(
        "{kind}: {KEYS} keys moved in, cut off half-way by `kill -9` of both sides and resumed: exactly the file's digests; the rest at {:.0} keys a second, {} MiB at the peak; longest of {} decisions meanwhile {:.1} ms, of {} in quiet {:.1} ms; start with all of them in {:.2} s, {} bytes a key resident",
        (KEYS - before) as f64 / took.as_secs_f64(),
        peak / 1_024,
        busy.right,
        busy.longest.as_secs_f64() * 1e3,
        quiet.right,
        quiet.longest.as_secs_f64() * 1e3,
        started.as_secs_f64(),
        resident.saturating_sub(empty) * 1_024 / KEYS as u64,
    ));
}

/// A file of keys, every other one by its digest alone.
struct Set {
    path: PathBuf,
}

impl Set {
    fn write(path: PathBuf) -> Self {
        let mut file = BufWriter::new(File::create(&path).unwrap());
        for i in 0..KEYS {
            let token = token(i);
            let source = if i % 2 == 0 {
                json!({ "external_token": { "token": token } })
            } else {
                json!({ "external_digest": { "sha256_hex": digest(&token), "asserted_entropy_bits": 256 } })
            };
            let item = json!({
                "import_id": format!("set-{i}"),
                "key": { "display_name": format!("Key {i} of the set") },
                "primary": source,
            });
            writeln!(file, "{item}").unwrap();
        }
        file.flush().unwrap();
        for i in Self::samples() {
            register(&token(i));
        }
        Self { path }
    }

    /// Some of it: the first and the last, and those about where it was cut off.
    fn samples() -> [usize; 6] {
        [0, 1, KEYS / 2 - 1, KEYS / 2, KEYS - 2, KEYS - 1]
    }

    fn assert_opens(&self, admin: &Admin) {
        for i in Self::samples() {
            let decision = admin.decide("default", &token(i));
            assert_eq!(decision.decision(), Decision::Allow, "token {i}");
        }
    }

    /// The digests that an export names are those of the file, and that of the key that was asked about.
    fn assert_is_what_there_is(&self, folder: &Folder, process: &Process, data: &Path, and: &str) {
        let out = folder.path().join("export.jsonl");
        let mut command = client(process, data, "export");
        command.args(["--with-digests", "--timeout", "60s", "--output-file"]);
        command.arg(&out);
        let log = folder.output("export");
        let (child, _, _) = Child::start(&mut command, &log, &folder.output("export-err"));
        let ended = Import { child }.end();
        assert!(ended.success(), "{ended}");
        let mut there = BTreeSet::new();
        for line in BufReader::new(File::open(&out).unwrap()).lines() {
            let item: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let digest = &item["primary"]["external_digest"]["sha256_hex"];
            let new = there.insert(digest.as_str().unwrap().to_owned());
            assert!(new, "{digest} is there twice");
        }
        std::fs::remove_file(out).unwrap();
        let mut wanted: BTreeSet<String> = (0..KEYS).map(|i| digest(&token(i))).collect();
        wanted.insert(digest(and));
        // One digest over all of it: a difference of a million lines is nothing to print.
        assert_eq!(there.len(), wanted.len());
        assert_eq!(sum(&there), sum(&wanted));
    }
}

/// The beginning of a set, coming through a pipe.
struct Half {
    pipe: PathBuf,
    stop: Sender<()>,
    feeding: JoinHandle<()>,
}

impl Half {
    fn feed(folder: &Folder, set: &Set) -> Self {
        let pipe = folder.path().join("half.jsonl");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let (stop, stopped) = channel::<()>();
        let (from, to) = (set.path.clone(), pipe.clone());
        let feeding = thread::spawn(move || {
            let from = BufReader::new(File::open(from).unwrap());
            // Opens when the reader does. Who is killed reads no more: that is what the test is about.
            let mut to = BufWriter::new(File::options().write(true).open(to).unwrap());
            let fed = from
                .lines()
                .take(FED)
                .try_for_each(|line| writeln!(to, "{}", line.unwrap()));
            let _ = fed.and_then(|()| to.flush());
            let _ = stopped.recv();
        });
        Self {
            pipe,
            stop,
            feeding,
        }
    }

    fn end(self) {
        drop(self.stop);
        self.feeding.join().unwrap();
        std::fs::remove_file(self.pipe).unwrap();
    }
}

fn token(i: usize) -> String {
    format!("set_{}", digest(&format!("token {i} of the set")))
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn sum(lines: &BTreeSet<String>) -> String {
    let mut sum = Sha256::new();
    for line in lines {
        sum.update(line);
    }
    hex(&sum.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A transfer under way.
struct Import {
    child: Child,
}

impl Import {
    fn start(
        folder: &Folder,
        process: &Process,
        data: &Path,
        file: &Path,
        options: &[&str],
        report: &Path,
    ) -> Self {
        let mut command = client(process, data, "import");
        command.arg(file).args(options).arg(report);
        let (out, err) = (folder.output("import"), folder.output("import-err"));
        let (child, _, _) = Child::start(&mut command, &out, &err);
        Self { child }
    }

    /// Waits until something is so, while the transfer goes on.
    fn until(&mut self, mut so: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !so() {
            let ended = self.child.ended_within(Duration::from_millis(5));
            assert_eq!(ended, None, "it ended too early");
            assert!(begun.elapsed() < TRANSFER, "the transfer hangs");
        }
    }

    fn end(mut self) -> ExitStatus {
        let ended = self.child.ended_within(TRANSFER);
        ended.expect("the transfer hangs")
    }
}

/// The command as a client of this process, with the first administrator's key.
fn client(process: &Process, data: &Path, command: &str) -> Command {
    let mut client = Command::new(BINARY);
    client
        .arg(command)
        .args(["--endpoint", &format!("http://{}", process.grpc())])
        .env_clear()
        .env("CLAVIGER_TOKEN_FILE", data.join("bootstrap-token"));
    client
}

/// The lines of a file that another process writes, counted as they come.
struct Lines {
    path: PathBuf,
    file: Option<File>,
    count: usize,
}

impl Lines {
    fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            count: 0,
        }
    }

    fn count(&mut self) -> usize {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            let mut more = Vec::new();
            file.read_to_end(&mut more).unwrap();
            self.count += more.iter().filter(|byte| **byte == b'\n').count();
        }
        self.count
    }
}

/// How many items a report gives this outcome; a line that was cut off gives none.
fn outcomes(report: &Path, outcome: &str) -> usize {
    let lines = BufReader::new(File::open(report).unwrap()).lines();
    lines
        .filter_map(|line| serde_json::from_str::<Value>(&line.unwrap()).ok())
        .filter(|line| line["outcome"] == outcome)
        .count()
}

/// A figure of `/proc/PID/status`, in KiB.
fn memory(process: &Process, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
