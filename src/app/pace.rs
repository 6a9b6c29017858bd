//! How much one change takes of what is many: others wait for the revision counter while it lasts.

use std::time::Duration;

use crate::domain::time::Time;

/// How long one change should take at most. What takes longer is followed by a smaller one.
const HOLD: Duration = Duration::from_millis(50);

/// The size of the next change, after how long the last one took.
#[derive(Debug)]
pub(super) struct Pace {
    size: u32,
    least: u32,
    most: u32,
}

impl Pace {
    /// Begins with `size`, and stays within the bounds.
    pub(super) fn new(size: u32, least: u32, most: u32) -> Self {
        Self { size, least, most }
    }

    /// The size of the next change.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// Whether a change was too slow.
    pub(super) fn is_slow(began: Time, ended: Time) -> bool {
        began.plus(HOLD) < ended
    }

    /// Halves the size after a slow change, and doubles it after another.
    pub(super) fn after(&mut self, slow: bool) {
        self.size = if slow {
            (self.size / 2).max(self.least)
        } else {
            (self.size * 2).min(self.most)
        };
    }
}
