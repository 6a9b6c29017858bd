//! Compares the index with the database: digests of both at one revision, while decisions and changes go on.

use std::sync::{MutexGuard, PoisonError};

use futures::future;

use crate::app::ports::{FeedBatch, Loaded, StoreError, Verified};
use crate::domain::revision::Revision;
use crate::index::digest::{Digest, Pieces, Walk};

use super::{Follower, history};

/// The walk under way. Dropped, there is none any more, and nobody shows it what changes.
struct UnderWay<'f>(&'f Follower);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.walk().take();
    }
}

impl Follower {
    /// Takes both digests at the revision of now.
    pub(super) async fn compare(&self) -> Result<Verified, StoreError> {
        // One at a time.
        let _turn = self.comparing.lock().await;
        // What is in doubt is no state of the database.
        let known = self.index.applied();
        self.advance(Revision { n: 0, ..known }).await?;
        // While the counter is held nothing is changed: what is applied by then, and the snapshot that is opened by then,
        // are at one revision.
        let held = self.store.begin().await?;
        let revision = Revision {
            epoch: held.epoch(),
            n: held.revision().saturating_sub(1),
        };
        self.advance(revision).await?;
        let under_way = self.begin_walk(revision).await?;
        let (mut held, mut pieces) = (Some(held), Pieces::default());
        let mut sink = |piece: Loaded| {
            // The snapshot is taken.
            held.take();
            put(&mut pieces, &piece);
        };
        let load = self.store.load(&mut sink);
        let (there, index) = future::join(load, self.walk_on()).await;
        drop(under_way);
        let (there, index) = (there?, index?);
        if Revision::from(there) != revision {
            return Err(history::changed());
        }
        Ok(Verified {
            revision,
            index,
            database: pieces.end(),
        })
    }

    async fn begin_walk(&self, at: Revision) -> Result<UnderWay<'_>, StoreError> {
        let _writer = self.writer.lock().await;
        let index = self.index.whole();
        if index.applied() != at {
            return Err(history::changed());
        }
        *self.walk() = Some(Walk::begin(index));
        Ok(UnderWay(self))
    }

    /// Walks to the end, a little at a time: in between changes are applied, and others get their turn on this thread.
    async fn walk_on(&self) -> Result<Digest, StoreError> {
        loop {
            let writer = self.writer.lock().await;
            if let Some(ended) = self.step() {
                return ended;
            }
            drop(writer);
            tokio::task::yield_now().await;
        }
    }

    /// Takes a step; at the end, what came of it.
    fn step(&self) -> Option<Result<Digest, StoreError>> {
        let mut walk = self.walk();
        if walk.as_mut().is_some_and(Walk::step) {
            return None;
        }
        let ended = walk.take().map(Walk::end);
        Some(ended.ok_or_else(history::changed))
    }

    /// Shows a walk that is under way what is about to change.
    pub(super) fn show(&self, batch: &FeedBatch) {
        if let Some(walk) = self.walk().as_mut() {
            batch.keys.iter().for_each(|(id, _)| walk.changes_key(*id));
            for ((workspace, id), _) in &batch.principals {
                walk.changes_principal(workspace, id);
            }
            for (id, row) in &batch.workspaces {
                if row.is_none() {
                    walk.changes_workspace(id);
                }
            }
        }
    }

    fn walk(&self) -> MutexGuard<'_, Option<Walk>> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(pieces: &mut Pieces, piece: &Loaded) {
    match piece {
        Loaded::Workspace(workspace, scopes) => pieces.put_workspace(workspace, scopes),
        Loaded::Subscription(subscription) => pieces.put_subscription(subscription),
        Loaded::Route(route) => pieces.put_route(route),
        Loaded::Principal(principal) => pieces.put_principal(principal),
        Loaded::Key(key) => pieces.put_key(key),
    }
}
