//! What becomes of keys over time: sealed tokens that are destroyed, grants that were made use of.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait as _, QueryFilter,
    QueryOrder as _, QuerySelect as _,
};

use super::bounded::Transaction;
use super::convert;
use super::entity::{keys, secrets};
use super::error::failed;
use super::maintenance::GIVE_WAY;
use crate::app::ports::{Exercised, StoreError};
use crate::domain::id::{KeyId, WorkspaceId};

/// How many ids one `IN` takes.
const AT_ONCE: usize = 500;

/// Destroys the sealed tokens of the keys after one, in the order of their ids; returns the last of them, none where there are
/// no more, and how many tokens it destroyed. By key, since an index has those in order: nothing is looked at twice.
pub(super) async fn destroy_sealed(
    tx: &Transaction,
    workspace: &WorkspaceId,
    after: Option<KeyId>,
    limit: u32,
) -> Result<(Option<KeyId>, u64), StoreError> {
    let mut select = keys::Entity::find()
        .select_only()
        .column(keys::Column::Id)
        .filter(keys::Column::WorkspaceId.eq(workspace.as_str()));
    if let Some(after) = after {
        select = select.filter(keys::Column::Id.gt(after.to_bytes().to_vec()));
    }
    let found = select
        .order_by_asc(keys::Column::Id)
        .limit(u64::from(limit))
        .into_tuple::<Vec<u8>>()
        .all(tx)
        .await
        .map_err(failed)?;
    let mut all = 0;
    for some in found.chunks(AT_ONCE) {
        let done = secrets::Entity::update_many()
            .col_expr(secrets::Column::Sealed, Expr::val(None::<Vec<u8>>))
            .filter(secrets::Column::KeyId.is_in(some.iter().cloned()))
            .filter(secrets::Column::Sealed.is_not_null())
            .exec(tx)
            .await
            .map_err(failed)?;
        all += done.rows_affected;
    }
    let whole = u64::try_from(found.len()).unwrap_or(u64::MAX) == u64::from(limit);
    let last = found.last().filter(|_| whole);
    Ok((last.map(|id| convert::key_id(id)).transpose()?, all))
}

/// How many sealed tokens a workspace has.
pub(super) async fn count_sealed<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
) -> Result<u64, StoreError> {
    secrets::Entity::find()
        .filter(secrets::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(secrets::Column::Sealed.is_not_null())
        .count(connection)
        .await
        .map_err(failed)
}

/// Adds grants that were made use of to those that are known. Rare: once for each key and grant in the life of a process.
pub(super) async fn write_exercised(
    tx: &Transaction,
    used: &[(KeyId, Vec<String>)],
) -> Result<(), StoreError> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(GIVE_WAY).await.map_err(failed)?;
    }
    let mut new: BTreeMap<Vec<u8>, BTreeSet<&str>> = BTreeMap::new();
    for (key, grants) in used {
        let of_key = new.entry(key.to_bytes().to_vec()).or_default();
        of_key.extend(grants.iter().map(String::as_str));
    }
    // By id, as whoever writes times of last use locks them.
    let stands = keys::Entity::find()
        .select_only()
        .columns([keys::Column::Id, keys::Column::Exercised])
        .filter(keys::Column::Id.is_in(new.keys().cloned()))
        .order_by_asc(keys::Column::Id)
        .lock_exclusive()
        .into_tuple::<(Vec<u8>, Option<String>)>()
        .all(tx)
        .await
        .map_err(failed)?;
    for (id, text) in stands {
        let known = known(text.as_deref())?;
        let Some(added) = new.get(&id) else { continue };
        let all: BTreeSet<&str> = known
            .iter()
            .map(String::as_str)
            .chain(added.iter().copied())
            .collect();
        if all.len() == known.len() {
            continue;
        }
        keys::Entity::update_many()
            .col_expr(keys::Column::Exercised, Expr::val(convert::json(&all)?))
            .filter(keys::Column::Id.eq(id))
            .exec(tx)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Which grants of these keys were made use of.
pub(super) async fn exercised<C: ConnectionTrait>(
    connection: &C,
    ids: &[KeyId],
) -> Result<Exercised, StoreError> {
    let mut all = Exercised::new();
    for some in ids.chunks(AT_ONCE) {
        let found = keys::Entity::find()
            .select_only()
            .columns([keys::Column::Id, keys::Column::Exercised])
            .filter(keys::Column::Id.is_in(some.iter().map(|id| id.to_bytes().to_vec())))
            .into_tuple::<(Vec<u8>, Option<String>)>()
            .all(connection)
            .await
            .map_err(failed)?;
        for (id, text) in found {
            all.insert(convert::key_id(&id)?, known(text.as_deref())?);
        }
    }
    Ok(all)
}

fn known(text: Option<&str>) -> Result<BTreeSet<String>, StoreError> {
    text.map_or_else(
        || Ok(BTreeSet::new()),
        |text| convert::from_json(text, "keys.exercised"),
    )
}
