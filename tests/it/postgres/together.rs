//! Callers at several replicas who want the same: one change, and everybody is told what became of theirs.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::thread;

use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::{self, CreateKeyRequest, CreateKeyResponse};
use tokio::task::JoinSet;
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use super::{Stage, administrator};
use crate::harness::{Admin, SOAK, figure, is_delay, key, register};

const ROUNDS: u32 = if SOAK { 1_000 } else { 25 };
/// Calls that are under way when a process is killed.
const CALLS: u32 = if SOAK { 2_000 } else { 60 };

fn creation(n: u32) -> CreateKeyRequest {
    CreateKeyRequest {
        workspace: "default".to_owned(),
        key: Some(key(&format!("key {n}"), &[])),
        request_id: format!("3f2b8c1e-6d4a-4c9b-8e7f-{n:012x}"),
        ..Default::default()
    }
}

/// Calls until the database was not too busy for it.
fn patiently<T>(call: impl Fn() -> Result<T, Status>) -> Result<T, Status> {
    loop {
        match call() {
            Err(status) if is_delay(&status) => {}
            answered => return answered,
        }
    }
}

fn create(admin: &Admin, n: u32) -> CreateKeyResponse {
    let answer = patiently(|| admin.create_key(creation(n))).unwrap();
    for token in &answer.tokens {
        register(&token.token);
    }
    answer
}

/// What callers go by: the key, what it was made at, and the token.
fn told(answer: &CreateKeyResponse) -> (String, String, String) {
    let id = answer.key.as_ref().unwrap().id.clone();
    let [token] = &answer.tokens[..] else {
        panic!("one token: {answer:?}")
    };
    (id, answer.revision.clone(), token.token.clone())
}

/// Two calls at the same moment.
fn both<T: Send>(admins: &[Admin; 2], call: impl Fn(usize, &Admin) -> T + Sync) -> [T; 2] {
    let barrier = Barrier::new(2);
    let (barrier, call) = (&barrier, &call);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..2)
            .map(|n| {
                let admin = &admins[n];
                scope.spawn(move || {
                    barrier.wait();
                    call(n, admin)
                })
            })
            .collect();
        let mut answers = calls.into_iter().map(|call| call.join().unwrap());
        [answers.next().unwrap(), answers.next().unwrap()]
    })
}

#[test]
fn one_request_id_at_two_replicas_at_once_makes_one_change_with_one_answer() {
    let stage = Stage::set();
    let processes = [stage.process("one"), stage.process("two")];
    let admins = processes.each_ref().map(administrator);
    let before = admins[0].keys("default").len();
    for n in 0..ROUNDS {
        let [one, two] = both(&admins, |_, admin| create(admin, n));
        assert_eq!(told(&one), told(&two));
    }
    let made = admins[1].keys("default").len() - before;
    assert_eq!(made, ROUNDS as usize);
    figure(&format!(
        "one `request_id` at two replicas at once, {ROUNDS} times: {made} keys made, both answers the same each time"
    ));
}

#[test]
fn a_call_whose_replica_was_killed_is_repeated_at_another_and_made_once() {
    let stage = Stage::set();
    let (mut one, two) = (stage.process("one"), stage.process("two"));
    let (by_one, by_two) = (administrator(&one), administrator(&two));
    let mut calls = JoinSet::new();
    for n in 0..CALLS {
        let (mut client, caller) = (KeyAdminClient::new(by_one.channel()), by_one.clone());
        let call = async move {
            loop {
                match client.create_key(caller.request(creation(n))).await {
                    Err(status) if is_delay(&status) => {}
                    answered => break (n, caller, answered),
                }
            }
        };
        calls.spawn_on(call, by_one.runtime.handle());
    }
    let mut answered = Vec::new();
    let mut lost = Vec::new();
    let mut note =
        |(n, _caller, answer): (u32, Admin, Result<Response<CreateKeyResponse>, Status>)| {
            match answer {
                Ok(answer) => {
                    let answer = answer.into_inner();
                    answer.tokens.iter().for_each(|t| register(&t.token));
                    answered.push((n, told(&answer)));
                }
                Err(_) => lost.push(n),
            }
            answered.len()
        };
    // In the middle of them.
    let next = |calls: &mut JoinSet<_>| by_one.runtime.block_on(calls.join_next());
    while note(next(&mut calls).expect("more calls").unwrap()) < CALLS as usize / 4 {}
    one.kill();
    while let Some(ended) = next(&mut calls) {
        note(ended.unwrap());
    }
    // Whether it was answered or not: the same call again, at the other, and at the one when it is back.
    let again: Vec<_> = (0..CALLS).map(|n| told(&create(&by_two, n))).collect();
    for (n, first) in &answered {
        assert_eq!(&again[*n as usize], first);
    }
    let one = stage.process("one");
    let by_one = administrator(&one);
    for (n, first) in (0..CALLS).zip(&again) {
        assert_eq!(&told(&create(&by_one, n)), first);
    }
    let keys = by_one.keys("default");
    let names: BTreeSet<_> = keys.iter().map(|key| &key.display_name).collect();
    for n in 0..CALLS {
        assert!(names.contains(&format!("key {n}")));
    }
    assert_eq!(names.len(), keys.len(), "one was made twice");
    figure(&format!(
        "`kill -9` of a replica in the middle of {CALLS} calls, each repeated at another: {} answered before, {} not, {} keys, \
         none twice",
        answered.len(),
        lost.len(),
        again.len()
    ));
}

#[test]
fn of_two_writers_with_one_etag_at_two_replicas_one_wins_and_the_other_is_told() {
    let stage = Stage::set();
    let processes = [stage.process("one"), stage.process("two")];
    let admins = processes.each_ref().map(administrator);
    let made = create(&admins[0], 0).key.unwrap();
    let mut etag = made.etag;
    let mut wins = [0; 2];
    for round in 0..ROUNDS {
        let names = [0, 1].map(|n| format!("round {round} of {n}"));
        let answers = both(&admins, |n, admin| {
            let wanted = v1::Key {
                id: made.id.clone(),
                etag: etag.clone(),
                display_name: names[n].clone(),
                ..Default::default()
            };
            patiently(|| admin.update(wanted.clone(), &["display_name"]))
        });
        let winner = match &answers {
            [Ok(_), Err(status)] => (0, status),
            [Err(status), Ok(_)] => (1, status),
            other => panic!("{other:?}"),
        };
        let (winner, status) = winner;
        let reason = status.get_details_error_info().map(|info| info.reason);
        assert_eq!(
            (status.code(), reason.as_deref()),
            (Code::Aborted, Some("ETAG_MISMATCH"))
        );
        wins[winner] += 1;
        let key = answers[winner].as_ref().unwrap();
        assert_eq!(key.display_name, names[winner]);
        assert_ne!(key.etag, etag);
        etag.clone_from(&key.etag);
    }
    for admin in &admins {
        let stored = admin.keys("default");
        let stored = stored.iter().find(|key| key.id == made.id).unwrap();
        assert_eq!(stored.etag, etag);
    }
    figure(&format!(
        "one etag at two replicas at once, {ROUNDS} times: one wins each time ({} and {}), the other is ABORTED",
        wins[0], wins[1]
    ));
}
