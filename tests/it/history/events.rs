//! What happened in a run, as those who were there saw it: the only thing the checker looks at.

use std::time::Duration;

use claviger::domain::revision::Revision;
use claviger::grpc::proto::v1::Reason;

/// A moment, by the one clock of the test: since the history began. Moments of all parties can be compared.
pub(crate) type Moment = Duration;

/// A question about a token, and what a replica answered.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// Which replica, and in which of its lives: each start of a process begins one.
    pub(crate) replica: usize,
    pub(crate) life: usize,
    /// The token, by its place in [`History::tokens`].
    pub(crate) token: usize,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    pub(crate) reason: Reason,
    pub(crate) revision: Revision,
    /// Asked when all was healed, and everybody had all there was: nothing is in doubt any more.
    pub(crate) settled: bool,
}

/// What a change does to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    Make,
    Enable,
    Disable,
    /// Its token is replaced by another one, at once.
    Regenerate,
    Delete,
}

/// What became of a change, as its caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was made; `complete`: it is in force on every replica.
    Made { revision: Revision, complete: bool },
    /// Nothing was changed.
    Refused,
    /// It may have been made, or may yet be.
    Unknown,
}

/// A change that somebody asked for. Its number is its place in [`History::changes`].
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) key: usize,
    pub(crate) act: Act,
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
    pub(crate) outcome: Outcome,
    /// The replicas that were asked, until one knew the outcome: it is the last.
    pub(crate) asked: Vec<usize>,
}

/// A token: which change brought it into being.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) change: usize,
}

/// Somebody was told that everything up to a revision is in force on every replica.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confirmed {
    pub(crate) revision: Revision,
    pub(crate) end: Moment,
}

/// A change as the database has it in the end.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) n: u64,
    /// The key's number; none: a key that nobody asked for.
    pub(crate) key: Option<usize>,
    pub(crate) act: Act,
    /// The number of the change that left it behind, where it did.
    pub(crate) change: Option<usize>,
}

/// A key as the database has it in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: usize,
    pub(crate) enabled: bool,
    pub(crate) deleted: bool,
}

/// A whole run.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) changes: Vec<Change>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) checks: Vec<Check>,
    pub(crate) confirmed: Vec<Confirmed>,
    /// The history of the database in which its entries are.
    pub(crate) epoch: u32,
    /// By revision.
    pub(crate) log: Vec<Entry>,
    pub(crate) stored: Vec<Stored>,
}
