//! Writing: keys, directory, stored answers. Only ever inside a mutation.

use sea_orm::sea_query::{Expr, OnConflict, Query};
use sea_orm::{
    ActiveValue::Unchanged, ColumnTrait, EntityTrait, Iterable as _, QueryFilter, QueryOrder as _,
};

use super::bounded::Transaction;
use super::entity::{
    idempotency, imports, key_terms, keys, replay_tokens, scopes, secrets, subscriptions,
    workspaces,
};
use super::error::{corrupt, failed};
use super::{convert, outbox, principals, routes};
use crate::app::ports::{IdempotencyRecord, StoreError};
use crate::domain::id::{KeyId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::time::Time;
use crate::domain::workspace::{Scope, Subscription, Workspace};

/// How many ids one `IN` takes.
const AT_ONCE: usize = 500;
/// How many rows one statement changes where there may be any number of them: a statement has a limit of its own.
const A_STATEMENT: u64 = 10_000;

/// Inserts or replaces a key with its secrets and terms; times of last use stay as they are.
pub(super) async fn put_key(tx: &Transaction, key: &Key) -> Result<(), StoreError> {
    use keys::Column;
    let kept = |c: &Column| matches!(c, Column::Id | Column::LastUsedTime | Column::Exercised);
    let replaced = Column::iter().filter(|c| !kept(c));
    keys::Entity::insert(convert::key_row(key)?)
        .on_conflict(
            OnConflict::column(Column::Id)
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    put_secrets(tx, key).await?;
    put_terms(tx, key).await
}

async fn put_secrets(tx: &Transaction, key: &Key) -> Result<(), StoreError> {
    let ids = key.secrets.iter().map(|s| s.id.to_bytes().to_vec());
    secrets::Entity::delete_many()
        .filter(secrets::Column::KeyId.eq(key.id.to_bytes().to_vec()))
        .filter(secrets::Column::Id.is_not_in(ids))
        .exec(tx)
        .await
        .map_err(failed)?;
    let rows = convert::secret_rows(key)?;
    if rows.is_empty() {
        return Ok(());
    }
    use secrets::Column;
    // A sealed digest is not read with its secret, so it is not at hand to be written again.
    let kept = |c: &Column| matches!(c, Column::Id | Column::LastUsedTime | Column::SealedDigest);
    let replaced = Column::iter().filter(|c| !kept(c));
    secrets::Entity::insert_many(rows)
        .on_conflict(
            OnConflict::column(Column::Id)
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    forget_dead_digests(tx, key).await
}

/// Nobody may take a dead secret elsewhere.
async fn forget_dead_digests(tx: &Transaction, key: &Key) -> Result<(), StoreError> {
    let dead = key.secrets.iter().filter(|s| s.revoke_time.is_some());
    let dead: Vec<_> = dead.map(|s| s.id.to_bytes().to_vec()).collect();
    if dead.is_empty() {
        return Ok(());
    }
    secrets::Entity::update_many()
        .col_expr(secrets::Column::SealedDigest, Expr::val(None::<Vec<u8>>))
        .filter(secrets::Column::Id.is_in(dead))
        .filter(secrets::Column::SealedDigest.is_not_null())
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

async fn put_terms(tx: &Transaction, key: &Key) -> Result<(), StoreError> {
    let terms = convert::terms(key);
    key_terms::Entity::delete_many()
        .filter(key_terms::Column::KeyId.eq(key.id.to_bytes().to_vec()))
        .filter(key_terms::Column::Term.is_not_in(terms.iter().map(String::as_str)))
        .exec(tx)
        .await
        .map_err(failed)?;
    let rows = convert::term_rows(key, &terms);
    if rows.is_empty() {
        return Ok(());
    }
    let place = [
        key_terms::Column::WorkspaceId,
        key_terms::Column::Term,
        key_terms::Column::KeyId,
    ];
    key_terms::Entity::insert_many(rows)
        .on_conflict(OnConflict::columns(place).do_nothing().to_owned())
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes keys; their secrets and terms go with them.
pub(super) async fn purge_keys(tx: &Transaction, ids: &[KeyId]) -> Result<(), StoreError> {
    for some in ids.chunks(AT_ONCE) {
        keys::Entity::delete_many()
            .filter(keys::Column::Id.is_in(bytes(some)))
            .exec(tx)
            .await
            .map_err(failed)?;
        outbox::forget_keys(tx, bytes(some)).await?;
    }
    Ok(())
}

/// Removes the secrets of keys that ended before a moment; the keys have changed then, at this revision.
pub(super) async fn forget_secrets(
    tx: &Transaction,
    ids: &[KeyId],
    before: Time,
    (revision, now): (u64, Time),
) -> Result<(), StoreError> {
    for some in ids.chunks(AT_ONCE) {
        // The keys first, as every mutation does it: whoever locks rows locks them in this order.
        keys::Entity::update_many()
            .col_expr(
                keys::Column::Revision,
                Expr::val(convert::signed(revision)?),
            )
            .col_expr(keys::Column::UpdateTime, Expr::val(now.micros()))
            .filter(keys::Column::Id.is_in(bytes(some)))
            .exec(tx)
            .await
            .map_err(failed)?;
        secrets::Entity::delete_many()
            .filter(secrets::Column::KeyId.is_in(bytes(some)))
            .filter(secrets::Column::EndTime.lt(before.micros()))
            .exec(tx)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

fn bytes(ids: &[KeyId]) -> impl Iterator<Item = Vec<u8>> {
    ids.iter().map(|id| id.to_bytes().to_vec())
}

/// Inserts or replaces a workspace.
pub(super) async fn put_workspace(
    tx: &Transaction,
    workspace: &Workspace,
) -> Result<(), StoreError> {
    use workspaces::Column;
    let replaced = Column::iter().filter(|c| !matches!(c, Column::Id));
    workspaces::Entity::insert(convert::workspace_row(workspace)?)
        .on_conflict(
            OnConflict::column(Column::Id)
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes a workspace with its subscriptions, scopes, principals, routes, imports, and what POSTbacks have of it.
pub(super) async fn delete_workspace(tx: &Transaction, id: &WorkspaceId) -> Result<(), StoreError> {
    subscriptions::Entity::delete_many()
        .filter(subscriptions::Column::WorkspaceId.eq(id.as_str()))
        .exec(tx)
        .await
        .map_err(failed)?;
    scopes::Entity::delete_many()
        .filter(scopes::Column::WorkspaceId.eq(id.as_str()))
        .exec(tx)
        .await
        .map_err(failed)?;
    routes::delete_all(tx, id).await?;
    principals::delete_of(tx, id).await?;
    let some = Query::select()
        .column(imports::Column::ImportId)
        .from(imports::Entity)
        .and_where(imports::Column::WorkspaceId.eq(id.as_str()))
        .limit(A_STATEMENT)
        .to_owned();
    loop {
        let done = imports::Entity::delete_many()
            .filter(imports::Column::WorkspaceId.eq(id.as_str()))
            .filter(imports::Column::ImportId.in_subquery(some.clone()))
            .exec(tx)
            .await
            .map_err(failed)?;
        if done.rows_affected == 0 {
            break;
        }
    }
    outbox::forget_workspace(tx, id).await?;
    workspaces::Entity::delete_by_id(id.as_str())
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Inserts or replaces a subscription.
pub(super) async fn put_subscription(
    tx: &Transaction,
    subscription: &Subscription,
) -> Result<(), StoreError> {
    use subscriptions::Column;
    let replaced = Column::iter().filter(|c| !matches!(c, Column::WorkspaceId | Column::Id));
    subscriptions::Entity::insert(convert::subscription_row(subscription)?)
        .on_conflict(
            OnConflict::columns([Column::WorkspaceId, Column::Id])
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes a subscription.
pub(super) async fn delete_subscription(
    tx: &Transaction,
    workspace: &WorkspaceId,
    id: &SubscriptionId,
) -> Result<(), StoreError> {
    let place = (workspace.as_str().to_owned(), id.as_str().to_owned());
    subscriptions::Entity::delete_by_id(place)
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Inserts or replaces a catalogue entry.
pub(super) async fn put_scope(tx: &Transaction, scope: &Scope) -> Result<(), StoreError> {
    use scopes::Column;
    let replaced = Column::iter().filter(|c| !matches!(c, Column::WorkspaceId | Column::Name));
    scopes::Entity::insert(convert::scope_row(scope)?)
        .on_conflict(
            OnConflict::columns([Column::WorkspaceId, Column::Name])
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes a catalogue entry.
pub(super) async fn delete_scope(
    tx: &Transaction,
    workspace: &WorkspaceId,
    name: &str,
) -> Result<(), StoreError> {
    scopes::Entity::delete_by_id((workspace.as_str().to_owned(), name.to_owned()))
        .exec(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// The stored answer of this id.
pub(super) async fn idempotency(
    tx: &Transaction,
    id: &[u8; 32],
) -> Result<Option<IdempotencyRecord>, StoreError> {
    let Some(row) = idempotency::Entity::find_by_id(id.to_vec())
        .one(tx)
        .await
        .map_err(failed)?
    else {
        return Ok(None);
    };
    let sealed = replay_tokens::Entity::find()
        .filter(replay_tokens::Column::IdempotencyId.eq(id.to_vec()))
        .order_by_asc(replay_tokens::Column::Ordinal)
        .all(tx)
        .await
        .map_err(failed)?;
    let sealed = sealed
        .into_iter()
        .map(|row| Ok((convert::secret_id(&row.secret_id)?, row.sealed)))
        .collect::<Result<_, StoreError>>()?;
    Ok(Some(IdempotencyRecord {
        id: *id,
        fingerprint: <[u8; 32]>::try_from(row.fingerprint.as_slice())
            .map_err(|_| corrupt("idempotency.fingerprint does not have 32 bytes"))?,
        answer: row.answer,
        key: row.key_id.as_deref().map(convert::key_id).transpose()?,
        sealed,
        create_time: Time::from_micros(row.create_time),
    }))
}

/// Writes a stored answer with its tokens, in the place of an older one that has not been cleaned up yet.
pub(super) async fn put_idempotency(
    tx: &Transaction,
    record: &IdempotencyRecord,
) -> Result<(), StoreError> {
    let key = record.key.map(|key| key.to_bytes().to_vec());
    let answer = idempotency::ActiveModel {
        id: Unchanged(record.id.to_vec()),
        fingerprint: Unchanged(record.fingerprint.to_vec()),
        answer: Unchanged(record.answer.clone()),
        key_id: Unchanged(key.clone()),
        create_time: Unchanged(record.create_time.micros()),
    };
    use idempotency::Column;
    let replaced = Column::iter().filter(|c| !matches!(c, Column::Id));
    idempotency::Entity::insert(answer)
        .on_conflict(
            OnConflict::column(Column::Id)
                .update_columns(replaced)
                .to_owned(),
        )
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    replay_tokens::Entity::delete_many()
        .filter(replay_tokens::Column::IdempotencyId.eq(record.id.to_vec()))
        .exec(tx)
        .await
        .map_err(failed)?;
    if record.sealed.is_empty() {
        return Ok(());
    }
    let tokens = (0_i64..)
        .zip(&record.sealed)
        .map(|(ordinal, (secret, sealed))| replay_tokens::ActiveModel {
            idempotency_id: Unchanged(record.id.to_vec()),
            ordinal: Unchanged(ordinal),
            key_id: Unchanged(key.clone()),
            secret_id: Unchanged(secret.to_bytes().to_vec()),
            sealed: Unchanged(sealed.clone()),
            create_time: Unchanged(record.create_time.micros()),
        });
    replay_tokens::Entity::insert_many(tokens)
        .exec_without_returning(tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets the sealed tokens in a key's stored answers: of one secret, or of all.
pub(super) async fn forget_tokens(
    tx: &Transaction,
    key: KeyId,
    secret: Option<SecretId>,
) -> Result<(), StoreError> {
    let mut delete = replay_tokens::Entity::delete_many()
        .filter(replay_tokens::Column::KeyId.eq(key.to_bytes().to_vec()));
    if let Some(secret) = secret {
        delete = delete.filter(replay_tokens::Column::SecretId.eq(secret.to_bytes().to_vec()));
    }
    delete.exec(tx).await.map_err(failed)?;
    Ok(())
}
