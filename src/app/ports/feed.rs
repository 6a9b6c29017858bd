//! The feed of changes: what is written to it, what is read from it, and who follows it.

use async_trait::async_trait;
use serde_json::Value;

use super::freshness::Freshness;
use super::{Standing, StoreError};
use crate::domain::id::{KeyId, PrincipalId, RouteId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::revision::Revision;
use crate::domain::route::Route;
use crate::domain::time::Time;
use crate::domain::workspace::{Scope, Subscription, Workspace};
use crate::index::digest::Digest;

/// The follower of the feed, as mutations and waiting decisions need it.
#[async_trait]
pub trait Feed: Send + Sync + 'static {
    /// Brings the index up to a revision at least, and confirms it; foreign changes in between are applied, too. Fails where
    /// another history than that revision's is followed.
    async fn catch_up(&self, to: Revision) -> Result<(), StoreError>;
    /// Waits until a revision is applied, or another history than its own is followed, in which it never will be; however
    /// long that takes: the caller sets the limit.
    async fn wait_for(&self, revision: Revision);
    /// The revision up to which everything is applied, and would be after a restart without the database: what others may
    /// be told.
    fn confirmed(&self) -> Revision;
    /// Waits until that reaches a revision, or is of another history, however long that takes.
    async fn wait_for_confirmed(&self, revision: Revision);
    /// Compares the index with the database, at one revision.
    async fn verify(&self) -> Result<Verified, StoreError>;
    /// Whether this process may start without the database once it is entered in its fleet's list.
    fn is_kept(&self) -> bool;
    /// Notes whether it is entered there.
    async fn stand(&self, standing: Standing) -> Result<(), StoreError>;
    /// Whether a database that is at this place is the one that is followed, of which so much was applied before that was
    /// read. Once it was further back in the same history, it is not any more until it has another one: numbers may come to
    /// look alike again.
    fn follows(&self, known: Revision, there: Position) -> bool;
    /// Refuses keys and workspaces until the feed has spoken: whether access was taken from them is not known.
    fn doubt(&self, doubt: Doubt);
    /// How fresh the index is.
    fn freshness(&self) -> &Freshness;
}

/// What the index and the database hold at one revision.
#[derive(Debug, Clone)]
pub struct Verified {
    /// The revision.
    pub revision: Revision,
    /// What decisions are made with here.
    pub index: Digest,
    /// What a process that starts now would make them with.
    pub database: Digest,
}

/// What a change may have taken access from.
#[derive(Debug, Clone, Default)]
pub struct Doubt {
    /// Keys.
    pub keys: Vec<KeyId>,
    /// Workspaces, whole.
    pub workspaces: Vec<WorkspaceId>,
}

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

impl From<Position> for Revision {
    fn from(Position { n, epoch }: Position) -> Self {
        Self { epoch, n }
    }
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
    /// When each of the revisions was made, by its writer's clock.
    pub times: Vec<Time>,
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
