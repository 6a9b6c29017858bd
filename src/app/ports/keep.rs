//! What the index holds, kept beside the process: for a start while the database can't be reached.

use async_trait::async_trait;

use super::{FeedBatch, Loaded, Meta, StoreError};

/// Who keeps it. What others were told that this process has applied must be kept by then: after a restart it may be all
/// that the process knows.
#[async_trait]
pub trait Keep: Send + Sync + 'static {
    /// Begins to take down a load of a database that says this of itself: another history than before begins where it is
    /// another one.
    fn begin(&self, meta: &Meta) -> Box<dyn Taking>;
    /// Takes down what was just applied, in the order of it.
    fn append(&self, batch: &FeedBatch);
    /// Notes that nothing newer was there a moment ago.
    fn current(&self);
    /// The revision that a restart without the database would reach; the largest number where it would not be let happen.
    fn kept(&self) -> u64;
    /// Waits until [`Self::kept`] reaches a revision.
    async fn wait_for(&self, n: u64);
    /// Whether anything is kept at all.
    fn is_on(&self) -> bool;
    /// Takes down whether others wait for this process: only then may it start without the database.
    async fn stand(&self, standing: Standing) -> Result<(), StoreError>;
}

/// Takes down a load, piece by piece. Dropped, it changes nothing.
#[async_trait]
pub trait Taking: Send {
    /// Takes down a piece. What goes wrong is told at the end.
    fn put(&mut self, piece: &Loaded);
    /// Puts all of it, which is everything at revision `n`, in the place of what was kept. Where that can't be done,
    /// nothing is kept any more; it fails where not even that can be brought about.
    async fn finish(self: Box<Self>, n: u64) -> Result<(), StoreError>;
}

/// Whether others wait for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is entered in its fleet's list, and stays so until it leaves.
    Entered,
    /// It has left.
    Left,
}

/// A part of what was kept.
#[derive(Debug)]
pub enum Restored {
    /// Of the load.
    Piece(Loaded),
    /// What was applied after it.
    Batch(Box<FeedBatch>),
}

/// Keeps nothing: a start needs the database.
#[derive(Debug, Clone, Copy)]
pub struct KeepNothing;

#[async_trait]
impl Keep for KeepNothing {
    fn begin(&self, _: &Meta) -> Box<dyn Taking> {
        Box::new(Self)
    }

    fn append(&self, _: &FeedBatch) {}

    fn current(&self) {}

    fn kept(&self) -> u64 {
        u64::MAX
    }

    async fn wait_for(&self, _: u64) {}

    fn is_on(&self) -> bool {
        false
    }

    async fn stand(&self, _: Standing) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Taking for KeepNothing {
    fn put(&mut self, _: &Loaded) {}

    async fn finish(self: Box<Self>, _: u64) -> Result<(), StoreError> {
        Ok(())
    }
}
