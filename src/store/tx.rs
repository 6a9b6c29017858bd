//! A mutation under way: the port over one database transaction.

use async_trait::async_trait;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ConnectionTrait, EntityTrait, IntoActiveModel};

use super::bounded::{Connections, Transaction};
use super::entity::{changes, counter};
use super::error::{corrupt, failed};
use super::{
    bulk, convert, directory, feed, keys, lifecycle, maintenance, outbox, principals, routes, write,
};
use crate::app::ports::outbox::{Delivery, NewEvent, SigningSecret};
use crate::app::ports::{Change, IdempotencyRecord, ImportRecord, StoreError, Tx};
use crate::domain::id::{
    EventId, KeyId, PrincipalId, RouteId, SecretId, SubscriptionId, WorkspaceId,
};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::route::Route;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Scope, Subscription, Workspace};

/// A transaction that holds the counter.
#[derive(Debug)]
pub(super) struct SqlTx {
    tx: Transaction,
    revision: u64,
    epoch: u32,
    ordinal: i64,
}

impl SqlTx {
    /// Begins, and takes the next revision before anything is read.
    pub(super) async fn begin(writer: &Connections) -> Result<Self, StoreError> {
        let tx = writer.begin_writing().await?;
        let next = Query::update()
            .table(counter::Entity)
            .value(counter::Column::N, Expr::col(counter::Column::N).add(1))
            .and_where(Expr::col(counter::Column::Id).eq(1))
            .returning_col(counter::Column::N)
            .to_owned();
        let row = tx
            .query_one(&next)
            .await
            .map_err(failed)?
            .ok_or_else(|| corrupt("there is no revision counter"))?;
        let n: i64 = row.try_get_by_index(0).map_err(failed)?;
        let epoch = feed::position(&tx).await?.epoch;
        Ok(Self {
            tx,
            revision: convert::unsigned(n)?,
            epoch,
            ordinal: 0,
        })
    }
}

#[async_trait]
impl Tx for SqlTx {
    fn revision(&self) -> u64 {
        self.revision
    }

    fn epoch(&self) -> u32 {
        self.epoch
    }

    async fn key(&mut self, id: KeyId) -> Result<Option<Key>, StoreError> {
        keys::by_id(&self.tx, id).await
    }

    async fn keys(&mut self, ids: &[KeyId]) -> Result<Vec<Key>, StoreError> {
        let found = keys::by_ids(&self.tx, ids).await?;
        Ok(found.into_values().collect())
    }

    async fn keys_of(&mut self, workspace: &WorkspaceId) -> Result<Vec<Key>, StoreError> {
        keys::of_workspace(&self.tx, workspace).await
    }

    async fn secret_holder(
        &mut self,
        workspace: &WorkspaceId,
        tag: &Tag,
    ) -> Result<Option<(KeyId, SecretId)>, StoreError> {
        keys::secret_holder(&self.tx, workspace, tag).await
    }

    async fn holders(
        &mut self,
        workspace: &WorkspaceId,
        tags: &[Tag],
    ) -> Result<Vec<(Tag, KeyId, SecretId)>, StoreError> {
        keys::holders(&self.tx, workspace, tags).await
    }

    async fn sealed_digests(
        &mut self,
        keys: &[KeyId],
    ) -> Result<Vec<(KeyId, SecretId, Vec<u8>)>, StoreError> {
        keys::sealed_digests(&self.tx, keys).await
    }

    async fn put_new_keys(&mut self, keys: &[Key]) -> Result<(), StoreError> {
        bulk::put_new_keys(&self.tx, keys).await
    }

    async fn put_key(&mut self, key: &Key) -> Result<(), StoreError> {
        write::put_key(&self.tx, key).await
    }

    async fn purge_key(&mut self, id: KeyId) -> Result<(), StoreError> {
        write::purge_keys(&self.tx, &[id]).await
    }

    async fn purge_keys(&mut self, ids: &[KeyId]) -> Result<(), StoreError> {
        write::purge_keys(&self.tx, ids).await
    }

