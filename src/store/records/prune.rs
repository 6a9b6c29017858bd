//! What goes: by age, by request, and with its workspace.

use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use super::convert;
use crate::app::ports::{Before, RowId, StoreError};
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::time::Time;
use crate::store::bounded::Transaction;
use crate::store::convert::workspace_id;
use crate::store::entity::{decisions, flushes, shadow_counts, usage};
use crate::store::error::failed;

/// Forgets what restrictions in shadow would have denied a key.
pub(super) async fn reset_shadow(
    tx: &Transaction,
    workspace: &WorkspaceId,
    key: KeyId,
) -> Result<(), StoreError> {
    use shadow_counts::Column;
    shadow_counts::Entity::delete_many()
        .filter(Column::WorkspaceId.eq(workspace.as_str()))
        .filter(Column::KeyId.eq(key.to_bytes().to_vec()))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets writers that have not written for long.
pub(super) async fn forget_writers(tx: &Transaction, before: Time) -> Result<(), StoreError> {
    flushes::Entity::delete_many()
        .filter(flushes::Column::Time.lt(before.micros()))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The next workspace of which something is kept: the first of each table after it, by their primary keys.
pub(super) async fn next_workspace<C: ConnectionTrait>(
    connection: &C,
    after: Option<&WorkspaceId>,
) -> Result<Option<WorkspaceId>, StoreError> {
    let mut first: Option<String> = None;
    let after = after.map_or("", WorkspaceId::as_str);
    for table in ["decisions", "usage", "shadow_counts"] {
        let next = Query::select()
            .column("workspace_id")
            .from(table)
            .and_where(Expr::col("workspace_id").gt(after))
            .order_by("workspace_id", sea_orm::Order::Asc)
            .limit(1)
            .to_owned();
        if let Some(row) = connection.query_one(&next).await.map_err(failed)? {
            let found: String = row.try_get_by_index(0).map_err(failed)?;
            first = Some(first.map_or(found.clone(), |first| std::cmp::min(first, found)));
        }
    }
    first.map(|id| workspace_id(&id)).transpose()
}

/// Deletes what is older, oldest first: so many rows of each kind at most.
pub(super) async fn older(
    tx: &Transaction,
    workspace: &WorkspaceId,
    before: Before,
    limit: u64,
) -> Result<u64, StoreError> {
    let mut done = log(tx, workspace, before.log, limit).await?;
    done += usage_older(tx, workspace, before.usage, limit).await?;
    let of_shadow = shadow_counts::Entity::delete_many()
        .filter(shadow_counts::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(shadow_counts::Column::LastTime.lt(before.shadow.micros()))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(done + of_shadow.rows_affected)
}

async fn log(
    tx: &Transaction,
    workspace: &WorkspaceId,
    before: Time,
    limit: u64,
) -> Result<u64, StoreError> {
    use decisions::{Column, Entity};
    let older = || {
        Condition::all()
            .add(Column::WorkspaceId.eq(workspace.as_str()))
            .add(Column::Id.lt(convert::row_id(RowId::first_at(before))))
    };
    // The first that stays for now, by the primary key; then all before it, in one range.
    let stays = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(older())
        .order_by_asc(Column::Id)
        .offset(limit)
        .limit(1)
        .into_tuple::<Vec<u8>>()
        .one(tx)
        .await
        .map_err(failed)?;
    let done = Entity::delete_many()
        .filter(older().add_option(stays.map(|id| Column::Id.lt(id))))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected)
}

async fn usage_older(
    tx: &Transaction,
    workspace: &WorkspaceId,
    before: Time,
    limit: u64,
) -> Result<u64, StoreError> {
    use usage::{Column, Entity};
    let older = || {
        Condition::all()
            .add(Column::WorkspaceId.eq(workspace.as_str()))
            .add(Column::Hour.lt(before.micros()))
    };
    // An hour may have a row for every key: it goes by keys.
    let stays = Entity::find()
        .select_only()
        .columns([Column::Hour, Column::KeyId])
        .filter(older())
        .order_by_asc(Column::Hour)
        .order_by_asc(Column::KeyId)
        .offset(limit)
        .limit(1)
        .into_tuple::<(i64, Vec<u8>)>()
        .one(tx)
        .await
        .map_err(failed)?;
    let until = stays.map(|(hour, key)| {
        let whole = Column::Hour.lt(hour);
        let part = Column::Hour.eq(hour).and(Column::KeyId.lte(key));
        Condition::any().add(whole).add(part)
    });
    let done = Entity::delete_many()
        .filter(older().add_option(until))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(done.rows_affected)
}
