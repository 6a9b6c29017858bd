//! A store that fails on demand: the real one behind it does the work.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use claviger::app::ports::audit::{
    AuditBatch, AuditCursor, AuditEvent, AuditFilter, AuditLog, AuditQuery, Place,
};
use claviger::app::ports::outbox::{Delivery, NewEvent, SigningSecret};
use claviger::app::ports::{
    Change, Exercised, FeedBatch, IdempotencyRecord, ImportRecord, KeyQuery, KeylessUse, Loaded,
    Meta, Position, PrincipalQuery, Store, StoreError, Tx,
};
use claviger::domain::id::{
    EventId, KeyId, PrincipalId, RouteId, SecretId, SubscriptionId, WorkspaceId,
};
use claviger::domain::key::Key;
use claviger::domain::principal::Principal;
use claviger::domain::route::Route;
use claviger::domain::time::Time;
use claviger::domain::token::Tag;
use claviger::domain::workspace::{Scope, Subscription, Workspace};
use claviger::store::SqlStore;
use tokio::sync::oneshot;

/// What becomes of a commit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Commit {
    /// What the database says.
    #[default]
    Honest,
    /// It is made, but nobody can tell.
    UnknownMade,
    /// It is not made, and nobody can tell.
    UnknownNotMade,
    /// Nobody can tell, and it goes on until [`FaultyStore::end_commit`].
    UnderWay,
    /// It is certain that it was not made.
    Refused,
}

/// One read of the feed: after which revision, up to which, and where the database was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) after: u64,
    pub(super) upto: u64,
    pub(super) head: u64,
}

/// What fails now.
#[derive(Debug, Default)]
struct Faults {
    commit: Commit,
    /// How many reads of the feed still succeed; none: all.
    feeds_left: Option<usize>,
    rows_fail: bool,
    loads_fail: bool,
    failed_loads: usize,
    reads: Vec<Read>,
}

/// A store that fails on demand.
#[derive(Clone)]
pub(super) struct FaultyStore {
    inner: SqlStore,
    faults: Arc<Mutex<Faults>>,
    /// Tells that the next position was read, and what its answer waits for.
    held: Arc<Mutex<Option<Hold>>>,
    /// The transaction whose commit is under way.
    under_way: Arc<Mutex<Option<Box<dyn Tx>>>>,
}

type Hold = (oneshot::Sender<()>, oneshot::Receiver<()>);

impl FaultyStore {
    pub(super) fn new(inner: SqlStore) -> Self {
        Self {
            inner,
            faults: Arc::default(),
            held: Arc::default(),
            under_way: Arc::default(),
        }
    }

    /// The next position is read, which is told; its answer waits for a word.
    pub(super) fn hold_next_position(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (tell, told) = oneshot::channel();
        let (go, gone) = oneshot::channel();
        *self.held.lock().unwrap() = Some((tell, gone));
        (told, go)
    }

    /// The next commit ends like this; those after it are honest again.
    pub(super) fn next_commit(&self, commit: Commit) {
        self.faults.lock().unwrap().commit = commit;
    }

    /// The commit that is under way is made.
    pub(super) async fn end_commit(&self) {
        let tx = self.under_way.lock().unwrap().take();
        tx.expect("one is under way").commit().await.unwrap();
    }

    /// So many reads of the feed succeed, and then no more.
    pub(super) fn feed_fails_after(&self, reads: usize) {
        self.faults.lock().unwrap().feeds_left = Some(reads);
    }

    /// Whether single keys and workspaces can be read.
    pub(super) fn rows_fail(&self, fail: bool) {
        self.faults.lock().unwrap().rows_fail = fail;
    }

    /// Whether everything can be read to the end.
    pub(super) fn loads_fail(&self, fail: bool) {
        self.faults.lock().unwrap().loads_fail = fail;
    }

    /// How often it could not.
    pub(super) fn failed_loads(&self) -> usize {
        self.faults.lock().unwrap().failed_loads
    }

    /// Everything can be read again.
    pub(super) fn heal(&self) {
        let mut faults = self.faults.lock().unwrap();
        faults.feeds_left = None;
        faults.rows_fail = false;
    }

