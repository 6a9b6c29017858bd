//! A start while PostgreSQL can't be reached: from what the process kept, never behind what it had confirmed.

use std::path::PathBuf;
use std::time::Instant;

use claviger::grpc::proto::v1::Reason;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{BOOTSTRAP_TOKEN, Stage, administrator, disabling, made, until_everywhere};
use crate::harness::{Admin, Ended, Made, PATIENCE, Process, ROOT_KEY, Starting, Target, get, run};

/// Disables a key, and returns when every replica has confirmed that.
fn disable_everywhere(admin: &Admin, made: &Made) {
    until_everywhere(admin, admin.update_key(disabling(made)).unwrap());
}

/// The reason of the failure of a change.
fn refusal(admin: &Admin, id: &str) -> String {
    let status = admin.enable(id, true).unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    status.get_details_error_info().unwrap().reason
}

fn decides(admin: &Admin, made: &Made, reason: Reason) {
    let decision = admin.decide("default", &made.token);
    assert_eq!(decision.reason(), reason);
}

/// What a page of a process says, and its status.
fn page(process: &Process, path: &str) -> (u16, String) {
    let answer = get(&Target::Tcp(process.http), path, &[]);
    (answer.status, answer.text())
}

/// Asks a page until it says this.
fn becomes(process: &Process, path: &str, status: u16, text: &str) {
    let begun = Instant::now();
    loop {
        let (found, said) = page(process, path);
        if found == status && said.contains(text) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{found}: {said}");
        std::thread::yield_now();
    }
}

impl Stage {
    fn environment(&self) -> [(&str, &str); 3] {
        [
            ("CLAVIGER_DATABASE_URL", &self.database.url),
            ("CLAVIGER_ROOT_KEY", ROOT_KEY),
            ("CLAVIGER_BOOTSTRAP_TOKEN", BOOTSTRAP_TOKEN),
        ]
    }

    /// A process with a setting more.
    fn process_with(&self, name: &str, setting: [&str; 2]) -> Process {
        let data = self.data(name);
        let args = ["--data-dir", &data, setting[0], setting[1]];
        Starting::begin(&self.folder, &args, &self.environment()).serving()
    }

    /// A start in this data directory that fails because the database can't be reached; what it said.
    fn start_fails(&self, name: &str, settings: &[&str]) -> String {
        let data = self.data(name);
        let args = [&["--data-dir", &data], settings].concat();
        let ended: Ended = run(&self.folder, &args, &self.environment());
        let line = ended.complaint();
        assert!(line.contains("can't be reached"), "{line}");
        ended.stderr
    }

    /// The files that a process keeps, of a kind, oldest first.
    fn kept(&self, name: &str, extension: &str) -> Vec<PathBuf> {
        let folder = PathBuf::from(self.data(name)).join("snapshot");
        let Ok(entries) = std::fs::read_dir(folder) else {
            return Vec::new();
        };
        let mut found: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
        found.retain(|path| path.extension().is_some_and(|e| e == extension));
        found.sort();
        found
    }
}

#[test]
fn a_process_killed_and_started_without_postgresql_serves_what_it_knew_and_nothing_it_had_confirmed_as_revoked()
 {
    let mut stage = Stage::set();
    let (mut one, other) = (stage.process("one"), stage.process("other"));
    let (here, there) = (administrator(&one), administrator(&other));
    let (open, shut, late) = (
        made(&here, "open"),
        made(&here, "shut"),
        made(&there, "late"),
    );
    disable_everywhere(&here, &shut);
    // Made by another process; all that this one did was to confirm it.
    disable_everywhere(&there, &late);
    one.kill();
    stage.postgres.stop();

    // Twice: what it goes on from is what it went on from.
    let mut one = stage.process("one");
    one.kill();
    let one = stage.process("one");
    let here = administrator(&one);
    decides(&here, &open, Reason::Ok);
    decides(&here, &shut, Reason::KeyDisabled);
    decides(&here, &late, Reason::KeyDisabled);
    assert_eq!(refusal(&here, &shut.id), "DATABASE_UNAVAILABLE");
    let (status, said) = page(&one, "/readyz");
    assert_eq!(status, 200);
    assert!(said.contains("without the database"), "{said}");
    becomes(&one, "/metrics", 200, "started_without_database 1");

    stage.postgres.serve();
    becomes(&one, "/metrics", 200, "started_without_database 0");
    assert_eq!(page(&one, "/readyz"), (200, "ready\n".to_owned()));
    // It is one of the fleet again: changes of either are confirmed by both.
    let begun = Instant::now();
    while there.enable(&late.id, true).is_err() {
        assert!(
            begun.elapsed() < PATIENCE,
            "the other process stays cut off"
        );
    }
    disable_everywhere(&there, &open);
    decides(&here, &open, Reason::KeyDisabled);
    decides(&here, &late, Reason::Ok);
    disable_everywhere(&here, &late);
    decides(&there, &late, Reason::KeyDisabled);
}

