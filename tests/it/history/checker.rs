//! Whether a history can be true of replicas that revoke together. A pure function: it knows nothing of how the history came
//! about.
//!
//! Changes that were under way while a question was asked may be seen by it or not. A change whose outcome nobody was told
//! counts as made where the database has it in the end, and as not made where it has not: for everybody alike.

use std::collections::HashMap;
use std::fmt;

use claviger::domain::revision::Revision;
use claviger::grpc::proto::v1::Reason;

use super::events::{Act, Check, Confirmed, Entry, History, Moment, Outcome, Stored, Token};
use super::worth::{Floor, Linked, Seen, State};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// No allow, and no decision of an earlier revision, that began after somebody was told that the change which took the
    /// access away is in force everywhere.
    AfterComplete,
    /// The same on the replica that answered the change, from that answer on.
    AfterAnswer,
    /// What was answered as made is there in the end.
    Lost,
    /// Every answer is explained by changes that had begun, at the revision that it names or later.
    Invented,
    /// Within a life of a replica, revisions never go back.
    WentBack,
}

/// A place where the history breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.what)
    }
}

/// Everything in it that can't be.
pub(crate) fn violations(history: &History) -> Vec<Violation> {
    let mut checker = Checker::new(history);
    checker.changes();
    checker.stored();
    let (answered, complete) = (checker.answered(), checker.complete());
    let by_life = checker.by_life();
    for check in &history.checks {
        checker.after(check);
        checker.floor(check, &answered, &complete);
        checker.explained(check);
        checker.forward(check, &by_life);
    }
    checker.found
}

