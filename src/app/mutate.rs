//! How everything changes: one transaction in a task of its own, its revision first, its answer last.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::fleet::{Propagation, Wait};
use crate::app::ports::{Actor, Doubt, Position, StoreError};
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, SecretId};
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;
use crate::domain::secret::Slot;
use crate::domain::token::Token;

/// A call that changes something: who, what, and whether it can be repeated.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who calls.
    pub caller: Caller,
    /// The right the call needs.
    pub right: AdminScope,
    /// The RPC, for the idempotency record.
    pub method: &'static str,
    /// Makes the call repeatable.
    pub repeat: Option<Repeat>,
    /// Check everything, change nothing.
    pub dry_run: bool,
    /// What the answer waits for.
    pub wait: Wait,
}

impl Call {
    /// One that can't be repeated by its id.
    pub fn once(caller: Caller, right: AdminScope, method: &'static str) -> Self {
        Self {
            caller,
            right,
            method,
            repeat: None,
            dry_run: false,
            wait: Wait::Local,
        }
    }
}

/// What makes a call repeatable.
#[derive(Clone)]
pub struct Repeat {
    /// The caller's UUID.
    pub request_id: [u8; 16],
    /// The request's bytes, without the id; kept only as a keyed digest.
    pub request: zeroize::Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Repeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Repeat(redacted)")
    }
}

/// What a change answers.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// The thing as it is now.
    pub value: T,
    /// The revision of the change; none for a dry run.
    pub revision: Option<Revision>,
    /// Tokens just generated.
    pub tokens: Vec<Issued>,
    /// This is a repeated call, and tokens are no longer to be had.
    pub token_withheld: bool,
    /// How far it has come, where the call waited for that.
    pub propagation: Option<Propagation>,
}

impl<T> Answer<T> {
    /// Without tokens, and without a word of how far it has come.
    fn new(done: Done<T>, revision: Option<Revision>) -> Self {
        Self {
            value: done.value,
            revision,
            tokens: Vec::new(),
            token_withheld: false,
            propagation: None,
        }
    }
}

/// A token just generated.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The key it belongs to.
    pub key: KeyId,
    /// The secret it is of.
    pub secret: SecretId,
    /// The slot of that secret.
    pub slot: Slot,
    /// The token.
    pub token: Token,
}

/// What the work of a change hands back.
#[derive(Debug)]
pub struct Done<T> {
    /// The thing as it is now.
    pub value: T,
    /// Tokens just generated.
    pub tokens: Vec<Issued>,
    /// It was so already: nothing is committed.
    pub unchanged: bool,
}

impl<T> Done<T> {
    /// A change that issued no token.
    pub fn new(value: T) -> Self {
        Self {
            value,
            tokens: Vec::new(),
            unchanged: false,
        }
    }
}

/// The work of a change: reads, checks and writes within the transaction.
pub type Work<T> = Box<
    dyn for<'a> FnOnce(&'a mut Scene, &'a Caller) -> BoxFuture<'a, Result<Done<T>, Error>> + Send,
>;

/// The work of a change that nobody called for: bootstrap, recovery, purges.
pub type OwnWork<T> =
    Box<dyn for<'a> FnOnce(&'a mut Scene) -> BoxFuture<'a, Result<T, Error>> + Send>;

/// Fails where a later step of several is in another history than those before it, of which nothing may be left there.
pub(in crate::app) fn one_history(known: &mut Option<u32>, at: Revision) -> Result<(), Error> {
    if *known.get_or_insert(at.epoch) == at.epoch {
        return Ok(());
    }
    let cause = "a backup was restored while a change of several steps was under way";
    Err(Error::outcome_unknown(cause))
}

