//! Two processes on one database: what one does, the other follows.

use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{self, Reason};
use tonic::Code;

use super::{Stage, administrator, known};
use crate::harness::{Admin, PATIENCE, SOAK, Writers, Written, check_of, figure, key, revision};

/// Keys that are disabled on one process and watched on the other.
const DISABLED: usize = if SOAK { 200 } else { 20 };
const WRITERS: usize = 4;
const WRITES: usize = 100;

#[test]
fn a_key_made_on_one_process_opens_on_the_other_and_one_disabled_is_refused_there() {
    let stage = Stage::set();
    let (one, other) = (stage.process("one"), stage.process("other"));
    let (one, other) = (administrator(&one), administrator(&other));
    let mut lags = Vec::new();
    for n in 0..DISABLED {
        let made = one.make("default", key(&format!("key {n}"), &[]));
        wait_for(&other, &made.token, Reason::Ok);
        one.enable(&made.id, false).unwrap();
        lags.push(wait_for(&other, &made.token, Reason::KeyDisabled));
    }
    lags.sort();
    figure(&format!(
        "PostgreSQL, two processes: a key disabled on one is refused on the other after {:.0?} in the median, {:.0?} at p99 (of {DISABLED})",
        lags[DISABLED / 2],
        lags[(DISABLED * 99).div_ceil(100) - 1],
    ));
}

/// Asks until this is the answer; how long that took.
fn wait_for(admin: &Admin, token: &str, reason: Reason) -> Duration {
    let start = Instant::now();
    loop {
        let found = admin.decide("default", token).reason();
        let waited = start.elapsed();
        if found == reason {
            return waited;
        }
        assert!(
            waited < PATIENCE,
            "{found:?} remains, {reason:?} was to come"
        );
    }
}

#[test]
fn a_check_that_names_a_revision_of_the_other_process_waits_for_it() {
    let stage = Stage::set();
    let (one, other) = (stage.process("one"), stage.process("other"));
    let (one, other) = (administrator(&one), administrator(&other));
    for n in 0..20 {
        let made = one.make("default", key(&format!("key {n}"), &[]));
        let disabled = one
            .update_key(v1::UpdateKeyRequest {
                key: Some(v1::Key {
                    id: made.id,
                    enabled: Some(false),
                    ..v1::Key::default()
                }),
                ..Default::default()
            })
            .unwrap();
        let request = v1::CheckRequest {
            at_least_revision: disabled.revision,
            ..check_of("default", &made.token)
        };
        // It waits for a second at most, and says so then: what it never does is to answer from before.
        let decision = loop {
            match other.check(request.clone()) {
                Ok(decision) => break decision,
                Err(status) => assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}"),
            }
        };
        assert_eq!(decision.reason(), Reason::KeyDisabled);
    }
}

#[test]
fn writers_on_two_processes_leave_no_gap_and_both_know_all_of_it() {
    let stage = Stage::set();
    let (one, other) = (stage.process("one"), stage.process("other"));
    let (one, other) = (administrator(&one), administrator(&other));
    let before = one.make("default", key("before", &[]));
    let from = revision(&one.decide("default", &before.token).revision);

    let (ours, theirs) = (
        Writers::start(&one, WRITERS),
        Writers::start(&other, WRITERS),
    );
    let mut written = ours.take(WRITES);
    written.extend(theirs.take(WRITES));
    written.extend(ours.stop());
    written.extend(theirs.stop());

    let mut revisions: Vec<u64> = written.iter().map(|w| revision(&w.revision)).collect();
    revisions.sort_unstable();
    let expected: Vec<u64> = (from + 1..).take(written.len()).collect();
    assert_eq!(revisions, expected, "in commit order, each once");
    assert_same(&stage, &one, &other, &written);
}

/// Both processes have what the database has: every key, at the last revision, open where it is active and only there.
fn assert_same(stage: &Stage, one: &Admin, other: &Admin, written: &[Written]) {
    for admin in [one, other] {
        admin.catch_up(written);
        admin.assert_open(written);
    }
    let count: usize = stage
        .database
        .sql("SELECT count(*) FROM keys")
        .parse()
        .unwrap();
    let (ours, theirs) = (known(one), known(other));
    assert_eq!(ours, theirs);
    // The administrator's own key is of another workspace.
    assert_eq!(ours.len() + 1, count);
}

#[test]
fn a_process_that_starts_while_another_writes_misses_nothing() {
    let stage = Stage::set();
    let one = stage.process("one");
    let one = administrator(&one);
    let writers = Writers::start(&one, WRITERS);
    let mut written = writers.take(WRITES);
    for n in 0..2 {
        let other = stage.process(&format!("other-{n}"));
        written.extend(writers.take(WRITES));
        let other = administrator(&other);
        other.catch_up(&written);
        other.assert_open(&written);
    }
    written.extend(writers.stop());
    let other = stage.process("at-last");
    assert_same(&stage, &one, &administrator(&other), &written);
}
