//! What follows from the changes of a key, and from what was known by a moment: the checker's means.

use claviger::grpc::proto::v1::Reason;

use super::events::{Act, Entry, Moment};

/// What a key is at some revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    pub(super) disabled: bool,
    pub(super) deleted: bool,
}

impl State {
    pub(super) fn after(self, act: Act) -> Self {
        match act {
            Act::Enable => Self {
                disabled: false,
                ..self
            },
            Act::Disable => Self {
                disabled: true,
                ..self
            },
            Act::Delete => Self {
                deleted: true,
                ..self
            },
            Act::Make | Act::Regenerate => self,
        }
    }
}

/// An entry of the log with the change that it is.
pub(super) struct Linked<'a> {
    pub(super) entry: &'a Entry,
    pub(super) change: Option<usize>,
}

/// The greatest revision known by a moment: moments ascend, and so do numbers.
#[derive(Default)]
pub(super) struct Floor(Vec<(Moment, u64)>);

impl Floor {
    pub(super) fn of(mut points: Vec<(Moment, u64)>) -> Self {
        points.sort_unstable();
        let mut most = 0;
        for (_, n) in &mut points {
            most = most.max(*n);
            *n = most;
        }
        Self(points)
    }

    /// What was known before then.
    pub(super) fn at(&self, moment: Moment) -> u64 {
        let known = self.0.partition_point(|(at, _)| *at < moment);
        known.checked_sub(1).map_or(0, |last| self.0[last].1)
    }
}

/// What a token is worth after some of its key's changes.
#[derive(Default)]
pub(super) struct Seen {
    state: State,
    issued: bool,
    supplanted: bool,
}

impl Seen {
    pub(super) fn pass(&mut self, linked: &Linked<'_>, issued: usize) {
        self.state = self.state.after(linked.entry.act);
        if linked.change == Some(issued) {
            self.issued = true;
        } else if linked.entry.act == Act::Regenerate && self.issued {
            self.supplanted = true;
        }
    }

    /// In the order in which decisions look.
    pub(super) fn reason(&self) -> Reason {
        if !self.issued {
            Reason::UnknownKey
        } else if self.supplanted {
            Reason::SecretRevoked
        } else if self.state.deleted {
            Reason::KeyDeleted
        } else if self.state.disabled {
            Reason::KeyDisabled
        } else {
            Reason::Ok
        }
    }
}
