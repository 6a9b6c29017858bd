//! What the use cases need from the world: a store, a clock, randomness.

pub mod audit;
pub mod fleet;
pub mod outbox;
mod records;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::decision::Reason;
use crate::domain::id::{
    EventId, KeyId, PrincipalId, RouteId, SecretId, SubscriptionId, WorkspaceId,
};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::route::Route;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Scope, Subscription, Workspace};

pub use records::*;

use audit::AuditLog;
use outbox::{Delivery, NewEvent, SigningSecret};

/// The time of day.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Time;
}

/// Randomness fit for keys.
pub trait Entropy: Send + Sync + 'static {
    /// Fills the buffer with random bytes from the operating system, or fails whole.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be reached, is locked, full or read-only. Nothing was changed.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The outcome of a commit is not known.
    #[error("the outcome of a commit is unknown: {0}")]
    OutcomeUnknown(String),
    /// What it holds is not what this program writes.
    #[error("the database holds what it should not: {0}")]
    Corrupt(String),
}

/// The state of all keys, and its history.
#[async_trait]
pub trait Store: AuditLog + Send + Sync + 'static {
    /// What the database says of itself; none before [`Store::initialise`].
    async fn meta(&self) -> Result<Option<Meta>, StoreError>;
    /// Writes `meta` where there is none; returns what stands then, which may be another process's.
    async fn initialise(&self, meta: &Meta) -> Result<Meta, StoreError>;
    /// Replaces the wrapped keys `from` by `to`, the same keys under another root key; nothing where they are not `from`.
    async fn rewrap(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError>;
    /// Begins a mutation by taking the next revision, which orders it after all others: what it then reads is what is true
    /// at that revision. Dropped without [`Tx::commit`], it leaves no trace, its revision included.
    async fn begin(&self) -> Result<Box<dyn Tx>, StoreError>;

    /// One key, whole.
    async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError>;
    /// Keys by a query, in its order, at most its limit.
    async fn list_keys(&self, query: &KeyQuery) -> Result<Vec<Key>, StoreError>;
    /// Whose secret a tag is, within a workspace; dead ones too.
    async fn secret_holder(
        &self,
        workspace: &WorkspaceId,
        tag: &Tag,
    ) -> Result<Option<(KeyId, SecretId)>, StoreError>;
    /// One workspace.
    async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError>;
    /// Workspaces by id, those after `after`.
    async fn list_workspaces(
        &self,
        after: Option<&WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError>;
    /// One subscription.
    async fn subscription(
        &self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError>;
    /// A workspace's subscriptions by id, those after `after`; with `only`, just those.
    async fn list_subscriptions(
        &self,
        workspace: &WorkspaceId,
        only: Option<&[SubscriptionId]>,
        after: Option<&SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<Subscription>, StoreError>;
    /// How many sealed tokens a workspace has.
    async fn count_sealed(&self, workspace: &WorkspaceId) -> Result<u64, StoreError>;
    /// One catalogue entry.
    async fn scope(&self, workspace: &WorkspaceId, name: &str)
    -> Result<Option<Scope>, StoreError>;
    /// A workspace's catalogue by name, those after `after`.
    async fn list_scopes(
        &self,
        workspace: &WorkspaceId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Scope>, StoreError>;

    /// One route.
    async fn route(
        &self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<Option<Route>, StoreError>;
    /// A workspace's routes by id, those after `after`.
    async fn list_routes(
        &self,
        workspace: &WorkspaceId,
        after: Option<&RouteId>,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError>;
    /// How often these routes of a workspace were passed without a key, as far as it was written down.
    async fn keyless_uses(
        &self,
        workspace: &WorkspaceId,
        routes: &[RouteId],
    ) -> Result<Vec<KeylessUse>, StoreError>;
    /// Adds to that. Not a change: it takes no revision; what is of routes that are gone is dropped.
    async fn add_keyless_uses(&self, uses: &[KeylessUse]) -> Result<(), StoreError>;

    /// One principal.
    async fn principal(
        &self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<Principal>, StoreError>;
    /// A workspace's principals by a query, ordered by id.
    async fn list_principals(&self, query: &PrincipalQuery) -> Result<Vec<Principal>, StoreError>;

    /// Reads everything the index needs, in one snapshot, handing it to `sink` piece by piece (workspaces and their scopes,
    /// subscriptions, principals and routes before keys); returns the revision of that snapshot.
    async fn load(&self, sink: &mut (dyn FnMut(Loaded) + Send)) -> Result<u64, StoreError>;
    /// Which revision the database is at: what is asked to find out whether there is anything to read from the feed.
    async fn position(&self) -> Result<Position, StoreError>;
    /// What changed after revision `after`, read in one snapshot with the rows as they are in it; at most about `limit`
    /// changes, whole revisions only.
    async fn feed(&self, after: u64, limit: u32) -> Result<FeedBatch, StoreError>;
    /// Writes times of last use; older ones than those that stand are ignored. Not a change: it takes no revision.
    async fn flush_last_used(&self, used: &[(SecretId, Time)]) -> Result<(), StoreError>;
    /// Adds grants that were made use of to what is known of keys. Not a change: it takes no revision.
    async fn flush_exercised(&self, used: &[(KeyId, Vec<String>)]) -> Result<(), StoreError>;
    /// Which grants of these keys were ever made use of, as far as flushed.
    async fn exercised(&self, keys: &[KeyId]) -> Result<Exercised, StoreError>;
    /// Deleted keys whose purge time has passed; at most `limit`.
    async fn due_for_purge(&self, now: Time, limit: u32) -> Result<Vec<KeyId>, StoreError>;
    /// Keys with secrets that ended before `before` and may be forgotten; at most `limit`.
    async fn with_secrets_ended_before(
        &self,
        before: Time,
        limit: u32,
    ) -> Result<Vec<KeyId>, StoreError>;
    /// Deletes idempotency records made before `before`, and sealed tokens in those made before `sealed_before`; in
    /// transactions of some of them, between which others get their turn.
    async fn expire_idempotency(&self, before: Time, sealed_before: Time)
    -> Result<(), StoreError>;
    /// Deletes the oldest changes, those made before `before`: at most about `limit`, whole revisions only, never the newest
    /// one. Returns how many.
    async fn prune_changes(&self, before: Time, limit: u32) -> Result<u64, StoreError>;
}

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

/// The follower of the feed, as mutations and waiting decisions need it.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Brings the index up to a revision at least; foreign changes in between are applied, too.
    async fn catch_up(&self, n: u64) -> Result<(), StoreError>;
    /// Waits until a revision is applied, however long that takes: the caller sets the limit.
    async fn wait_for(&self, n: u64);
    /// Whether a database that is at this place is the one that is followed. Once one was not, none is any more: numbers
    /// may come to look alike again.
    fn follows(&self, epoch: u32, n: u64) -> bool;
    /// Refuses keys and workspaces until the feed has spoken: whether access was taken from them is not known.
    fn doubt(&self, doubt: Doubt);
}

/// What a change may have taken access from.
#[derive(Debug, Clone, Default)]
pub struct Doubt {
    /// Keys.
    pub keys: Vec<KeyId>,
    /// Workspaces, whole.
    pub workspaces: Vec<WorkspaceId>,
}

/// What a database says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Tells this history from others.
    pub epoch: u32,
    /// `k_lookup` and `k_seal`, wrapped by the root key.
    pub wrapped_keys: Vec<u8>,
    /// Whether the bootstrap key has been made.
    pub bootstrapped: bool,
}

/// Which keys to list.
#[derive(Debug, Clone)]
pub struct KeyQuery {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Part of the folded display name.
    pub name_contains: Option<String>,
    /// States wanted.
    pub states: StateSet,
    /// When states are told.
    pub now: Time,
    /// Listing exactly this grant.
    pub scope: Option<String>,
    /// Bound to this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Bound to this principal.
    pub principal: Option<PrincipalId>,
    /// Bound to this one: all that who manages only their own may see.
    pub only_of: Option<PrincipalId>,
    /// Bound to some of these, and to none besides: what a bound administrator may see.
    pub within: Option<Vec<SubscriptionId>>,
    /// With this label, and this value of it where given.
    pub label: Option<(String, Option<String>)>,
    /// Expiring before.
    pub expire_before: Option<Time>,
    /// Not used since.
    pub unused_since: Option<Time>,
    /// With a restriction in shadow.
    pub in_shadow: bool,
    /// In this order.
    pub order: KeyOrder,
    /// Only those after this place in the order.
    pub after: Option<KeyCursor>,
    /// How many at most.
    pub limit: u32,
}

impl KeyQuery {
    /// All keys of a workspace that are not deleted now, by creation.
    pub fn all(workspace: WorkspaceId, now: Time, limit: u32) -> Self {
        Self {
            workspace,
            name_contains: None,
            states: StateSet {
                active: true,
                disabled: true,
                expired: true,
                deleted: false,
            },
            now,
            scope: None,
            subscription: None,
            principal: None,
            only_of: None,
            within: None,
            label: None,
            expire_before: None,
            unused_since: None,
            in_shadow: false,
            order: KeyOrder::Created { descending: false },
            after: None,
            limit,
        }
    }
}

/// Which principals to list.
#[derive(Debug, Clone)]
pub struct PrincipalQuery {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Part of the id or the display name, folded.
    pub name_contains: Option<String>,
    /// Only those that are enabled, or that are not.
    pub enabled: Option<bool>,
    /// Only those after this one.
    pub after: Option<PrincipalId>,
    /// How many at most.
    pub limit: u32,
}

/// Key states, as a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateSet {
    /// Active ones.
    pub active: bool,
    /// Disabled ones.
    pub disabled: bool,
    /// Expired ones (and neither disabled nor deleted).
    pub expired: bool,
    /// Deleted ones.
    pub deleted: bool,
}

/// An order of keys; ids break ties, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrder {
    /// By id, which is by creation.
    Created {
        /// Newest first.
        descending: bool,
    },
    /// By folded display name.
    Name {
        /// Z first.
        descending: bool,
    },
}

/// A place in an order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCursor {
    /// The folded display name; not used in the order of creation.
    pub name: String,
    /// The id.
    pub id: KeyId,
}

/// Grants that were made use of, by key.
pub type Exercised = HashMap<KeyId, BTreeSet<String>>;

/// One piece of what the index holds.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// A workspace with its whole catalogue.
    Workspace(Box<Workspace>, Vec<Scope>),
    /// A subscription.
    Subscription(Subscription),
    /// A route.
    Route(Box<Route>),
    /// A principal.
    Principal(Principal),
    /// A key with its secrets, as far as decisions ask for them: texts for people, times of the past and sealed tokens are
    /// left out, and the order of its secrets.
    Key(Box<Key>),
}

/// A workspace with its whole catalogue.
pub type WorkspaceRow = (Workspace, Vec<Scope>);

/// Where a database is in which history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Its revision.
    pub n: u64,
    /// Its history.
    pub epoch: u32,
}

