//! `kill -9` of one process while both write: the other goes on, and what was acknowledged is there.

use std::collections::HashSet;

use super::{Stage, administrator};
use crate::harness::{MINUTES, SOAK, Writers, Written, figure};

const ROUNDS: usize = if SOAK { 100 * MINUTES as usize } else { 3 };
const CREATES_A_ROUND: usize = 30;
const WRITERS: usize = 4;

#[test]
fn one_process_killed_in_the_middle_of_writes_neither_holds_up_the_other_nor_loses_anything() {
    let stage = Stage::set();
    let survivor = stage.process("survivor");
    let survivor = administrator(&survivor);
    let writers = Writers::start(&survivor, WRITERS);
    let mut acknowledged: Vec<Written> = Vec::new();
    for _ in 0..ROUNDS {
        let mut process = stage.process("killed");
        let admin = administrator(&process);
        admin.assert_open(&acknowledged);
        let theirs = Writers::start(&admin, WRITERS);
        acknowledged.extend(theirs.take(CREATES_A_ROUND));
        // Transactions are under way at this moment, and one of them has the counter.
        process.kill();
        acknowledged.extend(theirs.rest());
        acknowledged.extend(writers.take(CREATES_A_ROUND));
    }
    let delayed = writers.delayed();
    acknowledged.extend(writers.stop());

    let stored: HashSet<String> = survivor.keys("default").into_iter().map(|k| k.id).collect();
    assert!(acknowledged.iter().all(|w| stored.contains(&w.id)));
    assert!(stored.len() <= acknowledged.len() + ROUNDS * WRITERS);
    let fresh = stage.process("fresh");
    for admin in [&survivor, &administrator(&fresh)] {
        admin.catch_up(&acknowledged);
        admin.assert_open(&acknowledged);
    }
    figure(&format!(
        "PostgreSQL, `kill -9` of one of two processes during writes: {ROUNDS} times, {} creates acknowledged, 0 of them lost, the other went on ({delayed} of its calls were told to come again later)",
        acknowledged.len(),
    ));
}
