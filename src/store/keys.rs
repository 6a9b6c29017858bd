//! Reading keys with their secrets.
//!
//! A key is two statements or more: the connection that comes in must be a transaction, or halves of two states could meet.

use std::collections::HashMap;

use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Iterable as _, QueryFilter, QueryOrder, QuerySelect,
    Select,
};

use super::entity::{key_terms, keys, secrets};
use super::error::failed;
use super::{bulk, convert};
use crate::app::ports::StoreError;
use crate::domain::id::{KeyId, PrincipalId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::secret::Secret;
use crate::domain::token::Tag;

/// How many ids one `IN` takes: well below what any database binds in one statement.
const AT_ONCE: usize = 500;

/// One key, whole.
pub(super) async fn by_id<C: ConnectionTrait>(
    connection: &C,
    id: KeyId,
) -> Result<Option<Key>, StoreError> {
    let row = keys::Entity::find_by_id(id.to_bytes().to_vec())
        .one(connection)
        .await
        .map_err(failed)?;
    let keys = with_secrets(connection, row.into_iter().collect()).await?;
    Ok(keys.into_iter().next())
}

/// Those of these keys that there are, by id.
pub(super) async fn by_ids<C: ConnectionTrait>(
    connection: &C,
    ids: &[KeyId],
) -> Result<HashMap<KeyId, Key>, StoreError> {
    let mut found = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(AT_ONCE) {
        let rows = keys::Entity::find()
            .filter(keys::Column::Id.is_in(ids.iter().map(|id| id.to_bytes().to_vec())))
            .all(connection)
            .await
            .map_err(failed)?;
        let keys = with_secrets(connection, rows).await?;
        found.extend(keys.into_iter().map(|key| (key.id, key)));
    }
    Ok(found)
}

/// The keys of a workspace that are not deleted.
pub(super) async fn of_workspace<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
) -> Result<Vec<Key>, StoreError> {
    let rows = keys::Entity::find()
        .filter(keys::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(keys::Column::DeleteTime.is_null())
        .order_by_asc(keys::Column::Id)
        .all(connection)
        .await
        .map_err(failed)?;
    with_secrets(connection, rows).await
}

/// Adds their secrets to rows of keys, whose order stays.
pub(super) async fn with_secrets<C: ConnectionTrait>(
    connection: &C,
    rows: Vec<keys::Model>,
) -> Result<Vec<Key>, StoreError> {
    let mut keys = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter();
    loop {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            return Ok(keys);
        }
        let found = without_digests()
            .filter(secrets::Column::KeyId.is_in(some.iter().map(|row| row.id.clone())))
            .order_by_asc(secrets::Column::KeyId)
            .order_by_asc(secrets::Column::Ordinal)
            .all(connection)
            .await
            .map_err(failed)?;
        keys.extend(joined(some, found)?);
    }
}

/// Secrets without their sealed digests: those are as good as tokens for an import elsewhere, and read only by
/// [`sealed_digests`].
fn without_digests() -> Select<secrets::Entity> {
    use secrets::Column;
    let kept = Column::iter().filter(|c| !matches!(c, Column::SealedDigest));
    secrets::Entity::find()
        .select_only()
        .columns(kept)
        .expr_as(Expr::val(None::<Vec<u8>>), Column::SealedDigest)
}

/// The sealed digests that are kept of these keys' secrets.
pub(super) async fn sealed_digests<C: ConnectionTrait>(
    connection: &C,
    keys: &[KeyId],
) -> Result<Vec<(KeyId, SecretId, Vec<u8>)>, StoreError> {
    let mut digests = Vec::new();
    for ids in keys.chunks(AT_ONCE) {
        let rows = secrets::Entity::find()
            .select_only()
            .column(secrets::Column::KeyId)
            .column(secrets::Column::Id)
            .column(secrets::Column::SealedDigest)
            .filter(secrets::Column::KeyId.is_in(ids.iter().map(|id| id.to_bytes().to_vec())))
            .filter(secrets::Column::SealedDigest.is_not_null())
            .into_tuple::<(Vec<u8>, Vec<u8>, Vec<u8>)>()
            .all(connection)
            .await
            .map_err(failed)?;
        for (key, secret, sealed) in rows {
            digests.push((convert::key_id(&key)?, convert::secret_id(&secret)?, sealed));
        }
    }
    Ok(digests)
}

