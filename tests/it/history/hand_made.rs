//! The checker, with histories that are made by hand: what may be is let pass, and each thing that may not be is found.

use std::time::Duration;

use claviger::domain::revision::Revision;
use claviger::grpc::proto::v1::Reason;

use super::checker::{Rule, violations};
use super::events::{
    Act, Change, Check, Confirmed, Entry, History, Moment, Outcome, Stored, Token,
};

const EPOCH: u32 = 7;

fn at(second: u64) -> Moment {
    Duration::from_secs(second)
}

fn revision(n: u64) -> Revision {
    Revision { epoch: EPOCH, n }
}

fn made(n: u64) -> Outcome {
    Outcome::Made {
        revision: revision(n),
        complete: false,
    }
}

fn complete(n: u64) -> Outcome {
    Outcome::Made {
        revision: revision(n),
        complete: true,
    }
}

/// A history that is told step by step. All of it is about one key, unless it says otherwise.
struct Tale {
    history: History,
}

impl Tale {
    /// A key is made on replica 0, as revision 1, from second 0 to 1.
    fn of_a_key() -> Self {
        let history = History {
            epoch: EPOCH,
            ..History::default()
        };
        let mut this = Self { history };
        this.change(0, Act::Make, (0, 1), made(1));
        this.in_log(1, Act::Make, 0);
        this.store(true, false);
        this.history.tokens.push(Token { change: 0 });
        this
    }

    fn change(&mut self, replica: usize, act: Act, (begin, end): (u64, u64), outcome: Outcome) {
        self.history.changes.push(Change {
            key: 0,
            act,
            begin: at(begin),
            end: at(end),
            outcome,
            asked: vec![replica],
        });
    }

    fn in_log(&mut self, n: u64, act: Act, change: usize) {
        self.history.log.push(Entry {
            n,
            key: Some(0),
            act,
            change: Some(change),
        });
    }

    /// A change that is answered and in the log.
    fn done(&mut self, replica: usize, act: Act, times: (u64, u64), outcome: Outcome) {
        let Outcome::Made { revision, .. } = outcome else {
            panic!("it is not done");
        };
        let number = self.history.changes.len();
        self.change(replica, act, times, outcome);
        self.in_log(revision.n, act, number);
    }

    fn store(&mut self, enabled: bool, deleted: bool) {
        self.history.stored = vec![Stored {
            key: 0,
            enabled,
            deleted,
        }];
    }

    /// A question about the first token, and the revision of its answer.
    fn check(&mut self, replica: usize, (begin, end): (u64, u64), reason: Reason, n: u64) {
        self.check_of(0, replica, (begin, end), reason, n);
    }

    fn check_of(
        &mut self,
        token: usize,
        replica: usize,
        (begin, end): (u64, u64),
        reason: Reason,
        n: u64,
    ) {
        self.history.checks.push(Check {
            replica,
            life: 0,
            token,
            begin: at(begin),
            end: at(end),
            reason,
            revision: revision(n),
            settled: false,
        });
    }

    fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = violations(&self.history).iter().map(|v| v.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    fn holds(&self) {
        assert_eq!(violations(&self.history), []);
    }

    fn breaks(&self, rules: &[Rule]) {
        assert_eq!(self.rules(), rules, "{:#?}", violations(&self.history));
    }
}

#[test]
fn what_is_seen_in_time_and_what_is_seen_a_little_later_may_both_be() {
    let mut tale = Tale::of_a_key();
    tale.check(0, (2, 3), Reason::Ok, 1);
    // Another one has not heard of it yet, and then has.
    tale.check(1, (2, 3), Reason::UnknownKey, 0);
    tale.check(1, (4, 5), Reason::Ok, 1);
    tale.done(0, Act::Disable, (10, 20), made(2));
    // While it is under way, either.
    tale.check(0, (11, 12), Reason::Ok, 1);
    tale.check(0, (13, 14), Reason::KeyDisabled, 1);
    tale.check(1, (11, 12), Reason::KeyDisabled, 2);
    tale.check(0, (21, 22), Reason::KeyDisabled, 2);
    // Another replica need not have it: nobody was told so.
    tale.check(2, (21, 22), Reason::Ok, 1);
    tale.done(1, Act::Enable, (30, 31), made(3));
    tale.check(0, (32, 33), Reason::KeyDisabled, 2);
    tale.check(1, (32, 33), Reason::Ok, 3);
    tale.holds();
}

#[test]
fn an_allow_after_a_change_that_is_everywhere_is_found_on_every_replica() {
    for replica in [0, 1, 2] {
        let mut tale = Tale::of_a_key();
        tale.done(0, Act::Disable, (10, 20), complete(2));
        tale.store(false, false);
        // Begun before that was answered: it may be from before.
        tale.check(1, (19, 30), Reason::Ok, 1);
        tale.holds();
        tale.check(replica, (21, 22), Reason::Ok, 2);
        tale.breaks(&[Rule::AfterComplete, Rule::Invented]);
    }
}

#[test]
fn a_decision_from_before_a_revision_that_is_everywhere_is_found_whatever_it_is_about() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (10, 20), made(2));
    tale.store(false, false);
    tale.history.confirmed.push(Confirmed {
        revision: revision(2),
        end: at(25),
    });
    tale.check(1, (24, 26), Reason::Ok, 1);
    tale.holds();
    tale.check(1, (26, 27), Reason::Ok, 1);
    tale.breaks(&[Rule::AfterComplete]);
}