#[test]
fn every_life_without_postgresql_keeps_what_the_ones_before_it_learned() {
    let mut stage = Stage::set();
    let mut one = stage.process("one");
    let first = made(&administrator(&one), "first");
    one.kill();
    for n in 0..3 {
        stage.postgres.stop();
        let mut one = stage.process("one");
        let admin = administrator(&one);
        decides(&admin, &first, Reason::Ok);
        stage.postgres.serve();
        becomes(&one, "/readyz", 200, "ready\n");
        let then = made(&admin, &format!("made in life {n}"));
        admin.enable(&then.id, false).unwrap();
        one.kill();
        stage.postgres.stop();
        let mut one = stage.process("one");
        decides(&administrator(&one), &then, Reason::KeyDisabled);
        one.kill();
        stage.postgres.serve();
    }
}

#[test]
fn a_database_in_another_history_is_not_gone_on_with() {
    let mut stage = Stage::set();
    let mut one = stage.process("one");
    let made = made(&administrator(&one), "made");
    one.kill();
    let other = "UPDATE meta SET epoch = epoch + 1; UPDATE counter SET n = n + 1000";
    stage.database.sql(other);
    stage.postgres.stop();

    let mut one = stage.process("one");
    let admin = administrator(&one);
    decides(&admin, &made, Reason::Ok);
    stage.postgres.serve();
    one.log.wait("what is wrong with the database", |line| {
        line.contains("not the one that was left").then_some(())
    });
    let begun = Instant::now();
    while refusal(&admin, &made.id) != "DATABASE_REPLACED" {
        assert!(begun.elapsed() < PATIENCE, "it stays unavailable");
    }
    decides(&admin, &made, Reason::Ok);
    let (_, said) = page(&one, "/readyz");
    assert!(said.contains("without the database"), "{said}");
}

#[test]
fn after_an_orderly_stop_nobody_waits_for_a_process_so_that_it_starts_with_postgresql_alone() {
    let mut stage = Stage::set();
    let mut one = stage.process("one");
    assert!(one.stop().success());
    stage.postgres.stop();
    let said = stage.start_fails("one", &[]);
    assert!(said.contains("left its fleet in order"), "{said}");
    stage.postgres.serve();
    stage.process("one");
}

#[test]
fn a_process_stopped_in_order_while_postgresql_is_away_may_start_again_without_it() {
    let mut stage = Stage::set();
    let mut one = stage.process("one");
    let made = made(&administrator(&one), "made");
    stage.postgres.stop();
    for _ in 0..2 {
        assert!(one.stop().success());
        one = stage.process("one");
        decides(&administrator(&one), &made, Reason::Ok);
    }
    stage.postgres.serve();
    becomes(&one, "/readyz", 200, "ready\n");
    assert_eq!(stage.database.sql("SELECT count(*) FROM replicas"), "1");
}

#[test]
fn who_keeps_nothing_leaves_nothing_behind_and_starts_with_postgresql_alone() {
    let mut stage = Stage::set();
    for setting in [
        ["--strict-revocation", "true"],
        ["--start-without-database", "false"],
    ] {
        let mut one = stage.process("one");
        one.kill();
        assert!(!stage.kept("one", "snapshot").is_empty());
        let mut one = stage.process_with("one", setting);
        assert!(stage.kept("one", "snapshot").is_empty());
        assert!(stage.kept("one", "journal").is_empty());
        one.kill();
        stage.postgres.stop();
        stage.start_fails("one", &setting);
        // Nor may it with other settings: nothing was kept in step.
        let said = stage.start_fails("one", &[]);
        assert!(said.contains("nothing was kept"), "{said}");
        stage.postgres.serve();
    }
}

#[test]
fn what_was_kept_and_is_damaged_is_not_started_from() {
    let mut stage = Stage::set();
    let mut one = stage.process("one");
    made(&administrator(&one), "made");
    one.kill();
    stage.postgres.stop();
    let journal = stage.kept("one", "journal").pop().unwrap();
    let mut bytes = std::fs::read(&journal).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&journal, bytes).unwrap();
    let said = stage.start_fails("one", &[]);
    assert!(said.contains("is damaged"), "{said}");
    stage.postgres.serve();
    // With the database it begins anew.
    let mut one = stage.process("one");
    let made = made(&administrator(&one), "made anew");
    one.kill();
    stage.postgres.stop();
    let one = stage.process("one");
    decides(&administrator(&one), &made, Reason::Ok);
}

#[test]
fn whether_such_a_process_is_ready_is_a_setting_and_it_decides_in_either_case() {
    let mut stage = Stage::set();
    let mut one = stage.process("one");
    let made = made(&administrator(&one), "made");
    one.kill();
    stage.postgres.stop();
    let one = stage.process_with("one", ["--ready-without-database", "false"]);
    let (status, said) = page(&one, "/readyz");
    assert_eq!(status, 503);
    assert!(said.contains("without the database"), "{said}");
    decides(&administrator(&one), &made, Reason::Ok);
    stage.postgres.serve();
    becomes(&one, "/readyz", 200, "ready\n");
}