impl Core {
    /// Makes a change for a caller. It runs in a task of its own: who hangs up learns nothing, and tears nothing. What it waits
    /// for after that is no part of it.
    pub async fn mutate<T>(self: &Arc<Self>, call: Call, work: Work<T>) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let (core, wait) = (self.clone(), call.wait);
        let task = self.tasks.spawn(async move { core.run(call, work).await });
        let (mut answer, made) = task
            .await
            .unwrap_or_else(|fault| Err(Error::internal(fault)))?;
        if let (Wait::AllReplicas(most), Some(revision)) = (wait, made) {
            answer.propagation = Some(self.propagation(revision, most).await);
        }
        Ok(answer)
    }

    /// Makes a change on the service's own behalf; the index follows. Where the work found nothing to do, nothing is
    /// committed: a revision without a change would be a gap in the feed.
    pub async fn mutate_as<T: Send + 'static>(
        self: &Arc<Self>,
        actor: Actor,
        work: OwnWork<T>,
    ) -> Result<T, Error> {
        let core = self.clone();
        let task = self.tasks.spawn(async move {
            let mut scene = core.scene(actor).await?;
            let value = work(&mut scene).await?;
            if scene.changed {
                core.finish(scene).await?;
            }
            Ok(value)
        });
        task.await
            .unwrap_or_else(|fault| Err(Error::internal(fault)))
    }

    /// Begins a change; dropped, it leaves no trace.
    pub(in crate::app) async fn scene(self: &Arc<Self>, actor: Actor) -> Result<Scene, Error> {
        let tx = self.store.begin().await?;
        // Where a past was undone (a restored backup, a fail-over that lost commits), the index would never apply the change.
        // The counter is held, so that nothing newer can have been applied.
        let there = Position {
            n: tx.revision().saturating_sub(1),
            epoch: tx.epoch(),
        };
        if !self.feed.follows(self.index.applied(), there) {
            return Err(Error::replaced());
        }
        Ok(Scene {
            core: self.clone(),
            tx,
            now: self.clock.now(),
            actor,
            doubt: Doubt::default(),
            changed: false,
            announced: false,
        })
    }

    /// Returns the answer, and which revision has what it tells of, in the history of now.
    async fn run<T>(
        self: Arc<Self>,
        call: Call,
        work: Work<T>,
    ) -> Result<(Answer<T>, Option<Revision>), Error>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        let mut scene = self.scene(call.caller.actor()).await?;
        let caller = call.caller.recheck(&mut *scene.tx, scene.now).await?;
        let caller = caller.using(call.right)?;
        if let Some(answer) = self.replay(&call, &caller, &mut scene).await? {
            // The call that made the change may not have applied it yet, or may have failed to. Its revision may be of a
            // history before this one: what is found here is in this one all the same.
            let before = scene.before();
            drop(scene);
            self.caught_up(before).await?;
            let made = answer.revision.filter(|made| made.epoch == before.epoch);
            return Ok((answer, Some(made.unwrap_or(before))));
        }
        let done = match work(&mut scene, &caller).await {
            Ok(done) => done,
            Err(error) => {
                // What was found to be so may be the work of a call that has not applied it yet.
                let before = scene.before();
                drop(scene);
                self.caught_up(before).await?;
                return Err(error);
            }
        };
        if call.dry_run {
            return Ok((Answer::new(done, None), None));
        }
        if done.unchanged {
            // What was found to be so already may be the work of a call that has not applied it yet.
            let before = scene.before();
            drop(scene);
            self.caught_up(before).await?;
            let applied = self.index.applied();
            return Ok((Answer::new(done, Some(applied)), Some(applied)));
        }
        let revision = scene.revision();
        self.remember(&call, &done, revision, &mut scene).await?;
        self.finish(scene).await?;
        let answer = Answer {
            value: done.value,
            revision: Some(revision),
            tokens: done.tokens,
            token_withheld: false,
            propagation: None,
        };
        Ok((answer, Some(revision)))
    }

    /// Waits until the index has what was made before: the answer to a call may tell of it.
    pub(in crate::app) async fn caught_up(&self, to: Revision) -> Result<(), Error> {
        self.feed.catch_up(to).await.map_err(Error::outcome_unknown)
    }

    /// The same for changes that are made in several steps, each after the one before: none yet.
    pub(in crate::app) async fn follow(&self, to: Option<Revision>) -> Result<(), Error> {
        match to {
            Some(to) => self.caught_up(to).await,
            None => Ok(()),
        }
    }

    /// Commits, and answers only once the index of this process has the change: so it never allows what it has answered
    /// to be refused.
    async fn finish(&self, scene: Scene) -> Result<(), Error> {
        let made = scene.revision();
        let doubt = self.commit(scene).await?;
        self.feed.catch_up(made).await.map_err(|cause| {
            self.feed.doubt(doubt);
            Error::outcome_unknown(cause)
        })
    }

    /// Commits; the index does not have it yet. Returns what is in doubt if it does not get it.
    pub(in crate::app) async fn commit(&self, scene: Scene) -> Result<Doubt, Error> {
        match scene.tx.commit().await {
            Ok(()) => {
                if scene.announced {
                    self.postbacks.wake();
                }
                Ok(scene.doubt)
            }
            Err(StoreError::OutcomeUnknown(cause)) => {
                self.feed.doubt(scene.doubt);
                Err(Error::outcome_unknown(cause))
            }
            Err(other) => Err(other.into()),
        }
    }
}
