//! Principals: reading and writing them, one by one and in numbers.

use std::collections::BTreeMap;

use sea_orm::sea_query::{LikeExpr, OnConflict, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Iterable as _, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::bounded::Transaction;
use super::entity::principals::{self, Column};
use super::error::failed;
use super::{bulk, convert, list};
use crate::app::ports::{PrincipalQuery, StoreError};
use crate::domain::id::{PrincipalId, WorkspaceId};
use crate::domain::principal::Principal;
use crate::domain::scope::Grant;

/// How many ids one `IN` takes.
const AT_ONCE: usize = 500;
/// How many rows one statement writes; as in `bulk`.
const ROWS: usize = 100;
/// How many rows one statement removes where there may be any number of them.
const A_STATEMENT: u64 = 10_000;
/// How many are looked at in one go where most may be none that is looked for.
const PAGE: u64 = 1_000;

/// One principal.
pub(super) async fn by_id<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    id: &PrincipalId,
) -> Result<Option<Principal>, StoreError> {
    let place = (workspace.as_str().to_owned(), id.as_str().to_owned());
    let row = principals::Entity::find_by_id(place)
        .one(connection)
        .await
        .map_err(failed)?;
    row.map(convert::principal).transpose()
}

/// Those of these principals that there are.
pub(super) async fn by_ids<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    ids: &[PrincipalId],
) -> Result<Vec<Principal>, StoreError> {
    let mut found = Vec::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let rows = principals::Entity::find()
            .filter(bulk::within(
                workspace,
                (Column::WorkspaceId, Column::Id),
                ids.iter().map(PrincipalId::as_str),
            ))
            .all(connection)
            .await
            .map_err(failed)?;
        for row in rows {
            found.push(convert::principal(row)?);
        }
    }
    Ok(found)
}

/// A workspace's principals by id: those that a query asks for.
pub(super) async fn list<C: ConnectionTrait>(
    connection: &C,
    query: &PrincipalQuery,
) -> Result<Vec<Principal>, StoreError> {
    let part = query.name_contains.as_deref();
    let filter = Condition::all()
        .add(Column::WorkspaceId.eq(query.workspace.as_str()))
        .add_option(part.map(|part| Column::NameFolded.like(list::pattern(part))))
        .add_option(query.enabled.map(|enabled| Column::Enabled.eq(enabled)))
        .add_option(query.after.as_ref().map(|id| Column::Id.gt(id.as_str())));
    let rows = principals::Entity::find()
        .filter(filter)
        .order_by_asc(Column::Id)
        .limit(u64::from(query.limit))
        .all(connection)
        .await
        .map_err(failed)?;
    rows.into_iter().map(convert::principal).collect()
}

/// Those of these that there are, each with its place.
pub(super) async fn at<C: ConnectionTrait>(
    connection: &C,
    places: impl IntoIterator<Item = (WorkspaceId, PrincipalId)>,
) -> Result<Vec<((WorkspaceId, PrincipalId), Option<Principal>)>, StoreError> {
    let mut by_workspace = BTreeMap::<WorkspaceId, Vec<PrincipalId>>::new();
    for (workspace, id) in places {
        by_workspace.entry(workspace).or_default().push(id);
    }
    let mut all = Vec::new();
    for (workspace, ids) in by_workspace {
        let found = by_ids(connection, &workspace, &ids).await?;
        let mut found: BTreeMap<_, _> = found.into_iter().map(|p| (p.id.clone(), p)).collect();
        for id in ids {
            let row = found.remove(&id);
            all.push(((workspace.clone(), id), row));
        }
    }
    Ok(all)
}

/// A principal that lists one of these grants.
pub(super) async fn granting<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    grants: &[String],
) -> Result<Option<PrincipalId>, StoreError> {
    // No index leads there: a scope is seldom deleted, and principals often change. A grant stands in quotation marks in the
    // list, and has none in it; that SQLite's LIKE does not mind case is seen to below.
    let listed = grants.iter().fold(Condition::any(), |any, grant| {
        let escaped = format!("%\"{}\"%", grant.replace('_', "\\_"));
        any.add(Column::Scopes.like(LikeExpr::new(escaped).escape('\\')))
    });
    let mut after: Option<String> = None;
    loop {
        let rows = principals::Entity::find()
            .select_only()
            .column(Column::Id)
            .column(Column::Scopes)
            .filter(Column::WorkspaceId.eq(workspace.as_str()))
            .filter(listed.clone())
            .filter(Condition::all().add_option(after.take().map(|id| Column::Id.gt(id))))
            .order_by_asc(Column::Id)
            .limit(PAGE)
            .into_tuple::<(String, String)>()
            .all(connection)
            .await
            .map_err(failed)?;
        let Some((last, _)) = rows.last() else {
            return Ok(None);
        };
        after = Some(last.clone());
        for (id, scopes) in rows {
            let scopes: Vec<Grant> = convert::from_json(&scopes, "principals.scopes")?;
            if scopes
                .iter()
                .any(|g| grants.iter().any(|text| text == g.as_str()))
            {
                return convert::parse(&id, "principals.id").map(Some);
            }
        }
    }
}

/// Inserts or replaces principals, many in one statement.
pub(super) async fn put(tx: &Transaction, all: &[Principal]) -> Result<(), StoreError> {
    let kept = |c: &Column| matches!(c, Column::WorkspaceId | Column::Id);
    for some in all.chunks(ROWS) {
        let rows = some.iter().map(convert::principal_row);
        let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
        principals::Entity::insert_many(rows)
            .on_conflict(
                OnConflict::columns([Column::WorkspaceId, Column::Id])
                    .update_columns(Column::iter().filter(|c| !kept(c)))
                    .to_owned(),
            )
            .exec_without_returning(tx)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Removes a principal.
pub(super) async fn delete(
    tx: &Transaction,
    workspace: &WorkspaceId,
    id: &PrincipalId,
) -> Result<(), StoreError> {
    let place = (workspace.as_str().to_owned(), id.as_str().to_owned());
    principals::Entity::delete_by_id(place)
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes all principals of a workspace.
pub(super) async fn delete_of(tx: &Transaction, workspace: &WorkspaceId) -> Result<(), StoreError> {
    let some = Query::select()
        .column(Column::Id)
        .from(principals::Entity)
        .and_where(Column::WorkspaceId.eq(workspace.as_str()))
        .limit(A_STATEMENT)
        .to_owned();
    loop {
        let done = principals::Entity::delete_many()
            .filter(Column::WorkspaceId.eq(workspace.as_str()))
            .filter(Column::Id.in_subquery(some.clone()))
            .exec(tx)
            .await
            .map_err(failed)?;
        if done.rows_affected == 0 {
            return Ok(());
        }
    }
}