    /// The reads of the feed that succeeded since this was last asked.
    pub(super) fn take_reads(&self) -> Vec<Read> {
        std::mem::take(&mut self.faults.lock().unwrap().reads)
    }

    fn row(&self) -> Result<(), StoreError> {
        if self.faults.lock().unwrap().rows_fail {
            return Err(StoreError::Unavailable("no row can be read".to_owned()));
        }
        Ok(())
    }
}

#[async_trait]
impl AuditLog for FaultyStore {
    async fn audit_events(
        &self,
        query: &AuditQuery,
        after: Option<&AuditCursor>,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        self.inner.audit_events(query, after, limit).await
    }

    async fn audit_events_after(
        &self,
        place: Place,
        upto: u64,
        filter: &AuditFilter,
        limit: u32,
    ) -> Result<AuditBatch, StoreError> {
        self.inner
            .audit_events_after(place, upto, filter, limit)
            .await
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn begin(&self) -> Result<Box<dyn Tx>, StoreError> {
        Ok(Box::new(FaultyTx {
            inner: self.inner.begin().await?,
            faults: self.faults.clone(),
            under_way: self.under_way.clone(),
        }))
    }

    async fn feed(&self, after: u64, limit: u32) -> Result<FeedBatch, StoreError> {
        {
            let mut faults = self.faults.lock().unwrap();
            match &mut faults.feeds_left {
                Some(0) => {
                    return Err(StoreError::Unavailable("no feed can be read".to_owned()));
                }
                Some(left) => *left -= 1,
                None => {}
            }
        }
        let batch = self.inner.feed(after, limit).await?;
        let read = Read {
            after,
            upto: batch.upto,
            head: batch.head,
        };
        self.faults.lock().unwrap().reads.push(read);
        Ok(batch)
    }

    async fn position(&self) -> Result<Position, StoreError> {
        let position = self.inner.position().await;
        let held = self.held.lock().unwrap().take();
        if let Some((tell, gone)) = held {
            tell.send(()).unwrap();
            gone.await.unwrap();
        }
        position
    }

    async fn key(&self, id: KeyId) -> Result<Option<Key>, StoreError> {
        self.row()?;
        self.inner.key(id).await
    }

    async fn workspace(&self, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
        self.row()?;
        self.inner.workspace(id).await
    }

    async fn meta(&self) -> Result<Option<Meta>, StoreError> {
        self.inner.meta().await
    }

    async fn initialise(&self, meta: &Meta) -> Result<Meta, StoreError> {
        self.inner.initialise(meta).await
    }

    async fn rewrap(&self, from: &[u8], to: &[u8]) -> Result<(), StoreError> {
        self.inner.rewrap(from, to).await
    }

    async fn list_keys(&self, query: &KeyQuery) -> Result<Vec<Key>, StoreError> {
        self.inner.list_keys(query).await
    }

    async fn secret_holder(
        &self,
        workspace: &WorkspaceId,
        tag: &Tag,
    ) -> Result<Option<(KeyId, SecretId)>, StoreError> {
        self.inner.secret_holder(workspace, tag).await
    }

    async fn list_workspaces(
        &self,
        after: Option<&WorkspaceId>,
        limit: u32,
    ) -> Result<Vec<Workspace>, StoreError> {
        self.inner.list_workspaces(after, limit).await
    }

    async fn subscription(
        &self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError> {
        self.inner.subscription(workspace, id).await
    }

    async fn list_subscriptions(
        &self,
        workspace: &WorkspaceId,
        only: Option<&[SubscriptionId]>,
        after: Option<&SubscriptionId>,
        limit: u32,
    ) -> Result<Vec<Subscription>, StoreError> {
        self.inner
            .list_subscriptions(workspace, only, after, limit)
            .await
    }

    async fn scope(
        &self,
        workspace: &WorkspaceId,
        name: &str,
    ) -> Result<Option<Scope>, StoreError> {
        self.inner.scope(workspace, name).await
    }

    async fn list_scopes(
        &self,
        workspace: &WorkspaceId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Scope>, StoreError> {
        self.inner.list_scopes(workspace, after, limit).await
    }

    async fn route(
        &self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<Option<Route>, StoreError> {
        self.inner.route(workspace, id).await
    }

    async fn list_routes(
        &self,
        workspace: &WorkspaceId,
        after: Option<&RouteId>,
        limit: u32,
    ) -> Result<Vec<Route>, StoreError> {
        self.inner.list_routes(workspace, after, limit).await
    }

    async fn keyless_uses(
        &self,
        workspace: &WorkspaceId,
        routes: &[RouteId],
    ) -> Result<Vec<KeylessUse>, StoreError> {
        self.inner.keyless_uses(workspace, routes).await
    }

    async fn add_keyless_uses(&self, uses: &[KeylessUse]) -> Result<(), StoreError> {
        self.inner.add_keyless_uses(uses).await
    }

    async fn principal(
        &self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<Principal>, StoreError> {
        self.inner.principal(workspace, id).await
    }

    async fn list_principals(&self, query: &PrincipalQuery) -> Result<Vec<Principal>, StoreError> {
        self.inner.list_principals(query).await
    }

    async fn count_sealed(&self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        self.inner.count_sealed(workspace).await
    }

    async fn flush_exercised(&self, used: &[(KeyId, Vec<String>)]) -> Result<(), StoreError> {
        self.inner.flush_exercised(used).await
    }

    async fn exercised(&self, keys: &[KeyId]) -> Result<Exercised, StoreError> {
        self.inner.exercised(keys).await
    }

    async fn load(&self, sink: &mut (dyn FnMut(Loaded) + Send)) -> Result<Position, StoreError> {
        let there = self.inner.load(sink).await?;
        let mut faults = self.faults.lock().unwrap();
        if faults.loads_fail {
            faults.failed_loads += 1;
            return Err(StoreError::Unavailable("no load can be read".to_owned()));
        }
        Ok(there)
    }

    async fn flush_last_used(&self, used: &[(SecretId, Time)]) -> Result<(), StoreError> {
        self.inner.flush_last_used(used).await
    }

    async fn due_for_purge(&self, now: Time, limit: u32) -> Result<Vec<KeyId>, StoreError> {
        self.inner.due_for_purge(now, limit).await
    }

    async fn with_secrets_ended_before(
        &self,
        before: Time,
        limit: u32,
    ) -> Result<Vec<KeyId>, StoreError> {
        self.inner.with_secrets_ended_before(before, limit).await
    }

    async fn expire_idempotency(
        &self,
        before: Time,
        sealed_before: Time,
    ) -> Result<(), StoreError> {
        self.inner.expire_idempotency(before, sealed_before).await
    }

    async fn prune_changes(&self, before: Time, limit: u32) -> Result<u64, StoreError> {
        self.inner.prune_changes(before, limit).await
    }
}

/// A mutation whose commit fails on demand.
struct FaultyTx {
    inner: Box<dyn Tx>,
    faults: Arc<Mutex<Faults>>,
    under_way: Arc<Mutex<Option<Box<dyn Tx>>>>,
}

#[async_trait]
impl Tx for FaultyTx {
    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let commit = std::mem::take(&mut self.faults.lock().unwrap().commit);
        let unknown = || StoreError::OutcomeUnknown("the connection broke".to_owned());
        match commit {
            Commit::Honest => self.inner.commit().await,
            Commit::UnknownMade => {
                self.inner.commit().await?;
                Err(unknown())
            }
            Commit::UnknownNotMade => Err(unknown()),
            Commit::UnderWay => {
                *self.under_way.lock().unwrap() = Some(self.inner);
                Err(unknown())
            }
            Commit::Refused => Err(StoreError::Unavailable("it is locked".to_owned())),
        }
    }

    fn revision(&self) -> u64 {
        self.inner.revision()
    }

    fn epoch(&self) -> u32 {
        self.inner.epoch()
    }

    async fn key(&mut self, id: KeyId) -> Result<Option<Key>, StoreError> {
        self.inner.key(id).await
    }

    async fn keys(&mut self, ids: &[KeyId]) -> Result<Vec<Key>, StoreError> {
        self.inner.keys(ids).await
    }

    async fn keys_of(&mut self, workspace: &WorkspaceId) -> Result<Vec<Key>, StoreError> {
        self.inner.keys_of(workspace).await
    }

    async fn secret_holder(
        &mut self,
        workspace: &WorkspaceId,
        tag: &Tag,
    ) -> Result<Option<(KeyId, SecretId)>, StoreError> {
        self.inner.secret_holder(workspace, tag).await
    }

    async fn holders(
        &mut self,
        workspace: &WorkspaceId,
        tags: &[Tag],
    ) -> Result<Vec<(Tag, KeyId, SecretId)>, StoreError> {
        self.inner.holders(workspace, tags).await
    }

    async fn sealed_digests(
        &mut self,
        keys: &[KeyId],
    ) -> Result<Vec<(KeyId, SecretId, Vec<u8>)>, StoreError> {
        self.inner.sealed_digests(keys).await
    }

    async fn put_new_keys(&mut self, keys: &[Key]) -> Result<(), StoreError> {
        self.inner.put_new_keys(keys).await
    }

    async fn put_key(&mut self, key: &Key) -> Result<(), StoreError> {
        self.inner.put_key(key).await
    }

    async fn purge_key(&mut self, id: KeyId) -> Result<(), StoreError> {
        self.inner.purge_key(id).await
    }

    async fn purge_keys(&mut self, ids: &[KeyId]) -> Result<(), StoreError> {
        self.inner.purge_keys(ids).await
    }

    async fn forget_secrets(
        &mut self,
        keys: &[KeyId],
        before: Time,
        now: Time,
    ) -> Result<(), StoreError> {
        self.inner.forget_secrets(keys, before, now).await
    }

    async fn destroy_sealed(
        &mut self,
        workspace: &WorkspaceId,
        after: Option<KeyId>,
        keys: u32,
    ) -> Result<(Option<KeyId>, u64), StoreError> {
        self.inner.destroy_sealed(workspace, after, keys).await
    }

    async fn workspace(&mut self, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
        self.inner.workspace(id).await
    }

    async fn put_workspace(&mut self, workspace: &Workspace) -> Result<(), StoreError> {
        self.inner.put_workspace(workspace).await
    }

    async fn delete_workspace(&mut self, id: &WorkspaceId) -> Result<(), StoreError> {
        self.inner.delete_workspace(id).await
    }

    async fn has_keys(&mut self, workspace: &WorkspaceId) -> Result<bool, StoreError> {
        self.inner.has_keys(workspace).await
    }

    async fn subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError> {
        self.inner.subscription(workspace, id).await
    }

    async fn subscriptions(
        &mut self,
        workspace: &WorkspaceId,
        ids: &[SubscriptionId],
    ) -> Result<Vec<SubscriptionId>, StoreError> {
        self.inner.subscriptions(workspace, ids).await
    }

    async fn put_subscription(&mut self, subscription: &Subscription) -> Result<(), StoreError> {
        self.inner.put_subscription(subscription).await
    }

    async fn delete_subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<(), StoreError> {
        self.inner.delete_subscription(workspace, id).await
    }

    async fn key_with_subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<KeyId>, StoreError> {
        self.inner.key_with_subscription(workspace, id).await
    }

    async fn scopes(&mut self, workspace: &WorkspaceId) -> Result<Vec<Scope>, StoreError> {
        self.inner.scopes(workspace).await
    }

    async fn route(
        &mut self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<Option<Route>, StoreError> {
        self.inner.route(workspace, id).await
    }

    async fn routes(&mut self, workspace: &WorkspaceId) -> Result<Vec<Route>, StoreError> {
        self.inner.routes(workspace).await
    }

    async fn count_routes(&mut self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        self.inner.count_routes(workspace).await
    }

    async fn route_in_conflict(&mut self, route: &Route) -> Result<Option<RouteId>, StoreError> {
        self.inner.route_in_conflict(route).await
    }

    async fn claims_of_others(
        &mut self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<Route>, StoreError> {
        self.inner.claims_of_others(workspace).await
    }

    async fn put_route(&mut self, route: &Route) -> Result<(), StoreError> {
        self.inner.put_route(route).await
    }

    async fn delete_route(
        &mut self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<(), StoreError> {
        self.inner.delete_route(workspace, id).await
    }

    async fn put_scope(&mut self, scope: &Scope) -> Result<(), StoreError> {
        self.inner.put_scope(scope).await
    }

    async fn delete_scope(
        &mut self,
        workspace: &WorkspaceId,
        name: &str,
    ) -> Result<(), StoreError> {
        self.inner.delete_scope(workspace, name).await
    }

    async fn key_with_grant(
        &mut self,
        workspace: &WorkspaceId,
        grant: &str,
    ) -> Result<Option<KeyId>, StoreError> {
        self.inner.key_with_grant(workspace, grant).await
    }

    async fn principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<Principal>, StoreError> {
        self.inner.principal(workspace, id).await
    }

    async fn principals(
        &mut self,
        workspace: &WorkspaceId,
        ids: &[PrincipalId],
    ) -> Result<Vec<Principal>, StoreError> {
        self.inner.principals(workspace, ids).await
    }

    async fn put_principals(&mut self, principals: &[Principal]) -> Result<(), StoreError> {
        self.inner.put_principals(principals).await
    }

    async fn delete_principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<(), StoreError> {
        self.inner.delete_principal(workspace, id).await
    }

    async fn key_with_principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<KeyId>, StoreError> {
        self.inner.key_with_principal(workspace, id).await
    }

    async fn principal_with_grant(
        &mut self,
        workspace: &WorkspaceId,
        grants: &[String],
    ) -> Result<Option<PrincipalId>, StoreError> {
        self.inner.principal_with_grant(workspace, grants).await
    }

    async fn idempotency(
        &mut self,
        id: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.inner.idempotency(id).await
    }

    async fn put_idempotency(&mut self, record: &IdempotencyRecord) -> Result<(), StoreError> {
        self.inner.put_idempotency(record).await
    }

    async fn forget_tokens(
        &mut self,
        key: KeyId,
        secret: Option<SecretId>,
    ) -> Result<(), StoreError> {
        self.inner.forget_tokens(key, secret).await
    }

    async fn imported(
        &mut self,
        workspace: &WorkspaceId,
        import_ids: &[&str],
    ) -> Result<Vec<ImportRecord>, StoreError> {
        self.inner.imported(workspace, import_ids).await
    }

    async fn remember_imports(
        &mut self,
        workspace: &WorkspaceId,
        imports: &[ImportRecord],
        time: Time,
    ) -> Result<(), StoreError> {
        self.inner.remember_imports(workspace, imports, time).await
    }

    async fn set_epoch(&mut self, epoch: u32) -> Result<(), StoreError> {
        self.inner.set_epoch(epoch).await
    }

    async fn put_events(&mut self, events: &[NewEvent]) -> Result<(), StoreError> {
        self.inner.put_events(events).await
    }

    async fn retarget_events(&mut self, key: KeyId, url: &str) -> Result<(), StoreError> {
        self.inner.retarget_events(key, url).await
    }

    async fn redeliver(
        &mut self,
        id: EventId,
        url: Option<&str>,
        now: Time,
    ) -> Result<Option<Delivery>, StoreError> {
        self.inner.redeliver(id, url, now).await
    }

    async fn signing_secrets(
        &mut self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<SigningSecret>, StoreError> {
        self.inner.signing_secrets(workspace).await
    }

    async fn put_signing_secret(&mut self, secret: &SigningSecret) -> Result<(), StoreError> {
        self.inner.put_signing_secret(secret).await
    }

    async fn hasten_unsigned(
        &mut self,
        workspace: &WorkspaceId,
        now: Time,
    ) -> Result<(), StoreError> {
        self.inner.hasten_unsigned(workspace, now).await
    }

    async fn set_bootstrapped(&mut self) -> Result<bool, StoreError> {
        self.inner.set_bootstrapped().await
    }

    async fn append(&mut self, change: &Change) -> Result<(), StoreError> {
        self.inner.append(change).await
    }

    async fn append_many(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.inner.append_many(changes).await
    }
}
