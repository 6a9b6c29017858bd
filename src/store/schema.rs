//! Bringing a schema up to date, on either database; and which schemas this program can stand.

use sea_orm::sea_query::Query;
use sea_orm::{ConnectionTrait, DbErr};
use sea_orm_migration::{IntoSchemaManagerConnection, MigratorTrait, SchemaManager};

use super::connect::OpenError;
use super::error;
use super::migration::{self, Migrator};
use super::{BackupError, SqlStore};

/// The steps that are missing; refuses a database whose schema this program can't stand.
pub(super) async fn pending<M, C>(connection: &C, database: &str) -> Result<Vec<String>, OpenError>
where
    M: MigratorTrait,
    C: ConnectionTrait,
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    let applied = applied_steps(connection)
        .await
        .map_err(|e| failed(database, e))?;
    let known = known::<M>();
    let missing: Vec<String> = known
        .iter()
        .filter(|step| !applied.contains(step))
        .cloned()
        .collect();
    let newer: Vec<&String> = applied
        .iter()
        .filter(|step| !known.contains(step))
        .collect();
    for step in &newer {
        // Between two histories there is no order: neither is newer.
        if !missing.is_empty() || !migration::can_stand(step) {
            return Err(OpenError::NewerSchema {
                database: database.to_owned(),
                step: (*step).clone(),
            });
        }
    }
    if !newer.is_empty() {
        tracing::info!(steps = ?newer, "a newer version of claviger has extended the schema; this one goes on with what it knows");
    }
    Ok(missing)
}

/// Applies the steps that are missing.
pub(super) async fn apply<'c, M, C>(connection: C, database: &str) -> Result<(), OpenError>
where
    M: MigratorTrait,
    C: IntoSchemaManagerConnection<'c>,
{
    M::up(connection, None)
        .await
        .map_err(|e| failed(database, e))
}

/// The steps of a schema that is exactly the one that is known here.
pub(super) async fn steps(store: &SqlStore) -> Result<Vec<String>, BackupError> {
    let applied = applied_steps(store.reader.inner())
        .await
        .map_err(error::failed)?;
    let known = known::<Migrator>();
    if let Some(step) = applied.iter().find(|step| !known.contains(step)) {
        return Err(BackupError::Newer(format!(
            "it has the schema step `{step}`"
        )));
    }
    match known.iter().find(|step| !applied.contains(step)) {
        Some(step) => Err(BackupError::OlderSchema(step.clone())),
        None => Ok(known),
    }
}

/// The steps that this program knows.
fn known<M: MigratorTrait>() -> Vec<String> {
    M::migrations()
        .iter()
        .map(|step| step.name().to_owned())
        .collect()
}

/// The steps that the database says were applied to it.
async fn applied_steps<C>(connection: &C) -> Result<Vec<String>, DbErr>
where
    C: ConnectionTrait,
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    if !SchemaManager::new(connection)
        .has_table(migration::TABLE)
        .await?
    {
        return Ok(Vec::new());
    }
    let applied = Query::select()
        .column("version")
        .from(migration::TABLE)
        .to_owned();
    let rows = connection.query_all(&applied).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

fn failed(database: &str, e: DbErr) -> OpenError {
    OpenError::of(database, e)
}
