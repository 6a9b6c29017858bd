//! What one decision sees of the index.

use std::collections::BTreeSet;
use std::hash::RandomState;
use std::sync::Arc;

use papaya::{HashMapRef, LocalGuard};

use super::hash::{BuildIdHasher, Owned, OwnedRef};
use super::record::Id;
use super::{
    KeyRecord, PrincipalRecord, RouteTable, SecretRecord, SubscriptionState, WorkspaceRecord, id_of,
};
use crate::domain::id::{KeyId, PrincipalId, SubscriptionId, WorkspaceId};
use crate::domain::revision::Revision;
use crate::domain::token::{LookupKey, Tag};

type Pinned<'i, K, V, S> = HashMapRef<'i, K, V, S, LocalGuard<'i>>;

/// The index as one decision sees it.
#[derive(Debug)]
pub struct View<'i> {
    /// Every change up to it is seen.
    pub revision: Revision,
    pub(super) lookup: &'i LookupKey,
    pub(super) tags: Pinned<'i, Id, Arc<KeyRecord>, BuildIdHasher>,
    pub(super) held_by_many: Pinned<'i, Id, Arc<[Arc<KeyRecord>]>, BuildIdHasher>,
    pub(super) keys: Pinned<'i, Id, Arc<KeyRecord>, BuildIdHasher>,
    pub(super) workspaces: Pinned<'i, WorkspaceId, Arc<WorkspaceRecord>, RandomState>,
    pub(super) subscriptions: Pinned<'i, Owned<SubscriptionId>, SubscriptionState, RandomState>,
    pub(super) principals: Pinned<'i, Owned<PrincipalId>, Arc<PrincipalRecord>, RandomState>,
    pub(super) prefixes: Pinned<'i, WorkspaceId, Arc<BTreeSet<String>>, RandomState>,
    pub(super) routes: Pinned<'i, WorkspaceId, Arc<RouteTable>, RandomState>,
}

impl View<'_> {
    /// The key that tags are made with.
    pub fn lookup_key(&self) -> &LookupKey {
        self.lookup
    }

    /// A key, by id.
    pub fn key(&self, id: KeyId) -> Option<&Arc<KeyRecord>> {
        self.keys.get(&id_of(id))
    }

    /// A workspace.
    pub fn workspace(&self, id: &str) -> Option<&Arc<WorkspaceRecord>> {
        self.workspaces.get(id)
    }

    /// The keys that a tag leads to, at most one in each workspace, with the secret it is. All 32 bytes of the tag are
    /// compared, in constant time: the index looks at half of them.
    pub fn holders(&self, tag: &Tag) -> impl Iterator<Item = (&KeyRecord, &SecretRecord)> {
        let place = Id::of(tag.index());
        let holders = match self.held_by_many.get(&place) {
            Some(many) => many,
            None => self
                .tags
                .get(&place)
                .map(std::slice::from_ref)
                .unwrap_or_default(),
        };
        holders.iter().filter_map(move |record| {
            record
                .secrets
                .iter()
                .find(|s| s.tag() == tag)
                .map(|s| (&**record, s))
        })
    }

    /// The routes of a workspace; none where it has none.
    pub fn routes(&self, workspace: &str) -> Option<&RouteTable> {
        self.routes.get(workspace).map(|table| &**table)
    }

    /// The id of a subscription, as it is kept here, whether it is enabled or not.
    pub fn subscription_id(&self, workspace: &str, id: &str) -> Option<&str> {
        let found = self.subscriptions.get_key_value(&OwnedRef(workspace, id));
        found.map(|(Owned(_, id), _)| id.as_str())
    }

    /// Whether a subscription exists and is enabled.
    pub fn subscription_enabled(&self, workspace: &str, id: &str) -> bool {
        self.subscriptions
            .get(&OwnedRef(workspace, id))
            .is_some_and(|state| state.enabled)
    }

    /// A principal.
    pub fn principal(&self, workspace: &str, id: &str) -> Option<&PrincipalRecord> {
        let record = self.principals.get(&OwnedRef(workspace, id))?;
        Some(record)
    }

    /// The principal that a key is bound to; one that is not there may do nothing.
    pub fn principal_of(&self, key: &KeyRecord) -> Option<&PrincipalRecord> {
        let id = key.principal.as_ref()?;
        self.principal(key.workspace.as_str(), id.as_str())
    }

    /// Whether a workspace has issued tokens with this prefix.
    pub fn has_issued(&self, workspace: &str, prefix: &str) -> bool {
        self.prefixes
            .get(workspace)
            .is_some_and(|set| set.contains(prefix))
    }
}
