//! A mutation as the store carries it out.

use async_trait::async_trait;

use super::outbox::{Delivery, NewEvent, SigningSecret};
use super::{Change, StoreError};
use crate::domain::id::{
    EventId, KeyId, PrincipalId, RouteId, SecretId, SubscriptionId, WorkspaceId,
};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::route::Route;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Scope, Subscription, Workspace};

/// A mutation under way: holds the revision counter, so there is one at a time.
#[async_trait]
pub trait Tx: Send {
    /// Its revision.
    fn revision(&self) -> u64;
    /// Which history that is a revision of.
    fn epoch(&self) -> u32;

    /// One key, whole.
    async fn key(&mut self, id: KeyId) -> Result<Option<Key>, StoreError>;
    /// Those of these keys that there are, whole, in no order.
    async fn keys(&mut self, ids: &[KeyId]) -> Result<Vec<Key>, StoreError>;
    /// All keys of a workspace that are not deleted; only for `system`, which has few.
    async fn keys_of(&mut self, workspace: &WorkspaceId) -> Result<Vec<Key>, StoreError>;
    /// Whose secret a tag is, within a workspace; dead ones too.
    async fn secret_holder(
        &mut self,
        workspace: &WorkspaceId,
        tag: &Tag,
    ) -> Result<Option<(KeyId, SecretId)>, StoreError>;
    /// Whose secrets these tags are, within a workspace; dead ones too.
    async fn holders(
        &mut self,
        workspace: &WorkspaceId,
        tags: &[Tag],
    ) -> Result<Vec<(Tag, KeyId, SecretId)>, StoreError>;
    /// The sealed digests that are kept of these keys' secrets.
    async fn sealed_digests(
        &mut self,
        keys: &[KeyId],
    ) -> Result<Vec<(KeyId, SecretId, Vec<u8>)>, StoreError>;
    /// Inserts keys that are new, with their secrets, many in one statement.
    async fn put_new_keys(&mut self, keys: &[Key]) -> Result<(), StoreError>;
    /// Writes a key and its secrets as given: inserts or replaces it, removes secrets it no longer lists. The times of last
    /// use are not written: they have their own way. Sealed digests are written with new secrets, and go when one is revoked.
    async fn put_key(&mut self, key: &Key) -> Result<(), StoreError>;
    /// Removes a key and its secrets for good.
    async fn purge_key(&mut self, id: KeyId) -> Result<(), StoreError>;
    /// The same for many, in few statements.
    async fn purge_keys(&mut self, ids: &[KeyId]) -> Result<(), StoreError>;
    /// Removes the secrets of these keys that ended before `before`, and says of the keys that they changed now, at this
    /// revision.
    async fn forget_secrets(
        &mut self,
        keys: &[KeyId],
        before: Time,
        now: Time,
    ) -> Result<(), StoreError>;
    /// Destroys the sealed tokens of the keys of a workspace after `after`, at most so many keys; returns the last of them,
    /// none where there are no more, and how many tokens it destroyed.
    async fn destroy_sealed(
        &mut self,
        workspace: &WorkspaceId,
        after: Option<KeyId>,
        keys: u32,
    ) -> Result<(Option<KeyId>, u64), StoreError>;

