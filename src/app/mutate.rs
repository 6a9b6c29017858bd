//! How everything changes: one transaction in a task of its own, its revision first, its answer last.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::Core;
use crate::app::auth::{Caller, admin_rights};
use crate::app::error::{Code, Error};
use crate::app::ports::{
    Actor, Change, Doubt, IdempotencyRecord, REPLAY_PERIOD, Resource, StoreError, Tx,
};
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;
use crate::domain::secret::Slot;
use crate::domain::time::Time;
use crate::domain::token::Token;
use crate::domain::workspace::Workspace;

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

/// Where the work of a change takes place: a transaction that holds the revision counter.
pub struct Scene {
    /// What the use cases work with.
    pub core: Arc<Core>,
    /// The transaction.
    pub tx: Box<dyn Tx>,
    /// The time of the change.
    pub now: Time,
    /// Who does it, for the audit log.
    pub actor: Actor,
    doubt: Doubt,
    /// Whether anything was recorded.
    changed: bool,
}

impl std::fmt::Debug for Scene {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scene")
            .field("actor", &self.actor)
            .finish_non_exhaustive()
    }
}

impl Scene {
    /// Writes a key as a change of this revision. What can take access away is remembered for the case that the outcome
    /// of the commit is not known.
    pub async fn put_key(
        &mut self,
        action: &'static str,
        before: Option<&Key>,
        after: &mut Key,
    ) -> Result<(), Error> {
        after.revision = self.tx.revision();
        after.update_time = self.now;
        self.tx.put_key(after).await?;
        if before.is_some_and(|before| narrows(before, after)) {
            self.doubt.keys.push(after.id);
        }
        let resource = Resource::Key(after.workspace.clone(), after.id);
        self.append(action, resource, before.map(json), Some(json(after)))
            .await
    }

    /// Writes keys that are new as one change of this revision, all with few statements.
    pub async fn put_new_keys(
        &mut self,
        action: &'static str,
        keys: &mut [Key],
    ) -> Result<(), Error> {
        let mut changes = Vec::with_capacity(keys.len());
        for key in &mut *keys {
            key.revision = self.tx.revision();
            key.update_time = self.now;
            changes.push(Change {
                actor: self.actor.clone(),
                action,
                resource: Resource::Key(key.workspace.clone(), key.id),
                before: None,
                after: Some(json(key)),
                time: self.now,
            });
        }
        self.tx.put_new_keys(keys).await?;
        self.append_many(&changes).await
    }

    /// Removes keys for good, all with few statements; each is an entry of its own in the audit log.
    pub async fn purge_keys(&mut self, keys: &[Key]) -> Result<(), Error> {
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        self.tx.purge_keys(&ids).await?;
        self.doubt.keys.extend(&ids);
        let changes: Vec<_> = keys
            .iter()
            .map(|key| self.change_of("PURGE", key, None))
            .collect();
        self.append_many(&changes).await
    }

    /// Forgets the secrets of keys that ended before a moment, all with few statements.
    pub async fn forget_secrets(&mut self, keys: &[Key], before: Time) -> Result<(), Error> {
        let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
        self.tx.forget_secrets(&ids, before, self.now).await?;
        let changes: Vec<_> = keys
            .iter()
            .map(|key| {
                let mut after = key.clone();
                after
                    .secrets
                    .retain(|s| s.end_time().is_none_or(|end| end >= before));
                after.revision = self.tx.revision();
                after.update_time = self.now;
                self.change_of("FORGET_SECRETS", key, Some(&after))
            })
            .collect();
        self.append_many(&changes).await
    }

    fn change_of(&self, action: &'static str, before: &Key, after: Option<&Key>) -> Change {
        Change {
            actor: self.actor.clone(),
            action,
            resource: Resource::Key(before.workspace.clone(), before.id),
            before: Some(json(before)),
            after: after.map(json),
            time: self.now,
        }
    }

    /// Removes a key for good.
    pub async fn purge_key(&mut self, key: &Key) -> Result<(), Error> {
        self.tx.purge_key(key.id).await?;
        self.doubt.keys.push(key.id);
        let resource = Resource::Key(key.workspace.clone(), key.id);
        self.append("PURGE", resource, Some(json(key)), None).await
    }

    /// Records what happened to something other than a key. Where it can take access away (`narrows`), its workspace is in
    /// doubt if the outcome of the commit is not known.
    pub async fn record<T: Serialize>(
        &mut self,
        action: &'static str,
        resource: Resource,
        (before, after): (Option<&T>, Option<&T>),
        narrows: bool,
    ) -> Result<(), Error> {
        if narrows {
            self.doubt.workspaces.push(resource.workspace().clone());
        }
        self.append(action, resource, before.map(json), after.map(json))
            .await
    }

    /// Records that somebody read what is audited.
    pub async fn audit(
        &mut self,
        action: &'static str,
        resource: Resource,
        what: Value,
    ) -> Result<(), Error> {
        self.append(action, resource, None, Some(what)).await
    }