struct Checker<'a> {
    history: &'a History,
    /// By key, in order.
    timelines: HashMap<usize, Vec<Linked<'a>>>,
    /// By change: where it stands in the log.
    made_at: Vec<Option<u64>>,
    /// By key: its changes.
    of_key: HashMap<usize, Vec<usize>>,
    found: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn new(history: &'a History) -> Self {
        let mut of_key: HashMap<usize, Vec<usize>> = HashMap::new();
        for (number, change) in history.changes.iter().enumerate() {
            of_key.entry(change.key).or_default().push(number);
        }
        let mut this = Self {
            history,
            timelines: HashMap::new(),
            made_at: vec![None; history.changes.len()],
            of_key,
            found: Vec::new(),
        };
        for entry in &history.log {
            this.link(entry);
        }
        this
    }

    fn violation(&mut self, rule: Rule, what: String) {
        self.found.push(Violation { rule, what });
    }

    /// Finds out whose entry this is. Each change makes one at most.
    fn link(&mut self, entry: &'a Entry) {
        let Some(key) = entry.key else {
            return self.violation(Rule::Invented, format!("{entry:?} of a key nobody made"));
        };
        let found = self.whose(key, entry);
        match found {
            Some(number) => self.made_at[number] = Some(entry.n),
            None => self.violation(
                Rule::Invented,
                format!("{entry:?} is no change that somebody began"),
            ),
        }
        let linked = Linked {
            entry,
            change: found,
        };
        self.timelines.entry(key).or_default().push(linked);
    }

    fn whose(&self, key: usize, entry: &Entry) -> Option<usize> {
        let candidates = self.of_key.get(&key)?.iter().copied().filter(|number| {
            self.history.changes[*number].act == entry.act && self.made_at[*number].is_none()
        });
        if let Some(number) = entry.change {
            let mut candidates = candidates;
            return candidates.find(|candidate| *candidate == number);
        }
        let candidates: Vec<usize> = candidates.collect();
        // Who was told the revision comes first; any other must not know what became of it.
        let told = candidates.iter().find(|number| {
            matches!(self.history.changes[**number].outcome, Outcome::Made { revision, .. } if revision.n == entry.n)
        });
        let unknown = || {
            candidates
                .iter()
                .find(|number| self.history.changes[**number].outcome == Outcome::Unknown)
        };
        told.or_else(unknown).copied()
    }

    /// The changes are in the log as their callers were told.
    fn changes(&mut self) {
        for (number, change) in self.history.changes.iter().enumerate() {
            let (made_at, told) = (self.made_at[number], change.outcome);
            match told {
                Outcome::Made { revision, .. }
                    if made_at != Some(revision.n) || revision.epoch != self.history.epoch =>
                {
                    let what = format!("change {number}, {change:?}, is in the log at {made_at:?}");
                    self.violation(Rule::Lost, what);
                }
                Outcome::Refused if made_at.is_some() => {
                    let what = format!("change {number}, {change:?}, is in the log at {made_at:?}");
                    self.violation(Rule::Invented, what);
                }
                _ => {}
            }
        }
    }

    /// The keys are what the log says.
    fn stored(&mut self) {
        let stored: HashMap<usize, Stored> =
            self.history.stored.iter().map(|s| (s.key, *s)).collect();
        let mut wrong = Vec::new();
        for (key, timeline) in &self.timelines {
            let state = timeline
                .iter()
                .fold(State::default(), |state, l| state.after(l.entry.act));
            let expected = Stored {
                key: *key,
                enabled: !state.disabled,
                deleted: state.deleted,
            };
            let found = stored.get(key);
            if found != Some(&expected) {
                wrong.push(format!("{expected:?} by the log is stored as {found:?}"));
            }
        }
        for what in wrong {
            self.violation(Rule::Lost, what);
        }
        for stored in stored.values() {
            if !self.timelines.contains_key(&stored.key) {
                let what = format!("{stored:?} is in no log");
                self.violation(Rule::Invented, what);
            }
        }
    }

    /// What each replica has answered to have made.
    fn answered(&self) -> HashMap<usize, Floor> {
        let mut points: HashMap<usize, Vec<(Moment, u64)>> = HashMap::new();
        for change in &self.history.changes {
            if let (Outcome::Made { revision, .. }, Some(replica)) =
                (change.outcome, change.asked.last())
            {
                let points = points.entry(*replica).or_default();
                points.push((change.end, revision.n));
            }
        }
        let floors = points.into_iter();
        floors.map(|(r, points)| (r, Floor::of(points))).collect()
    }

    /// What is known to be everywhere.
    fn complete(&self) -> Floor {
        let changes = self.history.changes.iter().filter_map(|c| match c.outcome {
            Outcome::Made {
                revision,
                complete: true,
            } => Some((c.end, revision.n)),
            _ => None,
        });
        let confirmed = self.history.confirmed.iter();
        let confirmed = confirmed.map(|Confirmed { revision, end }| (*end, revision.n));
        Floor::of(changes.chain(confirmed).collect())
    }

    /// What each life of a replica has decided at.
    fn by_life(&self) -> HashMap<(usize, usize), Floor> {
        let mut points: HashMap<(usize, usize), Vec<(Moment, u64)>> = HashMap::new();
        for check in &self.history.checks {
            let points = points.entry((check.replica, check.life)).or_default();
            points.push((check.end, check.revision.n));
        }
        let floors = points.into_iter();
        floors.map(|(l, points)| (l, Floor::of(points))).collect()
    }

    /// No allow after the access was taken away. It looks at what callers were told alone, not at revisions of decisions.
    fn after(&mut self, check: &Check) {
        if check.reason != Reason::Ok {
            return;
        }
        let issued = self.history.tokens[check.token].change;
        let key = self.history.changes[issued].key;
        let numbers = self.of_key.get(&key).map_or(&[][..], Vec::as_slice);
        let mut found = Vec::new();
        for number in numbers.iter().copied() {
            let change = &self.history.changes[number];
            let Outcome::Made { revision, complete } = change.outcome else {
                continue;
            };
            let here = change.asked.last() == Some(&check.replica);
            let told = (complete || here) && change.end < check.begin;
            if !told || !self.takes_away(number, issued) {
                continue;
            }
            let given_back = change.act == Act::Disable
                && numbers
                    .iter()
                    .any(|later| self.may_give_back(*later, revision, check.end));
            if !given_back {
                let rule = match complete {
                    true => Rule::AfterComplete,
                    false => Rule::AfterAnswer,
                };
                found.push((rule, number));
            }
        }
        for (rule, number) in found {
            let change = &self.history.changes[number];
            let what = format!("{check:?} in spite of change {number}, {change:?}");
            self.violation(rule, what);
        }
    }

    /// Whether a change takes its access from the token that another one issued.
    fn takes_away(&self, number: usize, issued: usize) -> bool {
        match self.history.changes[number].act {
            Act::Disable | Act::Delete => true,
            // Its own token is a new one; of others it ends those that were there before it.
            Act::Regenerate if number == issued => false,
            Act::Regenerate => {
                let (by, of) = (self.made_at[issued], self.told_at(number));
                by.or_else(|| self.told_at(issued)) < of
            }
            Act::Make | Act::Enable => false,
        }
    }

    fn told_at(&self, number: usize) -> Option<u64> {
        match self.history.changes[number].outcome {
            Outcome::Made { revision, .. } => Some(revision.n),
            _ => None,
        }
    }

    /// Whether a change can have given access back, after a revision and before a moment.
    fn may_give_back(&self, number: usize, after: Revision, by: Moment) -> bool {
        let change = &self.history.changes[number];
        let at = self.told_at(number).or(self.made_at[number]);
        change.act == Act::Enable && change.begin < by && at.is_some_and(|at| at > after.n)
    }

    /// No decision of an earlier revision than was known to be there.
    fn floor(&mut self, check: &Check, answered: &HashMap<usize, Floor>, complete: &Floor) {
        let here = answered
            .get(&check.replica)
            .map_or(0, |f| f.at(check.begin));
        let everywhere = complete.at(check.begin);
        for (rule, known) in [(Rule::AfterAnswer, here), (Rule::AfterComplete, everywhere)] {
            if check.revision.n < known {
                let what = format!("{check:?} is older than revision {known}, which was there");
                self.violation(rule, what);
            }
        }
    }

    /// An answer is that of its revision, or of a change that had begun since.
    fn explained(&mut self, check: &Check) {
        if check.revision.epoch != self.history.epoch {
            return self.violation(Rule::Invented, format!("{check:?} is of another history"));
        }
        let issued = self.history.tokens[check.token].change;
        let key = self.history.changes[issued].key;
        let timeline = self.timelines.get(&key).map_or(&[][..], Vec::as_slice);
        let mut seen = Seen::default();
        let mut possible = false;
        for linked in timeline {
            if linked.entry.n > check.revision.n {
                possible |= seen.reason() == check.reason;
                let begun = linked
                    .change
                    .map(|number| self.history.changes[number].begin);
                if begun.is_none_or(|begun| begun > check.end) {
                    // Whatever comes after it in the log had not been made either.
                    return self.judge(check, key, possible);
                }
            }
            seen.pass(linked, issued);
        }
        possible |= seen.reason() == check.reason;
        self.judge(check, key, possible);
    }

    fn judge(&mut self, check: &Check, key: usize, possible: bool) {
        if !possible && !self.in_doubt(check, key) {
            let timeline = self.timelines.get(&key).map_or(&[][..], Vec::as_slice);
            let log: Vec<_> = timeline.iter().map(|l| (l.entry.n, l.entry.act)).collect();
            let what = format!("{check:?} of key {key} is explained by nothing in {log:?}");
            self.violation(Rule::Invented, what);
        }
    }

    /// A replica that does not know what became of a change that takes access away keeps the key shut until it does.
    fn in_doubt(&self, check: &Check, key: usize) -> bool {
        let numbers = self.of_key.get(&key).map_or(&[][..], Vec::as_slice);
        !check.settled
            && check.reason == Reason::KeyDisabled
            && numbers.iter().any(|number| {
                let change = &self.history.changes[*number];
                let narrows = matches!(change.act, Act::Disable | Act::Delete | Act::Regenerate);
                // Who was told at once never was in doubt.
                let told = matches!(change.outcome, Outcome::Made { .. } | Outcome::Refused)
                    && change.asked.len() == 1;
                narrows
                    && change.begin < check.end
                    && change.asked.contains(&check.replica)
                    && (!told || check.begin < change.end)
            })
    }

    fn forward(&mut self, check: &Check, by_life: &HashMap<(usize, usize), Floor>) {
        let known = by_life
            .get(&(check.replica, check.life))
            .map_or(0, |floor| floor.at(check.begin));
        if check.revision.n < known {
            let what = format!("{check:?} comes after one of revision {known}");
            self.violation(Rule::WentBack, what);
        }
    }
}

/// What every token must be worth when all changes of the log are in force.
pub(crate) fn in_the_end(history: &History) -> Vec<Reason> {
    let checker = Checker::new(history);
    let worth = |token: &Token| {
        let key = history.changes[token.change].key;
        let timeline = checker.timelines.get(&key).map_or(&[][..], Vec::as_slice);
        let mut seen = Seen::default();
        for linked in timeline {
            seen.pass(linked, token.change);
        }
        seen.reason()
    };
    history.tokens.iter().map(worth).collect()
}
