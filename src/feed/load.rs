//! Loading everything: at the start, from what was kept, and into an index beside the one that is in force.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use crate::app::ports::freshness::Reload;
use crate::app::ports::{Restored, StoreError};
use crate::index::Index;

use super::put::{put, put_batch, put_routes};
use super::{Follower, history};

impl Follower {
    /// Loads everything, in one snapshot; then the index is whole. What fails leaves nothing behind.
    pub async fn load(&self) -> Result<u64, StoreError> {
        let _writer = self.writer.lock().await;
        let begun = Instant::now();
        self.take_place(self.index.epoch()).await?;
        self.follow_from_now();
        self.freshness.looked(begun);
        let applied = self.index.applied();
        self.applied.send_replace(applied);
        Ok(applied.n)
    }

    /// Fills an index with everything, in one snapshot of a database of its history, and has it kept; returns its revision.
    async fn fill(&self, index: &Index) -> Result<u64, StoreError> {
        let meta = self.meta_of(index.epoch()).await?;
        let mut routes = Vec::new();
        let mut taking = self.keep.begin(&meta);
        let there = self
            .store
            .load(&mut |piece| {
                taking.put(&piece);
                put(index, piece, &mut routes);
            })
            .await?;
        put_routes(index, routes);
        if there.epoch != index.epoch() {
            return Err(history::changed());
        }
        let known = self.index.applied();
        if known.epoch == there.epoch {
            self.same_history(known, there)?;
        }
        // Before anybody is told that it is in force.
        taking.finish(there.n).await?;
        Ok(there.n)
    }

    /// Fills the index with what was kept, which `read` hands on and says the revision of; then it is whole. Where that
    /// fails, the index is worth nothing.
    pub async fn restore<T, E>(
        &self,
        read: impl FnOnce(&mut (dyn FnMut(Restored) + Send)) -> Result<(u64, T), E>,
    ) -> Result<T, E> {
        let _writer = self.writer.lock().await;
        let index = self.index.whole();
        let mut routes = Vec::new();
        let (n, found) = read(&mut |restored| match restored {
            Restored::Piece(piece) => put(&index, piece, &mut routes),
            Restored::Batch(batch) => {
                // Before what came after them.
                put_routes(&index, std::mem::take(&mut routes));
                put_batch(&index, &batch);
            }
        })?;
        put_routes(&index, routes);
        self.set_loaded(&index, n);
        Ok(found)
    }

    fn set_loaded(&self, index: &Index, n: u64) {
        index.set_loaded(n);
        self.follow_from_now();
        self.applied.send_replace(index.applied());
    }

    /// Loads everything of a history into an index beside the one that is in force, and puts it in its place. Decisions go
    /// on meanwhile; what fails leaves everything as it is.
    pub(super) async fn reload(&self, epoch: u32, why: Reload) -> Result<(), StoreError> {
        let before = self.take_place(epoch).await?;
        if before != epoch {
            self.replaced.store(false, Ordering::Release);
            self.follow_from_now();
        }
        self.freshness.reloaded(why);
        // Last: who is woken finds it so.
        self.applied.send_replace(self.index.applied());
        Ok(())
    }

    /// Fills an index and puts it in the place of the one there is; returns which history that was of.
    async fn take_place(&self, epoch: u32) -> Result<u32, StoreError> {
        let index = Index::beside(&self.index.whole(), epoch);
        let n = self.fill(&index).await?;
        index.set_loaded(n);
        let before = self.index.replace(index);
        let epoch = before.epoch();
        self.retired().push(before);
        Ok(epoch)
    }

    /// Frees the memory of indexes that others took the place of, when nobody is at them any more: it takes a while.
    pub(super) fn let_go(&self) {
        let mut retired = self.retired();
        let unused: Vec<_> = retired
            .extract_if(.., |index| Arc::strong_count(index) == 1)
            .collect();
        drop(retired);
        if !unused.is_empty() {
            tokio::task::spawn_blocking(move || drop(unused));
        }
    }

    fn retired(&self) -> MutexGuard<'_, Vec<Arc<Index>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
