//! `kill -9` while keys are being made: what was acknowledged is there.

use std::collections::HashSet;
use std::process::Command;

use std::time::Instant;

use claviger::grpc::proto::v1;

use crate::harness::{
    Admin, Folder, MINUTES, PATIENCE, Process, SOAK, Writers, Written, between_looks, figure, key,
    tool,
};

/// How often the process is killed; more with `make soak`.
const ROUNDS: usize = if SOAK { 100 * MINUTES as usize } else { 20 };
const CREATES_A_ROUND: usize = 50;
const CALLERS: usize = 8;

#[test]
fn every_acknowledged_key_survives_kill_9_in_the_middle_of_a_thousand_creates() {
    let folder = Folder::new();
    let mut acknowledged: Vec<Written> = Vec::new();
    for round in 0..ROUNDS {
        let mut process = Process::start(&folder, &[]);
        let admin = process.admin();
        admin.assert_open(&acknowledged);

        let writers = Writers::start(&admin, CALLERS);
        acknowledged.extend(writers.take(CREATES_A_ROUND));
        // Calls are under way at this moment: some committed and not answered, some not begun.
        process.kill();
        acknowledged.extend(writers.rest());
        assert!(acknowledged.len() >= (round + 1) * CREATES_A_ROUND);
    }

    let mut process = Process::start(&folder, &[]);
    let admin = process.admin();
    admin.assert_open(&acknowledged);
    let stored: HashSet<String> = admin.keys("default").into_iter().map(|k| k.id).collect();
    assert!(acknowledged.iter().all(|w| stored.contains(&w.id)));
    // What was not acknowledged is there or not; but there can't be more of it than calls under way at the kills.
    assert!(stored.len() <= acknowledged.len() + ROUNDS * CALLERS);

    assert!(process.stop().success());
    assert_eq!(integrity(&folder), "ok");
    figure(&format!(
        "`kill -9` during writes: {ROUNDS} times, {} creates acknowledged, 0 of them lost, integrity check ok",
        acknowledged.len()
    ));
}

fn integrity(folder: &Folder) -> String {
    let script = "import sqlite3, sys\n\
                  print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchone()[0])";
    let output = Command::new(tool("python"))
        .args(["-c", script])
        .arg(folder.database())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// How many requests of a key are counted.
fn counted(admin: &Admin, key: &str) -> i64 {
    let request = v1::GetUsageRequest {
        key_id: key.to_owned(),
        ..Default::default()
    };
    let points = admin.get_usage(request).unwrap().points;
    points.iter().map(|point| point.count).sum()
}

#[test]
fn usage_that_was_written_survives_kill_9_and_nothing_is_counted_twice() {
    let folder = Folder::of_suite();
    let mut process = Process::start(&folder, &[]);
    let made = process.admin().make("default", key("a key", &[]));
    let (mut written, mut asked) = (0, 0);
    for _ in 0..3 {
        let admin = process.admin();
        let before = counted(&admin, &made.id);
        assert!(
            (written..=asked).contains(&before),
            "{written} {before} {asked}"
        );
        for _ in 0..50 {
            admin.decide("default", &made.token);
        }
        let began = Instant::now();
        while counted(&admin, &made.id) < before + 50 {
            assert!(began.elapsed() < PATIENCE);
            between_looks();
        }
        written = before + 50;
        for _ in 0..50 {
            admin.decide("default", &made.token);
        }
        asked = written + 50;
        process.kill();
        process = Process::start(&folder, &[]);
    }
    let admin = process.admin();
    let survived = counted(&admin, &made.id);
    assert!(
        (written..=asked).contains(&survived),
        "{written} {survived} {asked}"
    );
    // An orderly stop then loses none.
    for _ in 0..50 {
        admin.decide("default", &made.token);
    }
    assert!(process.stop().success());
    let process = Process::start(&folder, &[]);
    assert_eq!(counted(&process.admin(), &made.id), survived + 50);
}
