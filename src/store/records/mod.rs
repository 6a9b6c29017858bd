//! What is recorded of decisions: on SQLite in a file of its own, on PostgreSQL over connections of its own, so that it
//! never holds up a change.

mod add;
mod convert;
mod log;
mod prune;
mod usage;

use async_trait::async_trait;

#[cfg(test)]
pub(super) use log::select;

use super::bounded::Connections;
use super::connect::fold;
use crate::app::ports::{
    Before, DecisionQuery, Flush, LogRow, Records, ShadowCount, StoreError, UsagePoint, UsageQuery,
};
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::time::Time;

/// The records of a database, open.
#[derive(Debug, Clone)]
pub struct SqlRecords {
    pub(super) writer: Connections,
    pub(super) reader: Connections,
}

impl SqlRecords {
    pub(super) fn new(writer: Connections, reader: Connections) -> Self {
        Self { writer, reader }
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.reader.close().await?;
        let folded = fold(&self.writer).await;
        self.writer.close().await?;
        folded
    }
}

#[async_trait]
impl Records for SqlRecords {
    async fn add(&self, flush: &Flush) -> Result<(), StoreError> {
        let tx = self.writer.begin_writing().await?;
        if add::is_new(&tx, flush).await? {
            add::usage(&tx, &flush.usage).await?;
            add::shadow(&tx, &flush.shadow).await?;
        }
        tx.commit().await
    }

    async fn log(&self, rows: &[LogRow]) -> Result<(), StoreError> {
        let tx = self.writer.begin_writing().await?;
        log::write(&tx, rows).await?;
        tx.commit().await
    }

    async fn list_decisions(&self, query: &DecisionQuery) -> Result<Vec<LogRow>, StoreError> {
        log::list(&self.reader, query).await
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsagePoint>, StoreError> {
        usage::series(&self.reader, query).await
    }

    async fn shadow(
        &self,
        workspace: &WorkspaceId,
        keys: &[KeyId],
    ) -> Result<Vec<ShadowCount>, StoreError> {
        usage::shadow(&self.reader, workspace, keys).await
    }

    async fn reset_shadow(&self, workspace: &WorkspaceId, key: KeyId) -> Result<(), StoreError> {
        let tx = self.writer.begin_writing().await?;
        prune::reset_shadow(&tx, workspace, key).await?;
        tx.commit().await
    }

    async fn workspaces(
        &self,
        after: Option<&WorkspaceId>,
    ) -> Result<Option<WorkspaceId>, StoreError> {
        prune::next_workspace(&self.reader, after).await
    }

    async fn prune(
        &self,
        workspace: &WorkspaceId,
        before: Before,
        limit: u64,
    ) -> Result<u64, StoreError> {
        let tx = self.writer.begin_writing().await?;
        let done = prune::older(&tx, workspace, before, limit).await?;
        tx.commit().await?;
        Ok(done)
    }

    async fn forget_writers(&self, before: Time) -> Result<(), StoreError> {
        let tx = self.writer.begin_writing().await?;
        prune::forget_writers(&tx, before).await?;
        tx.commit().await
    }
}
