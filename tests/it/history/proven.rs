//! The checker is no ornament: where a mechanism that it watches over is switched off from outside, it finds what then goes
//! wrong. What a process does is never changed for that; what it relies on is: its way to the database, and the database.

use std::sync::Arc;
use std::time::Duration;

use claviger::grpc::proto::v1::Reason;

use super::bench::Bench;
use super::checker::{Rule, violations};
use super::hand::Hand;
use super::notes::Notes;
use crate::harness::Fault;

const SHORT: Duration = Duration::from_millis(200);

fn stage(replicas: usize) -> (Bench, Hand) {
    let bench = Bench::of(&vec![false; replicas]);
    (bench, Hand::new(Arc::new(Notes::new())))
}

/// The rules that it breaks in the end.
fn broken(bench: &Bench, hand: Hand) -> Vec<Rule> {
    let notes = Arc::clone(&hand.notes);
    let mut history = notes.history(hand.checks());
    bench.conclude(&notes, &mut history);
    let mut rules: Vec<Rule> = violations(&history).iter().map(|v| v.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[test]
fn a_history_in_which_all_is_well_breaks_no_rule() {
    let (bench, hand) = stage(2);
    let own = hand.make(&bench, 0);
    bench.assert_caught_up();
    let (one, other) = (bench.asker(0), bench.asker(1));
    assert_eq!(hand.check(&other, &own), Reason::Ok);
    let (revision, _) = hand.disable(&bench, 0, &own, Some(SHORT));
    assert_eq!(hand.check(&one, &own), Reason::KeyDisabled);
    hand.wait_for_all(&bench, 0, &revision);
    assert_eq!(hand.check(&other, &own), Reason::KeyDisabled);
    assert_eq!(broken(&bench, hand), []);
}

#[test]
fn a_replica_that_is_said_to_have_what_it_does_not_have_is_found() {
    let (bench, hand) = stage(2);
    let own = hand.make(&bench, 0);
    bench.assert_caught_up();
    // Nothing reaches it any more, and somebody else confirms in its place whatever is to come.
    bench.seats[1].database.set(Fault::Freeze);
    let database = &bench.stage.database;
    let name = &bench.seats[1].name;
    let confirm = || {
        database.sql(&format!(
            "UPDATE replicas SET applied = (SELECT n FROM counter) + 1000 WHERE name = '{name}'"
        ))
    };
    confirm();
    let (revision, found) = hand.disable(&bench, 0, &own, Some(SHORT));
    if !found.unwrap().complete {
        // What it had said just before came in between.
        confirm();
        hand.wait_for_all(&bench, 0, &revision);
    }
    assert_eq!(hand.check(&bench.asker(1), &own), Reason::Ok);
    bench.seats[1].database.set(Fault::None);
    bench.assert_caught_up();
    assert_eq!(broken(&bench, hand), [Rule::AfterComplete]);
}

#[test]
fn a_database_that_forgets_what_it_has_acknowledged_is_found() {
    let (mut bench, hand) = stage(1);
    let own = hand.make(&bench, 0);
    bench.stage.postgres.stop();
    let copy = bench.stage.postgres.copy();
    bench.stage.postgres.serve();
    hand.disable(&bench, 0, &own, None);
    assert_eq!(hand.check(&bench.asker(0), &own), Reason::KeyDisabled);
    // The process knows nothing but what the database tells it; and that is from before.
    bench.kill(0);
    bench.forget(0);
    bench.stage.postgres.stop();
    bench.stage.postgres.put_back(&copy);
    bench.stage.postgres.serve();
    bench.start(0);
    assert_eq!(hand.check(&bench.asker(0), &own), Reason::Ok);
    let broken = broken(&bench, hand);
    assert_eq!(broken, [Rule::AfterAnswer, Rule::Lost, Rule::Invented]);
}

#[test]
fn a_key_that_is_switched_off_behind_everybodys_back_is_found() {
    let (mut bench, hand) = stage(1);
    let own = hand.make(&bench, 0);
    assert_eq!(hand.check(&bench.asker(0), &own), Reason::Ok);
    bench.kill(0);
    let database = &bench.stage.database;
    database.sql("UPDATE keys SET enabled = false WHERE workspace_id = 'default'");
    bench.forget(0);
    bench.start(0);
    assert_eq!(hand.check(&bench.asker(0), &own), Reason::KeyDisabled);
    assert_eq!(broken(&bench, hand), [Rule::Lost, Rule::Invented]);
}
