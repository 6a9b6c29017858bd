//! PostgreSQL is away for a while, in three ways: decisions go on, changes fail clearly and are settled later, and all
//! recovers by itself.

use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::{self, Key, Reason};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Stage, administrator, known};
use crate::harness::{Admin, MINUTES, Made, PATIENCE, Questions, SOAK, figure, key};

/// How long it is away at least.
const AWAY: Duration = match SOAK {
    true => Duration::from_secs(60).saturating_mul(MINUTES),
    false => Duration::from_secs(5),
};

/// The keys of a test. Nobody touches the first two; of the others, callers try to switch them while nothing can be written,
/// and do not always ask again.
struct Keys {
    open: Made,
    shut: Made,
    retried: Made,
    left: Made,
    left_shut: Made,
}

impl Keys {
    fn make(admin: &Admin) -> Self {
        let make = |name: &str| admin.make("default", key(name, &[]));
        let this = Self {
            open: make("open"),
            shut: make("shut"),
            retried: make("retried"),
            left: make("left"),
            left_shut: make("left shut"),
        };
        for shut in [&this.shut, &this.left_shut] {
            admin.enable(&shut.id, false).unwrap();
        }
        this
    }

    fn expected(&self) -> [(String, Reason); 2] {
        [
            (self.open.token.clone(), Reason::Ok),
            (self.shut.token.clone(), Reason::KeyDisabled),
        ]
    }
}

#[test]
fn while_postgresql_is_stopped_decisions_go_on_and_all_recovers_by_itself() {
    outage(
        "stopped",
        |s| drop(s.postgres.stop()),
        |s| s.postgres.serve(),
    );
}

#[test]
fn while_postgresql_is_frozen_decisions_go_on_and_all_recovers_by_itself() {
    outage("frozen", |s| s.postgres.freeze(), |s| s.postgres.thaw());
}

#[test]
fn while_postgresql_refuses_connections_decisions_go_on_and_all_recovers_by_itself() {
    let refuse = |s: &mut Stage| s.postgres.refuse(&s.database);
    outage("refusing", refuse, |s| s.postgres.accept(&s.database));
}

fn outage(name: &str, away: impl Fn(&mut Stage), back: impl Fn(&mut Stage)) {
    let mut stage = Stage::set();
    let (one, other) = (stage.process("one"), stage.process("other"));
    let (one, other) = (administrator(&one), administrator(&other));
    let mut third = stage.process("third");
    let keys = Keys::make(&one);
    everywhere(&one);
    for admin in [&other, &administrator(&third)] {
        decides(admin, &keys);
    }
    let questions = [&one, &other].map(|admin| Questions::start(admin, &keys.expected()));
    let lags = || slowest_of_a_hundred(&questions);
    ask(&questions, 200);
    let before = lags();

    away(&mut stage);
    let start = Instant::now();
    let mut slowest = assert_no_change(&one, &keys);
    let mut until = |enough: Duration| {
        while start.elapsed() < enough {
            slowest = slowest.max(assert_no_change(&one, &keys));
            ask(&questions, 50);
        }
    };
    until(AWAY / 2);
    // One of them is started again in the middle of it.
    third.kill();
    let third = stage.process("third");
    let third = administrator(&third);
    decides(&third, &keys);
    until(AWAY);
    ask(&questions, 200);
    let during = lags();
    back(&mut stage);

    let returned = Instant::now();
    recovers(&one);
    recovers(&other);
    let recovered = returned.elapsed();
    let after = one.make("default", key("made after it", &[]));
    let made = Instant::now();
    for admin in [&other, &third] {
        becomes(admin, &after.token, Reason::Ok);
    }
    let caught_up = made.elapsed();
    everywhere(&one);
    lags();
    ask(&questions, 200);
    let afterwards = lags();
    let answers = questions.map(Questions::stop);
    let decisions: usize = answers.iter().map(|a| a.right).sum();
    let longest = answers.iter().map(|a| a.longest).max().unwrap();
    for answers in &answers {
        assert!(answers.faults.is_empty(), "{:?}", answers.faults);
    }
    assert_settled(&one, &[&other, &third], &keys);
    figure(&format!(
        "PostgreSQL {name} for {:.0?}: {decisions} decisions on two of three processes, 0 errors, 0 wrong, p99 {before:.1?} before, {during:.1?} meanwhile, {afterwards:.1?} after, the longest {longest:.1?}; changes refused after {slowest:.1?} at most, possible again on both {recovered:.1?} after its return, and known to all {caught_up:.0?} later, also to the one that was killed and started again in the middle",
        returned - start,
    ));
}

