//! `claviger principals sync` with the real binary: a large file, the same file again, and files that are not whole.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Instant;

use claviger::grpc::proto::v1::Reason;
use serde_json::Value;

use crate::harness::{Admin, BINARY, Folder, Process, Questions, SOAK, figure, key};

/// How many principals there are; a hundred thousand with `make soak`.
const MANY: usize = if SOAK { 100_000 } else { 5_000 };
/// How many questions tell how long a decision takes when nothing else happens.
const BASELINE: usize = 100;

struct Stage {
    process: Process,
    admin: Admin,
    folder: Arc<Folder>,
}

impl Stage {
    fn set() -> Self {
        let folder = Folder::of_suite();
        let process = Process::start(&folder, &[]);
        let admin = process.admin();
        admin.declare("default", &["orders:read", "orders:write"]);
        Self {
            process,
            admin,
            folder,
        }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn sync(&self, file: &Path, options: &[&str]) -> Output {
        Command::new(BINARY)
            .args(["principals", "sync"])
            .arg(file)
            .args(options)
            .args(["--endpoint", &format!("http://{}", self.process.grpc())])
            .args(["-o", "json"])
            .env_clear()
            .env(
                "CLAVIGER_TOKEN_FILE",
                self.folder.data().join("bootstrap-token"),
            )
            .output()
            .unwrap()
    }

    fn revision(&self) -> String {
        self.admin.decide("default", "nobody's").revision
    }
}

/// What came of it: made, changed, so already, disabled, refused.
fn counts(output: &Output) -> [u64; 5] {
    let value: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!("{}", String::from_utf8_lossy(&output.stderr));
    });
    ["created", "updated", "unchanged", "disabled", "refused"].map(|n| value[n].as_u64().unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Users as a table, all but one of so many of them.
fn users(but_one_of: Option<usize>) -> String {
    let mut text = "id,display_name,enabled,scopes\n".to_owned();
    for n in (0..MANY).filter(|n| but_one_of.is_none_or(|of| n % of != 1)) {
        let scopes = ["orders:read", "orders:read;orders:write"][n % 2];
        writeln!(text, "user-{n:06}@example.com,User {n},true,{scopes}").unwrap();
    }
    text
}

#[test]
fn a_large_file_is_synchronised_while_decisions_go_on_and_again_changes_nothing() {
    let stage = Stage::set();
    let asked = stage.admin.make("default", key("asked", &[]));
    let expected = [(asked.token.clone(), Reason::Ok)];
    let questions = Questions::start(&stage.admin, &expected);
    questions.wait_for(BASELINE);
    let quiet = questions.stop();
    let file = stage.file("users.csv", &users(None));
    let questions = Questions::start(&stage.admin, &expected);
    let begun = Instant::now();
    let first = stage.sync(&file, &["--replace-all"]);
    let took = begun.elapsed();
    let busy = questions.stop();
    assert_eq!(
        counts(&first),
        [MANY as u64, 0, 0, 0, 0],
        "{}",
        said(&first)
    );
    assert!(first.status.success());
    assert!(busy.faults.is_empty(), "{:?}", busy.faults);

    let before = stage.revision();
    let begun = Instant::now();
    let again = stage.sync(&file, &["--replace-all"]);
    let same = begun.elapsed();
    assert_eq!(
        counts(&again),
        [0, 0, MANY as u64, 0, 0],
        "{}",
        said(&again)
    );
    assert_eq!(stage.revision(), before);

    // One of twenty is gone: they are disabled. One of five: that is too many.
    let gone = MANY / 20;
    let less = stage.file("less.csv", &users(Some(20)));
    let result = stage.sync(&less, &["--replace-all"]);
    let stay = (MANY - gone) as u64;
    assert_eq!(
        counts(&result),
        [0, 0, stay, gone as u64, 0],
        "{}",
        said(&result)
    );
    let before = stage.revision();
    let few = stage.file("few.csv", &users(Some(5)));
    let refused = stage.sync(&few, &["--replace-all"]);
    assert!(!refused.status.success());
    assert!(
        said(&refused).contains("TOO_MANY_GONE"),
        "{}",
        said(&refused)
    );
    assert_eq!(stage.revision(), before);

    let millis = |d: std::time::Duration| d.as_secs_f64() * 1e3;
    figure(&format!(
        "{MANY} principals synchronised in {:.1} s, again in {:.1} s without a change; longest of {} decisions meanwhile {:.1} ms, of {} in quiet {:.1} ms",
        took.as_secs_f64(),
        same.as_secs_f64(),
        busy.right,
        millis(busy.longest),
        quiet.right,
        millis(quiet.longest),
    ));
}

#[test]
fn a_file_that_can_not_be_read_whole_is_not_applied_at_all() {
    let stage = Stage::set();
    let good = stage.file(
        "good.jsonl",
        "{\"id\": \"joe\", \"scopes\": [\"orders:read\"]}\n{\"id\": \"ann\"}\n",
    );
    assert_eq!(counts(&stage.sync(&good, &[])), [2, 0, 0, 0, 0]);
    let before = stage.revision();
    for (name, text, part) in [
        (
            "flag.csv",
            "id,enabled\njoe,true\nann,maybe\n",
            "line 3: `enabled`",
        ),
        (
            "short.csv",
            "id,enabled\njoe\n",
            "line 2: the row has 1 fields",
        ),
        ("odd.csv", "id,role\njoe,boss\n", "unknown column `role`"),
        ("none.csv", "display_name\nJoe\n", "no column `id`"),
        (
            "odd.jsonl",
            "{\"id\": \"joe\"}\n{\"id\": \"ann\", \"role\": 1}\n",
            "line 2: `role`",
        ),
        (
            "cut.jsonl",
            "{\"id\": \"joe\"}\n{\"id\": \"an",
            "line 2: the line is no JSON object",
        ),
    ] {
        let file = stage.file(name, text);
        let output = stage.sync(&file, &["--replace-all", "--force"]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
        assert!(said(&output).contains(part), "{name}: {}", said(&output));
    }
    assert_eq!(stage.revision(), before);
    // One that the server refuses keeps no other; the command says which line it is.
    let file = stage.file(
        "refused.csv",
        "id,scopes\njoe,orders:read\nann,undeclared\nzoe,orders:*\n",
    );
    let output = stage.sync(&file, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(counts(&output), [1, 0, 1, 0, 1]);
    assert!(
        said(&output).contains("refused: line 3 (ann)"),
        "{}",
        said(&output)
    );
    let before = stage.revision();
    let output = stage.sync(&good, &["--dry-run", "--replace-all", "--force"]);
    assert_eq!(counts(&output), [0, 0, 2, 1, 0]);
    assert_eq!(stage.revision(), before);
}
