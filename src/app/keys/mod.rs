//! Keys: making, reading, listing, changing, deleting them.

mod import;
mod leaks;
mod making;
mod reveal;
mod rules;
mod secrets;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::{KeyCursor, KeyOrder, KeyQuery, StateSet, UNDELETE_PERIOD};
use crate::domain::id::{KeyId, PrincipalId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key, KeySettings};
use crate::domain::network::IpNet;
use crate::domain::principal::ScopeSource;
use crate::domain::scope::Grant;
use crate::domain::time::Time;
use crate::domain::token::{Token, TokenDigest};

use rules::Facts;

pub use import::{Import, ImportItem, ImportOutcome, Imported, NewImport};
pub use leaks::{Leak, LeakAction, LeakReport, LeakedSecret};
pub(in crate::app) use making::make;
pub use reveal::Digests;
pub(crate) use rules::{check_etag, is_declared};
pub use secrets::{Regeneration, Revocation};

/// Where the value of a new secret comes from.
#[derive(Debug, Clone)]
pub enum Source {
    /// Claviger generates it; without a prefix of its own, with the workspace's.
    Generate(Option<String>),
    /// An external system hands in the token.
    Token {
        /// The token.
        token: Token,
        /// Accept it although it is weak.
        allow_weak: bool,
    },
    /// An external system hands in the token's digest.
    Digest {
        /// The digest.
        digest: TokenDigest,
        /// The entropy of the token, as its maker asserts it; 0: not asserted.
        asserted_bits: u32,
        /// Accept it although it is weak.
        allow_weak: bool,
    },
}

/// A key to make.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// Where.
    pub workspace: WorkspaceId,
    /// Its settings.
    pub settings: KeySettings,
    /// Where its PRIMARY secret comes from.
    pub primary: Source,
    /// Where its SECONDARY secret comes from.
    pub secondary: Option<Source>,
}

/// A setting to change, to its new value.
#[derive(Debug, Clone)]
#[expect(
    missing_docs,
    reason = "each is the field of `KeySettings` of the same name"
)]
pub enum Edit {
    DisplayName(String),
    Description(String),
    Scopes(Vec<Grant>),
    Subscriptions(Vec<SubscriptionId>),
    AllowedCidrs(Vec<IpNet>),
    PostbackUrl(String),
    OffTheRecord(bool),
    Enabled(bool),
    ExpireTime(Option<Time>),
    Labels(BTreeMap<String, String>),
    Enforcement(Enforcement),
    ShadowNetwork(bool),
    ShadowPresentation(bool),
    ShadowSubscription(bool),
    ShadowScopes(bool),
    Principal(Option<PrincipalId>),
    /// None: from the principal where the key is bound to one and lists no scopes, else from its list.
    ScopeSource(Option<ScopeSource>),
}

impl Edit {
    fn apply(self, to: &mut KeySettings) {
        match self {
            Self::DisplayName(v) => to.display_name = v,
            Self::Description(v) => to.description = v,
            Self::Scopes(v) => to.scopes = v,
            Self::Subscriptions(v) => to.subscriptions = v,
            Self::AllowedCidrs(v) => to.allowed_cidrs = v,
            Self::PostbackUrl(v) => to.postback_url = v,
            Self::OffTheRecord(v) => to.off_the_record = v,
            Self::Enabled(v) => to.enabled = v,
            Self::ExpireTime(v) => to.expire_time = v,
            Self::Labels(v) => to.labels = v,
            Self::Enforcement(v) => to.enforcement = v,
            Self::ShadowNetwork(v) => to.enforcement.shadow_network = v,
            Self::ShadowPresentation(v) => to.enforcement.shadow_presentation = v,
            Self::ShadowSubscription(v) => to.enforcement.shadow_subscription = v,
            Self::ShadowScopes(v) => to.enforcement.shadow_scopes = v,
            Self::Principal(v) => to.principal = v,
            Self::ScopeSource(v) => {
                to.scope_source = v.unwrap_or_else(|| ScopeSource::of(&to.scopes, &to.principal))
            }
        }
    }
}

