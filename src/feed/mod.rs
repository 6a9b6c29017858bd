//! Follows the feed of changes and applies it to the index: the index's only writer, but for what is refused in doubt.
//!
//! Invariants: revisions are applied in order, and one is said to be applied only when everything up to it is in. What can't
//! be reached so is loaded whole into an index beside the one that is in force, which it replaces in one step. A database
//! that went back is not followed, unless its history was given a new name since.

mod history;
mod load;
mod put;
mod verify;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::app::ports::freshness::{Freshness, Reload};
use crate::app::ports::{
    Clock, Doubt, Feed, FeedBatch, Keep, KeepNothing, Meta, Position, Standing, Store, StoreError,
    Verified,
};
use crate::domain::revision::Revision;
use crate::domain::time::Time;
use crate::index::digest::Walk;
use crate::index::{Closed, Index, Live};

use put::put_batch;

/// How many changes are read in one go.
const BATCH: u32 = 1_000;
/// How long a change waits for its place in the index; after that its outcome is told to be unknown.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between polls that fail.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// Tells by what a database says of itself whether its keys are those that are worked with.
type Fits = dyn Fn(&Meta) -> bool + Send + Sync;

/// Keeps an index in step with a store.
pub struct Follower {
    store: Arc<dyn Store>,
    index: Arc<Live>,
    keep: Arc<dyn Keep>,
    /// Held while a batch is applied, and while an index is loaded: there is one writer at a time.
    writer: Mutex<()>,
    applied: watch::Sender<Revision>,
    /// The database was seen further back in its own history. It stays so until it has another one: its numbers may come to
    /// look alike again.
    replaced: AtomicBool,
    /// Since when the history of now is followed, by the clock.
    since: std::sync::Mutex<Time>,
    /// Indexes that others took the place of, until nobody is at them.
    retired: std::sync::Mutex<Vec<Arc<Index>>>,
    /// A walk through the index under way.
    walk: std::sync::Mutex<Option<Walk>>,
    /// The turn to compare the index with the database.
    comparing: Mutex<()>,
    /// Whether the keys of a database are those that are worked with.
    fits: Option<Box<Fits>>,
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
    pub fn new(store: Arc<dyn Store>, index: Arc<Live>) -> Self {
        Self::keeping(store, index, Arc::new(KeepNothing))
    }

