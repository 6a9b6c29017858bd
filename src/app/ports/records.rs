//! What is recorded of decisions: the request log, usage, and what restrictions in shadow would have denied. It is kept
//! apart from the state of keys, so that recording never holds up a change.

use std::net::IpAddr;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::decision::Reason;
use crate::domain::id::{KeyId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::network::IpNet;
use crate::domain::time::Time;
use crate::domain::workspace::Presentation;

/// What is kept of what decisions left behind.
#[async_trait]
pub trait Records: Send + Sync + 'static {
    /// Adds to the counts. Repeated with the same writer and sequence it changes nothing, so that it can be repeated where
    /// the outcome is not known; sequences of one writer must come in order.
    async fn add(&self, flush: &Flush) -> Result<(), StoreError>;
    /// Writes rows of the request log in one transaction; rows that are there already stay as they are.
    async fn log(&self, rows: &[LogRow]) -> Result<(), StoreError>;

    /// Rows of the request log, newest first, at most the query's limit.
    async fn list_decisions(&self, query: &DecisionQuery) -> Result<Vec<LogRow>, StoreError>;
    /// Usage, added up as the query says, in order of time and then of groups, at most its limit.
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsagePoint>, StoreError>;
    /// What restrictions in shadow would have denied these keys of a workspace, by key, route and reason.
    async fn shadow(
        &self,
        workspace: &WorkspaceId,
        keys: &[KeyId],
    ) -> Result<Vec<ShadowCount>, StoreError>;
    /// Forgets what restrictions in shadow would have denied a key.
    async fn reset_shadow(&self, workspace: &WorkspaceId, key: KeyId) -> Result<(), StoreError>;

    /// Workspaces of which something is kept, those after `after`, by id.
    async fn workspaces(
        &self,
        after: Option<&WorkspaceId>,
    ) -> Result<Option<WorkspaceId>, StoreError>;
    /// Deletes of a workspace what is older than these; at most `limit` rows of each kind. Returns how many.
    async fn prune(
        &self,
        workspace: &WorkspaceId,
        before: Before,
        limit: u64,
    ) -> Result<u64, StoreError>;
    /// Forgets the writers that have not written since `before`.
    async fn forget_writers(&self, before: Time) -> Result<(), StoreError>;
}

/// From when on what is kept is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Rows of the request log.
    pub log: Time,
    /// Usage.
    pub usage: Time,
    /// Counts of what restrictions in shadow would have denied, by the last time.
    pub shadow: Time,
}

impl Before {
    /// Everything.
    pub const ALL: Self = Self {
        log: Time::from_micros(i64::MAX),
        usage: Time::from_micros(i64::MAX),
        shadow: Time::from_micros(i64::MAX),
    };
}

/// One addition to the counts.
#[derive(Debug, Clone)]
pub struct Flush {
    /// Who adds: a number drawn by each process.
    pub writer: u64,
    /// Which addition of this writer; each is one more than the one before.
    pub sequence: u64,
    /// When.
    pub now: Time,
    /// Usage to add, in the order of its identity.
    pub usage: Vec<(UsageId, u64)>,
    /// What restrictions in shadow would have denied, in the order of its identity.
    pub shadow: Vec<ShadowCount>,
}

/// What is counted apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageId {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The beginning of the hour.
    pub hour: Time,
    /// The key; none: not known whose.
    pub key: Option<KeyId>,
    /// The subscription; empty: none.
    pub subscription: String,
    /// The route; empty: none.
    pub route: String,
    /// Whether it allowed.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
}

/// How often a restriction in shadow would have denied a key on a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowCount {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The key.
    pub key: KeyId,
    /// The route; empty: none.
    pub route: String,
    /// What it would have said.
    pub reason: Reason,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Time,
    /// The last time.
    pub last: Time,
    /// Networks that hold the addresses it would have denied; empty for other reasons, and for keys off the record.
    pub networks: Vec<IpNet>,
    /// Whether there were more addresses than the networks hold.
    pub more_networks: bool,
}

/// The id of a row of the request log: the time of it in microseconds, and what tells it from others of that time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u128);

impl RowId {
    /// An id of this moment; `distinct` is of this row alone.
    pub fn new(time: Time, distinct: u64) -> Self {
        Self(Self::first_at(time).0 | u128::from(distinct))
    }

    /// The smallest id of this moment.
    pub fn first_at(time: Time) -> Self {
        Self(u128::from(u64::try_from(time.micros()).unwrap_or(0)) << 64)
    }

    /// The moment.
    pub fn time(self) -> Time {
        Time::from_micros(i64::try_from(self.0 >> 64).unwrap_or(i64::MAX))
    }
}

/// A row of the request log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRow {
    /// Its id, with the time of the decision.
    pub id: RowId,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The process that decided.
    pub replica: String,
    /// What it says.
    pub entry: LogEntry,
}

/// What a row of the request log says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEntry {
    /// A decision.
    Decision(Box<LoggedDecision>),
    /// So many decisions are missing, from this moment on until that of the row.
    Gap {
        /// How many.
        missing: u64,
        /// Since when.
        since: Time,
    },
}

