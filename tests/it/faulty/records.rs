//! Records that fail on demand: the real ones behind them do the work.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use claviger::app::ports::{
    Before, DecisionQuery, Flush, LogRow, Records, ShadowCount, StoreError, UsagePoint, UsageQuery,
};
use claviger::domain::id::{KeyId, WorkspaceId};
use claviger::domain::time::Time;
use claviger::store::SqlRecords;

/// What becomes of writes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Writes {
    /// What the database says.
    #[default]
    Honest,
    /// They are made, but nobody can tell.
    UnknownMade,
    /// They are not made, and nobody can tell.
    UnknownNotMade,
    /// They fail.
    Refused,
}

/// Records that fail on demand.
#[derive(Debug, Clone)]
pub(super) struct FaultyRecords {
    inner: SqlRecords,
    writes: Arc<Mutex<Writes>>,
    /// How many writes failed.
    failed: Arc<Mutex<usize>>,
}

impl FaultyRecords {
    pub(super) fn new(inner: SqlRecords) -> Self {
        Self {
            inner,
            writes: Arc::default(),
            failed: Arc::default(),
        }
    }

    /// From now on writes end like this.
    pub(super) fn writes(&self, writes: Writes) {
        *self.writes.lock().unwrap() = writes;
    }

    pub(super) fn failed(&self) -> usize {
        *self.failed.lock().unwrap()
    }

    fn now(&self) -> Writes {
        let writes = *self.writes.lock().unwrap();
        if writes != Writes::Honest {
            *self.failed.lock().unwrap() += 1;
        }
        writes
    }
}

fn unknown() -> StoreError {
    StoreError::OutcomeUnknown("a test says so".to_owned())
}

#[async_trait]
impl Records for FaultyRecords {
    async fn add(&self, flush: &Flush) -> Result<(), StoreError> {
        match self.now() {
            Writes::Honest => self.inner.add(flush).await,
            Writes::UnknownMade => {
                self.inner.add(flush).await?;
                Err(unknown())
            }
            Writes::UnknownNotMade => Err(unknown()),
            Writes::Refused => Err(StoreError::Unavailable("a test says so".to_owned())),
        }
    }

    async fn log(&self, rows: &[LogRow]) -> Result<(), StoreError> {
        match self.now() {
            Writes::Honest => self.inner.log(rows).await,
            Writes::UnknownMade => {
                self.inner.log(rows).await?;
                Err(unknown())
            }
            Writes::UnknownNotMade => Err(unknown()),
            Writes::Refused => Err(StoreError::Unavailable("a test says so".to_owned())),
        }
    }

    async fn list_decisions(&self, query: &DecisionQuery) -> Result<Vec<LogRow>, StoreError> {
        self.inner.list_decisions(query).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsagePoint>, StoreError> {
        self.inner.usage(query).await
    }

    async fn shadow(
        &self,
        workspace: &WorkspaceId,
        keys: &[KeyId],
    ) -> Result<Vec<ShadowCount>, StoreError> {
        self.inner.shadow(workspace, keys).await
    }

    async fn reset_shadow(&self, workspace: &WorkspaceId, key: KeyId) -> Result<(), StoreError> {
        self.inner.reset_shadow(workspace, key).await
    }

    async fn workspaces(
        &self,
        after: Option<&WorkspaceId>,
    ) -> Result<Option<WorkspaceId>, StoreError> {
        self.inner.workspaces(after).await
    }

    async fn prune(
        &self,
        workspace: &WorkspaceId,
        before: Before,
        limit: u64,
    ) -> Result<u64, StoreError> {
        match self.now() {
            Writes::Honest => self.inner.prune(workspace, before, limit).await,
            _ => Err(StoreError::Unavailable("a test says so".to_owned())),
        }
    }

    async fn forget_writers(&self, before: Time) -> Result<(), StoreError> {
        self.inner.forget_writers(before).await
    }
}
