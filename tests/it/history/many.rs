//! Many writers at once, of whom some hang up, at replicas of which now and then one is killed: no change is missed anywhere.

use std::time::Instant;

use super::bench::Bench;
use super::dice::Dice;
use super::events::{Act, Outcome};
use super::load::{Callers, Load};
use super::random::{assert_true, told};
use crate::harness::{MINUTES, SOAK, figure};

const WRITERS: usize = if SOAK { 64 } else { 12 };
const CHANGES: usize = if SOAK { 10_000 * MINUTES as usize } else { 200 };
/// How many changes are made from one kill to the next.
const FROM_KILL_TO_KILL: usize = if SOAK { 1_000 } else { 50 };
const SEED: u64 = 0x64;

#[test]
fn no_change_of_many_writers_that_hang_up_or_are_cut_off_by_kills_is_missed_by_any_replica() {
    let mut bench = Bench::of(&[false; 3]);
    let begun = Instant::now();
    let callers = Callers {
        seed: SEED,
        askers: 1,
        writers: WRITERS,
        aborts: 15,
    };
    let load = Load::start(&bench, callers);
    let mut dice = Dice::of(SEED, 0);
    let mut kills = 0;
    while load.notes.made() < CHANGES {
        load.wait_for(FROM_KILL_TO_KILL);
        let seat = dice.below(3);
        bench.kill(seat);
        bench.start(seat);
        kills += 1;
    }
    let took = begun.elapsed();
    let (history, _) = load.end(&bench);
    assert_true(SEED, &history);
    let keys = bench.assert_verified();
    let in_doubt = history.changes.iter().enumerate().filter(|(number, c)| {
        // Those that name themselves in the log.
        let named = matches!(c.act, Act::Make | Act::Enable | Act::Disable);
        let there = history.log.iter().any(|e| e.change == Some(*number));
        c.outcome == Outcome::Unknown && named && there
    });
    figure(&format!(
        "PostgreSQL, three processes, {WRITERS} writers that hang up at times, and `kill -9` of one of the processes {kills} times, in {took:.0?}: {}; {} of those with an unknown outcome were made; {} changes in the database, 0 missed, 0 that nobody asked for, every process answers about each of {} tokens what the database has, and the index of each is what the database holds ({keys} keys)",
        told(&history),
        in_doubt.count(),
        history.log.len(),
        history.tokens.len(),
    ));
}
