//! The feed: what changed after a revision, with the rows as they are now.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::bounded::Transaction;
use super::entity::{changes, counter, meta};
use super::error::{corrupt, failed};
use super::{convert, directory, keys, principals, routes};
use crate::app::ports::{Actor, Change, FeedBatch, Position, Resource, StoreError};
use crate::domain::id::{KeyId, PrincipalId, RouteId, SubscriptionId, WorkspaceId};
use crate::domain::time::Time;

const KEY: &str = "KEY";
const WORKSPACE: &str = "WORKSPACE";
const SUBSCRIPTION: &str = "SUBSCRIPTION";
const SCOPE: &str = "SCOPE";
const ROUTE: &str = "ROUTE";
const PRINCIPAL: &str = "PRINCIPAL";

/// Reads the position, as every poll does.
pub(super) async fn position<C: ConnectionTrait>(connection: &C) -> Result<Position, StoreError> {
    let query = Query::select()
        .column((counter::Entity, counter::Column::N))
        .column((meta::Entity, meta::Column::Epoch))
        .from(counter::Entity)
        .left_join(
            meta::Entity,
            Expr::col((meta::Entity, meta::Column::Id))
                .equals((counter::Entity, counter::Column::Id)),
        )
        .to_owned();
    let row = connection
        .query_one(&query)
        .await
        .map_err(failed)?
        .ok_or_else(|| corrupt("there is no revision counter"))?;
    let n: i64 = row.try_get_by_index(0).map_err(failed)?;
    let epoch: Option<i64> = row.try_get_by_index(1).map_err(failed)?;
    Ok(Position {
        n: convert::unsigned(n)?,
        epoch: super::maintenance::epoch(epoch.ok_or_else(|| corrupt("it has no epoch yet"))?)?,
    })
}

/// One batch; the connection must be a transaction.
pub(super) async fn batch<C: ConnectionTrait>(
    snapshot: &C,
    after: u64,
    limit: u32,
) -> Result<FeedBatch, StoreError> {
    let position = position(snapshot).await?;
    let mut batch = FeedBatch {
        upto: after,
        head: position.n,
        epoch: position.epoch,
        ..FeedBatch::default()
    };
    if position.n <= after {
        return Ok(batch);
    }
    let Some((touched, upto)) = touched(snapshot, after, limit).await? else {
        batch.pruned = true;
        return Ok(batch);
    };
    batch.upto = upto.unwrap_or(position.n);
    batch.times = touched.times.into_values().collect();
    for id in touched.workspaces {
        let workspace = match directory::workspace(snapshot, &id).await? {
            Some(workspace) => {
                let scopes = directory::scopes(snapshot, &id, None, None).await?;
                Some((workspace, scopes))
            }
            None => None,
        };
        batch.workspaces.push((id, workspace));
    }
    for (workspace, id) in touched.subscriptions {
        let found = directory::subscription(snapshot, &workspace, &id).await?;
        batch.subscriptions.push(((workspace, id), found));
    }
    for (workspace, id) in touched.routes {
        let found = routes::by_id(snapshot, &workspace, &id).await?;
        batch.routes.push(((workspace, id), found));
    }
    batch.principals = principals::at(snapshot, touched.principals).await?;
    let ids: Vec<KeyId> = touched.keys.into_iter().collect();
    let mut found = keys::by_ids(snapshot, &ids).await?;
    batch.keys = ids.into_iter().map(|id| (id, found.remove(&id))).collect();
    Ok(batch)
}

#[derive(Default)]
struct Touched {
    workspaces: BTreeSet<WorkspaceId>,
    subscriptions: BTreeSet<(WorkspaceId, SubscriptionId)>,
    routes: BTreeSet<(WorkspaceId, RouteId)>,
    principals: BTreeSet<(WorkspaceId, PrincipalId)>,
    keys: BTreeSet<KeyId>,
    times: BTreeMap<i64, Time>,
}

impl Touched {
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        let (revision, _, kind, workspace, id, time) = row;
        self.times.insert(*revision, Time::from_micros(*time));
        let workspace = convert::workspace_id(workspace)?;
        match kind.as_str() {
            KEY => {
                self.keys.insert(convert::parse(id, "changes.resource_id")?);
            }
            SUBSCRIPTION => {
                let id = convert::parse(id, "changes.resource_id")?;
                self.subscriptions.insert((workspace, id));
            }
            ROUTE => {
                let id = convert::parse(id, "changes.resource_id")?;
                self.routes.insert((workspace, id));
            }
            PRINCIPAL => {
                let id = convert::parse(id, "changes.resource_id")?;
                self.principals.insert((workspace, id));
            }
            WORKSPACE | SCOPE => {
                self.workspaces.insert(workspace);
            }
            _ => {
                return Err(corrupt(
                    "changes.resource_kind has a text that is not known",
                ));
            }
        }
        Ok(())
    }
}

/// Revision, ordinal, kind, workspace, id of the resource, time.
type Row = (i64, i64, String, String, String, i64);

