//! What is done to a database without serving: its schema, another history.

use claviger::grpc::proto::v1::Decision;

use crate::harness::{Folder, Process, key};

/// Runs a command on the database of a folder; returns whether it ended well, and what it said.
fn offline(folder: &Folder, command: &str) -> (bool, String, String) {
    let data = folder.data();
    let args = ["--log", "off", "--data-dir", data.to_str().unwrap()];
    crate::harness::offline(command, &args, &[])
}

#[test]
fn migrate_says_what_it_applied_and_the_database_is_served_after() {
    let folder = Folder::new();
    let (good, said, _) = offline(&folder, "migrate");
    assert!(
        good && said.starts_with("applied m0001_initial\n"),
        "{said}"
    );
    let again = offline(&folder, "migrate");
    assert_eq!((again.0, &*again.1), (true, "the schema is up to date\n"));
    let mut process = Process::start(&folder, &[]);
    let (good, _, error) = offline(&folder, "migrate");
    assert!(
        !good && error.contains("in use by another process"),
        "{error}"
    );
    assert!(process.stop().success());
}

#[test]
fn a_restored_database_gets_another_history_and_its_keys_go_on() {
    let folder = Folder::new();
    let (good, _, error) = offline(&folder, "adopt-restore");
    assert!(!good && error.contains("is empty"), "{error}");
    let mut process = Process::start(&folder, &[]);
    let made = process.admin().make("default", key("kept", &[]));
    let before = process.admin().decide("default", &made.token);
    assert!(process.stop().success());

    let (good, said, error) = offline(&folder, "adopt-restore");
    assert!(good, "{error}");
    let revision = said.trim().rsplit(' ').next().unwrap();
    let process = Process::start(&folder, &[]);
    let after = process.admin().decide("default", &made.token);
    assert_eq!(after.decision(), Decision::Allow);
    assert_eq!(after.revision, revision);
    let epoch = |revision: &str| revision.split('.').next().unwrap().to_owned();
    assert_ne!(epoch(&after.revision), epoch(&before.revision));
}
