//! The secrets of a key: replacing, ending, revealing, acknowledging them.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use serde_json::json;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::ports::Resource;
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, SecretId};
use crate::domain::key::{Key, MAX_RETIRING};
use crate::domain::secret::{RevocationReason, Secret, SecretState, Slot};
use crate::domain::time::Time;
use crate::domain::workspace::Workspace;

use super::making::Value;
use super::rules::{Bindings, Facts};
use super::{Source, reveal, rules};

/// How many dead secrets of a key are remembered.
const MAX_DEAD: usize = 64;

/// A secret to replace.
#[derive(Debug, Clone)]
pub struct Regeneration {
    /// Of which key.
    pub key: KeyId,
    /// In which slot.
    pub slot: Slot,
    /// By what.
    pub source: Source,
    /// How long the old value is still accepted.
    pub grace: Duration,
    /// Do it although somebody may be cut off.
    pub force: bool,
    /// Guards the change where not empty.
    pub etag: String,
}

/// A secret to end.
#[derive(Debug, Clone)]
pub struct Revocation {
    /// Of which key.
    pub key: KeyId,
    /// Which one.
    pub secret: SecretId,
    /// Why.
    pub reason: RevocationReason,
    /// Guards the change where not empty.
    pub etag: String,
}

impl Core {
    /// Replaces the secret of a slot, or fills an empty slot.
    pub async fn regenerate_secret(
        self: &Arc<Self>,
        call: Call,
        what: Regeneration,
    ) -> Result<Answer<Key>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = rules::key_to_change(scene, caller, what.key, &what.etag).await?;
                    if before.delete_time.is_some() {
                        return Err(Error::precondition(
                            "KEY_DELETED",
                            "the key is deleted; undelete it first",
                        ));
                    }
                    rules::require_rights_of(scene, caller, &before, "the key has").await?;
                    let workspace = scene.workspace(&before.workspace).await?;
                    if what.grace.is_zero() && !what.force {
                        guard_rotation(scene, &workspace, &before, what.slot)?;
                    }
                    let mut key = before.clone();
                    retire(scene, &mut key, what.slot, what.grace)?;
                    let core = scene.core.clone();
                    let prefix = workspace.settings.prefix();
                    let place = (what.slot, "source");
                    let value = Value::of(&core, &workspace.id, prefix, place, what.source);
                    let tags: Vec<_> = value.tag().into_iter().collect();
                    let nothing = Bindings::default();
                    let facts = Facts::gather(scene, caller, &workspace.id, nothing, &tags).await?;
                    let (mut secret, issued) =
                        value.into_secret(&core, scene.now, &workspace, &before, &facts)?;
                    secret.regenerated = true;
                    key.secrets.push(secret);
                    forget_oldest_dead(&mut key, scene.now);
                    rules::check_fence(&key, scene.now)?;
                    rules::keep_an_administrator(scene, &before, Some(&key)).await?;
                    scene.put_key("REGENERATE", Some(&before), &mut key).await?;
                    Ok(Done {
                        value: key,
                        tokens: issued.into_iter().collect(),
                        unchanged: false,
                    })
                }
                .boxed()
            }),
        )
        .await
    }

    /// Ends a secret.
    pub async fn revoke_secret(
        self: &Arc<Self>,
        call: Call,
        what: Revocation,
    ) -> Result<Answer<Key>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = rules::key_to_change(scene, caller, what.key, &what.etag).await?;
                    let workspace = scene.workspace(&before.workspace).await?;
                    let mut key = before.clone();
                    let now = scene.now;
                    let secret = find(&mut key, what.secret)?;
                    match secret.state(now) {
                        SecretState::Revoked => {
                            return Err(Error::precondition("SECRET_REVOKED", "the secret is revoked already, or its grace is over"));
                        }
                        SecretState::Active if workspace.settings.two_slots => {
                            return Err(Error::precondition(
                                "SLOT_REQUIRED",
                                "this workspace demands two live secrets of every key; replace the secret with `RegenerateSecret` instead",
                            ));
                        }
                        SecretState::Active | SecretState::Retiring => {}
                    }
                    end(secret, now, what.reason);
                    rules::keep_an_administrator(scene, &before, Some(&key)).await?;
                    scene.put_key("REVOKE", Some(&before), &mut key).await?;
                    Ok(Done::new(key))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Returns a token again, where the workspace keeps it; audited.
    pub async fn reveal_secret(
        self: &Arc<Self>,
        call: Call,
        key: KeyId,
        secret: Option<SecretId>,
    ) -> Result<Answer<()>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let key = rules::key_to_change(scene, caller, key, "").await?;
                    rules::require_rights_of(scene, caller, &key, "the key has").await?;
                    let wanted = match secret {
                        Some(id) => key.secrets.iter().find(|s| s.id == id),
                        None => key.active(Slot::Primary),
                    };
                    let wanted = wanted.ok_or_else(|| Error::not_found("secret"))?.id;
                    let tokens = reveal::tokens_to_reveal(scene, caller, &key).await?;
                    let token = tokens.into_iter().find(|t| t.secret == wanted).ok_or_else(|| {
                        Error::precondition(
                            "NOT_RECOVERABLE",
                            "the token is not kept: only workspaces with `secret_storage` RECOVERABLE keep it, for live secrets made \
                             since; regenerate the secret instead",
                        )
                    })?;
                    let resource = Resource::Key(key.workspace.clone(), key.id);
                    scene.audit("REVEAL", resource, json!({ "secrets": [wanted] })).await?;
                    Ok(Done { value: (), tokens: vec![token], unchanged: false })
                }
                .boxed()
            }),
        )
        .await
    }

    /// Notes that a token was saved: from then on no repeated call returns it.
    pub async fn acknowledge_secret(
        self: &Arc<Self>,
        call: Call,
        key: KeyId,
        secret: Option<SecretId>,
    ) -> Result<Answer<Key>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = rules::key_to_change(scene, caller, key, "").await?;
                    let mut key = before.clone();
                    let now = scene.now;
                    if let Some(id) = secret {
                        find(&mut key, id)?;
                    }
                    let mut unchanged = true;
                    for own in key
                        .secrets
                        .iter_mut()
                        .filter(|s| secret.is_none_or(|id| s.id == id))
                    {
                        if own.acknowledge_time.is_none() && (secret.is_some() || own.is_live(now))
                        {
                            own.acknowledge_time = Some(now);
                            unchanged = false;
                        }
                    }
                    if !unchanged {
                        scene.tx.forget_tokens(key.id, secret).await?;
                        scene
                            .put_key("ACKNOWLEDGE", Some(&before), &mut key)
                            .await?;
                    }
                    Ok(Done {
                        value: key,
                        tokens: Vec::new(),
                        unchanged,
                    })
                }
                .boxed()
            }),
        )
        .await
    }
}

