//! What ends by itself: deleted keys, dead secrets, answers to repeatable calls.

use std::sync::Arc;

use futures::FutureExt as _;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::ports::{Actor, DEAD_SECRET_RETENTION, IDEMPOTENCY_PERIOD, REPLAY_PERIOD};

/// How many keys are looked at in one go.
const BATCH: u32 = 100;

impl Core {
    /// Purges what is due; each key is a change of its own, so that nobody waits long behind it. Returns how many keys
    /// were purged or relieved of dead secrets.
    pub async fn purge_due(self: &Arc<Self>) -> Result<usize, Error> {
        let now = self.clock.now();
        self.store
            .expire_idempotency(now.minus(IDEMPOTENCY_PERIOD), now.minus(REPLAY_PERIOD))
            .await?;
        let mut done = 0;
        for id in self.store.due_for_purge(now, BATCH).await? {
            self.mutate_as(
                Actor::Service,
                Box::new(move |scene| {
                    async move {
                        // Read again at this revision: it may have been undeleted since it was found.
                        let due = scene
                            .tx
                            .key(id)
                            .await?
                            .filter(|key| key.purge_time.is_some_and(|at| at <= scene.now));
                        match due {
                            Some(key) => scene.purge_key(&key).await,
                            None => Ok(()),
                        }
                    }
                    .boxed()
                }),
            )
            .await?;
            done += 1;
        }
        let before = now.minus(DEAD_SECRET_RETENTION);
        for id in self.store.with_secrets_ended_before(before, BATCH).await? {
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
            .await?;
            done += 1;
        }
        Ok(done)
    }
}
