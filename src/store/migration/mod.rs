//! The schema, as a list of steps. A step that was released is frozen: names are strings and nothing of `entity` is used,
//! so that a later entity can't change an earlier step.
//!
//! Two versions of the program run side by side while replicas are replaced one by one, and the newer one brings the schema
//! up to date under the older one. So a step says in its name whom it suits, which is what an older program knows of it:
//!
//! - `mNNNN_expand_…` adds what older programs do without: tables, indexes, columns that may be null or have a default. Any
//!   program runs on it.
//! - `mNNNN_contract_L_…` takes away what programs below [`LEVEL`] `L` still use. Those refuse to start on it; so it comes
//!   at least one release after the one that has stopped to use it, and raised `LEVEL` by that.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

mod m0001_initial;
mod m0002_expand_imports;
mod m0003_expand_large_sets;
mod m0004_expand_principals;
mod m0005_expand_routes;
mod m0006_expand_records;
mod m0007_expand_postbacks;
mod m0008_expand_audit;
mod m0009_expand_lifecycle;
mod m0010_expand_replicas;
mod m0011_expand_leader;

/// Where the applied steps are recorded; the name is part of every database there is.
pub(super) const TABLE: &str = "seaql_migrations";

/// What this program can do without: raised by the release that stops to use what a later contract step takes away.
const LEVEL: u32 = 1;

/// A step, by the name under which a database remembers it.
struct Step {
    name: &'static str,
    up: for<'m> fn(&'m SchemaManager<'m>) -> BoxFuture<'m, Result<(), DbErr>>,
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    // Half a schema must not stay behind; SQLite can roll back DDL, and only has to be asked to.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    #[expect(
        elided_lifetimes_in_paths,
        reason = "written out, `async_trait` makes another signature of it than the trait has"
    )]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        (self.up)(manager).await
    }
}

/// Functions of modules, each a step of its module's name.
macro_rules! steps {
    ($($module:ident::$up:ident),+ $(,)?) => {
        vec![$(Box::new(Step {
            name: stringify!($module),
            up: |manager| $module::$up(manager).boxed(),
        })),+]
    };
}

/// All steps, oldest first.
pub(super) struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        steps![
            m0001_initial::up,
            m0002_expand_imports::up,
            m0003_expand_large_sets::up,
            m0004_expand_principals::up,
            m0005_expand_routes::up,
            m0006_expand_records::up,
            m0007_expand_postbacks::up,
            m0008_expand_audit::up,
            m0009_expand_lifecycle::up,
            m0010_expand_replicas::up,
            m0011_expand_leader::up,
        ]
    }
}

/// The steps of SQLite's file of records.
pub(super) struct RecordsMigrator;

impl MigratorTrait for RecordsMigrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        steps![m0006_expand_records::of_records]
    }
}

/// Creates a table whose texts compare byte by byte, as SQLite's do and as the domain's order is: what comes first in a list
/// must not depend on the locale that a PostgreSQL database was created with.
async fn create_table(
    manager: &SchemaManager<'_>,
    table: TableCreateStatement,
) -> Result<(), DbErr> {
    let name = table.get_table_name().cloned();
    let texts: Vec<String> = table
        .get_columns()
        .iter()
        .filter(|column| matches!(column.get_column_type(), Some(ColumnType::Text)))
        .map(ColumnDef::get_column_name)
        .collect();
    manager.create_table(table).await?;
    let (DbBackend::Postgres, Some(name), false) =
        (manager.get_database_backend(), name, texts.is_empty())
    else {
        return Ok(());
    };
    let mut alter = Table::alter();
    alter.table(name);
    for text in texts {
        alter.modify_column(ColumnDef::new(text).custom("text COLLATE \"C\""));
    }
    manager.alter_table(alter.to_owned()).await
}

/// Whether this program runs on a schema with a step that it does not know.
pub(super) fn can_stand(step: &str) -> bool {
    level_of(step).is_some_and(|level| level <= LEVEL)
}

/// The level that a step demands; none where its name does not say.
fn level_of(step: &str) -> Option<u32> {
    let (number, what) = step.strip_prefix('m')?.split_once('_')?;
    if number.len() != 4 || !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match what.split_once('_')? {
        ("expand", _) => Some(0),
        ("contract", rest) => rest.split_once('_')?.0.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_is_not_known_is_stood_by_what_its_name_says() {
        for (step, stood) in [
            ("m0007_expand_labels", true),
            ("m0008_contract_1_labels", true),
            ("m0009_contract_2_labels", false),
            ("m0009_contract_labels", false),
            ("m9999_future", false),
            ("m7_expand_labels", false),
            ("future", false),
        ] {
            assert_eq!(can_stand(step), stood, "{step}");
        }
    }

    #[test]
    fn every_step_after_the_first_says_whom_it_suits() {
        let steps = Migrator::migrations();
        assert_eq!(steps[0].name(), "m0001_initial");
        for step in &steps[1..] {
            let level = level_of(step.name());
            assert!(level.is_some_and(|l| l <= LEVEL), "{}", step.name());
        }
    }
}
