//! What the database says of itself, and what is done to it in the background: times of last use, what is due to go.

use std::collections::BTreeMap;

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait, OnConflict, Query};
use sea_orm::{
    ActiveValue::Unchanged, ColumnTrait, Condition, ConnectionTrait, DbBackend, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::bounded::Transaction;
use super::convert;
use super::entity::{idempotency, keys, meta, replay_tokens, secrets};
use super::error::{corrupt, failed};
use crate::app::ports::{Meta, StoreError};
use crate::domain::id::{KeyId, SecretId};
use crate::domain::time::Time;

const META_ID: i64 = 1;

/// What the database says of itself.
pub(super) async fn read_meta<C: ConnectionTrait>(
    connection: &C,
) -> Result<Option<Meta>, StoreError> {
    let row = meta::Entity::find_by_id(META_ID)
        .one(connection)
        .await
        .map_err(failed)?;
    row.map(|row| {
        Ok(Meta {
            epoch: epoch(row.epoch)?,
            wrapped_keys: row.wrapped_keys,
            bootstrapped: row.bootstrapped,
        })
    })
    .transpose()
}

/// An epoch from the database.
pub(super) fn epoch(number: i64) -> Result<u32, StoreError> {
    u32::try_from(number).map_err(|_| corrupt("meta.epoch is out of range"))
}

/// Writes `meta` where there is none.
pub(super) async fn write_meta<C: ConnectionTrait>(
    connection: &C,
    meta: &Meta,
) -> Result<(), StoreError> {
    let row = meta::ActiveModel {
        id: Unchanged(META_ID),
        epoch: Unchanged(i64::from(meta.epoch)),
        wrapped_keys: Unchanged(meta.wrapped_keys.clone()),
        bootstrapped: Unchanged(meta.bootstrapped),
    };
    meta::Entity::insert(row)
        .on_conflict(OnConflict::column(meta::Column::Id).do_nothing().to_owned())
        .exec_without_returning(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Replaces the wrapped keys, if they are still those.
pub(super) async fn rewrap<C: ConnectionTrait>(
    connection: &C,
    from: &[u8],
    to: &[u8],
) -> Result<(), StoreError> {
    meta::Entity::update_many()
        .col_expr(meta::Column::WrappedKeys, Expr::val(to.to_vec()))
        .filter(meta::Column::Id.eq(META_ID))
        .filter(meta::Column::WrappedKeys.eq(from.to_vec()))
        .exec(connection)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Says that the bootstrap key has been made; false where it had been made before.
pub(super) async fn set_bootstrapped<C: ConnectionTrait>(
    connection: &C,
) -> Result<bool, StoreError> {
    let done = meta::Entity::update_many()
        .col_expr(meta::Column::Bootstrapped, Expr::val(true))
        .filter(meta::Column::Id.eq(META_ID))
        .filter(meta::Column::Bootstrapped.eq(false))
        .exec(connection)
        .await
        .map_err(failed)?;
    if done.rows_affected == 1 {
        return Ok(true);
    }
    match read_meta(connection).await? {
        Some(_) => Ok(false),
        None => Err(corrupt("it has not been initialised")),
    }
}

/// Begins another history.
pub(super) async fn set_epoch<C: ConnectionTrait>(
    connection: &C,
    epoch: u32,
) -> Result<(), StoreError> {
    let done = meta::Entity::update_many()
        .col_expr(meta::Column::Epoch, Expr::val(i64::from(epoch)))
        .filter(meta::Column::Id.eq(META_ID))
        .exec(connection)
        .await
        .map_err(failed)?;
    match done.rows_affected {
        1 => Ok(()),
        _ => Err(corrupt("it has not been initialised")),
    }
}

/// How long the writing of times of last use waits for a row. Shorter than the second after which PostgreSQL looks for
/// deadlocks, so that where this and a mutation wait for each other it is always this that gives way; it comes again.
pub(super) const GIVE_WAY: &str = "SET LOCAL lock_timeout = '500ms'";

/// Writes times of last use, to secrets and to their keys, unless they have later ones.
pub(super) async fn write_last_used(
    tx: &Transaction,
    used: &[(SecretId, Time)],
) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(GIVE_WAY).await.map_err(failed)?;
    }
    let of_secrets: BTreeMap<Vec<u8>, i64> = used
        .iter()
        .map(|(secret, time)| (secret.to_bytes().to_vec(), time.micros()))
        .collect();
    let holders = secrets::Entity::find()
        .select_only()
        .column(secrets::Column::Id)
        .column(secrets::Column::KeyId)
        .filter(secrets::Column::Id.is_in(of_secrets.keys().cloned()))
        .into_tuple::<(Vec<u8>, Vec<u8>)>()
        .all(tx)
        .await
        .map_err(failed)?;
    let mut of_keys: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for (secret, key) in holders {
        if let Some(time) = of_secrets.get(&secret) {
            let latest = of_keys.entry(key).or_insert(*time);
            *latest = std::cmp::max(*latest, *time);
        }
    }
    if of_keys.is_empty() {
        return Ok(());
    }
    // The keys first, as every mutation does it, and by id: two processes that write at once must not wait for each other.
    keys::Entity::find()
        .select_only()
        .column(keys::Column::Id)
        .filter(keys::Column::Id.is_in(of_keys.keys().cloned()))
        .order_by_asc(keys::Column::Id)
        .lock_exclusive()
        .into_tuple::<Vec<u8>>()
        .all(tx)
        .await
        .map_err(failed)?;
    write_times(tx, (keys::Column::Id, keys::Column::LastUsedTime), of_keys).await?;
    let columns = (secrets::Column::Id, secrets::Column::LastUsedTime);
    write_times(tx, columns, of_secrets).await
}

/// Writes a time to each of some rows, in one statement, unless it has a later one.
async fn write_times<C: ColumnTrait>(
    tx: &Transaction,
    (id, column): (C, C),
    times: BTreeMap<Vec<u8>, i64>,
) -> Result<(), StoreError> {
    let time = times.iter().fold(CaseStatement::new(), |case, (of, time)| {
        case.case(id.eq(of.clone()), *time)
    });
    let update = Query::update()
        .table(column.entity_name())
        .value(column, time.clone())
        .and_where(id.is_in(times.into_keys()))
        .cond_where(
            Condition::any()
                .add(column.is_null())
                .add(column.into_expr().lt(time)),
        )
        .to_owned();
    tx.execute(&update).await.map_err(failed)?;
    Ok(())
}

/// Deleted keys whose purge time has passed.
pub(super) async fn due_for_purge<C: ConnectionTrait>(
    connection: &C,
    now: Time,
    limit: u32,
) -> Result<Vec<KeyId>, StoreError> {
    let found = keys::Entity::find()
        .select_only()
        .column(keys::Column::Id)
        .filter(keys::Column::PurgeTime.lte(now.micros()))
        .filter(keys::Column::DeleteTime.is_not_null())
        .order_by_asc(keys::Column::PurgeTime)
        .limit(u64::from(limit))
        .into_tuple::<Vec<u8>>()
        .all(connection)
        .await
        .map_err(failed)?;
    found.iter().map(|id| convert::key_id(id)).collect()
}

/// Keys with secrets that ended before `before`.
pub(super) async fn with_secrets_ended_before<C: ConnectionTrait>(
    connection: &C,
    before: Time,
    limit: u32,
) -> Result<Vec<KeyId>, StoreError> {
    let found = secrets::Entity::find()
        .select_only()
        .column(secrets::Column::KeyId)
        .distinct()
        .filter(secrets::Column::EndTime.lt(before.micros()))
        .limit(u64::from(limit))
        .into_tuple::<Vec<u8>>()
        .all(connection)
        .await
        .map_err(failed)?;
    found.iter().map(|id| convert::key_id(id)).collect()
}

/// How many stored answers, and how many tokens in them, one transaction deletes.
const EXPIRE: u64 = 1_000;

/// Deletes some stored answers and, sooner, their sealed tokens; returns whether those were all.
pub(super) async fn expire_idempotency(
    tx: &Transaction,
    before: Time,
    sealed_before: Time,
) -> Result<bool, StoreError> {
    // Tokens go with their answer too, should the two times be given the other way round.
    let sealed_before = before.max(sealed_before).micros();
    let tokens = Query::select()
        .column(replay_tokens::Column::IdempotencyId)
        .from(replay_tokens::Entity)
        .and_where(Expr::col(replay_tokens::Column::CreateTime).lt(sealed_before))
        .limit(EXPIRE)
        .to_owned();
    let of_tokens = replay_tokens::Entity::delete_many()
        .filter(replay_tokens::Column::IdempotencyId.in_subquery(tokens))
        .exec(tx)
        .await
        .map_err(failed)?;
    let answers = Query::select()
        .column(idempotency::Column::Id)
        .from(idempotency::Entity)
        .and_where(Expr::col(idempotency::Column::CreateTime).lt(before.micros()))
        .limit(EXPIRE)
        .to_owned();
    let of_answers = idempotency::Entity::delete_many()
        .filter(idempotency::Column::Id.in_subquery(answers))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(of_tokens.rows_affected < EXPIRE && of_answers.rows_affected < EXPIRE)
}
