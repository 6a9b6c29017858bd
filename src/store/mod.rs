//! The database, through `SeaORM`: the ports [`Store`] and [`Tx`] on SQLite and on PostgreSQL.
//!
//! Invariant: only this module knows `sea_orm`, and what it says to the database is portable: entities and `SeaQuery`, never
//! SQL of one kind of database, but for the settings of a connection. A mutation takes the revision counter before it reads
//! anything; a read of more than one statement is one snapshot.

mod audit;
mod backup;
mod bounded;
mod bulk;
mod connect;
mod convert;
mod directory;
mod entity;
mod error;
mod feed;
mod keys;
mod leader;
mod lifecycle;
mod list;
mod load;
mod maintenance;
mod migration;
mod outbox;
mod postgres;
mod principals;
mod records;
mod replicas;
mod routes;
mod schema;
#[cfg(test)]
mod tests;
mod tx;
mod write;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait as _, DbBackend};

use crate::app::ports::{
    Exercised, FeedBatch, KeyQuery, KeylessUse, Loaded, Meta, Position, PrincipalQuery, Store,
    StoreError, Tx,
};
use crate::domain::id::{KeyId, PrincipalId, RouteId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::route::Route;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Scope, Subscription, Workspace};

pub use backup::{BackupError, Header, NewHistory, Trailer};
use bounded::{Connections, Transaction};
pub use connect::OpenError;
pub use postgres::Opening;
pub use records::SqlRecords;
use tx::SqlTx;

/// How many times of last use one transaction writes: a mutation waits for no more than these.
const FLUSH: usize = 500;

/// A database, open.
#[derive(Debug, Clone)]
pub struct SqlStore {
    writer: Connections,
    reader: Connections,
    /// For who follows the feed, alone.
    follower: Connections,
    /// The same, for the question whether there is anything new.
    poller: Connections,
    /// For the list of replicas: who speaks for this process waits behind nobody.
    fleet: Connections,
    /// What is recorded of decisions: on SQLite in a file of its own.
    records: SqlRecords,
}

impl SqlStore {
    /// Whether other processes may write to it too.
    pub fn is_shared(&self) -> bool {
        self.writer.get_database_backend() == DbBackend::Postgres
    }

    /// Where what decisions leave behind is recorded.
    pub fn records(&self) -> SqlRecords {
        self.records.clone()
    }

    /// A transaction whose reads all see the same state. Dropped, never committed: it writes nothing.
    async fn snapshot(&self) -> Result<Transaction, StoreError> {
        self.reader.snapshot().await
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn meta(&self) -> Result<Option<Meta>, StoreError> {
        maintenance::read_meta(&self.reader).await
    }

    async fn initialise(&self, meta: &Meta) -> Result<Meta, StoreError> {
        maintenance::write_meta(&self.writer, meta).await?;
        let stands = maintenance::read_meta(&self.writer).await?;
        stands.ok_or_else(|| error::corrupt("what was written of it is not there"))
    }

    async fn rewrap(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        maintenance::rewrap(&self.writer, from, to).await
    }

    async fn begin(&self) -> Result<Box<dyn Tx>, StoreError> {
        Ok(Box::new(SqlTx::begin(&self.writer).await?))
    }

    async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        keys::by_id(&self.snapshot().await?, id).await
    }

    async fn list_keys(&self, query: &KeyQuery) -> Result<Vec<Key>, StoreError> {
        list::list(&self.snapshot().await?, query).await
    }

    async fn secret_holder(
        &self,
        workspace: &WorkspaceId,
        tag: &Tag,
    ) -> Result<Option<(KeyId, SecretId)>, StoreError> {
        keys::secret_holder(&self.reader, workspace, tag).await
    }

