//! The request log: written in batches, read by filters.

use sea_orm::sea_query::{ExprTrait as _, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use super::convert;
use crate::app::ports::{DecisionQuery, LogRow, RowId, StoreError};
use crate::domain::decision::Reason;
use crate::store::bounded::Transaction;
use crate::store::entity::decisions::{Column, Entity};
use crate::store::error::failed;

/// How many rows one statement writes: of 21 columns, and SQLite binds at most 32,766 values.
const ROWS: usize = 200;

/// Writes rows; those that are there already stay.
pub(super) async fn write(tx: &Transaction, rows: &[LogRow]) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Postgres {
        // A crash of the server may cost the last moments of the log; nobody bills by it.
        tx.execute_unprepared("SET LOCAL synchronous_commit = off")
            .await
            .map_err(failed)?;
    }
    for some in rows.chunks(ROWS) {
        let models: Vec<_> = some
            .iter()
            .map(convert::log_row)
            .collect::<Result<_, _>>()?;
        Entity::insert_many(models)
            .on_conflict(
                OnConflict::columns([Column::WorkspaceId, Column::Id])
                    .do_nothing()
                    .to_owned(),
            )
            .exec_without_returning(tx)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Rows, newest first.
pub(super) async fn list<C: ConnectionTrait>(
    connection: &C,
    query: &DecisionQuery,
) -> Result<Vec<LogRow>, StoreError> {
    let rows = select(query).all(connection).await.map_err(failed)?;
    rows.into_iter().map(convert::of_log_row).collect()
}

/// The statement of a list.
pub(in crate::store) fn select(query: &DecisionQuery) -> Select<Entity> {
    let denied = query.allowed == Some(false);
    let reason = query.reason.map(|reason| match reason {
        Reason::Ok => Column::Allowed
            .eq(true)
            .and(Column::Reason.eq(Reason::Ok.as_str())),
        // By the column that an index has.
        reason => Column::Denial.eq(reason.as_str()),
    });
    let mut filter = Condition::all()
        .add(Column::WorkspaceId.eq(query.workspace.as_str()))
        .add_option(
            query
                .key
                .map(|key| Column::KeyId.eq(key.to_bytes().to_vec())),
        )
        .add_option(query.subscriptions.as_ref().map(|subscriptions| {
            let names = subscriptions.iter().map(|s| s.as_str());
            match subscriptions.as_slice() {
                [only] => Column::Subscription.eq(only.as_str()),
                _ => Column::Subscription.is_in(names),
            }
        }))
        .add_option((query.allowed == Some(true)).then(|| Column::Allowed.eq(true)))
        .add_option(denied.then(|| Column::Denial.is_not_null()))
        .add_option(reason)
        .add_option(
            query
                .source_ip
                .map(|ip| Column::SourceIp.eq(ip.to_string())),
        )
        .add_option(query.route.as_ref().map(|r| Column::Route.eq(r.as_str())))
        .add_option(
            query
                .start
                .map(|start| Column::Id.gte(convert::row_id(RowId::first_at(start)))),
        )
        .add_option(
            query
                .end
                .map(|end| Column::Id.lt(convert::row_id(RowId::first_at(end)))),
        )
        .add_option(
            query
                .before
                .map(|before| Column::Id.lt(convert::row_id(before))),
        );
    if query.is_filtered() {
        filter = filter.add(Column::Missing.is_null());
    }
    Entity::find()
        .filter(filter)
        .order_by_desc(Column::Id)
        .limit(u64::from(query.limit))
}
