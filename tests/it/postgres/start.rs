//! Starts on PostgreSQL: together, and those that can't go well.

use std::path::Path;

use claviger::grpc::proto::v1::Reason;
use tonic::Code;

use super::{BOOTSTRAP_TOKEN, Stage, administrator};
use crate::harness::{Admin, Ended, ROOT_KEY, Starting, bootstrap_token, key};

#[test]
fn two_processes_that_start_at_once_on_an_empty_database_make_one_administrator_and_both_serve() {
    let mut stage = Stage::set();
    for _ in 0..3 {
        let starting = [stage.starting("one"), stage.starting("other")];
        let [one, other] = starting.map(Starting::serving);
        for process in [&one, &other] {
            administrator(process).make("default", key("made", &[]));
        }
        let administrators = "SELECT count(*) FROM keys WHERE workspace_id = 'system'";
        assert_eq!(stage.database.sql(administrators), "1");
        drop((one, other));
        stage.database = stage.postgres.create_database();
    }
}

#[test]
fn where_nobody_hands_in_a_token_the_first_of_two_that_start_at_once_makes_one_and_the_other_none()
{
    let stage = Stage::set();
    let environment = [
        ("CLAVIGER_DATABASE_URL", stage.database.url.as_str()),
        ("CLAVIGER_ROOT_KEY", ROOT_KEY),
    ];
    let names = ["one", "other"];
    let starting = names.map(|name| stage.starting_with(name, &environment));
    let processes = starting.map(Starting::serving);
    let files = names.map(|name| Path::new(&stage.data(name)).join("bootstrap-token"));
    let made: Vec<_> = files.iter().filter(|file| file.exists()).collect();
    assert_eq!(made.len(), 1, "{made:?}");
    let token = bootstrap_token(made[0].parent().unwrap());
    for process in &processes {
        let admin = Admin::connect(process.grpc(), Some(token.clone()));
        admin.make("default", key("made", &[]));
    }
}

#[test]
fn without_its_root_key_a_process_does_not_start() {
    let stage = Stage::set();
    let url = ("CLAVIGER_DATABASE_URL", stage.database.url.as_str());
    let line = stage.fails(&[url]).complaint();
    assert!(line.contains("`claviger_root_key`"), "{line}");

    drop(stage.process("one"));
    let other_key = "5e".repeat(32);
    let line = stage
        .fails(&[url, ("CLAVIGER_ROOT_KEY", &other_key)])
        .complaint();
    assert!(line.contains("root key"), "{line}");
    // And the right one opens it as before.
    let process = stage.process("one");
    administrator(&process).make("default", key("made", &[]));
}

#[test]
fn a_database_that_can_not_be_had_is_refused_in_one_line_without_the_password() {
    let mut stage = Stage::set();
    let fails = |stage: &Stage, url: &str| -> Ended {
        stage.fails(&[
            ("CLAVIGER_DATABASE_URL", url),
            ("CLAVIGER_ROOT_KEY", ROOT_KEY),
            ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
        ])
    };
    let url = stage.database.url.clone();
    // The folder's logs are searched for the old password and for the new one when the test ends.
    stage.database = stage.postgres.change_password(&stage.database);
    let line = fails(&stage, &url).complaint();
    assert!(line.contains("password"), "{line}");

    let nowhere = stage.database.url.replace("/claviger_0?", "/nowhere?");
    let line = fails(&stage, &nowhere).complaint();
    assert!(line.contains("nowhere"), "{line}");

    stage.postgres.refuse(&stage.database);
    fails(&stage, &stage.database.url).complaint();
    stage.postgres.accept(&stage.database);

    stage.postgres.freeze();
    fails(&stage, &stage.database.url).complaint();
    stage.postgres.thaw();

    stage.postgres.stop();
    fails(&stage, &stage.database.url).complaint();
    stage.postgres.serve();
    // None of that has left anything behind.
    let process = stage.process("one");
    administrator(&process).make("default", key("made", &[]));
}

#[test]
fn a_changed_password_stops_changes_but_no_decision_and_a_restart_with_it_heals() {
    let mut stage = Stage::set();
    let mut process = stage.process("one");
    let admin = administrator(&process);
    let made = admin.make("default", key("made", &[]));
    let old = stage.database;
    stage.database = stage.postgres.change_password(&old);
    // Connections that are open stay so; new ones are refused.
    stage.postgres.refuse(&stage.database);
    stage.postgres.accept(&stage.database);
    let status = admin.enable(&made.id, false).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(admin.decide("default", &made.token).reason(), Reason::Ok);

    assert!(process.stop().success());
    let process = stage.process("one");
    let admin = administrator(&process);
    assert_eq!(admin.decide("default", &made.token).reason(), Reason::Ok);
    admin.enable(&made.id, false).unwrap();
}

#[test]
fn secrets_are_read_from_files_too() {
    let stage = Stage::set();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, secret: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, format!("{secret}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let environment = [
        (
            "CLAVIGER_DATABASE_URL_FILE",
            file("url", &stage.database.url),
        ),
        ("CLAVIGER_ROOT_KEY_FILE", file("root", ROOT_KEY)),
        (
            "CLAVIGER_BOOTSTRAP_TOKEN_FILE",
            file("token", BOOTSTRAP_TOKEN),
        ),
    ];
    let environment = environment
        .each_ref()
        .map(|(name, file)| (*name, file.as_str()));
    let process = stage.starting_with("one", &environment).serving();
    administrator(&process).make("default", key("made", &[]));
}
