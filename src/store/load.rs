//! Everything that the index holds, piece by piece, out of one snapshot.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::directory;
use super::entity::keys;
use super::error::failed;
use super::feed::position;
use super::keys::run_with_secrets;
use crate::app::ports::{Loaded, StoreError};

/// Rows in memory at once. Pages rather than a stream: a page's secrets come with one more statement.
const PAGE: u32 = 1_000;

/// Hands everything to `sink`; the connection must be a transaction. Returns the revision of its snapshot.
pub(super) async fn load<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<u64, StoreError> {
    // The first read: it is what the snapshot is taken by.
    let position = position(snapshot).await?;
    workspaces(snapshot, sink).await?;
    subscriptions(snapshot, sink).await?;
    keys(snapshot, sink).await?;
    Ok(position.n)
}

async fn workspaces<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = directory::workspaces(snapshot, after.as_ref(), PAGE).await?;
        let (Some(first), Some(last)) = (page.first(), page.last()) else {
            return Ok(());
        };
        let mut scopes = directory::catalogues(snapshot, &first.id, &last.id).await?;
        after = Some(last.id.clone());
        for workspace in page {
            let scopes = scopes.remove(&workspace.id).unwrap_or_default();
            sink(Loaded::Workspace(workspace, scopes));
        }
    }
}

async fn subscriptions<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = directory::all_subscriptions(snapshot, after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some(last.clone());
        page.into_iter()
            .map(Loaded::Subscription)
            .for_each(&mut *sink);
    }
}

async fn keys<C: ConnectionTrait>(
    snapshot: &C,
    sink: &mut (dyn FnMut(Loaded) + Send),
) -> Result<(), StoreError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut select = keys::Entity::find()
            .order_by_asc(keys::Column::Id)
            .limit(u64::from(PAGE));
        if let Some(after) = after {
            select = select.filter(keys::Column::Id.gt(after));
        }
        let rows = select.all(snapshot).await.map_err(failed)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = Some(last.id.clone());
        for key in run_with_secrets(snapshot, rows).await? {
            sink(Loaded::Key(Box::new(key)));
        }
    }
}