#[test]
fn an_allow_after_the_answer_is_found_on_the_replica_that_gave_it_and_only_there() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (10, 20), made(2));
    tale.store(false, false);
    tale.check(1, (21, 22), Reason::Ok, 1);
    tale.holds();
    tale.check(0, (21, 22), Reason::Ok, 1);
    tale.breaks(&[Rule::AfterAnswer]);
}

#[test]
fn access_that_was_given_back_meanwhile_may_be_used() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (10, 20), complete(2));
    tale.done(1, Act::Enable, (30, 40), made(3));
    tale.check(2, (35, 36), Reason::Ok, 2);
    tale.check(2, (41, 42), Reason::KeyDisabled, 2);
    tale.holds();
    // But not before it was begun.
    let mut early = Tale::of_a_key();
    early.done(0, Act::Disable, (10, 20), complete(2));
    early.done(1, Act::Enable, (30, 40), made(3));
    early.check(2, (25, 26), Reason::Ok, 2);
    early.breaks(&[Rule::AfterComplete, Rule::Invented]);
}

#[test]
fn access_that_was_given_before_is_not_given_back_by_that() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (2, 3), made(2));
    // Answered late, but made before what took it away.
    tale.done(1, Act::Enable, (4, 30), made(3));
    tale.done(0, Act::Disable, (10, 20), complete(4));
    tale.store(false, false);
    tale.check(2, (25, 26), Reason::Ok, 4);
    tale.breaks(&[Rule::AfterComplete, Rule::Invented]);
}

#[test]
fn a_token_that_was_replaced_is_dead_and_its_successor_alive() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Regenerate, (10, 20), complete(2));
    tale.history.tokens.push(Token { change: 1 });
    tale.check_of(1, 1, (21, 22), Reason::Ok, 2);
    tale.check_of(0, 1, (21, 22), Reason::SecretRevoked, 2);
    // Enabling it changes nothing about that.
    tale.done(0, Act::Disable, (30, 31), made(3));
    tale.done(0, Act::Enable, (32, 33), made(4));
    tale.check_of(0, 1, (34, 35), Reason::SecretRevoked, 4);
    tale.holds();
    tale.check_of(0, 1, (36, 37), Reason::Ok, 4);
    tale.breaks(&[Rule::AfterComplete, Rule::Invented]);
}

#[test]
fn a_deleted_key_stays_deleted() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Delete, (10, 20), made(2));
    tale.store(true, true);
    tale.check(0, (21, 22), Reason::KeyDeleted, 2);
    tale.holds();
    tale.check(0, (23, 24), Reason::Ok, 2);
    tale.breaks(&[Rule::AfterAnswer, Rule::Invented]);
}

#[test]
fn a_change_that_was_answered_and_is_not_there_in_the_end_is_found() {
    let mut tale = Tale::of_a_key();
    tale.change(0, Act::Disable, (10, 20), made(2));
    tale.breaks(&[Rule::Lost]);
    // So it is where it stands elsewhere than it was said to.
    tale.in_log(3, Act::Disable, 1);
    tale.store(false, false);
    tale.breaks(&[Rule::Lost]);
}

#[test]
fn a_key_that_is_not_what_its_changes_made_it_is_found() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (10, 20), made(2));
    tale.breaks(&[Rule::Lost]);
    tale.store(false, true);
    tale.breaks(&[Rule::Lost]);
    tale.history.stored.clear();
    tale.breaks(&[Rule::Lost]);
}

