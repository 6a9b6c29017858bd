//! The README's commands, run exactly as they are printed.
//!
//! Every block fenced as `console` counts, and no other: its lines that begin with `$ ` are commands (one that ends in `\`
//! goes on in the next line). Those below one `##` heading are one walk: run in order in one shell, in a folder with a copy
//! of `deploy/`, `examples/` and `proto/`. The lines after a command are what it prints: each must come, in this order; `…`
//! stands for what varies.
//!
//! What is real: `grpcurl`, `curl`, Envoy, Python, PostgreSQL, the ports (in a network of their own where the machine allows
//! it), and the program. What stands in: `cargo` is a script that puts the program which cargo has built for this test below
//! `target/release`, where the real one leaves it and nowhere else, so that `claviger` is found only by who was told how.
//! `git clone …` and `cd claviger` are left out, for there is nothing to clone from. A server, which a reader leaves running
//! in a terminal of its own (`cargo run --release` without arguments, `envoy …`, `python3 -m http.server …`, or anything that
//! ends with `&`), runs in the background from the moment it says that it is ready.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::harness::{
    BINARY, Child, Folder, Postgres, may_unshare, not_checked, register, repository, tool,
};

/// A command of the README and the lines printed below it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    command: String,
    printed: Vec<String>,
}

/// The steps of all `console` blocks.
fn steps(markdown: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    let mut continued = false;
    for line in markdown.lines() {
        let fence = line.trim_start().strip_prefix("```");
        if let Some(info) = fence {
            inside = !inside && info.trim() == "console";
            continued = false;
        } else if !inside {
        } else if continued {
            let step = steps.last_mut().unwrap();
            step.command.push('\n');
            step.command
                .push_str(line.strip_prefix("> ").unwrap_or(line));
            continued = line.ends_with('\\');
        } else if let Some(command) = line.strip_prefix("$ ") {
            continued = command.ends_with('\\');
            steps.push(Step {
                command: command.to_owned(),
                printed: Vec::new(),
            });
        } else if !line.trim().is_empty() {
            let step = steps.last_mut().expect("a command before what it prints");
            step.printed.push(line.trim().to_owned());
        }
    }
    steps.retain(|s| !s.command.starts_with("git clone ") && s.command != "cd claviger");
    steps
}

/// Is this a server that a reader leaves running?
fn is_server(command: &str) -> bool {
    command.ends_with('&')
        || command == "cargo run --release"
        || command.starts_with("envoy ")
        || command.starts_with("python3 -m http.server")
}

/// A script that runs the steps, and says on standard output where each begins.
fn script(steps: &[Step], before: &str) -> String {
    let mut script = format!("{PREAMBLE}{before}\n");
    for (n, step) in steps.iter().enumerate() {
        let command = step.command.as_str();
        let _ = writeln!(script, "printf '\\n== {n}\\n'");
        if is_server(command) {
            let command = command.trim_end_matches('&').trim_end();
            let _ = writeln!(
                script,
                "{command} >server-{n}.log 2>&1 &\nuntil_ready server-{n}.log $!"
            );
        } else {
            let _ = writeln!(script, "{command}");
        }
    }
    script.push_str("printf '\\n== end\\n'\n");
    script
}

/// `until_ready` looks for what Claviger, Envoy, Python's server and PostgreSQL say when they are ready.
const PREAMBLE: &str = r#"set -eo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
until_ready() {
  until grep -qE 'serving|starting workers|Serving HTTP|ready to accept' "$1"; do
    kill -0 "$2" 2>/dev/null || { cat "$1"; echo "it has ended"; exit 1; }
    sleep 0.05
  done
  cat "$1"
}
"#;

const CARGO: &str = r#"#!/bin/sh
# Stands for cargo in the test of the README: the program is built already.
mkdir -p target/release
ln -sf "$CLAVIGER_BINARY" target/release/claviger
case "$1 $2" in
  "build --release") exit ;;
  "run --release") shift 2 ;;
  *) echo "only cargo build --release and cargo run --release are known here" >&2; exit 1 ;;
esac
[ "$1" = -- ] && shift
exec target/release/claviger "$@"
"#;

/// A scratch copy of what the README's commands use.
fn scratch(folder: &Folder) -> std::path::PathBuf {
    let scratch = folder.path().join("claviger");
    fs::create_dir(&scratch).unwrap();
    for part in ["deploy", "examples", "proto"] {
        copy(&repository().join(part), &scratch.join(part));
    }
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let cargo = bin.join("cargo");
    fs::write(&cargo, CARGO).unwrap();
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    scratch
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The document's parts: each heading `## …` with what is below it.
fn parts(markdown: &str) -> Vec<(&str, &str)> {
    let parts = markdown.split("\n## ").skip(1);
    parts.filter_map(|part| part.split_once('\n')).collect()
}

/// The steps below a heading.
fn walk(heading: &str) -> Vec<Step> {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, part) = *parts(&readme).iter().find(|(h, _)| *h == heading).unwrap();
    steps(part)
}

#[test]
fn the_commands_of_the_first_five_minutes_do_what_the_readme_says() {
    let folder = Folder::new();
    if !run(&folder, &walk("Five minutes"), "", true) {
        not_checked(
            "the README on a network of its own: needs root; it ran on this machine's ports",
        );
        run(&folder, &walk("Five minutes"), "", false);
    }
}

