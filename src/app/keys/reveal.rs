//! Lists that show what opens keys: the tokens that are kept, or the digests of tokens. Audited, page by page.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::app::Core;
use crate::app::auth::{Caller, rights_to_open};
use crate::app::error::Error;
use crate::app::mutate::{Call, Done, Issued};
use crate::app::ports::Resource;
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, PrincipalId, SecretId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::secret::Secret;
use crate::domain::token::TokenDigest;
use crate::domain::workspace::Workspace;

use super::{KeyPage, rules};

/// Digests by secret. Never written down with an answer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Digests {
    #[serde(skip)]
    by_secret: HashMap<SecretId, TokenDigest>,
}

impl Digests {
    /// The digest of a secret's token, where it may be shown.
    pub fn of(&self, secret: SecretId) -> Option<&TokenDigest> {
        self.by_secret.get(&secret)
    }
}

impl Core {
    /// Lists keys with the tokens that can be read again.
    pub async fn list_keys_with_tokens(
        self: &Arc<Self>,
        call: Call,
        page: KeyPage,
    ) -> Result<(Vec<Key>, String, Vec<Issued>), Error> {
        let workspace = page.workspace.clone();
        let (keys, next) = self.list_keys(&call.caller, page).await?;
        let listed: Vec<_> = keys.iter().map(|key| key.id).collect();
        let answer = self
            .mutate(
                call,
                Box::new(move |scene, caller| {
                    async move {
                        let keys = openable(scene, caller, &workspace, &listed).await?;
                        let tokens = tokens_of(scene, &workspace, &keys).await?;
                        let secrets: Vec<_> = tokens.iter().map(|t| t.secret).collect();
                        let unchanged = !audit(scene, "REVEAL", workspace, &secrets).await?;
                        Ok(Done {
                            value: (),
                            tokens,
                            unchanged,
                        })
                    }
                    .boxed()
                }),
            )
            .await?;
        Ok((keys, next, answer.tokens))
    }

    /// Lists keys with the digests of their live secrets' tokens, to take them elsewhere.
    pub async fn list_keys_with_digests(
        self: &Arc<Self>,
        call: Call,
        page: KeyPage,
    ) -> Result<(Vec<Key>, String, Digests), Error> {
        let workspace = page.workspace.clone();
        let (keys, next) = self.list_keys(&call.caller, page).await?;
        let listed: Vec<_> = keys.iter().map(|key| key.id).collect();
        let answer = self
            .mutate(
                call,
                Box::new(move |scene, caller| {
                    async move {
                        let digests = digests(scene, caller, &workspace, &listed).await?;
                        let mut secrets: Vec<_> = digests.by_secret.keys().copied().collect();
                        secrets.sort();
                        let unchanged = !audit(scene, "EXPORT", workspace, &secrets).await?;
                        Ok(Done {
                            value: digests,
                            tokens: Vec::new(),
                            unchanged,
                        })
                    }
                    .boxed()
                }),
            )
            .await?;
        Ok((keys, next, answer.value))
    }
}

/// Those of these keys, as they are now, that a caller could make: much can have changed since they were listed.
async fn openable(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &WorkspaceId,
    ids: &[KeyId],
) -> Result<Vec<Key>, Error> {
    let catalogue = scene.tx.scopes(workspace).await?;
    let found = scene.tx.keys(ids).await?;
    let bound = found
        .iter()
        .filter_map(|key| key.settings.principal.clone());
    let bound: BTreeSet<PrincipalId> = bound.collect();
    let bound: Vec<_> = bound.into_iter().collect();
    let principals = scene.tx.principals(workspace, &bound).await?;
    let principals: HashMap<_, _> = principals.into_iter().map(|p| (p.id, p.scopes)).collect();
    let workspace = scene.workspace(workspace).await?;
    let mut found: HashMap<KeyId, Key> = found.into_iter().map(|key| (key.id, key)).collect();
    let could_make = |key: &Key| {
        let principal = key.settings.principal.as_ref();
        let may = principal.and_then(|id| principals.get(id));
        let rights = rights_to_open(key, may.map(|scopes| &**scopes), &catalogue);
        caller.may_see(key)
            && caller.require_all(&rights, "the key has").is_ok()
            && rules::check_maker(caller, &workspace, key).is_ok()
    };
    let listed = ids.iter().filter_map(|id| found.remove(id));
    Ok(listed.filter(could_make).collect())
}

async fn digests(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &WorkspaceId,
    ids: &[KeyId],
) -> Result<Digests, Error> {
    let keys = openable(scene, caller, workspace, ids).await?;
    let ids: Vec<_> = keys.iter().map(|key| key.id).collect();
    let live: HashMap<SecretId, KeyId> = keys
        .iter()
        .flat_map(|key| {
            let live = key.secrets.iter().filter(|s| s.is_live(scene.now));
            live.map(|s| (s.id, key.id))
        })
        .collect();
    let sealed = scene.tx.sealed_digests(&ids).await?;
    let envelope = &scene.core.envelope;
    let open = |(key, secret, sealed): (KeyId, SecretId, Vec<u8>)| {
        let digest = envelope.open_digest(key, secret, &sealed)?;
        live.contains_key(&secret).then_some((secret, digest))
    };
    Ok(Digests {
        by_secret: sealed.into_iter().filter_map(open).collect(),
    })
}

/// Says who read it, where there was something to read.
async fn audit(
    scene: &mut Scene,
    action: &'static str,
    workspace: WorkspaceId,
    secrets: &[SecretId],
) -> Result<bool, Error> {
    if secrets.is_empty() {
        return Ok(false);
    }
    let what = json!({ "secrets": secrets });
    scene
        .audit(action, Resource::Workspace(workspace), what)
        .await?;
    Ok(true)
}

/// The tokens of these keys' live secrets that their workspace keeps.
async fn tokens_of(
    scene: &mut Scene,
    workspace: &WorkspaceId,
    keys: &[Key],
) -> Result<Vec<Issued>, Error> {
    // What is still sealed in one that is HASHED is about to be destroyed.
    if !scene.workspace(workspace).await?.settings.recoverable {
        return Ok(Vec::new());
    }
    Ok(keys.iter().flat_map(|key| of_key(scene, key)).collect())
}

fn of_key(scene: &Scene, key: &Key) -> Vec<Issued> {
    let live = key.secrets.iter().filter(|s| s.is_live(scene.now));
    let reveal = |secret: &Secret| {
        let token = scene
            .core
            .envelope
            .open_token(key.id, secret.id, secret.sealed.as_deref()?)?;
        Some(Issued {
            key: key.id,
            secret: secret.id,
            slot: secret.slot,
            token,
        })
    };
    live.filter_map(reveal).collect()
}

/// The tokens of a key that its workspace keeps, of live secrets; none where the caller could not make such a key.
pub(super) async fn tokens_to_reveal(
    scene: &mut Scene,
    caller: &Caller,
    key: &Key,
) -> Result<Vec<Issued>, Error> {
    let keys = openable(scene, caller, &key.workspace, &[key.id]).await?;
    tokens_of(scene, &key.workspace, &keys).await
}

/// Says of no secret that it can be read again whose workspace keeps none: what is sealed there is about to be destroyed.
pub(super) fn hide_lost(key: &mut Key, workspace: Option<&Workspace>) {
    if !workspace.is_some_and(|w| w.settings.recoverable) {
        for secret in &mut key.secrets {
            secret.sealed = None;
        }
    }
}
