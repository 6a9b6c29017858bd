//! Follows the feed of changes and applies it to the index: the index's only writer, but for what is refused in doubt.
//!
//! Invariant: revisions are applied in order, and one is said to be applied only when everything up to it is in.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::app::ports::freshness::Freshness;
use crate::app::ports::{
    Clock, Doubt, Feed, FeedBatch, Keep, KeepNothing, Loaded, Position, Restored, Standing, Store,
    StoreError,
};
use crate::domain::revision::Revision;
use crate::domain::route::Route;
use crate::index::{Closed, Found, Index};

/// How many changes are read in one go.
const BATCH: u32 = 1_000;
/// How long a change waits for its place in the index; after that its outcome is told to be unknown.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between polls that fail.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Keeps an index in step with a store.
pub struct Follower {
    store: Arc<dyn Store>,
    index: Arc<Index>,
    keep: Arc<dyn Keep>,
    /// Held while a batch is applied: there is one writer at a time.
    writer: Mutex<()>,
    applied: watch::Sender<u64>,
    /// The database was seen with another history. It stays so: its numbers may come to look alike again.
    replaced: AtomicBool,
    freshness: Freshness,
    /// Tells how long changes took to get here; without it nobody wants to know.
    clock: Option<Arc<dyn Clock>>,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower")
            .field("applied", &self.index.applied())
            .finish_non_exhaustive()
    }
}

impl Follower {
    /// A follower of `store` for `index`, of which nothing is kept.
    pub fn new(store: Arc<dyn Store>, index: Arc<Index>) -> Self {
        Self::keeping(store, index, Arc::new(KeepNothing))
    }

    /// The same, and what is applied is kept.
    pub fn keeping(store: Arc<dyn Store>, index: Arc<Index>, keep: Arc<dyn Keep>) -> Self {
        Self {
            store,
            index,
            keep,
            writer: Mutex::new(()),
            applied: watch::Sender::new(0),
            replaced: AtomicBool::new(false),
            freshness: Freshness::default(),
            clock: None,
        }
    }

