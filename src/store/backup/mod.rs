//! Backups: everything a database holds, as text that another database (of either kind) can be made from.
//!
//! JSON, a line each, ending in a line feed:
//!
//! 1. The header: [`Header`]. Its first member, `claviger_backup`, is the version of this format.
//! 2. For each table, those first that others refer to: `{"table": NAME, "columns": [NAME, …]}`, then its rows by primary key,
//!    an array each. Bytes are base64, times microseconds since the Unix epoch; `null` is NULL.
//! 3. The trailer: [`Trailer`]. It counts the rows of each table, and has the SHA-256 of all bytes before its line, so that
//!    a file that was cut off or changed is known.
//!
//! It is one snapshot. It holds the wrapped keys, tags and sealed tokens, which are worth nothing without the root key, and
//! no token in clear.
//!
//! Events on their way to POSTback URLs are part of it, for they were promised: a restored database delivers what was pending
//! when the backup was made, some of it for the second time, by the same ids.
//!
//! Left out are stored answers to repeatable calls and the tokens in them: they are good for a day and for
//! ten minutes, and answered after a restore they would tell of changes, and of revisions, of a history that has ended.
//! Left out, too, is the request log, which may be larger than all the rest, and the memory of who added to usage. Usage is
//! part of it: on SQLite, where it is in a file of its own, as of a moment later than the keys.

mod read;
mod write;

use std::collections::BTreeMap;

use sea_orm::{
    ColumnTrait as _, ColumnType, EntityTrait, IdenStatic as _, Iterable as _,
    PrimaryKeyToColumn as _,
};
use serde::{Deserialize, Serialize};

use super::entity::{
    changes, counter, deliveries, imports, key_terms, keys, meta, postback_sequences, principals,
    route_shapes, route_uses, routes, scopes, secrets, shadow_counts, signing_secrets,
    subscriptions, usage, workspaces,
};
use crate::app::ports::StoreError;

pub use read::NewHistory;

/// The version of the format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// Tables that are not part of a backup, each with the reason above.
#[cfg(test)]
pub(super) const LEFT_OUT: [&str; 6] = [
    "decisions",
    "flushes",
    "idempotency",
    "leader",
    "replay_tokens",
    "replicas",
];

/// The first line of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    #[serde(rename = "claviger_backup")]
    pub format: u32,
    /// The version of Claviger that wrote it.
    pub version: String,
    /// When, in microseconds since the Unix epoch.
    pub time: i64,
    /// What it was made from: `sqlite` or `postgres`.
    pub database: String,
    /// The steps of its schema.
    pub schema: Vec<String>,
    /// The history it is of, as eight hexadecimal digits.
    pub epoch: String,
    /// The revision it was made at.
    pub revision: u64,
}

/// The line before the rows of a table.
#[derive(Debug, Serialize, Deserialize)]
struct TableLine {
    table: String,
    columns: Vec<String>,
}

/// The last line of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trailer {
    /// How many rows each table has.
    pub rows: BTreeMap<String, u64>,
    /// The SHA-256 of all before this line, in hexadecimal.
    pub sha256: String,
}

/// Why a backup can't be written or read. Whatever it is, nothing was changed in the database.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file can't be read or written.
    #[error("the backup can't be read or written: {0}")]
    File(#[from] std::io::Error),
    /// It is something else.
    #[error("this is no backup of claviger: it does not begin with a header")]
    NotABackup,
    /// A newer version wrote it.
    #[error(
        "this backup was written by a newer version of claviger ({0}); restore it with that version"
    )]
    Newer(String),
    /// It ends too early.
    #[error(
        "the backup is cut off: it has no trailer; nothing was restored, take another copy of it"
    )]
    Cut,
    /// It is not what was written.
    #[error("the backup is damaged ({0}); nothing was restored, take another copy of it")]
    Damaged(String),
    /// There is something in the database already.
    #[error(
        "the database is not empty; a backup is restored into an empty one only: set another `--data-dir` or `CLAVIGER_DATABASE_URL`"
    )]
    NotEmpty,
    /// Its schema is an older one.
    #[error(
        "the database lacks the schema step `{0}`; start this version of the service with it once, or back it up with the version that serves it"
    )]
    OlderSchema(String),
    /// The root key is another.
    #[error(
        "the root key does not open the keys in this backup; give the one that was used when it was made as `CLAVIGER_ROOT_KEY`"
    )]
    WrongRootKey,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A table, as far as it takes to write it down and to fill it.
#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<Column>,
    primary_key: Vec<String>,
}

#[derive(Debug)]
struct Column {
    name: String,
    kind: Kind,
    nullable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Truth,
    Text,
    Bytes,
}

/// All tables of a backup; what others refer to comes first.
fn tables() -> Vec<Table> {
    vec![
        table::<meta::Entity>(),
        table::<counter::Entity>(),
        table::<workspaces::Entity>(),
        table::<subscriptions::Entity>(),
        table::<scopes::Entity>(),
        table::<routes::Entity>(),
        table::<route_shapes::Entity>(),
        table::<route_uses::Entity>(),
        table::<principals::Entity>(),
        table::<keys::Entity>(),
        table::<secrets::Entity>(),
        table::<key_terms::Entity>(),
        table::<imports::Entity>(),
        table::<signing_secrets::Entity>(),
        table::<postback_sequences::Entity>(),
        table::<deliveries::Entity>(),
        table::<changes::Entity>(),
    ]
}

/// Those of them that are recorded: on SQLite they are in a file of their own.
fn recorded() -> Vec<Table> {
    vec![table::<usage::Entity>(), table::<shadow_counts::Entity>()]
}

fn table<E: EntityTrait>() -> Table {
    let column = |column: E::Column| {
        let definition = column.def();
        Column {
            name: column.as_str().to_owned(),
            kind: match definition.get_column_type() {
                ColumnType::Boolean => Kind::Truth,
                ColumnType::BigInteger => Kind::Number,
                ColumnType::String(_) | ColumnType::Text => Kind::Text,
                _ => Kind::Bytes,
            },
            nullable: definition.is_null(),
        }
    };
    Table {
        name: E::default().table_name().to_owned(),
        columns: E::Column::iter().map(column).collect(),
        primary_key: E::PrimaryKey::iter()
            .map(|key| key.into_column().as_str().to_owned())
            .collect(),
    }
}
