//! How long a revocation takes to be in force on the other replicas, and to be known to be, while all of them are asked and
//! others write: directly, through `PgBouncer`, and beside a transaction that somebody left open.

use std::thread;
use std::time::{Duration, Instant};

use claviger::grpc::proto::v1::Reason;

use super::bench::Bench;
use super::hand::{Asker, Hand, Own};
use super::load::{Callers, Load};
use super::random::{assert_true, told};
use crate::harness::{MINUTES, PATIENCE, Proxy, SOAK, Stranded, figure, not_checked};

/// Keys that are disabled.
const ROUNDS: usize = if SOAK { 100 * MINUTES as usize } else { 30 };
/// How long a transaction stays open at least.
const OPEN: Duration = Duration::from_secs(if SOAK { 60 } else { 5 });
const SEED: u64 = 0x1a6;
const REPLICAS: usize = 3;

#[test]
fn a_key_that_is_disabled_under_load_is_refused_by_all_within_moments() {
    let bench = Bench::of(&[false; REPLICAS]);
    revoke(&bench, "", || true);
}

#[test]
fn a_key_that_is_disabled_under_load_is_refused_by_all_through_pgbouncer() {
    let bench = Bench::by(&[false; REPLICAS], |stage| {
        Proxy::before_socket(stage.postgres.bouncer().socket())
    });
    let what = bench.stage.postgres.bouncer().what().to_owned();
    if !what.contains("transaction") {
        not_checked(&format!(
            "PgBouncer in transaction mode: that takes 1.21 or newer, and this is {what}"
        ));
    }
    revoke(&bench, &format!(" through {what}"), || true);
}

#[test]
fn a_key_that_is_disabled_under_load_is_refused_by_all_beside_a_transaction_left_open() {
    let bench = Bench::of(&[false; REPLICAS]);
    let open = Stranded::begin(&bench.stage.database);
    let begun = Instant::now();
    let how = format!(" beside a transaction left open for {} s", OPEN.as_secs());
    revoke(&bench, &how, || begun.elapsed() > OPEN);
    open.assert_idle(&bench.stage.database);
}

/// Disables key after key, until there were enough and somebody says so.
fn revoke(bench: &Bench, how: &str, enough: impl Fn() -> bool) {
    let callers = Callers {
        seed: SEED,
        askers: 1,
        writers: 2,
        aborts: 0,
    };
    let load = Load::start(bench, callers);
    let hand = Hand::new(load.notes.clone());
    let mut lags: [Vec<Duration>; REPLICAS] = Default::default();
    let mut everywhere = Vec::new();
    let mut round = 0;
    while round < ROUNDS || !enough() {
        let (found, all) = one_round(bench, &hand, round % REPLICAS);
        for (lags, lag) in lags.iter_mut().zip(found) {
            lags.extend(lag);
        }
        everywhere.push(all);
        round += 1;
    }
    let (mut history, _) = load.end(bench);
    history.checks.extend(hand.checks());
    assert_true(SEED, &history);
    let each: Vec<String> = lags.into_iter().map(spread).collect();
    figure(&format!(
        "PostgreSQL, three processes under load{how}, {round} keys disabled at each of them in turn: refused by the others, after that was answered, after {}, {} and {}; known to be in force on all after {}; {}, 0 violations",
        each[0],
        each[1],
        each[2],
        spread(everywhere),
        told(&history),
    ));
}

/// How long after the answer each of the others refused the key, and it was known that all do.
fn one_round(bench: &Bench, hand: &Hand, at: usize) -> ([Option<Duration>; REPLICAS], Duration) {
    let own = hand.make(bench, at);
    let others: Vec<Asker> = (0..REPLICAS).map(|r| bench.asker(r)).collect();
    for other in &others {
        becomes(hand, other, &own, Reason::Ok);
    }
    thread::scope(|scope| {
        let own = &own;
        let watches: Vec<_> = others
            .iter()
            .map(|other| scope.spawn(move || becomes(hand, other, own, Reason::KeyDisabled)))
            .collect();
        let (revision, _) = hand.disable(bench, at, own, None);
        let answered = Instant::now();
        hand.wait_for_all(bench, at, &revision);
        let all = answered.elapsed();
        let mut lags = [None; REPLICAS];
        for (replica, watch) in watches.into_iter().enumerate() {
            let refused = watch.join().unwrap();
            // The one that answered refuses it before it does.
            lags[replica] = (replica != at).then(|| refused.saturating_duration_since(answered));
        }
        (lags, all)
    })
}

/// Asks without a pause until this is the answer; when that was.
fn becomes(hand: &Hand, asker: &Asker, own: &Own, reason: Reason) -> Instant {
    let begun = Instant::now();
    loop {
        let found = hand.check(asker, own);
        if found == reason {
            return Instant::now();
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{found:?} remains, {reason:?} was to come"
        );
    }
}

/// The median, the 99th percentile and the greatest of some times.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent).div_ceil(100) - 1];
    format!(
        "{:.0?} / {:.0?} / {:.0?} (p50 / p99 / most)",
        at(50),
        at(99),
        at(100)
    )
}
