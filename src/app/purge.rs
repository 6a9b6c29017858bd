//! What ends by itself: deleted keys, dead secrets, answers to repeatable calls.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::ports::{Actor, DEAD_SECRET_RETENTION, IDEMPOTENCY_PERIOD, REPLAY_PERIOD};
use crate::domain::id::KeyId;
use crate::domain::time::Time;

/// How many keys are looked at in one go.
const BATCH: u32 = 100;
/// How many changes one transaction prunes, and how many such transactions follow each other.
const CHANGE_BATCH: u32 = 1_000;
const CHANGE_BATCHES: usize = 100;

impl Core {
    /// Purges what is due; each key is a change of its own, so that nobody waits long behind it. Returns how many keys
    /// were purged or relieved of dead secrets.
    pub async fn purge_due(self: &Arc<Self>) -> Result<usize, Error> {
        let now = self.clock.now();
        self.store
            .expire_idempotency(now.minus(IDEMPOTENCY_PERIOD), now.minus(REPLAY_PERIOD))
            .await?;
        let mut done = 0;
        let mut failed = None;
        for id in self.store.due_for_purge(now, BATCH).await? {
            match self.purge_if_due(id).await {
                Ok(()) => done += 1,
                Err(error) => failed = Some(error),
            }
        }
        let before = now.minus(DEAD_SECRET_RETENTION);
        for id in self.store.with_secrets_ended_before(before, BATCH).await? {
            match self.forget_secrets(id, before).await {
                Ok(()) => done += 1,
                Err(error) => failed = Some(error),
            }
        }
        // One that fails must not keep the others from their turn.
        failed.map_or(Ok(done), Err)
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

    async fn purge_if_due(self: &Arc<Self>, id: KeyId) -> Result<(), Error> {
        self.mutate_as(
            Actor::Service,
            Box::new(move |scene| {
                async move {
                    // Read again at this revision: it may have been undeleted since it was found.
                    let key = scene.tx.key(id).await?;
                    match key.filter(|key| key.purge_time.is_some_and(|at| at <= scene.now)) {
                        Some(key) => scene.purge_key(&key).await,
                        None => Ok(()),
                    }
                }
                .boxed()
            }),
        )
        .await
    }

    async fn forget_secrets(self: &Arc<Self>, id: KeyId, before: Time) -> Result<(), Error> {
        self.mutate_as(
            Actor::Service,
            Box::new(move |scene| {
                async move {
                    let Some(old) = scene.tx.key(id).await? else {
                        return Ok(());
                    };
                    let mut key = old.clone();
                    key.secrets
                        .retain(|s| s.end_time().is_none_or(|end| end >= before));
                    scene.put_key("FORGET_SECRETS", Some(&old), &mut key).await
                }
                .boxed()
            }),
        )
        .await
    }
}