    /// One workspace.
    async fn workspace(&mut self, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError>;
    /// Inserts or replaces a workspace.
    async fn put_workspace(&mut self, workspace: &Workspace) -> Result<(), StoreError>;
    /// Removes a workspace with its subscriptions, scopes, principals, routes, and the memory of its imports.
    async fn delete_workspace(&mut self, id: &WorkspaceId) -> Result<(), StoreError>;
    /// Whether a workspace has keys, deleted ones too.
    async fn has_keys(&mut self, workspace: &WorkspaceId) -> Result<bool, StoreError>;

    /// One subscription.
    async fn subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError>;
    /// Those of these subscriptions that there are.
    async fn subscriptions(
        &mut self,
        workspace: &WorkspaceId,
        ids: &[SubscriptionId],
    ) -> Result<Vec<SubscriptionId>, StoreError>;
    /// Inserts or replaces a subscription.
    async fn put_subscription(&mut self, subscription: &Subscription) -> Result<(), StoreError>;
    /// Removes a subscription.
    async fn delete_subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<(), StoreError>;
    /// A key bound to a subscription, deleted ones too.
    async fn key_with_subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<KeyId>, StoreError>;

    /// The whole catalogue of a workspace.
    async fn scopes(&mut self, workspace: &WorkspaceId) -> Result<Vec<Scope>, StoreError>;
    /// Inserts or replaces a catalogue entry.
    async fn put_scope(&mut self, scope: &Scope) -> Result<(), StoreError>;
    /// Removes a catalogue entry.
    async fn delete_scope(&mut self, workspace: &WorkspaceId, name: &str)
    -> Result<(), StoreError>;
    /// A key that lists exactly this grant, deleted ones too.
    async fn key_with_grant(
        &mut self,
        workspace: &WorkspaceId,
        grant: &str,
    ) -> Result<Option<KeyId>, StoreError>;

    /// One route.
    async fn route(
        &mut self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<Option<Route>, StoreError>;
    /// All routes of a workspace, by id.
    async fn routes(&mut self, workspace: &WorkspaceId) -> Result<Vec<Route>, StoreError>;
    /// How many routes a workspace has.
    async fn count_routes(&mut self, workspace: &WorkspaceId) -> Result<u64, StoreError>;
    /// Another route of the workspace that has one of this route's shapes.
    async fn route_in_conflict(&mut self, route: &Route) -> Result<Option<RouteId>, StoreError>;
    /// Routes of other workspaces that claim hosts.
    async fn claims_of_others(&mut self, workspace: &WorkspaceId)
    -> Result<Vec<Route>, StoreError>;
    /// Inserts or replaces a route, and its shapes.
    async fn put_route(&mut self, route: &Route) -> Result<(), StoreError>;
    /// Removes a route, its shapes, and the counts of those who passed it without a key.
    async fn delete_route(
        &mut self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<(), StoreError>;

    /// One principal.
    async fn principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<Principal>, StoreError>;
    /// Those of these principals that there are, in no order.
    async fn principals(
        &mut self,
        workspace: &WorkspaceId,
        ids: &[PrincipalId],
    ) -> Result<Vec<Principal>, StoreError>;
    /// Inserts or replaces principals, many in one statement.
    async fn put_principals(&mut self, principals: &[Principal]) -> Result<(), StoreError>;
    /// Removes a principal.
    async fn delete_principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<(), StoreError>;
    /// A key bound to a principal, deleted ones too.
    async fn key_with_principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<KeyId>, StoreError>;
    /// A principal that lists one of these grants.
    async fn principal_with_grant(
        &mut self,
        workspace: &WorkspaceId,
        grants: &[String],
    ) -> Result<Option<PrincipalId>, StoreError>;

    /// The idempotency record of this id.
    async fn idempotency(&mut self, id: &[u8; 32])
    -> Result<Option<IdempotencyRecord>, StoreError>;
    /// Writes an idempotency record.
    async fn put_idempotency(&mut self, record: &IdempotencyRecord) -> Result<(), StoreError>;
    /// Forgets the sealed tokens of a key's idempotency records: of one secret, or of all.
    async fn forget_tokens(
        &mut self,
        key: KeyId,
        secret: Option<SecretId>,
    ) -> Result<(), StoreError>;

    /// What was imported into a workspace by these import ids.
    async fn imported(
        &mut self,
        workspace: &WorkspaceId,
        import_ids: &[&str],
    ) -> Result<Vec<ImportRecord>, StoreError>;
    /// Remembers imports into a workspace, beyond the life of the keys.
    async fn remember_imports(
        &mut self,
        workspace: &WorkspaceId,
        imports: &[ImportRecord],
        time: Time,
    ) -> Result<(), StoreError>;

    /// Writes events that are to be delivered, each with the next number of its key.
    async fn put_events(&mut self, events: &[NewEvent]) -> Result<(), StoreError>;
    /// Sends the pending events of a key to another URL.
    async fn retarget_events(&mut self, key: KeyId, url: &str) -> Result<(), StoreError>;
    /// Makes a delivery pending anew, to this URL where one is given; returns it as it is then, none where there is none.
    async fn redeliver(
        &mut self,
        id: EventId,
        url: Option<&str>,
        now: Time,
    ) -> Result<Option<Delivery>, StoreError>;
    /// The signing secrets of a workspace, ended ones too until they are cleared away.
    async fn signing_secrets(
        &mut self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<SigningSecret>, StoreError>;
    /// Inserts or replaces a signing secret.
    async fn put_signing_secret(&mut self, secret: &SigningSecret) -> Result<(), StoreError>;
    /// Makes due what failed for lack of a signing secret.
    async fn hasten_unsigned(
        &mut self,
        workspace: &WorkspaceId,
        now: Time,
    ) -> Result<(), StoreError>;

    /// Says that the bootstrap key has been made; false where it had been made before.
    async fn set_bootstrapped(&mut self) -> Result<bool, StoreError>;
    /// Begins another history: revisions of before and after are told apart by it.
    async fn set_epoch(&mut self, epoch: u32) -> Result<(), StoreError>;
    /// Adds to the feed and the audit log, in order.
    async fn append(&mut self, change: &Change) -> Result<(), StoreError>;
    /// The same for many, in few statements.
    async fn append_many(&mut self, changes: &[Change]) -> Result<(), StoreError>;
    /// Commits. [`StoreError::OutcomeUnknown`]: it may or may not have happened; any other error: it has not.
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}

/// A stored answer to a repeatable call.
#[derive(Debug, Clone)]
pub struct IdempotencyRecord {
    /// Keyed digest of caller, method and `request_id`.
    pub id: [u8; 32],
    /// Keyed digest of the request.
    pub fingerprint: [u8; 32],
    /// The answer as JSON, without tokens.
    pub answer: String,
    /// The key it is about.
    pub key: Option<KeyId>,
    /// Tokens by secret, each sealed under a key that only the `request_id` yields.
    pub sealed: Vec<(SecretId, Vec<u8>)>,
    /// When it was made.
    pub create_time: Time,
}

/// An item that was imported into a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRecord {
    /// What tells it from all others.
    pub import_id: String,
    /// The key it became.
    pub key: KeyId,
    /// Keyed digest of its content.
    pub fingerprint: [u8; 32],
}
