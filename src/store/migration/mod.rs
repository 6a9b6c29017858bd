//! The schema, as a list of steps. A step that was released is frozen: names are strings and nothing of `entity` is used,
//! so that a later entity can't change an earlier step.

use sea_orm_migration::prelude::*;

mod m0001_initial;
mod m0002_imports;
mod m0003_large_sets;

/// Where the applied steps are recorded; the name is part of every database there is.
pub(super) const TABLE: &str = "seaql_migrations";

/// All steps, oldest first.
pub(super) struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_initial::Migration),
            Box::new(m0002_imports::Migration),
            Box::new(m0003_large_sets::Migration),
        ]
    }
}