    async fn forget_secrets(
        &mut self,
        keys: &[KeyId],
        before: Time,
        now: Time,
    ) -> Result<(), StoreError> {
        write::forget_secrets(&self.tx, keys, before, (self.revision, now)).await
    }

    async fn destroy_sealed(
        &mut self,
        workspace: &WorkspaceId,
        after: Option<KeyId>,
        keys: u32,
    ) -> Result<(Option<KeyId>, u64), StoreError> {
        lifecycle::destroy_sealed(&self.tx, workspace, after, keys).await
    }

    async fn workspace(&mut self, id: &WorkspaceId) -> Result<Option<Workspace>, StoreError> {
        directory::workspace(&self.tx, id).await
    }

    async fn put_workspace(&mut self, workspace: &Workspace) -> Result<(), StoreError> {
        write::put_workspace(&self.tx, workspace).await
    }

    async fn delete_workspace(&mut self, id: &WorkspaceId) -> Result<(), StoreError> {
        write::delete_workspace(&self.tx, id).await
    }

    async fn has_keys(&mut self, workspace: &WorkspaceId) -> Result<bool, StoreError> {
        keys::exist_in(&self.tx, workspace).await
    }

    async fn subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<Subscription>, StoreError> {
        directory::subscription(&self.tx, workspace, id).await
    }

    async fn subscriptions(
        &mut self,
        workspace: &WorkspaceId,
        ids: &[SubscriptionId],
    ) -> Result<Vec<SubscriptionId>, StoreError> {
        directory::existing_subscriptions(&self.tx, workspace, ids).await
    }

    async fn put_subscription(&mut self, subscription: &Subscription) -> Result<(), StoreError> {
        write::put_subscription(&self.tx, subscription).await
    }

    async fn delete_subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<(), StoreError> {
        write::delete_subscription(&self.tx, workspace, id).await
    }