    /// One that notes how long changes took to get here, by this clock.
    #[must_use]
    pub fn timed_by(self, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock: Some(clock),
            ..self
        }
    }

    /// Loads everything, in one snapshot; then the index is whole.
    pub async fn load(&self) -> Result<u64, StoreError> {
        let _writer = self.writer.lock().await;
        let begun = Instant::now();
        let mut routes = Vec::new();
        let mut taking = self.keep.begin();
        let n = self
            .store
            .load(&mut |piece| {
                taking.put(&piece);
                self.put(piece, &mut routes);
            })
            .await?;
        self.put_routes(routes);
        taking.finish(n).await?;
        self.set_loaded(n);
        self.freshness.looked(begun);
        Ok(n)
    }

    /// Fills the index with what was kept, which `read` hands on and says the revision of; then it is whole. Where that
    /// fails, the index is worth nothing.
    pub async fn restore<T, E>(
        &self,
        read: impl FnOnce(&mut (dyn FnMut(Restored) + Send)) -> Result<(u64, T), E>,
    ) -> Result<T, E> {
        let _writer = self.writer.lock().await;
        let mut routes = Vec::new();
        let (n, found) = read(&mut |restored| match restored {
            Restored::Piece(piece) => self.put(piece, &mut routes),
            Restored::Batch(batch) => {
                // Before what came after them.
                self.put_routes(std::mem::take(&mut routes));
                self.put_batch(&batch);
            }
        })?;
        self.put_routes(routes);
        self.set_loaded(n);
        Ok(found)
    }

    /// Puts a piece of a load in. Routes come together, when all are there.
    fn put(&self, piece: Loaded, routes: &mut Vec<Route>) {
        let index = &self.index;
        match piece {
            // Whatever the feed brings later is newer than what a load brings.
            Loaded::Workspace(workspace, scopes) => index.put_workspace(&workspace, &scopes, 0),
            Loaded::Subscription(subscription) => index.put_subscription(&subscription),
            Loaded::Route(route) => routes.push(*route),
            Loaded::Principal(principal) => index.put_principal(&principal),
            Loaded::Key(key) => index.put_key(&key),
        }
    }

    fn set_loaded(&self, n: u64) {
        self.index.set_loaded(n);
        self.applied.send_replace(n);
    }

    fn put_routes(&self, routes: Vec<Route>) {
        let routes = routes.into_iter();
        self.index
            .put_routes(routes.map(|r| (r.workspace.clone(), r.id.clone(), Some(r))));
    }

    /// Asks for news at an interval, until told to stop: for what other processes changed, and to heal what a failed read
    /// left behind. While it fails, pauses grow, each process to its own beat, so that a database that comes back is not met
    /// by all at once.
    pub async fn poll(&self, interval: Duration, stop: CancellationToken) {
        let mut failure: Option<std::mem::Discriminant<StoreError>> = None;
        let mut pause = interval;
        while stop
            .run_until_cancelled(tokio::time::sleep(pause))
            .await
            .is_some()
        {
            match self.look().await {
                Ok(()) => {
                    pause = interval;
                    if failure.take().is_some() {
                        tracing::info!("the feed of changes can be read again");
                    }
                }
                Err(error) => {
                    pause = longer(pause, interval);
                    // Said once, and again where it is another kind of failure.
                    let kind = std::mem::discriminant(&error);
                    if failure.replace(kind) != Some(kind) {
                        tracing::warn!(%error, "the feed of changes can't be read; decisions go on with what is known");
                    }
                }
            }
        }
    }

    /// Reads the feed if there is anything new, or in doubt.
    async fn look(&self) -> Result<(), StoreError> {
        let begun = Instant::now();
        // As it was before the read: what is applied meanwhile is newer than what is read.
        let known = self.index.applied();
        let position = self.store.position().await?;
        self.same_history(known, position.epoch, position.n)?;
        let closed = self.index.closed();
        let news = position.n != self.index.applied().n || position.epoch != self.index.epoch();
        if news || !closed.is_empty() {
            self.advance(0).await?;
        }
        self.freshness.looked(begun);
        self.keep.current();
        Ok(())
    }

    /// Applies what is new, up to revision `n` at least.
    async fn advance(&self, n: u64) -> Result<(), StoreError> {
        let _writer = self.writer.lock().await;
        let known = self.index.applied();
        self.same_history(known, known.epoch, known.n)?;
        loop {
            let applied = self.index.applied().n;
            let closed = self.index.closed();
            if applied >= n && n > 0 && closed.is_empty() {
                return Ok(());
            }
            let batch = self.read(applied, &closed).await?;
            if batch.pruned {
                tracing::warn!(
                    applied,
                    head = batch.head,
                    "changes that were not read yet have been pruned; everything is loaded again"
                );
                self.reload().await?;
                continue;
            }
            let whole = batch.upto >= batch.head;
            if whole {
                // Only with the last part is all that was in doubt read.
                self.index.lift(&closed);
            }
            self.apply(&batch);
            // Whoever waits for a revision made it itself.
            if n == 0 {
                self.note_lags(&batch);
            }
            if whole && batch.head < n {
                return Err(StoreError::Unavailable(
                    "the feed does not have the change yet".to_owned(),
                ));
            }
            if whole {
                return Ok(());
            }
        }
    }

    /// Loads everything into the index as it stands, and takes out what is gone. Decisions go on meanwhile.
    async fn reload(&self) -> Result<(), StoreError> {
        let mut found = Found::default();
        let (mut workspaces, mut routes) = (Vec::new(), Vec::new());
        let index = self.index.clone();
        let mut taking = self.keep.begin();
        let n = self
            .store
            .load(&mut |piece| {
                taking.put(&piece);
                match piece {
                    Loaded::Workspace(workspace, scopes) => workspaces.push((workspace, scopes)),
                    Loaded::Subscription(subscription) => {
                        index.put_subscription(&subscription);
                        let place = (subscription.workspace, subscription.id);
                        found.subscriptions.insert(place);
                    }
                    Loaded::Principal(principal) => {
                        index.put_principal(&principal);
                        let place = (principal.workspace, principal.id);
                        found.principals.insert(place);
                    }
                    Loaded::Route(route) => routes.push(*route),
                    Loaded::Key(key) => {
                        index.put_key(&key);
                        found.keys.insert(key.id);
                    }
                }
            })
            .await?;
        let there = routes.iter().map(|r| (r.workspace.clone(), r.id.clone()));
        self.index.retain_routes(&there.collect());
        self.put_routes(routes);
        let ids = workspaces.iter().map(|(workspace, _)| workspace.id.clone());
        found.workspaces = ids.collect();
        self.index.retain(&found);
        // Last, as in `apply`.
        for (workspace, scopes) in &workspaces {
            self.index.put_workspace(workspace, scopes, n);
        }
        taking.finish(n).await?;
        self.index.set_applied(n);
        self.applied.send_replace(n);
        Ok(())
    }

    /// Reads what is new. What is in doubt is read again, too: a change that was not made after all leaves no trace in the
    /// feed. It is read after the feed, so it is at least as new.
    async fn read(&self, applied: u64, closed: &Closed) -> Result<FeedBatch, StoreError> {
        // A COMMIT without an answer may still be under way, and holds the counter until it has ended: who gets that reads
        // what became of it. Dropped, this changes nothing.
        let _settled = if closed.is_empty() {
            None
        } else {
            Some(self.store.begin().await?)
        };
        let mut batch = self.store.feed(applied, BATCH).await?;
        self.same_history(self.index.applied(), batch.epoch, batch.head)?;
        for (id, _) in &closed.keys {
            batch.keys.push((*id, self.store.key(*id).await?));
        }
        for (id, _) in &closed.workspaces {
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

    /// Fails from the moment on at which the database is in another history than the index was, or further back in its own.
    /// `known` must not be newer than what was read.
    fn same_history(&self, known: Revision, epoch: u32, n: u64) -> Result<(), StoreError> {
        if epoch != known.epoch || n < known.n {
            self.replaced.store(true, Ordering::Release);
        }
        if self.replaced.load(Ordering::Acquire) {
            return Err(StoreError::Corrupt(
                "another history than before: a backup was restored under the running process; restart it".to_owned(),
            ));
        }
        Ok(())
    }

    fn note_lags(&self, batch: &FeedBatch) {
        if let Some(clock) = &self.clock {
            let now = clock.now();
            let made = batch.times.iter();
            made.for_each(|made| self.freshness.applied(*made, now));
        }
    }

    fn apply(&self, batch: &FeedBatch) {
        let news = batch.upto > self.index.applied().n;
        self.put_batch(batch);
        self.index.set_applied(batch.upto);
        self.applied.send_replace(batch.upto);
        // What was read again because it was in doubt is as it was, or comes with the feed.
        if news {
            self.keep.append(batch);
        }
    }

    fn put_batch(&self, batch: &FeedBatch) {
        for ((workspace, id), row) in &batch.subscriptions {
            match row {
                Some(subscription) => self.index.put_subscription(subscription),
                None => self.index.remove_subscription(workspace, id),
            }
        }
        let routes = batch.routes.iter();
        self.index.put_routes(
            routes.map(|((workspace, id), row)| (workspace.clone(), id.clone(), row.clone())),
        );
        for ((workspace, id), row) in &batch.principals {
            match row {
                Some(principal) => self.index.put_principal(principal),
                None => self.index.remove_principal(workspace, id),
            }
        }
        for (id, row) in &batch.keys {
            match row {
                Some(key) => self.index.put_key(key),
                None => self.index.remove_key(*id),
            }
        }
        // Last: what opens a workspace again must find everything of it in place.
        for (id, row) in &batch.workspaces {
            match row {
                Some((workspace, scopes)) => {
                    self.index.put_workspace(workspace, scopes, batch.head)
                }
                None => self.index.remove_workspace(id),
            }
        }
    }
}

#[async_trait]
impl Feed for Follower {
    async fn catch_up(&self, n: u64) -> Result<(), StoreError> {
        // Before the index is whole nobody decides, and the load brings everything.
        if !self.index.is_loaded() {
            return Ok(());
        }
        let confirmed = async {
            self.advance(n).await?;
            self.keep.wait_for(n).await;
            Ok(())
        };
        // Behind a database that does not answer, each would wait for all before it.
        tokio::time::timeout(PATIENCE, confirmed)
            .await
            .unwrap_or_else(|_| {
                Err(StoreError::Unavailable(
                    "the feed can't be read, or what it says not be kept, in time".to_owned(),
                ))
            })
    }

    fn follows(&self, known: Revision, there: Position) -> bool {
        !self.index.is_loaded() || self.same_history(known, there.epoch, there.n).is_ok()
    }

    fn doubt(&self, doubt: Doubt) {
        self.index.close(&doubt.keys, &doubt.workspaces);
    }

    fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    async fn wait_for(&self, n: u64) {
        let mut applied = self.applied.subscribe();
        // The sender is `self`: it can't be gone.
        let _ = applied.wait_for(|applied| *applied >= n).await;
    }

    fn confirmed(&self) -> u64 {
        // Of a database with another history nothing is applied, whatever the numbers look like.
        if self.replaced.load(Ordering::Acquire) {
            return 0;
        }
        // First what is kept: where that is given up, all that is applied counts.
        let kept = self.keep.kept();
        self.index.applied().n.min(kept)
    }

    async fn wait_for_confirmed(&self, n: u64) {
        self.wait_for(n).await;
        self.keep.wait_for(n).await;
        if self.replaced.load(Ordering::Acquire) {
            std::future::pending().await
        }
    }

    fn is_kept(&self) -> bool {
        self.keep.is_on()
    }

    async fn stand(&self, standing: Standing) -> Result<(), StoreError> {
        self.keep.stand(standing).await
    }
}

/// The next pause of who fails: up to twice the one before, and not the same for everybody.
fn longer(pause: Duration, interval: Duration) -> Duration {
    let most = MAX_PAUSE.max(interval);
    let random = RandomState::new().hash_one(());
    #[expect(clippy::cast_precision_loss, reason = "any fraction will do")]
    let share = random as f64 / u64::MAX as f64;
    (pause * 2)
        .min(most)
        .mul_f64(0.5 + share / 2.0)
        .max(interval)
}
