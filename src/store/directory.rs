//! Reading workspaces, subscriptions and scope catalogues.

use std::collections::HashMap;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::entity::{scopes, subscriptions, workspaces};
use super::error::failed;
use super::{bulk, convert};
use crate::app::ports::StoreError;
use crate::domain::id::{SubscriptionId, WorkspaceId};
use crate::domain::workspace::{Scope, Subscription, Workspace};

/// One workspace.
pub(super) async fn workspace<C: ConnectionTrait>(
    connection: &C,
    id: &WorkspaceId,
) -> Result<Option<Workspace>, StoreError> {
    let row = workspaces::Entity::find_by_id(id.as_str())
        .one(connection)
        .await
        .map_err(failed)?;
    row.map(convert::workspace).transpose()
}

/// Workspaces by id, those after `after`.
pub(super) async fn workspaces<C: ConnectionTrait>(
    connection: &C,
    after: Option<&WorkspaceId>,
    limit: u32,
) -> Result<Vec<Workspace>, StoreError> {
    let mut select = workspaces::Entity::find()
        .order_by_asc(workspaces::Column::Id)
        .limit(u64::from(limit));
    if let Some(after) = after {
        select = select.filter(workspaces::Column::Id.gt(after.as_str()));
    }
    let rows = select.all(connection).await.map_err(failed)?;
    rows.into_iter().map(convert::workspace).collect()
}

/// One subscription.
pub(super) async fn subscription<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    id: &SubscriptionId,
) -> Result<Option<Subscription>, StoreError> {
    let row =
        subscriptions::Entity::find_by_id((workspace.as_str().to_owned(), id.as_str().to_owned()))
            .one(connection)
            .await
            .map_err(failed)?;
    row.map(convert::subscription).transpose()
}

/// Those of these subscriptions that there are.
pub(super) async fn existing_subscriptions<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    ids: &[SubscriptionId],
) -> Result<Vec<SubscriptionId>, StoreError> {
    /// How many ids one `IN` takes.
    const AT_ONCE: usize = 500;
    let mut existing = Vec::new();
    for ids in ids.chunks(AT_ONCE) {
        let found = subscriptions::Entity::find()
            .select_only()
            .column(subscriptions::Column::Id)
            .filter(bulk::within(
                workspace,
                (
                    subscriptions::Column::WorkspaceId,
                    subscriptions::Column::Id,
                ),
                ids.iter().map(SubscriptionId::as_str),
            ))
            .into_tuple::<String>()
            .all(connection)
            .await
            .map_err(failed)?;
        for id in found {
            existing.push(convert::parse(&id, "subscriptions.id")?);
        }
    }
    Ok(existing)
}

/// A workspace's subscriptions by id, those after `after`; with `only`, just those.
pub(super) async fn subscriptions<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    only: Option<&[SubscriptionId]>,
    after: Option<&SubscriptionId>,
    limit: u32,
) -> Result<Vec<Subscription>, StoreError> {
    let mut select = subscriptions::Entity::find()
        .filter(subscriptions::Column::WorkspaceId.eq(workspace.as_str()))
        .order_by_asc(subscriptions::Column::Id)
        .limit(u64::from(limit));
    if let Some(only) = only {
        let ids = only.iter().map(SubscriptionId::as_str);
        select = select.filter(subscriptions::Column::Id.is_in(ids));
    }
    if let Some(after) = after {
        select = select.filter(subscriptions::Column::Id.gt(after.as_str()));
    }
    let rows = select.all(connection).await.map_err(failed)?;
    rows.into_iter().map(convert::subscription).collect()
}

/// One catalogue entry.
pub(super) async fn scope<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    name: &str,
) -> Result<Option<Scope>, StoreError> {
    let row = scopes::Entity::find_by_id((workspace.as_str().to_owned(), name.to_owned()))
        .one(connection)
        .await
        .map_err(failed)?;
    row.map(convert::scope).transpose()
}

/// A workspace's catalogue by name, those after `after`; all where there is no limit.
pub(super) async fn scopes<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    after: Option<&str>,
    limit: Option<u32>,
) -> Result<Vec<Scope>, StoreError> {
    let mut select = scopes::Entity::find()
        .filter(scopes::Column::WorkspaceId.eq(workspace.as_str()))
        .order_by_asc(scopes::Column::Name)
        .limit(limit.map(u64::from));
    if let Some(after) = after {
        select = select.filter(scopes::Column::Name.gt(after));
    }
    let rows = select.all(connection).await.map_err(failed)?;
    rows.into_iter().map(convert::scope).collect()
}

/// The whole catalogues of workspaces in a range of ids, both ends included.
pub(super) async fn catalogues<C: ConnectionTrait>(
    connection: &C,
    first: &WorkspaceId,
    last: &WorkspaceId,
) -> Result<HashMap<WorkspaceId, Vec<Scope>>, StoreError> {
    let rows = scopes::Entity::find()
        .filter(scopes::Column::WorkspaceId.between(first.as_str(), last.as_str()))
        .order_by_asc(scopes::Column::WorkspaceId)
        .order_by_asc(scopes::Column::Name)
        .all(connection)
        .await
        .map_err(failed)?;
    let mut by_workspace: HashMap<WorkspaceId, Vec<Scope>> = HashMap::new();
    for row in rows {
        let scope = convert::scope(row)?;
        by_workspace
            .entry(scope.workspace.clone())
            .or_default()
            .push(scope);
    }
    Ok(by_workspace)
}
