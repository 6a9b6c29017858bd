//! What mutations write of POSTbacks: events, their URLs, and what they are signed with.

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, UpdateMany,
};

use super::rows::{delivery, failure_text, new_row, signing_secret, state_text};
use crate::app::ports::StoreError;
use crate::app::ports::outbox::{Delivery, NewEvent, SigningSecret};
use crate::domain::id::{EventId, KeyId, WorkspaceId};
use crate::domain::postback::{DeliveryState, Failure, place};
use crate::domain::time::Time;
use crate::store::bounded::Transaction;
use crate::store::bulk;
use crate::store::entity::{deliveries, postback_sequences, signing_secrets};
use crate::store::error::{corrupt, failed};

use deliveries::Column;

/// How many rows one statement deletes where there may be any number of them.
const A_STATEMENT: u64 = 10_000;

/// The next number of a key's events. Its row stays locked: whoever writes events of the key comes one after the other.
pub(super) async fn next_number(tx: &Transaction, key: KeyId) -> Result<i64, StoreError> {
    use postback_sequences::{Column, Entity};
    let one_more = Expr::col((Entity, Column::N)).add(1);
    let mut next = Query::insert();
    next.into_table(Entity)
        .columns([Column::KeyId, Column::N])
        .values([Expr::val(key.to_bytes().to_vec()), Expr::val(1_i64)])
        .map_err(|_| corrupt("a row has too many values"))?
        .on_conflict(
            OnConflict::column(Column::KeyId)
                .value(Column::N, one_more)
                .to_owned(),
        )
        .returning_col(Column::N);
    let row = tx.query_one(&next).await.map_err(failed)?;
    let row = row.ok_or_else(|| corrupt("a number was not drawn"))?;
    row.try_get_by_index(0).map_err(failed)
}

pub(super) async fn insert(
    tx: &Transaction,
    rows: Vec<deliveries::Model>,
) -> Result<(), StoreError> {
    bulk::insert(tx, rows.into_iter().map(|row| row.into_active_model())).await
}

/// Writes events, each with the next number of its key.
pub(in crate::store) async fn put_events(
    tx: &Transaction,
    events: &[NewEvent],
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        rows.push(new_row(event, next_number(tx, event.key).await?));
    }
    insert(tx, rows).await
}

/// Sends what is pending of a key elsewhere.
pub(in crate::store) async fn retarget(
    tx: &Transaction,
    key: KeyId,
    url: &str,
) -> Result<(), StoreError> {
    deliveries::Entity::update_many()
        .col_expr(Column::Url, Expr::val(url))
        .col_expr(Column::Place, Expr::val(place(url)))
        .filter(Column::KeyId.eq(key.to_bytes().to_vec()))
        .filter(Column::NextAttemptTime.is_not_null())
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Makes a delivery pending and due; one that has ended begins anew.
pub(in crate::store) async fn redeliver(
    tx: &Transaction,
    id: EventId,
    url: Option<&str>,
    now: Time,
) -> Result<Option<Delivery>, StoreError> {
    let id = id.to_bytes().to_vec();
    let mut ended = deliveries::Entity::update_many()
        .col_expr(Column::Attempts, Expr::val(0_i64))
        .col_expr(Column::State, Expr::val(state_text(DeliveryState::Pending)))
        .col_expr(Column::Claimed, Expr::val(false))
        .col_expr(Column::EndTime, Expr::val(None::<i64>))
        .col_expr(Column::NextAttemptTime, Expr::val(now.micros()))
        .filter(Column::Id.eq(id.clone()))
        .filter(Column::NextAttemptTime.is_null());
    if let Some(url) = url {
        ended = ended
            .col_expr(Column::Url, Expr::val(url))
            .col_expr(Column::Place, Expr::val(place(url)));
    }
    ended.exec(tx).await.map_err(failed)?;
    // One that somebody is trying at this moment is left to them.
    deliveries::Entity::update_many()
        .col_expr(Column::NextAttemptTime, Expr::val(now.micros()))
        .filter(Column::Id.eq(id.clone()))
        .filter(Column::NextAttemptTime.is_not_null())
        .filter(Column::Claimed.eq(false))
        .exec(tx)
        .await
        .map_err(failed)?;
    let row = deliveries::Entity::find_by_id(id)
        .one(tx)
        .await
        .map_err(failed)?;
    row.map(delivery).transpose()
}

/// The signing secrets of a workspace: the current one, and those before it, newest first.
pub(in crate::store) async fn signing_secrets<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
) -> Result<Vec<SigningSecret>, StoreError> {
    let rows = signing_secrets::Entity::find()
        .filter(signing_secrets::Column::WorkspaceId.eq(workspace.as_str()))
        .order_by_desc(signing_secrets::Column::Id)
        .all(connection)
        .await
        .map_err(failed)?;
    let found = rows.into_iter().map(signing_secret);
    let mut found: Vec<SigningSecret> = found.collect::<Result<_, _>>()?;
    // Ids of one millisecond are in no order.
    found.sort_by_key(|secret| secret.expire_time.is_some());
    Ok(found)
}