/// A part of the feed, with the rows it touched as they are in the same snapshot.
#[derive(Debug, Clone, Default)]
pub struct FeedBatch {
    /// The revision that is reached by applying this; the same as asked for where nothing is new.
    pub upto: u64,
    /// The feed no longer reaches back to `after`: nothing else is said here, and everything must be loaded again.
    pub pruned: bool,
    /// The revision of the database at the time; more than `upto` where the limit cut in.
    pub head: u64,
    /// Which history the database holds: another than before means that a backup was restored under us.
    pub epoch: u32,
    /// Workspaces touched, or whose catalogue was; none: it is gone.
    pub workspaces: Vec<(WorkspaceId, Option<WorkspaceRow>)>,
    /// Subscriptions touched; none: it is gone.
    pub subscriptions: Vec<((WorkspaceId, SubscriptionId), Option<Subscription>)>,
    /// Routes touched; none: it is gone.
    pub routes: Vec<((WorkspaceId, RouteId), Option<Route>)>,
    /// Principals touched; none: it is gone.
    pub principals: Vec<((WorkspaceId, PrincipalId), Option<Principal>)>,
    /// Keys touched; none: it is gone.
    pub keys: Vec<(KeyId, Option<Key>)>,
}

/// How often a route was passed without a key for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeylessUse {
    /// The route's workspace.
    pub workspace: WorkspaceId,
    /// The route.
    pub route: RouteId,
    /// What would have denied.
    pub reason: Reason,
    /// How often.
    pub count: u64,
    /// When the last one came.
    pub last: Time,
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