fn joined(rows: Vec<keys::Model>, found: Vec<secrets::Model>) -> Result<Vec<Key>, StoreError> {
    let mut found = grouped(found)?;
    rows.into_iter()
        .map(|row| {
            let secrets = found.remove(&row.id).unwrap_or_default();
            convert::key(row, secrets)
        })
        .collect()
}

fn grouped(rows: Vec<secrets::Model>) -> Result<HashMap<Vec<u8>, Vec<Secret>>, StoreError> {
    let mut by_key: HashMap<Vec<u8>, Vec<Secret>> = HashMap::new();
    for mut row in rows {
        let key = std::mem::take(&mut row.key_id);
        by_key.entry(key).or_default().push(convert::secret(row)?);
    }
    Ok(by_key)
}

/// Whose secret a tag is, within a workspace.
pub(super) async fn secret_holder<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    tag: &Tag,
) -> Result<Option<(KeyId, SecretId)>, StoreError> {
    let found = holder_query(workspace, tag)
        .into_tuple::<(Vec<u8>, Vec<u8>)>()
        .one(connection)
        .await
        .map_err(failed)?;
    let Some((key, secret)) = found else {
        return Ok(None);
    };
    Ok(Some((convert::key_id(&key)?, convert::secret_id(&secret)?)))
}

/// Whose secrets these tags are, within a workspace.
pub(super) async fn holders<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    tags: &[Tag],
) -> Result<Vec<(Tag, KeyId, SecretId)>, StoreError> {
    let mut holders = Vec::new();
    for tags in tags.chunks(AT_ONCE) {
        let rows = secrets::Entity::find()
            .select_only()
            .column(secrets::Column::Tag)
            .column(secrets::Column::KeyId)
            .column(secrets::Column::Id)
            .filter(bulk::within(
                workspace,
                (secrets::Column::WorkspaceId, secrets::Column::Tag),
                tags.iter().map(|tag| tag.as_bytes().to_vec()),
            ))
            .into_tuple::<(Vec<u8>, Vec<u8>, Vec<u8>)>()
            .all(connection)
            .await
            .map_err(failed)?;
        for (tag, key, secret) in rows {
            holders.push((
                convert::tag(&tag)?,
                convert::key_id(&key)?,
                convert::secret_id(&secret)?,
            ));
        }
    }
    Ok(holders)
}

/// Key and id of the secret with this tag.
pub(super) fn holder_query(workspace: &WorkspaceId, tag: &Tag) -> sea_orm::Select<secrets::Entity> {
    secrets::Entity::find()
        .select_only()
        .column(secrets::Column::KeyId)
        .column(secrets::Column::Id)
        .filter(secrets::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(secrets::Column::Tag.eq(tag.as_bytes().to_vec()))
}

/// Whether a workspace has keys, deleted ones too.
pub(super) async fn exist_in<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
) -> Result<bool, StoreError> {
    let found = keys::Entity::find()
        .select_only()
        .column(keys::Column::Id)
        .filter(keys::Column::WorkspaceId.eq(workspace.as_str()))
        .limit(1)
        .into_tuple::<Vec<u8>>()
        .one(connection)
        .await
        .map_err(failed)?;
    Ok(found.is_some())
}

/// A key bound to this subscription, deleted ones too.
pub(super) async fn bound_to<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    subscription: &SubscriptionId,
) -> Result<Option<KeyId>, StoreError> {
    first_with_term(
        connection,
        workspace,
        convert::subscription_term(subscription),
    )
    .await
}

/// A key bound to this principal, deleted ones too.
pub(super) async fn bound_to_principal<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<Option<KeyId>, StoreError> {
    first_with_term(connection, workspace, convert::principal_term(principal)).await
}

/// A key that lists exactly this grant, deleted ones too.
pub(super) async fn granting<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    grant: &str,
) -> Result<Option<KeyId>, StoreError> {
    first_with_term(connection, workspace, convert::scope_term(grant)).await
}

async fn first_with_term<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    term: String,
) -> Result<Option<KeyId>, StoreError> {
    let found = key_terms::Entity::find()
        .select_only()
        .column(key_terms::Column::KeyId)
        .filter(key_terms::Column::WorkspaceId.eq(workspace.as_str()))
        .filter(key_terms::Column::Term.eq(term))
        .limit(1)
        .into_tuple::<Vec<u8>>()
        .one(connection)
        .await
        .map_err(failed)?;
    found.map(|id| convert::key_id(&id)).transpose()
}
