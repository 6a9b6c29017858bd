//! Starts that can't go well: one clear line, and an exit code that says so.

use std::net::TcpListener;
use std::process::Command;

use claviger::grpc::proto::v1::Decision;

use crate::harness::{Folder, Process, is_root, key, not_checked, run, tool};

/// A folder with a database in it.
fn used_folder() -> std::sync::Arc<Folder> {
    let folder = Folder::new();
    let mut process = Process::start(&folder, &[]);
    process.admin().declare("default", &["orders:read"]);
    assert!(process.stop().success());
    folder
}

#[test]
fn a_wrong_root_key_is_refused_in_one_line() {
    let (ours, other) = (used_folder(), used_folder());
    let name = std::fs::read_dir(ours.data())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .find(|name| name.to_string_lossy().contains("root"))
        .unwrap();
    std::fs::copy(other.data().join(&name), ours.data().join(&name)).unwrap();
    let line = run(&ours, &[], &[]).complaint();
    assert!(line.contains("root key"), "{line}");
}

#[test]
fn a_root_key_is_replaced_by_one_start_with_both_at_hand() {
    let folder = Folder::new();
    let file = |name: &str, digit: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, digit.repeat(64)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (old, new) = (file("old-key", "a"), file("new-key", "b"));

    let mut process = Process::start(&folder, &["--root-key-file", &old]);
    let made = process.admin().make("default", key("kept", &[]));
    assert!(process.stop().success());
    let line = run(&folder, &["--root-key-file", &new], &[]).complaint();
    assert!(line.contains("root key"), "{line}");

    let both = ["--root-key-file", &new, "--root-key-previous-file", &old];
    assert!(Process::start(&folder, &both).stop().success());
    let line = run(&folder, &["--root-key-file", &old], &[]).complaint();
    assert!(line.contains("root key"), "{line}");
    let process = Process::start(&folder, &["--root-key-file", &new]);
    let decision = process.admin().decide("default", &made.token);
    assert_eq!(decision.decision(), Decision::Allow);
}

#[test]
fn a_data_directory_that_can_not_be_written_is_refused_in_one_line() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let below_a_file = folder.path().join("file/data");
    let below_a_file = below_a_file.to_str().unwrap();
    let line = run(&folder, &["--data-dir", below_a_file], &[]).complaint();
    assert!(line.contains("file/data"), "{line}");

    let data = folder.data();
    std::fs::create_dir(&data).unwrap();
    let (close, open) = if is_root() {
        ("chattr +i", "chattr -i")
    } else {
        ("chmod 555", "chmod 755")
    };
    let set = |how: &str| {
        let command = format!("{how} {}", data.display());
        let status = Command::new("bash").args(["-c", &command]).status();
        status.unwrap().success()
    };
    if !set(close) {
        not_checked("start with a directory nobody can write to: no `chattr` on this file system");
        return;
    }
    let ended = run(&folder, &[], &[]);
    set(open);
    let line = ended.complaint();
    assert!(line.contains("data"), "{line}");
}

#[test]
fn a_port_in_use_is_refused_in_one_line_that_names_it() {
    let folder = Folder::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--http-listen"] {
        let line = run(&folder, &[flag, &address], &[]).complaint();
        assert!(line.contains(&address), "{line}");
    }
}

#[test]
fn a_schema_from_the_future_is_refused_in_one_line_and_left_as_it_is() {
    let folder = used_folder();
    let script = "import sqlite3, sys\n\
                  db = sqlite3.connect(sys.argv[1])\n\
                  db.execute(\"INSERT INTO seaql_migrations VALUES ('m29990101_000000_from_the_future', 1)\")\n\
                  db.commit()";
    let status = Command::new(tool("python"))
        .args(["-c", script])
        .arg(folder.database())
        .status()
        .unwrap();
    assert!(status.success());
    let line = run(&folder, &[], &[]).complaint();
    assert!(line.contains("newer"), "{line}");
}

#[test]
fn a_data_directory_in_use_is_refused_in_one_line_and_its_user_goes_on() {
    let folder = Folder::new();
    let first = Process::start(&folder, &[]);
    let line = run(&folder, &[], &[]).complaint();
    assert!(line.contains("in use"), "{line}");
    first.admin().declare("default", &["orders:read"]);
}

#[test]
fn a_file_that_is_no_database_is_refused_in_one_line_and_left_as_it_is() {
    let folder = used_folder();
    let garbage = "this is no database, ".repeat(1000);
    std::fs::write(folder.database(), &garbage).unwrap();
    run(&folder, &[], &[]).complaint();
    let after = std::fs::read_to_string(folder.database()).unwrap();
    assert_eq!(after, garbage);
}

#[test]
fn settings_that_make_no_sense_are_refused_before_anything_is_opened() {
    for (flag, value) in [
        ("--listen", "nonsense"),
        ("--http-listen", "127.0.0.1:99999"),
        ("--trusted-proxies", "10.0.0.0/99"),
        ("--drain-delay", "soon"),
    ] {
        let folder = Folder::new();
        let ended = run(&folder, &[flag, value], &[]);
        assert!(!ended.status.success(), "{flag} {value}");
        assert!(ended.stderr.contains(value), "{}", ended.stderr);
        assert!(!folder.data().exists(), "{flag} {value}");
    }
}