    /// A workspace that the caller has been found to be allowed to name.
    pub async fn workspace(&mut self, id: &WorkspaceId) -> Result<Workspace, Error> {
        self.tx
            .workspace(id)
            .await?
            .ok_or_else(|| Error::not_found("workspace"))
    }

    async fn append_many(&mut self, changes: &[Change]) -> Result<(), Error> {
        self.tx.append_many(changes).await?;
        self.changed |= !changes.is_empty();
        Ok(())
    }

    async fn append(
        &mut self,
        action: &'static str,
        resource: Resource,
        before: Option<Value>,
        after: Option<Value>,
    ) -> Result<(), Error> {
        let change = Change {
            actor: self.actor.clone(),
            action,
            resource,
            before,
            after,
            time: self.now,
        };
        self.tx.append(&change).await?;
        self.changed = true;
        Ok(())
    }
}

/// The work of a change: reads, checks and writes within the transaction.
pub type Work<T> = Box<
    dyn for<'a> FnOnce(&'a mut Scene, &'a Caller) -> BoxFuture<'a, Result<Done<T>, Error>> + Send,
>;

/// The work of a change that nobody called for: bootstrap, recovery, purges.
pub type OwnWork<T> =
    Box<dyn for<'a> FnOnce(&'a mut Scene) -> BoxFuture<'a, Result<T, Error>> + Send>;

impl Core {
    /// Makes a change for a caller. It runs in a task of its own: who hangs up learns nothing, and tears nothing.
    pub async fn mutate<T>(self: &Arc<Self>, call: Call, work: Work<T>) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let core = self.clone();
        let task = self.tasks.spawn(async move { core.run(call, work).await });
        task.await
            .unwrap_or_else(|fault| Err(Error::internal(fault)))
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
        Ok(Scene {
            core: self.clone(),
            tx: self.store.begin().await?,
            now: self.clock.now(),
            actor,
            doubt: Doubt::default(),
            changed: false,
        })
    }

    async fn run<T>(self: Arc<Self>, call: Call, work: Work<T>) -> Result<Answer<T>, Error>
    where
        T: Serialize + DeserializeOwned + Sync,
    {
        let mut scene = self.scene(Actor::Key(call.caller.key)).await?;
        let caller = call.caller.recheck(&mut *scene.tx, scene.now).await?;
        caller.require(call.right)?;
        if let Some(answer) = self.replay(&call, &caller, &mut scene).await? {
            // The call that made the change may not have applied it yet, or may have failed to.
            drop(scene);
            let n = answer.revision.map_or(0, |r| r.n);
            self.feed
                .catch_up(n)
                .await
                .map_err(Error::outcome_unknown)?;
            return Ok(answer);
        }
        let done = match work(&mut scene, &caller).await {
            Ok(done) => done,
            Err(error) => {
                // What was found to be so may be the work of a call that has not applied it yet.
                let before = scene.tx.revision().saturating_sub(1);
                drop(scene);
                self.feed
                    .catch_up(before)
                    .await
                    .map_err(Error::outcome_unknown)?;
                return Err(error);
            }
        };
        if call.dry_run {
            return Ok(Answer {
                value: done.value,
                revision: None,
                tokens: Vec::new(),
                token_withheld: false,
            });
        }
        if done.unchanged {
            // What was found to be so already may be the work of a call that has not applied it yet.
            let before = scene.tx.revision().saturating_sub(1);
            drop(scene);
            self.feed
                .catch_up(before)
                .await
                .map_err(Error::outcome_unknown)?;
            return Ok(Answer {
                value: done.value,
                revision: Some(self.index.applied()),
                tokens: Vec::new(),
                token_withheld: false,
            });
        }
        let revision = Revision {
            epoch: self.index.epoch(),
            n: scene.tx.revision(),
        };
        self.remember(&call, &done, revision, &mut scene).await?;
        self.finish(scene).await?;
        Ok(Answer {
            value: done.value,
            revision: Some(revision),
            tokens: done.tokens,
            token_withheld: false,
        })
    }

    /// Commits, and answers only once the index of this process has the change: so it never allows what it has answered
    /// to be refused.
    async fn finish(&self, scene: Scene) -> Result<(), Error> {
        let n = scene.tx.revision();
        let doubt = self.commit(scene).await?;
        self.feed.catch_up(n).await.map_err(|cause| {
            self.feed.doubt(doubt);
            Error::outcome_unknown(cause)
        })
    }

    /// Commits; the index does not have it yet. Returns what is in doubt if it does not get it.
    pub(in crate::app) async fn commit(&self, scene: Scene) -> Result<Doubt, Error> {
        match scene.tx.commit().await {
            Ok(()) => Ok(scene.doubt),
            Err(StoreError::OutcomeUnknown(cause)) => {
                self.feed.doubt(scene.doubt);
                Err(Error::outcome_unknown(cause))
            }
            Err(other) => Err(other.into()),
        }
    }

    fn repeat_ids(&self, call: &Call, repeat: &Repeat) -> ([u8; 32], [u8; 32]) {
        let lookup = self.envelope.lookup();
        let caller = call.caller.key.to_bytes();
        let id = lookup.derive(
            "request-id",
            &[&caller, call.method.as_bytes(), &repeat.request_id],
        );
        (id, lookup.derive("request", &[&repeat.request]))
    }

    async fn replay<T: DeserializeOwned>(
        &self,
        call: &Call,
        caller: &Caller,
        scene: &mut Scene,
    ) -> Result<Option<Answer<T>>, Error> {
        let Some(repeat) = &call.repeat else {
            return Ok(None);
        };
        let (id, fingerprint) = self.repeat_ids(call, repeat);
        let Some(record) = scene.tx.idempotency(&id).await? else {
            return Ok(None);
        };
        if record.fingerprint != fingerprint {
            let message = "this `request_id` was used for another request; use a new one for each call, and the same one only to repeat it";
            let mut error = Error::new(Code::InvalidArgument, "REQUEST_ID_REUSED", message);
            error
                .fields
                .push(("request_id".to_owned(), message.to_owned()));
            return Err(error);
        }
        let stored: Stored<T> = serde_json::from_str(&record.answer).map_err(Error::internal)?;
        let replay = self
            .envelope
            .replay_key(call.caller.key, call.method, &repeat.request_id);
        let mut tokens = Vec::new();
        for issued in &stored.issued {
            let sealed = record
                .sealed
                .iter()
                .find(|(secret, _)| *secret == issued.secret);
            if scene.now >= record.create_time.plus(REPLAY_PERIOD)
                || !may_have(scene, caller, issued).await?
            {
                continue;
            }
            let token =
                sealed.and_then(|(_, sealed)| replay.open(issued.key, issued.secret, sealed));
            tokens.extend(token.map(|token| Issued {
                key: issued.key,
                secret: issued.secret,
                slot: issued.slot,
                token,
            }));
        }
        Ok(Some(Answer {
            value: stored.value,
            revision: Some(Revision {
                epoch: stored.epoch,
                n: stored.n,
            }),
            token_withheld: tokens.len() < stored.issued.len(),
            tokens,
        }))
    }

    async fn remember<T: Serialize + Sync>(
        &self,
        call: &Call,
        done: &Done<T>,
        revision: Revision,
        scene: &mut Scene,
    ) -> Result<(), Error> {
        let Some(repeat) = &call.repeat else {
            return Ok(());
        };
        let (id, fingerprint) = self.repeat_ids(call, repeat);
        let replay = self
            .envelope
            .replay_key(call.caller.key, call.method, &repeat.request_id);
        let mut sealed = Vec::new();
        for issued in &done.tokens {
            let token = replay.seal(issued.key, issued.secret, &issued.token, &*self.entropy)?;
            sealed.push((issued.secret, token));
        }
        let stored = Stored {
            value: &done.value,
            epoch: revision.epoch,
            n: revision.n,
            issued: done
                .tokens
                .iter()
                .map(|t| StoredIssued {
                    key: t.key,
                    secret: t.secret,
                    slot: t.slot,
                })
                .collect(),
        };
        let record = IdempotencyRecord {
            id,
            fingerprint,
            answer: serde_json::to_string(&stored).map_err(Error::internal)?,
            key: done.tokens.first().map(|issued| issued.key),
            sealed,
            create_time: scene.now,
        };
        Ok(scene.tx.put_idempotency(&record).await?)
    }
}