/// One entry of the feed, which is the audit log too.
#[derive(Debug, Clone)]
pub struct Change {
    /// Who did it.
    pub actor: Actor,
    /// What was done: `CREATE`, `UPDATE`, `DELETE`, `REGENERATE`, ….
    pub action: &'static str,
    /// To what.
    pub resource: Resource,
    /// As it was; no secrets.
    pub before: Option<Value>,
    /// As it is; no secrets.
    pub after: Option<Value>,
    /// When.
    pub time: Time,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// An administrator, by key.
    Key(KeyId),
    /// The same, as a principal that it named.
    OnBehalf(KeyId, PrincipalId),
    /// The first start.
    Bootstrap,
    /// `claviger recover` or `adopt-restore`, by whoever holds database and root key.
    Recovery,
    /// The service itself: purges.
    Service,
}

/// What a change touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A key of a workspace.
    Key(WorkspaceId, KeyId),
    /// A workspace.
    Workspace(WorkspaceId),
    /// A subscription of a workspace.
    Subscription(WorkspaceId, SubscriptionId),
    /// A catalogue entry of a workspace.
    Scope(WorkspaceId, String),
    /// A route of a workspace.
    Route(WorkspaceId, RouteId),
    /// A principal of a workspace.
    Principal(WorkspaceId, PrincipalId),
}

impl Resource {
    /// The workspace it belongs to.
    pub fn workspace(&self) -> &WorkspaceId {
        match self {
            Self::Key(w, _)
            | Self::Workspace(w)
            | Self::Subscription(w, _)
            | Self::Scope(w, _)
            | Self::Principal(w, _)
            | Self::Route(w, _) => w,
        }
    }
}

/// How long dead secrets are remembered.
pub const DEAD_SECRET_RETENTION: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How long deleted keys can be undeleted.
pub const UNDELETE_PERIOD: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long a repeated call gets its answer.
pub const IDEMPOTENCY_PERIOD: Duration = Duration::from_secs(24 * 3_600);
/// How long a repeated call gets its token.
pub const REPLAY_PERIOD: Duration = Duration::from_secs(600);
