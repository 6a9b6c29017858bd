//! What the index holds, kept in the data directory: for a start while the database can't be reached.
//!
//! There is a **snapshot**, which is everything at one revision, and a **journal**, which is what was applied after it. A
//! journal that has become long is merged into the snapshot, from the files alone: neither the database nor the index is
//! asked for that.
//!
//! Invariants:
//!
//! 1. *What others were told is kept.* A revision is said to be applied, to the fleet or to whoever made a change, only when
//!    the journal has it on the disk, or when there is nothing on the disk that a start could go back to.
//! 2. *Who may start from it is waited for.* A process is entered in its fleet's list as one that decides, not as one that is
//!    about to, and so is never dropped from it in silence; only then do the files say that they may be started from. Before
//!    it is struck off in order, they say that they may not. With `--strict-revocation` a process is dropped when its lease
//!    is over, so it keeps nothing.
//! 3. *It is all or nothing.* Every record is sealed for its place in its file, a journal says which revision it begins
//!    after, a snapshot ends with a row that says so. What does not fit is not started from. The one thing that is left out
//!    is a last record that a crash cut off: it was not synced, so nobody was told of it.
//! 4. *What can't be kept is removed.* Where the disk fails, or is too slow, the files go before anything newer is said.
//!
//! What it does not help against: a data directory that was put back from a copy is behind what was said since.

mod chain;
mod file;
mod keeper;
mod merge;
mod row;
mod taking;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::path::Path;

use crate::app::envelope::{Envelope, RootKeyBytes};
use crate::app::ports::{Meta, Restored};
use crate::domain::revision::Revision;
use crate::domain::time::Time;

use chain::{Chain, Folder};
pub use file::Unusable;
pub use keeper::Keeper;
pub use worker::keep;

/// What was kept in a data directory.
#[derive(Debug)]
pub struct Kept {
    chain: Chain,
    meta: Meta,
    envelope: Envelope,
}

/// What was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Its revision.
    pub revision: Revision,
    /// When that was last known to be the newest.
    pub time: Time,
}

impl Kept {
    /// Finds it, and opens its keys with one of the root keys.
    pub fn find(data_dir: &Path, roots: &[&RootKeyBytes]) -> Result<Self, Unusable> {
        let chain = Chain::find(Folder::of(data_dir))?;
        let (envelope, wrapped_keys) = chain.keys(roots)?;
        let meta = Meta {
            epoch: chain.header.epoch,
            wrapped_keys,
            bootstrapped: true,
        };
        Ok(Self {
            chain,
            meta,
            envelope,
        })
    }

    /// What the database said of itself.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The database's keys.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Hands everything to `give`, in order. What was given is worth nothing where this fails.
    pub fn read(&self, give: &mut (dyn FnMut(Restored) + Send)) -> Result<Point, Unusable> {
        let reached = self.chain.read(&self.envelope, give)?;
        if reached.entered != Some(true) {
            return Err(Unusable::NotEntered);
        }
        Ok(Point {
            revision: Revision {
                epoch: self.meta.epoch,
                n: reached.n,
            },
            time: reached.time,
        })
    }
}

/// Removes what was kept in a data directory: nobody keeps it in step any more.
pub fn remove(data_dir: &Path) -> io::Result<()> {
    Folder::of(data_dir).clear()
}
