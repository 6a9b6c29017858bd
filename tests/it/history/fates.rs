//! What is said of a change while one replica is frozen, killed, cut off, about to join, or back from what it had kept: exactly
//! what is so, and no decision contradicts it.

use std::time::Duration;

use claviger::grpc::proto::v1::{Propagation, Reason};

use super::bench::Bench;
use super::hand::{Asker, Hand, Own};
use super::load::{Callers, Load};
use super::random::{assert_true, told};
use crate::harness::{Fault, figure};

const SHORT: Duration = Duration::from_millis(300);
const SEED: u64 = 0xfa7e;
/// Who it happens to.
const IT: usize = 2;

struct Fates {
    bench: Bench,
    hand: Hand,
}

impl Fates {
    /// A key that every replica knows.
    fn make(&self) -> Own {
        let own = self.hand.make(&self.bench, 0);
        self.bench.assert_caught_up();
        own
    }

    /// Disables a key while one replica is away: that alone is missing.
    fn disable_without_it(&self, own: &Own) -> String {
        let (revision, found) = self.hand.disable(&self.bench, 0, own, Some(SHORT));
        let mut found = found.expect("it waited");
        // Others may be starved for a while; it is missing all the time.
        while !self.alone_is_missing(&found) {
            if let Some(again) = self.hand.wait_for(&self.bench, 1, &revision, SHORT) {
                found = again;
            }
        }
        revision
    }

    fn alone_is_missing(&self, found: &Propagation) -> bool {
        let name = &self.bench.seats[IT].name;
        assert!(!found.complete && found.total == 3, "{found:?}");
        assert!(
            found.unconfirmed.iter().any(|u| u.name == *name),
            "{found:?}"
        );
        found.unconfirmed.len() == 1
    }

    fn says(&self, asker: &Asker, own: &Own, reason: Reason) {
        assert_eq!(self.hand.check(asker, own), reason);
    }

    /// It is back: the change is said to be everywhere, and is.
    fn has_it_again(&self, own: &Own, revision: &str) {
        self.hand.wait_for_all(&self.bench, 0, revision);
        self.says(&self.bench.asker(IT), own, Reason::KeyDisabled);
    }

    fn frozen(&mut self) {
        let own = self.make();
        self.bench.signal(IT, "STOP");
        let revision = self.disable_without_it(&own);
        self.bench.signal(IT, "CONT");
        self.has_it_again(&own, &revision);
    }

    fn killed(&mut self) {
        let own = self.make();
        self.bench.kill(IT);
        let revision = self.disable_without_it(&own);
        self.bench.start(IT);
        self.has_it_again(&own, &revision);
    }

    fn cut_off(&mut self, fault: Fault) {
        let own = self.make();
        self.bench.seats[IT].database.set(fault);
        let revision = self.disable_without_it(&own);
        // It knows no better, and nobody said that it did.
        self.says(&self.bench.asker(IT), &own, Reason::Ok);
        self.bench.seats[IT].database.set(Fault::None);
        self.has_it_again(&own, &revision);
    }

    fn back_from_what_it_kept(&mut self) {
        let (before, after) = (self.make(), self.make());
        let (revision, _) = self.hand.disable(&self.bench, 0, &before, None);
        self.hand.wait_for_all(&self.bench, 0, &revision);
        self.bench.seats[IT].database.set(Fault::Refuse);
        self.bench.kill(IT);
        self.bench.start(IT);
        self.says(&self.bench.asker(IT), &before, Reason::KeyDisabled);
        let revision = self.disable_without_it(&after);
        self.says(&self.bench.asker(IT), &after, Reason::Ok);
        self.bench.seats[IT].database.set(Fault::None);
        self.has_it_again(&after, &revision);
        self.says(&self.bench.asker(IT), &before, Reason::KeyDisabled);
    }

    /// While it is on its way in, keys are disabled everywhere, one after the other: none of them is ever let in by it.
    /// How many were said to be disabled everywhere meanwhile.
    fn joining(&mut self) -> usize {
        let own: Vec<Own> = (0..4).map(|_| self.hand.make(&self.bench, 0)).collect();
        // It leaves in order, and comes back as somebody else.
        self.bench.stop(IT);
        self.bench.forget(IT);
        // So that it takes a while.
        let slow = Fault::Delay(Duration::from_millis(20));
        self.bench.seats[IT].database.set(slow);
        let starting = self.bench.begin(IT);
        let mut complete = Vec::new();
        for own in &own {
            let (_, found) = self.hand.disable(&self.bench, 0, own, Some(SHORT));
            complete.extend(found.expect("it waited").complete.then_some(own));
        }
        self.bench.serves(IT, starting);
        let joined = self.bench.asker(IT);
        for own in &complete {
            self.says(&joined, own, Reason::KeyDisabled);
        }
        self.bench.seats[IT].database.set(Fault::None);
        complete.len()
    }
}

#[test]
fn what_is_said_of_a_change_while_a_replica_is_away_is_exactly_what_is_so() {
    let bench = Bench::of(&[false; 3]);
    let callers = Callers {
        seed: SEED,
        askers: 1,
        writers: 2,
        aborts: 5,
    };
    let load = Load::start(&bench, callers);
    let hand = Hand::new(load.notes.clone());
    let mut fates = Fates { bench, hand };
    fates.frozen();
    fates.killed();
    for fault in [Fault::Freeze, Fault::Mute, Fault::Refuse] {
        fates.cut_off(fault);
    }
    fates.back_from_what_it_kept();
    let meanwhile = fates.joining();
    let Fates { bench, hand } = fates;
    let (mut history, _) = load.end(&bench);
    history.checks.extend(hand.checks());
    assert_true(SEED, &history);
    figure(&format!(
        "PostgreSQL, one of three processes frozen, killed, cut off from the database in three ways, back from what it had kept, and joining anew ({meanwhile} changes said to be everywhere meanwhile): {}, 0 violations",
        told(&history)
    ));
}