    async fn key_with_subscription(
        &mut self,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Option<KeyId>, StoreError> {
        keys::bound_to(&self.tx, workspace, id).await
    }

    async fn scopes(&mut self, workspace: &WorkspaceId) -> Result<Vec<Scope>, StoreError> {
        directory::scopes(&self.tx, workspace, None, None).await
    }

    async fn put_scope(&mut self, scope: &Scope) -> Result<(), StoreError> {
        write::put_scope(&self.tx, scope).await
    }

    async fn delete_scope(
        &mut self,
        workspace: &WorkspaceId,
        name: &str,
    ) -> Result<(), StoreError> {
        write::delete_scope(&self.tx, workspace, name).await
    }

    async fn key_with_grant(
        &mut self,
        workspace: &WorkspaceId,
        grant: &str,
    ) -> Result<Option<KeyId>, StoreError> {
        keys::granting(&self.tx, workspace, grant).await
    }

    async fn route(
        &mut self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<Option<Route>, StoreError> {
        routes::by_id(&self.tx, workspace, id).await
    }

    async fn routes(&mut self, workspace: &WorkspaceId) -> Result<Vec<Route>, StoreError> {
        routes::of_workspace(&self.tx, workspace, None, None).await
    }

    async fn count_routes(&mut self, workspace: &WorkspaceId) -> Result<u64, StoreError> {
        routes::count(&self.tx, workspace).await
    }

    async fn route_in_conflict(&mut self, route: &Route) -> Result<Option<RouteId>, StoreError> {
        routes::in_conflict(&self.tx, route).await
    }

    async fn claims_of_others(
        &mut self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<Route>, StoreError> {
        routes::claims_of_others(&self.tx, workspace).await
    }

    async fn put_route(&mut self, route: &Route) -> Result<(), StoreError> {
        routes::put(&self.tx, route).await
    }

    async fn delete_route(
        &mut self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<(), StoreError> {
        routes::delete(&self.tx, workspace, id).await
    }

    async fn principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<Principal>, StoreError> {
        principals::by_id(&self.tx, workspace, id).await
    }

    async fn principals(
        &mut self,
        workspace: &WorkspaceId,
        ids: &[PrincipalId],
    ) -> Result<Vec<Principal>, StoreError> {
        principals::by_ids(&self.tx, workspace, ids).await
    }

    async fn put_principals(&mut self, principals: &[Principal]) -> Result<(), StoreError> {
        principals::put(&self.tx, principals).await
    }

    async fn delete_principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<(), StoreError> {
        principals::delete(&self.tx, workspace, id).await
    }

    async fn key_with_principal(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Option<KeyId>, StoreError> {
        keys::bound_to_principal(&self.tx, workspace, id).await
    }

    async fn principal_with_grant(
        &mut self,
        workspace: &WorkspaceId,
        grants: &[String],
    ) -> Result<Option<PrincipalId>, StoreError> {
        principals::granting(&self.tx, workspace, grants).await
    }

    async fn idempotency(
        &mut self,
        id: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        write::idempotency(&self.tx, id).await
    }

    async fn put_idempotency(&mut self, record: &IdempotencyRecord) -> Result<(), StoreError> {
        write::put_idempotency(&self.tx, record).await
    }

    async fn forget_tokens(
        &mut self,
        key: KeyId,
        secret: Option<SecretId>,
    ) -> Result<(), StoreError> {
        write::forget_tokens(&self.tx, key, secret).await
    }

    async fn imported(
        &mut self,
        workspace: &WorkspaceId,
        import_ids: &[&str],
    ) -> Result<Vec<ImportRecord>, StoreError> {
        bulk::imported(&self.tx, workspace, import_ids).await
    }

    async fn remember_imports(
        &mut self,
        workspace: &WorkspaceId,
        imports: &[ImportRecord],
        time: Time,
    ) -> Result<(), StoreError> {
        bulk::remember_imports(&self.tx, workspace, imports, time).await
    }

    async fn put_events(&mut self, events: &[NewEvent]) -> Result<(), StoreError> {
        outbox::put_events(&self.tx, events).await
    }

    async fn retarget_events(&mut self, key: KeyId, url: &str) -> Result<(), StoreError> {
        outbox::retarget(&self.tx, key, url).await
    }

    async fn redeliver(
        &mut self,
        id: EventId,
        url: Option<&str>,
        now: Time,
    ) -> Result<Option<Delivery>, StoreError> {
        outbox::redeliver(&self.tx, id, url, now).await
    }

    async fn signing_secrets(
        &mut self,
        workspace: &WorkspaceId,
    ) -> Result<Vec<SigningSecret>, StoreError> {
        outbox::signing_secrets(&self.tx, workspace).await
    }

    async fn put_signing_secret(&mut self, secret: &SigningSecret) -> Result<(), StoreError> {
        outbox::put_signing_secret(&self.tx, secret).await
    }

    async fn hasten_unsigned(
        &mut self,
        workspace: &WorkspaceId,
        now: Time,
    ) -> Result<(), StoreError> {
        outbox::hasten_unsigned(&self.tx, workspace, now).await
    }

    async fn set_bootstrapped(&mut self) -> Result<bool, StoreError> {
        maintenance::set_bootstrapped(&self.tx).await
    }

    async fn set_epoch(&mut self, epoch: u32) -> Result<(), StoreError> {
        maintenance::set_epoch(&self.tx, epoch).await
    }

    async fn append(&mut self, change: &Change) -> Result<(), StoreError> {
        let row = feed::row(change, self.revision, self.ordinal)?;
        changes::Entity::insert(row.into_active_model())
            .exec_without_returning(&self.tx)
            .await
            .map_err(failed)?;
        self.ordinal += 1;
        Ok(())
    }

    async fn append_many(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut rows = Vec::with_capacity(changes.len());
        for change in changes {
            let row = feed::row(change, self.revision, self.ordinal)?;
            rows.push(row.into_active_model());
            self.ordinal += 1;
        }
        bulk::insert(&self.tx, rows).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        self.tx.commit().await
    }
}