/// A key that is rotated every hour would carry thousands of dead secrets along, all rewritten with each change.
pub(super) fn forget_oldest_dead(key: &mut Key, now: Time) {
    let dead = key.secrets.iter().filter(|s| !s.is_live(now)).count();
    let mut surplus = dead.saturating_sub(MAX_DEAD);
    // They stand oldest first.
    key.secrets.retain(|s| {
        let forget = surplus > 0 && !s.is_live(now);
        surplus -= usize::from(forget);
        !forget
    });
}

pub(super) fn find(key: &mut Key, id: SecretId) -> Result<&mut Secret, Error> {
    key.secrets
        .iter_mut()
        .find(|s| s.id == id)
        .ok_or_else(|| Error::not_found("secret"))
}

/// The rotation guard: refuses to replace a secret that is in use while the other slot's new one has never been used, for
/// then somebody who follows the steps of a rotation has not switched yet.
fn guard_rotation(
    scene: &Scene,
    workspace: &Workspace,
    key: &Key,
    slot: Slot,
) -> Result<(), Error> {
    let last_used = |secret: &Secret| {
        secret
            .last_used_time
            .max(scene.core.index.last_used(key.id, secret.id))
    };
    let (Some(target), Some(other)) = (key.active(slot), key.active(slot.other())) else {
        return Ok(());
    };
    let in_use =
        last_used(target).is_some_and(|used| used > scene.now.minus(workspace.settings.guard()));
    if in_use && other.regenerated && last_used(other).is_none() {
        return Err(Error::precondition(
            "OTHER_SLOT_UNPROVEN",
            format!(
                "the {} secret was used recently, and the new {} one never: who still uses the old value would be cut off; switch to the \
                 new one first, or set `grace`, or set `force`",
                slot.as_str(),
                slot.other().as_str(),
            ),
        ));
    }
    Ok(())
}

/// Makes room in a slot: at once, or with a grace that never outlives the key.
pub(super) fn retire(
    scene: &Scene,
    key: &mut Key,
    slot: Slot,
    grace: Duration,
) -> Result<(), Error> {
    let now = scene.now;
    let Some(old) = key.active(slot).map(|s| s.id) else {
        return Ok(());
    };
    if grace.is_zero() {
        end(find(key, old)?, now, RevocationReason::Superseded);
        return Ok(());
    }
    let retiring = key
        .secrets
        .iter()
        .filter(|s| s.state(now) == SecretState::Retiring)
        .count();
    if retiring >= MAX_RETIRING {
        return Err(Error::precondition(
            "TOO_MANY_RETIRING",
            format!(
                "{MAX_RETIRING} secrets of this key are in their grace period; revoke one, or wait for one to end"
            ),
        ));
    }
    let until = now.plus(grace);
    let until = key.settings.expire_time.map_or(until, |end| until.min(end));
    find(key, old)?.retire_time = Some(until);
    Ok(())
}

pub(super) fn end(secret: &mut Secret, now: Time, reason: RevocationReason) {
    secret.revoke_time = Some(now);
    secret.revocation_reason = reason;
    // Nobody may read a dead token again.
    secret.sealed = None;
}