#[test]
fn the_commands_for_postgresql_do_what_the_readme_says() {
    let folder = Folder::new();
    let mut postgres = Postgres::start(&folder);
    postgres.stop();
    let server = format!(
        "{} >postgres.log 2>&1 &\nuntil_ready postgres.log $!",
        postgres.shell()
    );
    if !run(&folder, &walk("On PostgreSQL"), &server, true) {
        not_checked("the README on PostgreSQL: needs root, for a port 5432 of its own");
    }
}

#[test]
fn no_command_of_the_readme_is_left_out() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let headings = parts(&readme).into_iter();
    let walked: Vec<&str> = headings
        .filter(|(_, part)| !steps(part).is_empty())
        .map(|(heading, _)| heading)
        .collect();
    assert_eq!(walked, ["Five minutes", "On PostgreSQL"]);
}

/// Runs a walk after the lines of `before`, on a network and with a process table of its own where `apart`: then the ports
/// are free whatever runs here, and nothing is left running. False: this machine does not allow that.
fn run(folder: &Folder, steps: &[Step], before: &str, apart: bool) -> bool {
    assert!(steps.len() > 3, "{steps:?}");
    let own = ["--net", "--pid", "--fork", "--kill-child"];
    if apart && !may_unshare(&[&own[..], &["ip", "link", "set", "lo", "up"]].concat()) {
        return false;
    }
    let scratch = scratch(folder);
    let session = folder.path().join("session.sh");
    fs::write(&session, script(steps, before)).unwrap();
    let path = format!(
        "{}:{}:{}:$PATH",
        folder.path().join("bin").display(),
        tool("envoy").parent().unwrap().display(),
        tool("python").parent().unwrap().display(),
    );
    let start = format!(
        "export PATH=\"{path}\" CLAVIGER_BINARY='{BINARY}'; exec bash '{}'",
        session.display()
    );
    let mut command = if apart {
        let mut unshare = Command::new("unshare");
        let with_loopback = format!("ip link set lo up && {start}");
        unshare.args(own).args(["bash", "-c", &with_loopback]);
        unshare
    } else {
        let mut bash = Command::new("bash");
        bash.args(["-c", &start]);
        bash
    };
    command.current_dir(&scratch);
    let out = folder.output("readme-out");
    let (mut child, mut said, mut complained) =
        Child::start(&mut command, &out, &folder.output("readme-err"));
    let status = child.wait();
    let (said, complained) = (said.rest(), complained.rest());
    assert!(status.success(), "{said}\n--- stderr:\n{complained}");
    for (n, step) in steps.iter().enumerate() {
        assert_printed(step, section(&said, n), &complained);
    }
    // The session got to see tokens on its own output, which is the reader's terminal. They may be nowhere else.
    for word in said.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-') {
        if word.starts_with("clv_") && word.len() > 50 {
            register(word);
        }
    }
    fs::remove_file(out).unwrap();
    fs::remove_file(session).unwrap();
    remove_readers_files(&scratch);
    true
}

/// Removes what the reader saved, which may hold tokens: not the data directory, nor what the servers said.
fn remove_readers_files(scratch: &Path) {
    for entry in fs::read_dir(scratch).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_file() && !name.starts_with("server-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// What a step printed.
fn section(said: &str, n: usize) -> &str {
    let start = format!("== {n}\n");
    let (_, after) = said.split_once(&start).expect("the step was run");
    after.split("\n== ").next().unwrap()
}

/// All lines that the README shows came, in their order.
fn assert_printed(step: &Step, said: &str, complained: &str) {
    let mut lines = said.lines();
    for expected in &step.printed {
        assert!(
            lines.any(|line| fits(line.trim(), expected)),
            "`{}` did not print `{expected}` but:\n{said}\n--- stderr:\n{complained}",
            step.command
        );
    }
}

/// Does a line fit a pattern in which `…` stands for anything?
fn fits(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let mut exact = true;
    for part in parts {
        exact = part.is_empty();
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = after;
        if !exact && pattern.ends_with(part) && line.ends_with(part) {
            rest = "";
        }
    }
    (exact && pattern.ends_with('…')) || rest.is_empty()
}

#[test]
fn only_console_blocks_are_commands_and_what_follows_them_is_their_output() {
    let markdown =
        "a\n```console\n$ one \\\n    --two\nprinted …\n\n$ three\n```\n```sh\n$ not this\n```\n";
    let found = steps(markdown);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].command, "one \\\n    --two");
    assert_eq!(found[0].printed, ["printed …"]);
    assert_eq!(found[1].command, "three");
}

#[test]
fn an_ellipsis_stands_for_what_varies() {
    assert!(fits("same", "same"));
    assert!(!fits("same!", "same"));
    assert!(fits("\"id\": \"key_123\",", "\"id\": \"key_…\","));
    assert!(!fits("\"id\": \"sec_123\",", "\"id\": \"key_…\","));
    assert!(fits("anything", "…"));
    assert!(fits("a b c", "a…c"));
    assert!(fits("HTTP/1.1 401 Unauthorized", "HTTP/1.1 401…"));
}
