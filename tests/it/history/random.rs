//! Replicas under load and every kind of fault: what they answered can be true.

use std::time::Instant;

use super::bench::Bench;
use super::checker::violations;
use super::dice::Dice;
use super::events::{History, Outcome};
use super::faults::{Trouble, count, some_of_each};
use super::load::{Callers, Load};
use crate::harness::{MINUTES, SOAK, figure};

/// How often each kind of fault comes.
const TIMES: usize = if SOAK { 4 * MINUTES as usize } else { 1 };

#[test]
fn no_answer_of_three_replicas_under_random_faults_is_wrong() {
    let seed = 0x5eed;
    // One that stops by itself when it is cut off, and two that go on.
    let mut bench = Bench::of(&[false, false, true]);
    let callers = Callers {
        seed,
        askers: if SOAK { 4 } else { 2 },
        writers: if SOAK { 12 } else { 4 },
        aborts: 10,
    };
    let begun = Instant::now();
    let load = Load::start(&bench, callers);
    load.wait_for(30);
    let mut dice = Dice::of(seed, 0);
    let troubles = some_of_each(TIMES, &mut dice);
    for trouble in &troubles {
        let seat = match trouble {
            // A strict one keeps nothing to start from.
            Trouble::KillCutOff => dice.below(2),
            _ => dice.below(3),
        };
        let time = dice.millis(100, 700);
        bench.suffer(*trouble, seat, time);
        // Not into the next one before things go on.
        load.wait_for(3);
    }
    let refusals = load.notes.refusals();
    let (history, errors) = load.end(&bench);
    assert_true(seed, &history);
    bench.assert_verified();
    figure(&format!(
        "PostgreSQL, three processes under load and faults ({}; seed {seed:#x}) for {:.0?}: {}; 0 violations, and every index is what the database holds; changes refused: {refusals:?}; questions that got no decision: {errors:?}",
        count(&troubles),
        begun.elapsed(),
        told(&history),
    ));
}

/// Nothing in it can't be.
pub(super) fn assert_true(seed: u64, history: &History) {
    let found = violations(history);
    let first: Vec<String> = found.iter().take(10).map(ToString::to_string).collect();
    let first = first.join("\n");
    assert!(found.is_empty(), "seed {seed:#x}, {}: {first}", found.len());
}

/// How much of what there is in it.
pub(super) fn told(history: &History) -> String {
    let changes = |of: fn(&Outcome) -> bool| {
        let changes = history.changes.iter().filter(|c| of(&c.outcome));
        changes.count()
    };
    format!(
        "{} decisions, {} changes made ({} of them known to be everywhere), {} with an unknown outcome, {} refused, {} confirmations",
        history.checks.len(),
        changes(|o| matches!(o, Outcome::Made { .. })),
        changes(|o| matches!(o, Outcome::Made { complete: true, .. })),
        changes(|o| *o == Outcome::Unknown),
        changes(|o| *o == Outcome::Refused),
        history.confirmed.len(),
    )
}
