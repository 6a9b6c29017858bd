//! What the use cases need from the world: a store, a clock, randomness.

pub mod audit;
mod feed;
pub mod fleet;
pub mod freshness;
mod keep;
pub mod outbox;
mod query;
mod records;
mod tx;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, PrincipalId, RouteId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::route::Route;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Scope, Subscription, Workspace};

pub use feed::*;
pub use keep::*;
pub use query::*;
pub use records::*;
pub use tx::*;

use audit::AuditLog;

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
    /// subscriptions, principals and routes before keys); returns where the database was in that snapshot.
    async fn load(&self, sink: &mut (dyn FnMut(Loaded) + Send)) -> Result<Position, StoreError>;
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

/// Grants that were made use of, by key.
pub type Exercised = HashMap<KeyId, BTreeSet<String>>;

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

/// How long dead secrets are remembered.
pub const DEAD_SECRET_RETENTION: Duration = Duration::from_secs(90 * 24 * 3_600);
/// How long deleted keys can be undeleted.
pub const UNDELETE_PERIOD: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long a repeated call gets its answer.
pub const IDEMPOTENCY_PERIOD: Duration = Duration::from_secs(24 * 3_600);
/// How long a repeated call gets its token.
pub const REPLAY_PERIOD: Duration = Duration::from_secs(600);