/// What was touched after a revision, and up to which one, where the limit cut in. None where some of it was pruned.
async fn touched<C: ConnectionTrait>(
    snapshot: &C,
    after: u64,
    limit: u32,
) -> Result<Option<(Touched, Option<u64>)>, StoreError> {
    let limit = u64::from(std::cmp::max(limit, 1));
    let rows = columns()
        .filter(changes::Column::Revision.gt(convert::signed(after)?))
        .limit(limit)
        .into_tuple::<Row>()
        .all(snapshot)
        .await
        .map_err(failed)?;
    let next = rows.first().map(|(revision, ..)| *revision);
    if next != Some(convert::signed(after + 1)?) && !reaches_back(snapshot, after).await? {
        return Ok(None);
    }
    let mut touched = Touched::default();
    rows.iter().try_for_each(|row| touched.add(row))?;
    let Some((revision, ordinal, ..)) = rows.last().filter(|_| rows.len() as u64 == limit) else {
        return Ok(Some((touched, None)));
    };
    // The limit may have cut a revision in two: the rest of it belongs here too.
    let rest = columns()
        .filter(changes::Column::Revision.eq(*revision))
        .filter(changes::Column::Ordinal.gt(*ordinal))
        .into_tuple::<Row>()
        .all(snapshot)
        .await
        .map_err(failed)?;
    rest.iter().try_for_each(|row| touched.add(row))?;
    Ok(Some((touched, Some(convert::unsigned(*revision)?))))
}

/// Whether all that came after a revision is still there.
pub(super) async fn continues<C: ConnectionTrait>(
    snapshot: &C,
    revision: u64,
) -> Result<bool, StoreError> {
    let next = columns()
        .filter(changes::Column::Revision.gt(convert::signed(revision)?))
        .limit(1)
        .into_tuple::<Row>()
        .one(snapshot)
        .await
        .map_err(failed)?;
    let follows =
        next.is_some_and(|(next, ..)| convert::unsigned(next).ok() == revision.checked_add(1));
    Ok(follows || reaches_back(snapshot, revision).await?)
}

/// Whether the feed has anything of a revision or of one before it. Then all that came after it is there, too: only the
/// oldest is ever pruned, and a revision that is missing had no change.
async fn reaches_back<C: ConnectionTrait>(snapshot: &C, revision: u64) -> Result<bool, StoreError> {
    let found = changes::Entity::find()
        .select_only()
        .column(changes::Column::Revision)
        .filter(changes::Column::Revision.lte(convert::signed(revision)?))
        .limit(1)
        .into_tuple::<i64>()
        .one(snapshot)
        .await
        .map_err(failed)?;
    Ok(found.is_some())
}

/// Deletes the oldest changes, in a transaction.
pub(super) async fn prune(tx: &Transaction, before: Time, limit: u32) -> Result<u64, StoreError> {
    let head = convert::signed(position(tx).await?.n)?;
    let limit = std::cmp::max(limit, 1);
    let oldest = changes::Entity::find()
        .select_only()
        .column(changes::Column::Revision)
        .column(changes::Column::Time)
        .order_by_asc(changes::Column::Revision)
        .order_by_asc(changes::Column::Ordinal)
        .limit(u64::from(limit))
        .into_tuple::<(i64, i64)>()
        .all(tx)
        .await
        .map_err(failed)?;
    // The first that stays. Where the limit cut in, the last one seen may go on after it, unless it is all that was seen.
    let stays = match oldest.iter().find(|(_, time)| *time >= before.micros()) {
        Some((revision, _)) => *revision,
        None => match (oldest.first(), oldest.last()) {
            (Some((first, _)), Some((last, _))) if first < last => *last,
            (_, Some((last, _))) => last + 1,
            _ => return Ok(0),
        },
    };
    let done = changes::Entity::delete_many()
        .filter(changes::Column::Revision.lt(std::cmp::min(stays, head)))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected)
}

fn columns() -> sea_orm::Select<changes::Entity> {
    changes::Entity::find()
        .select_only()
        .column(changes::Column::Revision)
        .column(changes::Column::Ordinal)
        .column(changes::Column::ResourceKind)
        .column(changes::Column::WorkspaceId)
        .column(changes::Column::ResourceId)
        .column(changes::Column::Time)
        .order_by_asc(changes::Column::Revision)
        .order_by_asc(changes::Column::Ordinal)
}

/// The row of a change.
pub(super) fn row(
    change: &Change,
    revision: u64,
    ordinal: i64,
) -> Result<changes::Model, StoreError> {
    let (kind, id) = match &change.resource {
        Resource::Key(_, id) => (KEY, id.to_string()),
        Resource::Workspace(id) => (WORKSPACE, id.to_string()),
        Resource::Subscription(_, id) => (SUBSCRIPTION, id.to_string()),
        Resource::Scope(_, name) => (SCOPE, name.clone()),
        Resource::Route(_, id) => (ROUTE, id.to_string()),
        Resource::Principal(_, id) => (PRINCIPAL, id.to_string()),
    };
    let (actor, on_behalf_of) = match &change.actor {
        Actor::Key(id) => (id.to_string(), None),
        Actor::OnBehalf(id, principal) => (id.to_string(), Some(principal.to_string())),
        Actor::Bootstrap => ("BOOTSTRAP".to_owned(), None),
        Actor::Recovery => ("RECOVERY".to_owned(), None),
        Actor::Service => ("SERVICE".to_owned(), None),
    };
    Ok(changes::Model {
        revision: convert::signed(revision)?,
        ordinal,
        time: change.time.micros(),
        actor,
        action: change.action.to_owned(),
        resource_kind: kind.to_owned(),
        workspace_id: change.resource.workspace().as_str().to_owned(),
        resource_id: id,
        before: change.before.as_ref().map(ToString::to_string),
        after: change.after.as_ref().map(ToString::to_string),
        on_behalf_of,
    })
}
