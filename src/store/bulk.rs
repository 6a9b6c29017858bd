//! Writing many keys at once: a statement for every so many rows, and none for a single one.

use sea_orm::sea_query::{Asterisk, Expr, ExprTrait as _, Query};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter,
    Value,
};

use super::bounded::Transaction;
use super::convert;
use super::entity::{imports, key_terms, keys, secrets};
use super::error::failed;
use crate::app::ports::{ImportRecord, StoreError};
use crate::domain::id::WorkspaceId;
use crate::domain::key::Key;
use crate::domain::time::Time;

/// How many rows one statement inserts. The widest table has 25 columns, and SQLite binds at most 32,766 values. More than
/// this saves nothing: a statement of always the same size is prepared once, and then found again.
const ROWS: usize = 100;
/// How many values one `IN` takes.
const AT_ONCE: usize = 500;

/// Inserts rows, some in each statement.
pub(super) async fn insert<A>(
    tx: &Transaction,
    rows: impl IntoIterator<Item = A>,
) -> Result<(), StoreError>
where
    A: ActiveModelTrait + ActiveModelBehavior + Send,
{
    let mut rows = rows.into_iter();
    loop {
        let some: Vec<A> = rows.by_ref().take(ROWS).collect();
        if some.is_empty() {
            return Ok(());
        }
        <A::Entity as EntityTrait>::insert_many(some)
            .exec_without_returning(tx)
            .await
            .map_err(failed)?;
    }
}

/// Inserts keys that are new, with their secrets and terms.
pub(super) async fn put_new_keys(tx: &Transaction, new: &[Key]) -> Result<(), StoreError> {
    let rows: Vec<keys::ActiveModel> =
        new.iter().map(convert::key_row).collect::<Result<_, _>>()?;
    insert(tx, rows).await?;
    let mut rows: Vec<secrets::ActiveModel> = Vec::with_capacity(new.len());
    for key in new {
        rows.extend(convert::secret_rows(key)?);
    }
    insert(tx, rows).await?;
    let rows: Vec<key_terms::ActiveModel> = new
        .iter()
        .flat_map(|key| convert::term_rows(key, &convert::terms(key)))
        .collect();
    insert(tx, rows).await
}

/// Whether a row is of this workspace and has one of these values. As pairs: PostgreSQL, which takes a workspace for a small
/// part of a table until it has counted, would read all of it for a workspace and a list, each time.
pub(super) fn within<C: ColumnTrait, V: Into<Value>>(
    workspace: &WorkspaceId,
    (of, column): (C, C),
    values: impl IntoIterator<Item = V>,
) -> Expr {
    let pairs: Vec<(Value, Value)> = values
        .into_iter()
        .map(|value| (workspace.as_str().into(), value.into()))
        .collect();
    let pairs = Query::select()
        .expr(Expr::col(Asterisk))
        .from_values(pairs, "pairs")
        .to_owned();
    Expr::tuple([of.into_expr(), column.into_expr()]).in_subquery(pairs)
}

/// What was imported by these ids.
pub(super) async fn imported<C: ConnectionTrait>(
    connection: &C,
    workspace: &WorkspaceId,
    import_ids: &[&str],
) -> Result<Vec<ImportRecord>, StoreError> {
    let mut found = Vec::new();
    for ids in import_ids.chunks(AT_ONCE) {
        let rows = imports::Entity::find()
            .filter(within(
                workspace,
                (imports::Column::WorkspaceId, imports::Column::ImportId),
                ids.iter().copied(),
            ))
            .all(connection)
            .await
            .map_err(failed)?;
        for row in rows {
            found.push(convert::import(row)?);
        }
    }
    Ok(found)
}

/// Remembers imports.
pub(super) async fn remember_imports(
    tx: &Transaction,
    workspace: &WorkspaceId,
    records: &[ImportRecord],
    time: Time,
) -> Result<(), StoreError> {
    let rows = records
        .iter()
        .map(|record| convert::import_row(workspace, record, time));
    insert(tx, rows.collect::<Vec<_>>()).await
}