/// Which keys to list.
#[derive(Debug, Clone, Default)]
pub struct KeyFilter {
    /// Part of the display name, folded.
    pub name_contains: Option<String>,
    /// States; none: all but deleted.
    pub states: Option<StateSet>,
    /// Listing exactly this grant.
    pub scope: Option<String>,
    /// Bound to this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Bound to this principal.
    pub principal: Option<PrincipalId>,
    /// With this label.
    pub label: Option<(String, Option<String>)>,
    /// Expiring before.
    pub expire_before: Option<Time>,
    /// Not used since.
    pub unused_since: Option<Time>,
}

/// A page to list.
#[derive(Debug, Clone)]
pub struct KeyPage {
    /// Of which workspace.
    pub workspace: WorkspaceId,
    /// Which keys.
    pub filter: KeyFilter,
    /// In which order.
    pub order: KeyOrder,
    /// How many.
    pub size: u32,
    /// Token of the page before.
    pub token: String,
}

/// Where a page ends.
#[derive(Serialize, Deserialize)]
struct Cursor {
    name: String,
    id: KeyId,
}

impl Core {
    /// Makes a key with one secret or two.
    pub async fn create_key(
        self: &Arc<Self>,
        call: Call,
        new: NewKey,
    ) -> Result<Answer<Key>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let workspace = scene.workspace(&new.workspace).await?;
                    let (key, tokens) = make(scene, caller, &workspace, new).await?;
                    Ok(Done {
                        value: key,
                        tokens,
                        unchanged: false,
                    })
                }
                .boxed()
            }),
        )
        .await
    }

    /// Reads a key.
    pub async fn get_key(&self, caller: &Caller, id: KeyId) -> Result<Key, Error> {
        let key = self.store.key(id).await?.filter(|key| caller.may_see(key));
        let mut key = key.ok_or_else(|| Error::not_found("key"))?;
        if key.secrets.iter().any(|s| s.sealed.is_some()) {
            let workspace = self.store.workspace(&key.workspace).await?;
            reveal::hide_lost(&mut key, workspace.as_ref());
        }
        Ok(self.with_fresh_use(key))
    }

    /// Lists keys, and says how to go on.
    pub async fn list_keys(
        &self,
        caller: &Caller,
        page: KeyPage,
    ) -> Result<(Vec<Key>, String), Error> {
        let arguments = format!(
            "keys {} {:?} {:?} {:?}",
            page.workspace, page.filter, page.order, caller.subscriptions
        );
        let only_of = caller.principal.clone().filter(|_| caller.only_own);
        let arguments = match &only_of {
            Some(own) => format!("{arguments} of {own}"),
            None => arguments,
        };
        let after: Option<Cursor> = page::cursor(&page.token, &arguments)?;
        let workspace = self.store.workspace(&page.workspace).await?;
        let workspace = workspace.ok_or_else(|| Error::not_found("workspace"))?;
        let filter = page.filter;
        // One more than asked for tells whether there is a next page.
        let all = KeyQuery::all(page.workspace, self.clock.now(), page.size + 1);
        let query = KeyQuery {
            name_contains: filter.name_contains,
            states: filter.states.unwrap_or(all.states),
            scope: filter.scope,
            subscription: filter.subscription,
            principal: filter.principal,
            only_of,
            within: caller.within(),
            label: filter.label,
            expire_before: filter.expire_before,
            unused_since: filter.unused_since,
            order: page.order,
            after: after.map(|c| KeyCursor {
                name: c.name,
                id: c.id,
            }),
            ..all
        };
        let found = self.store.list_keys(&query).await?;
        let (keys, next) = page::cut(found, page.size, &arguments, |last| Cursor {
            name: crate::domain::text::fold(&last.settings.display_name),
            id: last.id,
        })?;
        Ok((
            keys.into_iter()
                .map(|mut key| {
                    reveal::hide_lost(&mut key, Some(&workspace));
                    self.with_fresh_use(key)
                })
                .collect(),
            next,
        ))
    }

    /// Changes settings of a key.
    pub async fn update_key(
        self: &Arc<Self>,
        call: Call,
        id: KeyId,
        etag: String,
        edits: Vec<Edit>,
    ) -> Result<Answer<Key>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = rules::key_to_change(scene, caller, id, &etag).await?;
                    let mut key = before.clone();
                    for edit in edits {
                        edit.apply(&mut key.settings);
                    }
                    if before.delete_time.is_some() {
                        return Err(Error::precondition(
                            "KEY_DELETED",
                            "the key is deleted; undelete it first",
                        ));
                    }
                    let mut only_disabled = before.settings.clone();
                    only_disabled.enabled = false;
                    if key.settings != only_disabled {
                        rules::require_rights_of(scene, caller, &before, "the key has").await?;
                        let bindings = rules::bindings(&key.settings);
                        let facts =
                            Facts::gather(scene, caller, &key.workspace, bindings, &[]).await?;
                        rules::check_settings(caller, &key, &facts)?;
                        let workspace = scene.workspace(&key.workspace).await?;
                        rules::check_maker(caller, &workspace, &key)?;
                    }
                    rules::check_longer_life(scene, &before, &key).await?;
                    rules::check_fence(&key, scene.now)?;
                    rules::keep_an_administrator(scene, &before, Some(&key)).await?;
                    scene.put_key("UPDATE", Some(&before), &mut key).await?;
                    Ok(Done::new(key))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Deletes a key: for 30 days, or for good.
    pub async fn delete_key(
        self: &Arc<Self>,
        call: Call,
        id: KeyId,
        etag: String,
        purge: bool,
    ) -> Result<Answer<Key>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = rules::key_to_change(scene, caller, id, &etag).await?;
                    rules::keep_an_administrator(scene, &before, None).await?;
                    let mut key = before.clone();
                    if purge {
                        scene.purge_key(&before).await?;
                        key.delete_time = key.delete_time.or(Some(scene.now));
                        key.purge_time = Some(scene.now);
                        return Ok(Done::new(key));
                    }
                    if before.delete_time.is_some() {
                        return Err(Error::precondition(
                            "KEY_DELETED",
                            "the key is deleted already; set `purge` to remove it for good",
                        ));
                    }
                    key.delete_time = Some(scene.now);
                    key.purge_time = Some(scene.now.plus(UNDELETE_PERIOD));
                    scene.put_key("DELETE", Some(&before), &mut key).await?;
                    Ok(Done::new(key))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Brings a deleted key back.
    pub async fn undelete_key(
        self: &Arc<Self>,
        call: Call,
        id: KeyId,
        etag: String,
    ) -> Result<Answer<Key>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = rules::key_to_change(scene, caller, id, &etag).await?;
                    if before.delete_time.is_none() {
                        return Err(Error::precondition(
                            "KEY_NOT_DELETED",
                            "the key is not deleted",
                        ));
                    }
                    rules::require_rights_of(scene, caller, &before, "the key has").await?;
                    let mut key = before.clone();
                    key.delete_time = None;
                    key.purge_time = None;
                    scene.put_key("UNDELETE", Some(&before), &mut key).await?;
                    Ok(Done::new(key))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Tells whose secret a token is, within a workspace.
    pub async fn lookup_key(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        digest: &TokenDigest,
    ) -> Result<(Key, SecretId), Error> {
        let tag = self.envelope.lookup().tag(digest);
        let not_found = || Error::not_found("secret in this workspace");
        let (key, secret) = self
            .store
            .secret_holder(workspace, &tag)
            .await?
            .ok_or_else(not_found)?;
        let key = self
            .store
            .key(key)
            .await?
            .filter(|key| caller.may_see(key))
            .ok_or_else(not_found)?;
        Ok((self.with_fresh_use(key), secret))
    }

    /// Times of last use as this process knows them, which may be newer than what is flushed.
    pub(in crate::app) fn with_fresh_use(&self, mut key: Key) -> Key {
        for secret in &mut key.secrets {
            secret.last_used_time = secret
                .last_used_time
                .max(self.index.last_used(key.id, secret.id));
        }
        key
    }
}
