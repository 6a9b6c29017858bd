//! Routes: reading, writing, and who passed them without a key.

use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IntoActiveModel as _, Iterable as _,
    PaginatorTrait as _, QueryFilter, QueryOrder, QuerySelect,
};

use super::bounded::Transaction;
use super::entity::{route_shapes, route_uses, routes};
use super::error::{corrupt, failed};
use super::maintenance::GIVE_WAY;
use super::{bulk, convert};
use crate::app::ports::{KeylessUse, StoreError};
use crate::domain::decision::Reason;
use crate::domain::id::{RouteId, WorkspaceId};
use crate::domain::route::Route;
use crate::domain::time::Time;

fn row(route: &Route) -> Result<routes::Model, StoreError> {
    Ok(routes::Model {
        workspace_id: route.workspace.as_str().to_owned(),
        id: route.id.as_str().to_owned(),
        settings: convert::json(&route.settings)?,
        claims_hosts: route.settings.claims_hosts,
        keyless: route.keyless,
        create_time: route.create_time.micros(),
        update_time: route.update_time.micros(),
        revision: convert::signed(route.revision)?,
    })
}

/// A route from its row.
pub(super) fn read(row: routes::Model) -> Result<Route, StoreError> {
    Ok(Route {
        workspace: convert::parse(&row.workspace_id, "routes.workspace_id")?,
        id: convert::parse(&row.id, "routes.id")?,
        settings: convert::from_json(&row.settings, "routes.settings")?,
        keyless: row.keyless,
        create_time: Time::from_micros(row.create_time),
        update_time: Time::from_micros(row.update_time),
        revision: convert::unsigned(row.revision)?,
    })
}

fn place(workspace: &WorkspaceId, id: &RouteId) -> (String, String) {
    (workspace.as_str().to_owned(), id.as_str().to_owned())
}

/// One route.
pub(super) async fn by_id<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    id: &RouteId,
) -> Result<Option<Route>, StoreError> {
    let row = routes::Entity::find_by_id(place(workspace, id))
        .one(connection)
        .await
        .map_err(failed)?;
    row.map(read).transpose()
}

/// A workspace's routes by id, those after `after`; all where there is no limit.
pub(super) async fn of_workspace<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    after: Option<&RouteId>,
    limit: Option<u32>,
) -> Result<Vec<Route>, StoreError> {
    let mut select = routes::Entity::find()
        .filter(routes::Column::WorkspaceId.eq(workspace.as_str()))
        .order_by_asc(routes::Column::Id)
        .limit(limit.map(u64::from));
    if let Some(after) = after {
        select = select.filter(routes::Column::Id.gt(after.as_str()));
    }
    let rows = select.all(connection).await.map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// How many routes a workspace has.
pub(super) async fn count<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
) -> Result<u64, StoreError> {
    routes::Entity::find()
        .filter(routes::Column::WorkspaceId.eq(workspace.as_str()))
        .count(connection)
        .await
        .map_err(failed)
}

/// Another route of the workspace that has one of this route's shapes.
pub(super) async fn in_conflict<C: ConnectionTrait>(
    connection: &C,
    route: &Route,
) -> Result<Option<RouteId>, StoreError> {
    let found = route_shapes::Entity::find()
        .filter(route_shapes::Column::WorkspaceId.eq(route.workspace.as_str()))
        .filter(route_shapes::Column::Shape.is_in(route.settings.shapes()))
        .filter(route_shapes::Column::RouteId.ne(route.id.as_str()))
        .order_by_asc(route_shapes::Column::Shape)
        .one(connection)
        .await
        .map_err(failed)?;
    found
        .map(|row| convert::parse(&row.route_id, "route_shapes.route_id"))
        .transpose()
}

/// Routes of other workspaces that claim hosts.
pub(super) async fn claims_of_others<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
) -> Result<Vec<Route>, StoreError> {
    let rows = routes::Entity::find()
        .filter(routes::Column::ClaimsHosts.eq(true))
        .filter(routes::Column::WorkspaceId.ne(workspace.as_str()))
        .order_by_asc(routes::Column::WorkspaceId)
        .order_by_asc(routes::Column::Id)
        .all(connection)
        .await
        .map_err(failed)?;
    rows.into_iter().map(read).collect()
}