/// Inserts or replaces a signing secret.
pub(in crate::store) async fn put_signing_secret(
    tx: &Transaction,
    secret: &SigningSecret,
) -> Result<(), StoreError> {
    use signing_secrets::{Column, Entity, Model};
    let row = Model {
        id: secret.id.to_bytes().to_vec(),
        workspace_id: secret.workspace.as_str().to_owned(),
        sealed: secret.sealed.clone(),
        create_time: secret.create_time.micros(),
        expire_time: secret.expire_time.map(Time::micros),
    };
    Entity::insert(row.into_active_model())
        .on_conflict(
            OnConflict::column(Column::Id)
                .update_column(Column::ExpireTime)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Makes due what failed for lack of a signing secret.
pub(in crate::store) async fn hasten_unsigned(
    tx: &Transaction,
    workspace: &WorkspaceId,
    now: Time,
) -> Result<(), StoreError> {
    deliveries::Entity::update_many()
        .col_expr(Column::NextAttemptTime, Expr::val(now.micros()))
        .filter(Column::WorkspaceId.eq(workspace.as_str()))
        .filter(Column::NextAttemptTime.is_not_null())
        .filter(Column::Claimed.eq(false))
        .filter(Column::Failure.eq(failure_text(Failure::NoSigningSecret)))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets what POSTbacks have of keys that are purged, but for what is still to be delivered.
pub(in crate::store) async fn forget_keys(
    tx: &Transaction,
    keys: impl Iterator<Item = Vec<u8>>,
) -> Result<(), StoreError> {
    let keys: Vec<_> = keys.collect();
    postback_sequences::Entity::delete_many()
        .filter(postback_sequences::Column::KeyId.is_in(keys.clone()))
        .exec(tx)
        .await
        .map_err(failed)?;
    deliveries::Entity::delete_many()
        .filter(Column::KeyId.is_in(keys))
        .filter(Column::NextAttemptTime.is_null())
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets what POSTbacks have of a workspace. It has no keys any more.
pub(in crate::store) async fn forget_workspace(
    tx: &Transaction,
    id: &WorkspaceId,
) -> Result<(), StoreError> {
    signing_secrets::Entity::delete_many()
        .filter(signing_secrets::Column::WorkspaceId.eq(id.as_str()))
        .exec(tx)
        .await
        .map_err(failed)?;
    let some = Query::select()
        .column(Column::Id)
        .from(deliveries::Entity)
        .and_where(Expr::col(Column::WorkspaceId).eq(id.as_str()))
        .limit(A_STATEMENT)
        .to_owned();
    loop {
        let done = deliveries::Entity::delete_many()
            .filter(Column::Id.in_subquery(some.clone()))
            .exec(tx)
            .await
            .map_err(failed)?;
        if done.rows_affected == 0 {
            return Ok(());
        }
    }
}

/// An update of a claimed delivery, unless somebody else has it by now.
pub(super) fn of_claimed(claimed: &Delivery) -> UpdateMany<deliveries::Entity> {
    deliveries::Entity::update_many()
        .filter(Column::Id.eq(claimed.id.to_bytes().to_vec()))
        .filter(Column::Attempts.eq(i64::from(claimed.attempts)))
        .filter(Column::Claimed.eq(true))
        .filter(Column::State.eq(state_text(DeliveryState::Pending)))
}
