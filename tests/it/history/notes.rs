//! Where all parties of a run write down what they did and saw.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Instant;

use super::dice::Dice;
use super::events::{Act, Change, Check, Confirmed, History, Moment, Outcome, Token};
use crate::harness::register;

/// How many of the tokens that were touched last are asked about more often.
const RECENT: usize = 16;

pub(super) struct Notes {
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    history: History,
    /// By token.
    texts: Vec<String>,
    /// The tokens whose keys were touched last.
    recent: VecDeque<usize>,
    keys: usize,
    /// Why changes were refused, and how often.
    refused: BTreeMap<String, usize>,
}

impl Notes {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            inner: Mutex::default(),
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.began.elapsed()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap())
    }

    /// A key that nobody has made yet; its number.
    pub(super) fn new_key(&self) -> usize {
        self.with(|inner| {
            inner.keys += 1;
            inner.keys - 1
        })
    }

    /// Somebody is about to ask for a change; its number. Until it is told otherwise, nobody knows what became of it.
    pub(super) fn begin(&self, key: usize, act: Act, token: Option<usize>) -> usize {
        let begin = self.now();
        self.with(|inner| {
            if let Some(token) = token {
                inner.touch(token);
            }
            inner.history.changes.push(Change {
                key,
                act,
                begin,
                end: Moment::MAX,
                outcome: Outcome::Unknown,
                asked: Vec::new(),
            });
            inner.history.changes.len() - 1
        })
    }

    /// A replica is about to be asked for it.
    pub(super) fn asks(&self, change: usize, replica: usize) {
        self.with(|inner| inner.history.changes[change].asked.push(replica));
    }

    /// What its caller was told, just now.
    pub(super) fn told(&self, change: usize, outcome: Outcome) {
        let end = self.now();
        self.with(|inner| {
            let change = &mut inner.history.changes[change];
            (change.end, change.outcome) = (end, outcome);
        });
    }

    /// Why it was refused.
    pub(super) fn refused(&self, reason: String) {
        self.with(|inner| *inner.refused.entry(reason).or_default() += 1);
    }

    /// A token that a change brought into being.
    pub(super) fn issued(&self, change: usize, text: String) -> usize {
        register(&text);
        self.with(|inner| {
            inner.history.tokens.push(Token { change });
            inner.texts.push(text);
            let token = inner.texts.len() - 1;
            inner.touch(token);
            token
        })
    }

    pub(super) fn confirmed(&self, confirmed: Confirmed) {
        self.with(|inner| inner.history.confirmed.push(confirmed));
    }

    /// A token to ask about: every other time one that was touched of late.
    pub(super) fn pick(&self, dice: &mut Dice) -> Option<(usize, String)> {
        self.with(|inner| {
            if inner.texts.is_empty() {
                return None;
            }
            let token = match dice.percent(50) {
                true => inner.recent[dice.below(inner.recent.len())],
                false => dice.below(inner.texts.len()),
            };
            Some((token, inner.texts[token].clone()))
        })
    }

    /// Every token there is.
    pub(super) fn texts(&self) -> Vec<String> {
        self.with(|inner| inner.texts.clone())
    }

    /// How many changes were answered as made.
    pub(super) fn made(&self) -> usize {
        self.with(|inner| {
            let changes = inner.history.changes.iter();
            let made = changes.filter(|c| matches!(c.outcome, Outcome::Made { .. }));
            made.count()
        })
    }

    pub(super) fn refusals(&self) -> BTreeMap<String, usize> {
        self.with(|inner| inner.refused.clone())
    }

    /// All of it, with these checks.
    pub(super) fn history(&self, checks: Vec<Check>) -> History {
        self.with(|inner| History {
            checks,
            ..inner.history.clone()
        })
    }
}

impl Inner {
    fn touch(&mut self, token: usize) {
        self.recent.push_back(token);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}