/// Inserts or replaces a route, and its shapes.
pub(super) async fn put(tx: &Transaction, route: &Route) -> Result<(), StoreError> {
    use routes::Column;
    let replaced = Column::iter().filter(|c| !matches!(c, Column::WorkspaceId | Column::Id));
    routes::Entity::insert(row(route)?.into_active_model())
        .on_conflict(
            OnConflict::columns([Column::WorkspaceId, Column::Id])
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    forget_shapes(tx, &route.workspace, &route.id).await?;
    let shapes = route.settings.shapes().into_iter().map(|shape| {
        let row = route_shapes::Model {
            workspace_id: route.workspace.as_str().to_owned(),
            shape,
            route_id: route.id.as_str().to_owned(),
        };
        row.into_active_model()
    });
    bulk::insert(tx, shapes.collect::<Vec<_>>()).await
}

async fn forget_shapes(
    tx: &Transaction,
    workspace: &WorkspaceId,
    id: &RouteId,
) -> Result<(), StoreError> {
    route_shapes::Entity::delete_many()
        .filter(route_shapes::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(route_shapes::Column::RouteId.eq(id.as_str()))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes a route and all that is kept of it.
pub(super) async fn delete(
    tx: &Transaction,
    workspace: &WorkspaceId,
    id: &RouteId,
) -> Result<(), StoreError> {
    forget_shapes(tx, workspace, id).await?;
    route_uses::Entity::delete_many()
        .filter(route_uses::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(route_uses::Column::RouteId.eq(id.as_str()))
        .exec(tx)
        .await
        .map_err(failed)?;
    routes::Entity::delete_by_id(place(workspace, id))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes all routes of a workspace.
pub(super) async fn delete_all(
    tx: &Transaction,
    workspace: &WorkspaceId,
) -> Result<(), StoreError> {
    let of = workspace.as_str();
    route_shapes::Entity::delete_many()
        .filter(route_shapes::Column::WorkspaceId.eq(of))
        .exec(tx)
        .await
        .map_err(failed)?;
    route_uses::Entity::delete_many()
        .filter(route_uses::Column::WorkspaceId.eq(of))
        .exec(tx)
        .await
        .map_err(failed)?;
    routes::Entity::delete_many()
        .filter(routes::Column::WorkspaceId.eq(of))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// How often routes were passed without a key.
pub(super) async fn keyless_uses<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    ids: &[RouteId],
) -> Result<Vec<KeylessUse>, StoreError> {
    /// How many ids one `IN` takes.
    const AT_ONCE: usize = 500;
    let mut uses = Vec::new();
    for ids in ids.chunks(AT_ONCE) {
        let rows = route_uses::Entity::find()
            .filter(route_uses::Column::WorkspaceId.eq(workspace.as_str()))
            .filter(route_uses::Column::RouteId.is_in(ids.iter().map(RouteId::as_str)))
            .all(connection)
            .await
            .map_err(failed)?;
        for row in rows {
            uses.push(read_use(row)?);
        }
    }
    Ok(uses)
}

fn read_use(row: route_uses::Model) -> Result<KeylessUse, StoreError> {
    let known = Reason::ALL.into_iter().find(|r| r.as_str() == row.reason);
    Ok(KeylessUse {
        workspace: convert::parse(&row.workspace_id, "route_uses.workspace_id")?,
        route: convert::parse(&row.route_id, "route_uses.route_id")?,
        reason: known.ok_or_else(|| corrupt("route_uses.reason has a text that is not known"))?,
        count: convert::unsigned(row.count)?,
        last: Time::from_micros(row.last_time),
    })
}

/// Adds to how often routes were passed without a key; those that are gone are left out.
pub(super) async fn add_keyless_uses(
    tx: &Transaction,
    uses: &[KeylessUse],
) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(GIVE_WAY).await.map_err(failed)?;
    }
    // In one order for everybody, so that two writers never wait for each other.
    let mut ordered = BTreeMap::new();
    for used in uses {
        ordered.insert((&used.workspace, &used.route, used.reason.as_str()), used);
    }
    for ((workspace, route, reason), used) in ordered {
        if by_id(tx, workspace, route).await?.is_none() {
            continue;
        }
        use route_uses::Column;
        let count = convert::signed(used.count)?;
        let row = route_uses::Model {
            workspace_id: workspace.as_str().to_owned(),
            route_id: route.as_str().to_owned(),
            reason: reason.to_owned(),
            count,
            last_time: used.last.micros(),
        };
        let stands = Expr::col((route_uses::Entity, Column::Count));
        route_uses::Entity::insert(row.into_active_model())
            .on_conflict(
                OnConflict::columns([Column::WorkspaceId, Column::RouteId, Column::Reason])
                    .value(Column::Count, stands.add(count))
                    .update_column(Column::LastTime)
                    .to_owned(),
            )
            .exec_without_returning(tx)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
