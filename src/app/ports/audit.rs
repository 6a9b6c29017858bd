//! What the use cases ask of the history: what was changed, by whom, and what comes after a place in it.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::id::WorkspaceId;
use crate::domain::time::Time;

use super::StoreError;

/// The history, to be read.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Events by a query, newest first, those after `after` in that order; at most `limit`.
    async fn audit_events(
        &self,
        query: &AuditQuery,
        after: Option<&AuditCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, StoreError>;
    /// Events that a filter lets pass, in the order in which they were made: those after a place, up to revision `upto`, at
    /// most `limit`, all from one snapshot.
    async fn audit_events_after(
        &self,
        place: Place,
        upto: u64,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<AuditBatch, StoreError>;
}

/// Which events, by what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this workspace; none: of all.
    pub workspace: Option<WorkspaceId>,
    /// About one of these kinds of things; empty: any.
    pub kinds: Vec<String>,
    /// One of these actions; empty: any.
    pub actions: Vec<String>,
}

/// Which events, to list.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// By what they are.
    pub filter: AuditFilter,
    /// By who made them.
    pub actor: Option<String>,
    /// By the id of what they are about.
    pub resource: Option<String>,
    /// Not made before.
    pub start: Option<Time>,
    /// Made before.
    pub end: Option<Time>,
}

/// A place in a list of events, which is by time; revisions break ties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCursor {
    /// When the event was made.
    pub time: Time,
    /// Its revision.
    pub revision: u64,
    /// Its place within that revision.
    pub ordinal: u64,
}

/// A place in the history: behind a whole revision, or within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The revision.
    pub n: u64,
    /// The event of it that is the last before the place; none: the place is behind all of them.
    pub ordinal: Option<u64>,
}

/// One entry of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// Its revision.
    pub revision: u64,
    /// Its place within that revision.
    pub ordinal: u64,
    /// When it was made.
    pub time: Time,
    /// Who made it: a key's id, `BOOTSTRAP`, `RECOVERY` or `SERVICE`.
    pub actor: String,
    /// The principal on whose behalf; none: for itself.
    pub on_behalf_of: Option<String>,
    /// What was done.
    pub action: String,
    /// To what kind of thing.
    pub kind: String,
    /// Of which workspace.
    pub workspace: WorkspaceId,
    /// Its id.
    pub id: String,
    /// As it was; no secrets.
    pub before: Option<Value>,
    /// As it is; no secrets.
    pub after: Option<Value>,
}

/// What is done to a database that gives it another history.
pub const NEW_HISTORY: [&str; 2] = ["ADOPT_RESTORE", "RESTORE"];

impl AuditEvent {
    /// What an event that began another history says of it: the one before, and itself.
    pub fn new_history(&self) -> Option<(Option<u32>, u32)> {
        let after = self.after.as_ref()?;
        let epoch = |name| {
            let number = after.get(name)?.as_str()?;
            u32::from_str_radix(number, 16).ok()
        };
        NEW_HISTORY
            .contains(&self.action.as_str())
            .then_some((epoch("epoch_before"), epoch("epoch")?))
    }
}

/// A part of the history.
#[derive(Debug, Clone, Default)]
pub struct AuditBatch {
    /// Which history the database holds.
    pub epoch: u32,
    /// The history no longer reaches back to the place: nothing else is said here.
    pub pruned: bool,
    /// The events.
    pub events: Vec<AuditEvent>,
    /// Whether there is nothing more up to the revision asked for: else the limit cut in.
    pub whole: bool,
}