/// Whether a caller may still be given a token that it was given once: it may have lost rights since, or the key gained
/// some.
async fn may_have(
    scene: &mut Scene,
    caller: &Caller,
    issued: &StoredIssued,
) -> Result<bool, Error> {
    let Some(key) = scene.tx.key(issued.key).await? else {
        return Ok(false);
    };
    let live = key.delete_time.is_none()
        && key
            .secrets
            .iter()
            .any(|s| s.id == issued.secret && s.is_live(scene.now));
    let rights = admin_rights(
        &key.settings.scopes,
        &scene.tx.scopes(&key.workspace).await?,
    );
    Ok(live && caller.may_see(&key) && caller.require_all(&rights, "").is_ok())
}

/// An answer as its idempotency record keeps it.
#[derive(Serialize, serde::Deserialize)]
struct Stored<T> {
    value: T,
    epoch: u32,
    n: u64,
    issued: Vec<StoredIssued>,
}

#[derive(Serialize, serde::Deserialize)]
struct StoredIssued {
    key: KeyId,
    secret: SecretId,
    slot: Slot,
}

/// Whether a change can take access away. Everything counts but what no check asks for: closing a key that was only
/// renamed would be as wrong as leaving one open that was disabled.
fn narrows(before: &Key, after: &Key) -> bool {
    let what_checks_ask = |key: &Key| {
        let mut settings = key.settings.clone();
        settings.display_name.clear();
        settings.description.clear();
        settings.labels.clear();
        settings.postback_url.clear();
        settings.off_the_record = false;
        let secrets: Vec<_> = key
            .secrets
            .iter()
            .map(|s| (s.id, s.revoke_time, s.retire_time))
            .collect();
        (settings, secrets, key.delete_time)
    };
    what_checks_ask(before) != what_checks_ask(after)
}

fn json<T: Serialize>(value: &T) -> Value {
    serde_json::to_value(value).unwrap_or(Value::Null)
}
