//! Follows the feed of changes and applies it to the index: the index's only writer.
//!
//! Invariant: revisions are applied in order, and one is said to be applied only when everything up to it is in.

use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::app::ports::{Doubt, Feed, FeedBatch, Loaded, Store, StoreError};
use crate::index::Index;

/// How many changes are read in one go.
const BATCH: u32 = 1_000;
/// How often the feed is asked although nobody changed anything here: heals what a failed read left behind.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps an index in step with a store.
pub struct Follower {
    store: Arc<dyn Store>,
    index: Arc<Index>,
    /// Held while a batch is applied: there is one writer at a time.
    writer: Mutex<()>,
    /// What is refused until the feed has spoken.
    doubt: StdMutex<Doubt>,
    applied: watch::Sender<u64>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("applied", &self.index.applied())
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// A follower of `store` for `index`.
    pub fn new(store: Arc<dyn Store>, index: Arc<Index>) -> Self {
        Self {
            store,
            index,
            writer: Mutex::new(()),
            doubt: StdMutex::default(),
            applied: watch::Sender::new(0),
        }
    }

    /// Loads everything, in one snapshot; then the index is whole.
    pub async fn load(&self) -> Result<u64, StoreError> {
        let _writer = self.writer.lock().await;
        let index = self.index.clone();
        let n = self
            .store
            .load(&mut |piece| match piece {
                // Whatever the feed brings later is newer than what a load brings.
                Loaded::Workspace(workspace, scopes) => index.put_workspace(&workspace, &scopes, 0),
                Loaded::Subscription(subscription) => index.put_subscription(&subscription),
                Loaded::Key(key) => index.put_key(&key),
            })
            .await?;
        self.index.set_loaded(n);
        self.applied.send_replace(n);
        Ok(n)
    }

    /// Waits until a revision is applied.
    pub async fn wait_for(&self, n: u64) {
        let mut applied = self.applied.subscribe();
        // The sender is `self`: it can't be gone.
        let _ = applied.wait_for(|applied| *applied >= n).await;
    }

    /// Asks for news now and then, until told to stop.
    pub async fn poll(&self, stop: CancellationToken) {
        let mut failing = false;
        while stop
            .run_until_cancelled(tokio::time::sleep(POLL_INTERVAL))
            .await
            .is_some()
        {
            match self.advance(0).await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the feed of changes can be read again");
                }
                Ok(()) => {}
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(%error, "the feed of changes can't be read; decisions go on with what is known");
                }
                Err(_) => {}
            }
        }
    }

    /// Applies what is new, up to revision `n` at least.
    async fn advance(&self, n: u64) -> Result<(), StoreError> {
        let _writer = self.writer.lock().await;
        loop {
            let applied = self.index.applied().n;
            let doubt =
                std::mem::take(&mut *self.doubt.lock().unwrap_or_else(PoisonError::into_inner));
            let certain = doubt.keys.is_empty() && doubt.workspaces.is_empty();
            if applied >= n && n > 0 && certain {
                return Ok(());
            }
            let batch = match self.read(applied, &doubt).await {
                Ok(batch) => batch,
                Err(error) => {
                    self.doubt(doubt);
                    return Err(error);
                }
            };
            self.apply(&batch);
            if batch.upto >= batch.head {
                return Ok(());
            }
        }
    }

    /// Reads what is new. What is in doubt is read again, too: a change that was not made after all leaves no trace in the
    /// feed. It is read after the feed, so it is at least as new.
    async fn read(&self, applied: u64, doubt: &Doubt) -> Result<FeedBatch, StoreError> {
        let mut batch = self.store.feed(applied, BATCH).await?;
        if batch.epoch != self.index.epoch() || batch.head < applied {
            return Err(StoreError::Corrupt(
                "another history than before: a backup was restored under the running process; restart it".to_owned(),
            ));
        }
        for id in &doubt.keys {
            batch.keys.push((*id, self.store.key(*id).await?));
        }
        for id in &doubt.workspaces {
            let workspace = match self.store.workspace(id).await? {
                Some(workspace) => {
                    Some((workspace, self.store.list_scopes(id, None, u32::MAX).await?))
                }
                None => None,
            };
            batch.workspaces.push((id.clone(), workspace));
        }
        Ok(batch)
    }

    fn apply(&self, batch: &FeedBatch) {
        for (id, row) in &batch.workspaces {
            match row {
                Some((workspace, scopes)) => {
                    self.index.put_workspace(workspace, scopes, batch.head)
                }
                None => self.index.remove_workspace(id),
            }
        }
        for ((workspace, id), row) in &batch.subscriptions {
            match row {
                Some(subscription) => self.index.put_subscription(subscription),
                None => self.index.remove_subscription(workspace, id),
            }
        }
        for (id, row) in &batch.keys {
            match row {
                Some(key) => self.index.put_key(key),
                None => self.index.remove_key(*id),
            }
        }
        self.index.set_applied(batch.upto);
        self.applied.send_replace(batch.upto);
    }
}

#[async_trait]
impl Feed for Follower {
    async fn catch_up(&self, n: u64) -> Result<(), StoreError> {
        self.advance(n).await
    }

    fn doubt(&self, doubt: Doubt) {
        for id in &doubt.keys {
            self.index.close_key(*id);
        }
        for id in &doubt.workspaces {
            self.index.close_workspace(id);
        }
        let mut pending = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        pending.keys.extend(doubt.keys);
        pending.workspaces.extend(doubt.workspaces);
    }
}