    /// The same, and what is applied is kept.
    pub fn keeping(store: Arc<dyn Store>, index: Arc<Live>, keep: Arc<dyn Keep>) -> Self {
        let applied = watch::Sender::new(index.applied());
        Self {
            store,
            index,
            keep,
            writer: Mutex::new(()),
            applied,
            replaced: AtomicBool::new(false),
            since: std::sync::Mutex::new(Time::from_micros(i64::MIN)),
            retired: std::sync::Mutex::default(),
            walk: std::sync::Mutex::default(),
            comparing: Mutex::default(),
            fits: None,
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

    /// One that follows only databases of which this is said.
    #[must_use]
    pub fn fitting(self, fits: impl Fn(&Meta) -> bool + Send + Sync + 'static) -> Self {
        Self {
            fits: Some(Box::new(fits)),
            ..self
        }
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
        self.let_go();
        // As it was before the read: what is applied meanwhile is newer than what is read.
        let known = self.index.applied();
        let position = self.store.position().await?;
        if position.epoch == known.epoch {
            self.same_history(known, position)?;
            self.freshness.refuse(false);
            let closed = self.index.closed();
            if position.n != self.index.applied().n || !closed.is_empty() {
                self.advance(Revision { n: 0, ..known }).await?;
            }
        } else {
            self.follow_another(position.epoch).await?;
        }
        self.freshness.looked(begun);
        self.keep.current();
        Ok(())
    }

    /// Applies what is new, up to a revision at least.
    async fn advance(&self, to: Revision) -> Result<(), StoreError> {
        let _writer = self.writer.lock().await;
        let n = to.n;
        loop {
            let index = self.index.whole();
            let known = index.applied();
            self.same_history(known, still(known, to))?;
            let applied = known.n;
            let closed = index.closed();
            if applied >= n && n > 0 && closed.is_empty() {
                return Ok(());
            }
            let batch = self.read(known, &closed).await?;
            if batch.pruned {
                tracing::warn!(
                    applied,
                    head = batch.head,
                    "changes that were not read yet have been pruned; everything is loaded again"
                );
                self.reload(known.epoch, Reload::Pruned).await?;
                continue;
            }
            let whole = batch.upto >= batch.head;
            if whole {
                // Only with the last part is all that was in doubt read.
                index.lift(&closed);
            }
            self.apply(&index, &batch);
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

    /// Reads what is new. What is in doubt is read again, too: a change that was not made after all leaves no trace in the
    /// feed. It is read after the feed, so it is at least as new.
    async fn read(&self, known: Revision, closed: &Closed) -> Result<FeedBatch, StoreError> {
        // A COMMIT without an answer may still be under way, and holds the counter until it has ended: who gets that reads
        // what became of it. Dropped, this changes nothing.
        let _settled = if closed.is_empty() {
            None
        } else {
            Some(self.store.begin().await?)
        };
        let mut batch = self.store.feed(known.n, BATCH).await?;
        let there = Position {
            n: batch.head,
            epoch: batch.epoch,
        };
        self.meet(known, there)?;
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

    fn is_refused(&self) -> bool {
        self.replaced.load(Ordering::Acquire) || self.freshness.is_refused()
    }

    fn note_lags(&self, batch: &FeedBatch) {
        if let Some(clock) = &self.clock {
            let now = clock.now();
            let made = batch.times.iter();
            made.for_each(|made| self.freshness.applied(*made, now));
        }
    }

    fn apply(&self, index: &Index, batch: &FeedBatch) {
        let news = batch.upto > index.applied().n;
        self.show(batch);
        put_batch(index, batch);
        index.set_applied(batch.upto);
        self.applied.send_replace(index.applied());
        // What was read again because it was in doubt is as it was, or comes with the feed.
        if news {
            self.keep.append(batch);
        }
    }
}

/// A database that is where it is known to be, if it is in the history of this revision.
fn still(known: Revision, of: Revision) -> Position {
    Position {
        n: known.n,
        epoch: of.epoch,
    }
}

#[async_trait]
impl Feed for Follower {
    async fn catch_up(&self, to: Revision) -> Result<(), StoreError> {
        // Before the index is whole nobody decides, and the load brings everything.
        if !self.index.is_loaded() {
            return Ok(());
        }
        let confirmed = async {
            self.advance(to).await?;
            self.keep.wait_for(to.n).await;
            // What was kept meanwhile may be of another history.
            let known = self.index.applied();
            self.same_history(known, still(known, to))
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
        !self.index.is_loaded() || self.meet(known, there).is_ok()
    }

    fn doubt(&self, doubt: Doubt) {
        self.index.close(&doubt.keys, &doubt.workspaces);
    }

    fn freshness(&self) -> &Freshness {
        &self.freshness
    }

    async fn wait_for(&self, revision: Revision) {
        let mut applied = self.applied.subscribe();
        // The sender is `self`: it can't be gone.
        let _ = applied
            .wait_for(|applied| applied.epoch != revision.epoch || applied.n >= revision.n)
            .await;
    }

    fn confirmed(&self) -> Revision {
        // First what is kept: where that is given up, all that is applied counts. And before another history is followed,
        // what is kept is of it.
        let kept = self.keep.kept();
        let applied = self.index.applied();
        // Of a database that went back, or is in another history, nothing is applied, whatever the numbers look like.
        let n = match self.is_refused() {
            true => 0,
            false => applied.n.min(kept),
        };
        Revision { n, ..applied }
    }

    async fn wait_for_confirmed(&self, revision: Revision) {
        let another = async {
            let mut applied = self.applied.subscribe();
            let _ = applied
                .wait_for(|applied| applied.epoch != revision.epoch)
                .await;
        };
        let confirmed = async {
            self.wait_for(revision).await;
            self.keep.wait_for(revision.n).await;
            if self.is_refused() {
                std::future::pending().await
            }
        };
        tokio::select! {
            () = another => {}
            () = confirmed => {}
        }
    }

    async fn verify(&self) -> Result<Verified, StoreError> {
        self.compare().await
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