    async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
        directory::workspace(&self.reader, id).await
    }

    async fn list_workspaces(
        &self,
        after: Option<&WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        directory::workspaces(&self.reader, after, limit).await
    }

    async fn subscription(
        &self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError> {
        directory::subscription(&self.reader, workspace, id).await
    }

    async fn list_subscriptions(
        &self,
        workspace: &WorkspaceId,
        only: Option<&[SubscriptionId]>,
        after: Option<&SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<Subscription>, StoreError> {
        directory::subscriptions(&self.reader, workspace, only, after, limit).await
    }

    async fn scope(
        &self,
        workspace: &WorkspaceId,
        name: &str,
    ) -> Result<Option<Scope>, StoreError> {
        directory::scope(&self.reader, workspace, name).await
    }

    async fn list_scopes(
        &self,
        workspace: &WorkspaceId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Scope>, StoreError> {
        directory::scopes(&self.reader, workspace, after, Some(limit)).await
    }

    async fn route(
        &self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<Option<Route>, StoreError> {
        routes::by_id(&self.reader, workspace, id).await
    }

    async fn list_routes(
        &self,
        workspace: &WorkspaceId,
        after: Option<&RouteId>,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError> {
        routes::of_workspace(&self.reader, workspace, after, Some(limit)).await
    }

    async fn keyless_uses(
        &self,
        workspace: &WorkspaceId,
        ids: &[RouteId],
    ) -> Result<Vec<KeylessUse>, StoreError> {
        routes::keyless_uses(&self.reader, workspace, ids).await
    }

    async fn add_keyless_uses(&self, uses: &[KeylessUse]) -> Result<(), StoreError> {
        let tx = self.writer.begin_writing().await?;
        routes::add_keyless_uses(&tx, uses).await?;
        tx.commit().await
    }

    async fn principal(
        &self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<Principal>, StoreError> {
        principals::by_id(&self.reader, workspace, id).await
    }

    async fn list_principals(&self, query: &PrincipalQuery) -> Result<Vec<Principal>, StoreError> {
        principals::list(&self.reader, query).await
    }

    async fn count_sealed(&self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        lifecycle::count_sealed(&self.reader, workspace).await
    }

    async fn flush_exercised(&self, used: &[(KeyId, Vec<String>)]) -> Result<(), StoreError> {
        for some in used.chunks(FLUSH) {
            let tx = self.writer.begin_writing().await?;
            lifecycle::write_exercised(&tx, some).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn exercised(&self, keys: &[KeyId]) -> Result<Exercised, StoreError> {
        lifecycle::exercised(&self.reader, keys).await
    }

    async fn load(&self, sink: &mut (dyn FnMut(Loaded) + Send)) -> Result<Position, StoreError> {
        load::load(&self.reader.long_snapshot().await?, sink).await
    }

    async fn position(&self) -> Result<Position, StoreError> {
        feed::position(&self.poller).await
    }

    async fn feed(&self, after: u64, limit: u32) -> Result<FeedBatch, StoreError> {
        feed::batch(&self.follower.snapshot().await?, after, limit).await
    }

    async fn flush_last_used(&self, used: &[(SecretId, Time)]) -> Result<(), StoreError> {
        for some in used.chunks(FLUSH) {
            let tx = self.writer.begin_writing().await?;
            maintenance::write_last_used(&tx, some).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn due_for_purge(&self, now: Time, limit: u32) -> Result<Vec<KeyId>, StoreError> {
        maintenance::due_for_purge(&self.reader, now, limit).await
    }

    async fn with_secrets_ended_before(
        &self,
        before: Time,
        limit: u32,
    ) -> Result<Vec<KeyId>, StoreError> {
        maintenance::with_secrets_ended_before(&self.reader, before, limit).await
    }

    async fn expire_idempotency(
        &self,
        before: Time,
        sealed_before: Time,
    ) -> Result<(), StoreError> {
        loop {
            let tx = self.writer.begin_writing().await?;
            let all = maintenance::expire_idempotency(&tx, before, sealed_before).await?;
            tx.commit().await?;
            if all {
                return Ok(());
            }
        }
    }

    async fn prune_changes(&self, before: Time, limit: u32) -> Result<u64, StoreError> {
        let tx = self.writer.begin_writing().await?;
        let done = feed::prune(&tx, before, limit).await?;
        tx.commit().await?;
        Ok(done)
    }
}