/// Waits for so many answers more of each.
fn ask(questions: &[Questions], more: usize) {
    for questions in questions {
        questions.wait_for(more);
    }
}

/// How long the slowest of a hundred answers took at most, of those since this was last asked.
fn slowest_of_a_hundred(questions: &[Questions]) -> Duration {
    let mut all: Vec<Duration> = questions.iter().flat_map(Questions::latencies).collect();
    all.sort();
    all[(all.len() * 99).div_ceil(100) - 1]
}

/// Waits until every process has confirmed all there is.
fn everywhere(admin: &Admin) {
    let begun = Instant::now();
    loop {
        let found = admin.wait_for_revision(v1::WaitForRevisionRequest::default());
        let found = found.unwrap().propagation.unwrap();
        if found.complete && found.total == 3 {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}");
    }
}

/// It knows the keys that nobody touches.
fn decides(admin: &Admin, keys: &Keys) {
    for (token, reason) in keys.expected() {
        assert_eq!(admin.decide("default", &token).reason(), reason);
    }
}

/// What tells a call that is repeated.
fn request_id(n: u32) -> String {
    format!("9d2b8c1e-6d4a-4c9b-8e7f-{n:012x}")
}

fn create_once() -> v1::CreateKeyRequest {
    v1::CreateKeyRequest {
        workspace: "default".to_owned(),
        key: Some(key("once", &[])),
        request_id: request_id(1),
        ..Default::default()
    }
}

fn switch(made: &Made, enabled: bool, request: u32) -> v1::UpdateKeyRequest {
    v1::UpdateKeyRequest {
        key: Some(Key {
            id: made.id.clone(),
            enabled: Some(enabled),
            ..Key::default()
        }),
        request_id: request_id(request),
        ..Default::default()
    }
}

/// No change can be made now, and the service says so itself; how long the slowest of these calls took.
fn assert_no_change(admin: &Admin, keys: &Keys) -> Duration {
    let mut slowest = Duration::ZERO;
    let mut fails = |call: &dyn Fn() -> Result<(), Status>| {
        let start = Instant::now();
        let status = call().expect_err("nothing can be changed");
        slowest = slowest.max(start.elapsed());
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let details = status.get_error_details();
        assert!(
            details.error_info().is_some(),
            "not the service: {status:?}"
        );
    };
    fails(&|| admin.create_key(create_once()).map(drop));
    fails(&|| admin.update_key(switch(&keys.retried, false, 2)).map(drop));
    fails(&|| admin.update_key(switch(&keys.left, false, 3)).map(drop));
    fails(&|| admin.update_key(switch(&keys.left_shut, true, 4)).map(drop));
    slowest
}

/// Waits until a change is possible again.
fn recovers(admin: &Admin) {
    let start = Instant::now();
    loop {
        let request = v1::CreateKeyRequest {
            workspace: "default".to_owned(),
            key: Some(key("after", &[])),
            ..Default::default()
        };
        match admin.create_key(request) {
            Ok(_) => return,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        assert!(start.elapsed() < PATIENCE, "it does not recover");
    }
}

/// The same calls again, and nothing is in doubt or there twice.
fn assert_settled(one: &Admin, others: &[&Admin], keys: &Keys) {
    let first = one.create_key(create_once()).unwrap();
    let again = one.create_key(create_once()).unwrap();
    assert_eq!(first.key.unwrap().id, again.key.unwrap().id);
    one.update_key(switch(&keys.retried, false, 2)).unwrap();

    let listed = one.keys("default");
    let named = |name: &str| listed.iter().filter(|k| k.display_name == name).count();
    assert_eq!(named("once"), 1);
    // What was left as it was is decided as the database has it, whichever way that is.
    for made in [&keys.retried, &keys.left, &keys.left_shut] {
        let key = listed.iter().find(|k| k.id == made.id).unwrap();
        let reason = match key.enabled {
            Some(false) => Reason::KeyDisabled,
            _ => Reason::Ok,
        };
        for admin in others.iter().chain([&one]) {
            becomes(admin, &made.token, reason);
        }
    }
    for other in others {
        assert_eq!(known(one), known(other));
    }
    let retried = listed.iter().find(|k| k.id == keys.retried.id).unwrap();
    assert_eq!(retried.enabled, Some(false));
}

/// Waits until a token is answered in this way.
fn becomes(admin: &Admin, token: &str, reason: Reason) {
    let start = Instant::now();
    loop {
        let found = admin.decide("default", token).reason();
        if found == reason {
            return;
        }
        let waited = start.elapsed();
        assert!(
            waited < PATIENCE,
            "{found:?} remains, {reason:?} was to come"
        );
    }
}