#[test]
fn what_nobody_did_is_found() {
    // A change that nobody began, one that was refused, and one that was made twice.
    let mut tale = Tale::of_a_key();
    tale.in_log(2, Act::Disable, 9);
    tale.store(false, false);
    tale.breaks(&[Rule::Invented]);
    let mut tale = Tale::of_a_key();
    tale.change(0, Act::Disable, (10, 20), Outcome::Refused);
    tale.in_log(2, Act::Disable, 1);
    tale.store(false, false);
    tale.breaks(&[Rule::Invented]);
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (10, 20), made(2));
    tale.in_log(3, Act::Disable, 1);
    tale.store(false, false);
    tale.breaks(&[Rule::Invented]);
    // A key that is in no log.
    let mut tale = Tale::of_a_key();
    tale.history.stored.push(Stored {
        key: 5,
        enabled: true,
        deleted: false,
    });
    tale.breaks(&[Rule::Invented]);
}

#[test]
fn an_answer_that_nothing_explains_is_found() {
    // A live key that nobody touched is refused; or let in before it was made; or let in when it never was.
    let mut tale = Tale::of_a_key();
    tale.check(1, (2, 3), Reason::KeyDisabled, 1);
    tale.breaks(&[Rule::Invented]);
    let mut tale = Tale::of_a_key();
    tale.history.changes[0].begin = at(4);
    tale.history.changes[0].end = at(5);
    tale.check(1, (2, 3), Reason::Ok, 0);
    tale.breaks(&[Rule::Invented]);
    let mut tale = Tale::of_a_key();
    tale.check(1, (2, 3), Reason::Ok, 1);
    tale.history.log.clear();
    tale.history.stored.clear();
    tale.breaks(&[Rule::Lost, Rule::Invented]);
    // It names a revision of another history, or one from which it can't be.
    let mut tale = Tale::of_a_key();
    tale.check(1, (2, 3), Reason::Ok, 1);
    tale.history.checks[0].revision.epoch += 1;
    tale.breaks(&[Rule::Invented]);
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (10, 20), made(2));
    tale.store(false, false);
    tale.check(1, (21, 22), Reason::Ok, 2);
    tale.breaks(&[Rule::Invented]);
}

#[test]
fn revisions_never_go_back_within_a_life_and_may_from_one_to_the_next() {
    let mut tale = Tale::of_a_key();
    tale.check(1, (2, 3), Reason::Ok, 1);
    // At the same time as the other: either may have come first.
    tale.check(1, (2, 4), Reason::UnknownKey, 0);
    tale.holds();
    tale.check(1, (5, 6), Reason::UnknownKey, 0);
    tale.breaks(&[Rule::WentBack]);
    tale.history.checks[2].life = 1;
    tale.holds();
}

#[test]
fn a_change_with_an_unknown_outcome_is_what_the_database_has_of_it_for_everybody() {
    // It was made.
    let mut tale = Tale::of_a_key();
    tale.change(0, Act::Disable, (10, 11), Outcome::Unknown);
    tale.in_log(2, Act::Disable, 1);
    tale.store(false, false);
    tale.check(1, (12, 13), Reason::Ok, 1);
    tale.check(1, (14, 15), Reason::KeyDisabled, 2);
    tale.holds();
    tale.check(2, (16, 17), Reason::Ok, 2);
    tale.breaks(&[Rule::Invented]);

    // It was not. Who was asked keeps the key shut while it can't know; nobody else does, and it does not for ever.
    let mut tale = Tale::of_a_key();
    tale.change(0, Act::Disable, (10, 11), Outcome::Unknown);
    tale.check(0, (12, 13), Reason::KeyDisabled, 1);
    tale.check(0, (14, 15), Reason::Ok, 1);
    tale.holds();
    let mut elsewhere = Tale {
        history: tale.history.clone(),
    };
    elsewhere.check(1, (12, 13), Reason::KeyDisabled, 1);
    elsewhere.breaks(&[Rule::Invented]);
    tale.check(0, (20, 21), Reason::KeyDisabled, 1);
    tale.history.checks[2].settled = true;
    tale.breaks(&[Rule::Invented]);
}

#[test]
fn a_change_with_an_unknown_outcome_gives_back_only_what_was_taken_before_it() {
    let mut tale = Tale::of_a_key();
    tale.done(0, Act::Disable, (2, 3), made(2));
    tale.change(1, Act::Enable, (4, 5), Outcome::Unknown);
    tale.done(0, Act::Disable, (10, 20), complete(3));
    tale.store(false, false);
    tale.check(2, (25, 26), Reason::Ok, 3);
    // It is nowhere: it gave nothing back.
    tale.breaks(&[Rule::AfterComplete, Rule::Invented]);
    // It came late, but it came.
    tale.in_log(4, Act::Enable, 2);
    tale.store(true, false);
    tale.holds();
}