/// A decision as it is logged: never a credential, a query or a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedDecision {
    /// Whether it allowed.
    pub allowed: bool,
    /// Why; none: a reason that this program does not know.
    pub reason: Option<Reason>,
    /// The key, and the secret of it; none: not known whose.
    pub key: Option<(KeyId, SecretId)>,
    /// The subscription; empty: none.
    pub subscription: String,
    /// The route; empty: none.
    pub route: String,
    /// How the credential was presented.
    pub presentation: Option<Presentation>,
    /// The client's address.
    pub source_ip: Option<IpAddr>,
    /// The method of the request; empty: not known.
    pub method: String,
    /// The path of the request without its query; empty: not known.
    pub path: String,
    /// Through which door it came: `authorize` or `envoy`.
    pub surface: String,
    /// Scopes demanded, all of them, separated by spaces.
    pub all_of: String,
    /// Scopes demanded, one of them, separated by spaces.
    pub any_of: String,
    /// What would have denied, were it not in shadow.
    pub shadowed: Vec<Reason>,
    /// The revision it rests on, as `epoch.n`.
    pub revision: String,
}

/// Which rows of the request log to list.
#[derive(Debug, Clone)]
pub struct DecisionQuery {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// About this key.
    pub key: Option<KeyId>,
    /// Accounted to one of these subscriptions; none: whatever subscription.
    pub subscriptions: Option<Vec<SubscriptionId>>,
    /// That came out so.
    pub allowed: Option<bool>,
    /// For this reason.
    pub reason: Option<Reason>,
    /// From this address.
    pub source_ip: Option<IpAddr>,
    /// On this route.
    pub route: Option<String>,
    /// From then on.
    pub start: Option<Time>,
    /// Before then.
    pub end: Option<Time>,
    /// Only those before this row.
    pub before: Option<RowId>,
    /// How many at most.
    pub limit: u32,
}

impl DecisionQuery {
    /// All rows of a workspace.
    pub fn all(workspace: WorkspaceId, limit: u32) -> Self {
        Self {
            workspace,
            key: None,
            subscriptions: None,
            allowed: None,
            reason: None,
            source_ip: None,
            route: None,
            start: None,
            end: None,
            before: None,
            limit,
        }
    }

    /// Whether it asks for decisions of some kind: then rows that say what is missing are not what is asked for.
    pub fn is_filtered(&self) -> bool {
        self.key.is_some()
            || self.subscriptions.is_some()
            || self.allowed.is_some()
            || self.reason.is_some()
            || self.source_ip.is_some()
            || self.route.is_some()
    }
}

/// How usage is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// By the hour.
    Hour,
    /// By the day, in UTC.
    Day,
}

impl Interval {
    /// Its length in microseconds.
    pub const fn micros(self) -> i64 {
        match self {
            Self::Hour => 3_600_000_000,
            Self::Day => 24 * 3_600_000_000,
        }
    }

    /// The beginning of the interval that a moment is in.
    pub const fn begin(self, time: Time) -> Time {
        Time::from_micros(time.micros().div_euclid(self.micros()) * self.micros())
    }
}

/// What usage is told apart by, beside time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Groups {
    /// By key.
    pub key: bool,
    /// By subscription.
    pub subscription: bool,
    /// By route.
    pub route: bool,
    /// By allow and deny.
    pub decision: bool,
    /// By reason.
    pub reason: bool,
}

/// Which usage to add up.
#[derive(Debug, Clone)]
pub struct UsageQuery {
    /// Of this workspace.
    pub workspace: WorkspaceId,
    /// Of this key.
    pub key: Option<KeyId>,
    /// Of these subscriptions; none: whatever subscription.
    pub subscriptions: Option<Vec<SubscriptionId>>,
    /// On this route.
    pub route: Option<String>,
    /// That came out so.
    pub allowed: Option<bool>,
    /// From this moment on.
    pub start: Time,
    /// Before this one.
    pub end: Time,
    /// By hour or day.
    pub interval: Interval,
    /// Told apart by these.
    pub groups: Groups,
    /// Only those after this one.
    pub after: Option<UsagePlace>,
    /// How many at most.
    pub limit: u32,
}

impl UsageQuery {
    /// All usage of a workspace, told apart by time alone.
    pub fn all(workspace: WorkspaceId, interval: Interval, limit: u32) -> Self {
        Self {
            workspace,
            key: None,
            subscriptions: None,
            route: None,
            allowed: None,
            start: Time::from_micros(0),
            end: Time::from_micros(i64::MAX),
            interval,
            groups: Groups::default(),
            after: None,
            limit,
        }
    }
}

/// A place in the order of usage; what is not told apart is empty.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UsagePlace {
    /// The beginning of the interval.
    pub start: Time,
    /// The key, as text.
    pub key: String,
    /// The subscription.
    pub subscription: String,
    /// The route.
    pub route: String,
    /// `ALLOW` or `DENY`.
    pub decision: String,
    /// The name of the reason.
    pub reason: String,
}

/// How often, at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsagePoint {
    /// When, and of what.
    pub place: UsagePlace,
    /// How often.
    pub count: u64,
}
