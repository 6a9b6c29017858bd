//! Another root key for a database whose root key lies beside it, while it is served, and whatever cuts that off.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::Reason;

use crate::harness::{BINARY, Folder, Process, SOAK, figure, key, offline, register};

/// How often a rotation is killed on its way.
const KILLS: u32 = if SOAK { 200 } else { 20 };

fn root_key(folder: &Folder) -> String {
    let key = std::fs::read_to_string(folder.data().join("root-key")).unwrap();
    register(key.trim());
    key
}

fn rotate(folder: &Folder) -> (bool, String, String) {
    let data = folder.data();
    let args = ["--log", "off", "--data-dir", data.to_str().unwrap()];
    offline("rotate-root-key", &args, &[])
}

#[test]
fn the_root_key_in_the_data_directory_is_replaced_while_the_service_runs() {
    let folder = Folder::new();
    let mut process = Process::start(&folder, &[]);
    let admin = process.admin();
    let made = admin.make("default", key("kept", &[]));
    let old = root_key(&folder);
    let (good, said, error) = rotate(&folder);
    assert!(good && said.contains("was replaced"), "{said}{error}");
    let new = root_key(&folder);
    assert_ne!(old, new);
    assert!(!folder.data().join("root-key.next").exists());
    assert_eq!(admin.decide("default", &made.token).reason(), Reason::Ok);
    let later = admin.make("default", key("made after", &[]));
    assert!(process.stop().success());

    let mut process = Process::start(&folder, &[]);
    let decisions = process
        .admin()
        .decide_all("default", &[made.token, later.token]);
    assert!(decisions.iter().all(|d| d.reason() == Reason::Ok));
    assert!(process.stop().success());
    // The old key opens nothing any more, and the start says so.
    std::fs::write(folder.data().join("root-key"), old).unwrap();
    let line = crate::harness::run(&folder, &[], &[]).complaint();
    assert!(line.contains("root key does not open"), "{line}");
    std::fs::write(folder.data().join("root-key"), new).unwrap();
    scrub(&folder);
}

/// The root key lies in the folder by design; the search for secrets that follows is about everything else.
fn scrub(folder: &Folder) {
    std::fs::remove_file(folder.data().join("root-key")).unwrap();
}

#[test]
fn a_rotation_that_is_killed_at_any_moment_leaves_a_database_that_opens() {
    let folder = Folder::new();
    let mut process = Process::start(&folder, &[]);
    let made = process.admin().make("default", key("kept", &[]));
    // How long one takes tells where the kills are to fall.
    let start = Instant::now();
    assert!(rotate(&folder).0);
    let whole = start.elapsed();
    let mut cut_off = 0;
    for n in 0..KILLS {
        let killed = kill_after(&folder, whole * n / KILLS);
        cut_off += u32::from(killed);
        let admin = process.admin();
        assert_eq!(admin.decide("default", &made.token).reason(), Reason::Ok);
        process.kill();
        process = Process::start(&folder, &[]);
        let decision = process.admin().decide("default", &made.token);
        assert_eq!(decision.reason(), Reason::Ok, "killed after {n} of {KILLS}");
    }
    // What was cut off can be done again.
    let (good, said, error) = rotate(&folder);
    assert!(good, "{said}{error}");
    assert!(process.stop().success());
    figure(&format!(
        "`claviger rotate-root-key` killed {cut_off} times on its way: the service went on, and every start after it opened the database"
    ));
}

/// Starts a rotation and kills it; whether it was still under way then.
#[expect(
    clippy::disallowed_methods,
    reason = "where in its work the kill falls is what is varied; nothing is waited for"
)]
fn kill_after(folder: &Arc<Folder>, after: Duration) -> bool {
    let mut child = Command::new(BINARY)
        .args(["rotate-root-key", "--log", "off", "--data-dir"])
        .arg(folder.data())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    !child.wait().unwrap().success()
}
