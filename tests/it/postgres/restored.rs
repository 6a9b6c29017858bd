//! A backup that is put back under running replicas, with PostgreSQL's own tools: nobody follows it before it has a history
//! of its own, and then everybody does, without a restart.

use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{self, Reason};
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{Stage, WAIT, administrator, disabling, made, until_everywhere};
use crate::harness::{
    Admin, Made, PATIENCE, Process, Questions, ROOT_KEY, Target, between_looks, check_of, get,
    offline,
};

fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: it does not come");
        between_looks();
    }
}

fn reason_of(status: &Status) -> String {
    let info = status.get_details_error_info();
    info.map(|info| info.reason).unwrap_or_default()
}

fn check(admin: &Admin, made: &Made) -> (Reason, String) {
    let answer = admin.check(check_of("default", &made.token)).unwrap();
    (answer.reason(), answer.revision.clone())
}

fn decides(admin: &Admin, made: &Made, reason: Reason) {
    assert_eq!(check(admin, made).0, reason);
}

/// Disables a key; returns when every replica has confirmed that, and how many there are.
fn disable_everywhere(admin: &Admin, made: &Made) -> i32 {
    let request = disabling(made);
    let begun = Instant::now();
    let disabled = loop {
        match admin.update_key(request.clone()) {
            Ok(answer) => break answer,
            Err(status) => assert!(begun.elapsed() < PATIENCE, "{status:?}"),
        }
    };
    until_everywhere(admin, disabled)
}

fn metric(process: &Process, line: &str) -> bool {
    let scraped = get(&Target::Tcp(process.http), "/metrics", &[]).text();
    scraped.lines().any(|found| found == line)
}

impl Stage {
    /// Gives the database a history of its own, beside what runs.
    fn adopt(&self) -> String {
        let data = self.data("adopt");
        let args = ["--log", "off", "--data-dir", &data];
        let environment = [
            ("CLAVIGER_DATABASE_URL", &*self.database.url),
            ("CLAVIGER_ROOT_KEY", ROOT_KEY),
        ];
        let (good, said, error) = offline("adopt-restore", &args, &environment);
        assert!(good, "{error}");
        said.trim().rsplit(' ').next().unwrap().to_owned()
    }
}

#[test]
fn a_backup_put_back_under_running_replicas_is_followed_by_all_of_them_once_it_is_adopted() {
    let mut stage = Stage::set();
    let one = stage.process("one");
    let here = administrator(&one);
    let kept = made(&here, "kept");
    let (shut, reopened) = (made(&here, "shut"), made(&here, "reopened"));
    let mut two = stage.process("two");
    disable_everywhere(&here, &shut);
    let backup = stage.folder.path().join("backup.sql");
    stage.database.dump(&backup);
    // No row of the backup tells of it.
    let three = stage.process("three");
    let lost = made(&here, "lost");
    assert_eq!(disable_everywhere(&here, &reopened), 3);
    let before = check(&here, &lost).1;
    let all = [&one, &two, &three].map(administrator);

    let questions = [
        (kept.token.clone(), Reason::Ok),
        (shut.token.clone(), Reason::KeyDisabled),
    ];
    let questions = Questions::start(&here, &questions);
    stage.database.restore(&backup);
    for admin in &all {
        // On whom it was put back it may take a moment to see it, and to get new connections.
        until("changes are refused", || {
            let refused = admin.enable(&kept.id, false).unwrap_err();
            reason_of(&refused) == "DATABASE_REPLACED"
        });
        decides(admin, &kept, Reason::Ok);
        decides(admin, &lost, Reason::Ok);
        decides(admin, &reopened, Reason::KeyDisabled);
    }
    questions.wait_for(50);

    let adopted = stage.adopt();
    for (process, admin) in [&one, &two, &three].into_iter().zip(&all) {
        until("the new history is followed", || {
            let (reason, revision) = check(admin, &lost);
            // Every answer is of one history, whole.
            let old = revision == before && reason == Reason::Ok;
            let new = revision.split('.').next() == adopted.split('.').next();
            assert!(
                old || new && reason == Reason::UnknownKey,
                "{reason:?} {revision}"
            );
            new
        });
        decides(admin, &kept, Reason::Ok);
        decides(admin, &shut, Reason::KeyDisabled);
        decides(admin, &reopened, Reason::Ok);
        admin.assert_verified();
        let reloads = "claviger_index_reloads_total{reason=\"database_replaced\"} 1";
        until("it is told", || {
            metric(process, reloads) && metric(process, "claviger_database_refused 0")
        });
        let old = admin.wait_for_revision(v1::WaitForRevisionRequest {
            revision: before.clone(),
            wait_deadline: Some(WAIT),
        });
        assert_eq!(reason_of(&old.unwrap_err()), "OTHER_EPOCH");
    }
    questions.wait_for(50);
    let answers = questions.stop();
    assert!(answers.faults.is_empty(), "{:?}", answers.faults);

    // Changes are everywhere again, on all three.
    for admin in &all {
        let fresh = made(admin, "fresh");
        assert_eq!(disable_everywhere(admin, &fresh), 3);
        for other in &all {
            decides(other, &fresh, Reason::KeyDisabled);
        }
    }
    assert_eq!(disable_everywhere(&here, &kept), 3);

    // What is kept for a start without the database is of the new history.
    two.kill();
    stage.postgres.stop();
    let two = stage.process("two");
    let admin = administrator(&two);
    decides(&admin, &kept, Reason::KeyDisabled);
    decides(&admin, &lost, Reason::UnknownKey);
    assert_eq!(
        check(&admin, &kept).1.split('.').next(),
        adopted.split('.').next()
    );
}

#[test]
fn a_wait_for_all_replicas_in_a_new_history_counts_nobody_by_what_the_backup_says_of_it() {
    let stage = Stage::set();
    let (one, mut two) = (stage.process("one"), stage.process("two"));
    let here = administrator(&one);
    let kept = made(&here, "kept");
    disable_everywhere(&here, &made(&here, "first"));
    let backup = stage.folder.path().join("backup.sql");
    stage.database.dump(&backup);
    two.child.signal("STOP");
    stage.database.restore(&backup);
    let adopted = stage.adopt();
    until("the new history is followed", || {
        check(&here, &kept).1.split('.').next() == adopted.split('.').next()
    });
    let request = || v1::UpdateKeyRequest {
        key: Some(v1::Key {
            id: kept.id.clone(),
            enabled: Some(false),
            ..v1::Key::default()
        }),
        wait: v1::Wait::AllReplicas.into(),
        wait_deadline: Some(Duration::from_millis(200).try_into().unwrap()),
        ..Default::default()
    };
    let mut answer = here.update_key(request());
    until("a change is made", || {
        if answer.is_err() {
            answer = here.update_key(request());
        }
        answer.is_ok()
    });
    let answer = answer.unwrap();
    let found = answer.propagation.unwrap();
    assert!(!found.complete, "{found:?}");
    assert!(
        found.unconfirmed.iter().any(|missing| {
            missing.last_revision.split('.').next() != adopted.split('.').next()
        })
    );
    two.child.signal("CONT");
    let begun = Instant::now();
    loop {
        let found = here.wait_for_revision(v1::WaitForRevisionRequest {
            revision: answer.revision.clone(),
            wait_deadline: Some(WAIT),
        });
        if found.unwrap().propagation.unwrap().complete {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it is never everywhere");
    }
    decides(&administrator(&two), &kept, Reason::KeyDisabled);
}
