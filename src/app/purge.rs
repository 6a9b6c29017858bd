//! What ends by itself: deleted keys, dead secrets, answers to repeatable calls.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use crate::app::Core;
use crate::app::error::{Code, Error};
use crate::app::pace::Pace;
use crate::app::ports::{
    Actor, DEAD_SECRET_RETENTION, IDEMPOTENCY_PERIOD, REPLAY_PERIOD, StoreError,
};
use crate::domain::id::KeyId;
use crate::domain::time::Time;

/// How many keys the first change takes, and how many one takes at most.
const FIRST: u32 = 100;
const MOST: u32 = 500;

/// How many changes one transaction prunes, and how many such transactions follow each other.
const CHANGE_BATCH: u32 = 1_000;
const CHANGE_BATCHES: usize = 100;

/// What is due.
#[derive(Debug, Clone, Copy)]
enum Due {
    /// Deleted keys whose purge time has come by then.
    Keys(Time),
    /// Secrets that ended before then.
    Secrets(Time),
}

impl Core {
    /// Purges all that is due, in changes of many keys each, between which others get their turn: dropped, it has made some
    /// of them. Returns how many keys were purged or relieved of dead secrets.
    pub async fn purge_due(self: &Arc<Self>) -> Result<usize, Error> {
        let now = self.clock.now();
        let answers = self
            .store
            .expire_idempotency(now.minus(IDEMPOTENCY_PERIOD), now.minus(REPLAY_PERIOD))
            .await;
        let keys = self.work_off(Due::Keys(now)).await;
        let secrets = self
            .work_off(Due::Secrets(now.minus(DEAD_SECRET_RETENTION)))
            .await;
        let sealed = self.destroy_all_sealed().await;
        // Each gets its turn, whatever became of the others.
        answers?;
        sealed?;
        Ok(keys? + secrets?)
    }

    /// Prunes changes that are older than `retention`, in batches, so that no change waits long behind it. Returns how many.
    pub async fn prune_changes(&self, retention: Duration) -> Result<u64, Error> {
        let before = self.clock.now().minus(retention);
        let mut all = 0;
        for _ in 0..CHANGE_BATCHES {
            let done = self.store.prune_changes(before, CHANGE_BATCH).await?;
            all += done;
            if done == 0 {
                break;
            }
        }
        Ok(all)
    }

    async fn work_off(self: &Arc<Self>, due: Due) -> Result<usize, Error> {
        let (mut done, mut pace) = (0, Pace::new(FIRST, 1, MOST));
        // One that fails must not keep the others from their turn.
        let mut passed_over = HashSet::new();
        let mut failed = None;
        loop {
            let room = u32::try_from(passed_over.len()).unwrap_or(u32::MAX);
            let mut ids = self.due(due, pace.size().saturating_add(room)).await?;
            ids.retain(|id| !passed_over.contains(id));
            if ids.is_empty() {
                return failed.map_or(Ok(done), Err);
            }
            let began = self.clock.now();
            match self.end(due, ids.clone()).await {
                // Somebody was faster, or it is not due after all.
                Ok(0) => passed_over.extend(ids),
                Ok(some) => done += some,
                Err(error) if error.code == Code::Unavailable => return Err(error),
                Err(_) => {
                    for id in ids {
                        match self.end(due, vec![id]).await {
                            Ok(1) => done += 1,
                            Ok(_) => drop(passed_over.insert(id)),
                            Err(error) if error.code == Code::Unavailable => return Err(error),
                            Err(error) => {
                                passed_over.insert(id);
                                failed = Some(error);
                            }
                        }
                    }
                }
            }
            pace.after(Pace::is_slow(began, self.clock.now()));
            tokio::task::yield_now().await;
        }
    }

    async fn due(&self, due: Due, limit: u32) -> Result<Vec<KeyId>, StoreError> {
        match due {
            Due::Keys(now) => self.store.due_for_purge(now, limit).await,
            Due::Secrets(before) => self.store.with_secrets_ended_before(before, limit).await,
        }
    }

    /// Ends what is due of these keys, in one change. Returns of how many: each is read again at its revision, since it may
    /// have been undeleted after it was found.
    async fn end(self: &Arc<Self>, due: Due, ids: Vec<KeyId>) -> Result<usize, Error> {
        self.mutate_as(
            Actor::Service,
            Box::new(move |scene| {
                async move {
                    let mut keys = scene.tx.keys(&ids).await?;
                    match due {
                        Due::Keys(_) => {
                            let now = scene.now;
                            keys.retain(|key| key.purge_time.is_some_and(|at| at <= now));
                            scene.purge_keys(&keys).await?;
                        }
                        Due::Secrets(before) => {
                            keys.retain(|key| {
                                let mut ends = key.secrets.iter().filter_map(|s| s.end_time());
                                ends.any(|end| end < before)
                            });
                            scene.forget_secrets(&keys, before).await?;
                        }
                    }
                    Ok(keys.len())
                }
                .boxed()
            }),
        )
        .await
    }
}
