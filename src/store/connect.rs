//! Opening and closing: the file, its settings, its schema.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::sea_query::Query;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, Connection as _, SqliteConnection};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr};
use sea_orm_migration::{MigratorTrait, SchemaManager};

use super::error::{self, code};
use super::migration::{self, Migrator};
use super::{BackupError, SqlStore};
use crate::app::ports::StoreError;

/// How long a statement waits for a lock; short, since who gets no answer calls again, and decisions don't come here at all.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a caller waits for a connection; longer than for a lock, since opening one waits for locks too, and is to say
/// so when it gave up.
const PATIENCE: Duration = Duration::from_millis(2_500);
const READERS: u32 = 4;

/// Why a database can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer version has changed its schema.
    #[error(
        "the database {path} was written by a newer version of claviger (it has the schema step `{step}`); run that version, or restore a backup from before it"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The step that is not known here.
        step: String,
    },
    /// File or directory can't be written.
    #[error("the database {path} can't be opened for writing: {reason}")]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is something else, or damaged.
    #[error("{path} is not a database, or is damaged")]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// Another process holds it.
    #[error("the database {path} is locked by another process")]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// Anything else.
    #[error("the database {path} can't be opened: {source}")]
    Other {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: StoreError,
    },
}

impl SqlStore {
    /// Opens the SQLite database at `path` and brings its schema up to date; makes it where there is none, in a directory
    /// that exists.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        create_private(path).await?;
        let writer = connect(path, Access::Write, 1, |options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                // What is deleted is to be gone, sealed tokens above all.
                .pragma("secure_delete", "ON")
                .pragma("journal_size_limit", "67108864")
        })
        .await
        .map_err(|e| open_failed(path, e))?;
        migrate(path, &writer).await?;
        let reader = connect(path, Access::Read, READERS, |options| {
            options.pragma("query_only", "ON")
        })
        .await
        .map_err(|e| open_failed(path, e))?;
        // Not behind lists: the answer to a change waits for the feed.
        let follower = connect(path, Access::Read, 1, |options| {
            options.pragma("query_only", "ON")
        })
        .await
        .map_err(|e| open_failed(path, e))?;
        Ok(Self {
            writer,
            reader,
            follower,
        })
    }

    /// Opens the SQLite database at `path` to read from it alone, beside the service that writes to it; there must be one,
    /// with the schema of this version.
    pub async fn open_to_read(path: &Path) -> Result<Self, OpenError> {
        let reader = connect(path, Access::Read, 2, |options| {
            options.pragma("query_only", "ON")
        })
        .await
        .map_err(|e| open_failed(path, e))?;
        Ok(Self {
            writer: reader.clone(),
            reader: reader.clone(),
            follower: reader,
        })
    }

    /// Closes what [`Self::open_to_read`] opened.
    pub async fn close_reading(&self) -> Result<(), StoreError> {
        self.reader.close_by_ref().await.map_err(error::failed)
    }

    /// The steps of the schema, which must be the ones that are known here.
    pub(super) async fn schema_steps(&self) -> Result<Vec<String>, BackupError> {
        let applied = applied_steps(&self.reader).await.map_err(error::failed)?;
        let known: Vec<_> = Migrator::migrations()
            .iter()
            .map(|step| step.name().to_owned())
            .collect();
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

    /// Moves the write-ahead log into the database file and closes it. Calls after this fail.
    pub async fn close(&self) -> Result<(), StoreError> {
        // Readers first: a snapshot of theirs would keep the log from being emptied.
        self.reader.close_by_ref().await.map_err(error::failed)?;
        self.follower.close_by_ref().await.map_err(error::failed)?;
        let checkpoint = self
            .writer
            .execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)")
            .await;
        self.writer.close_by_ref().await.map_err(error::failed)?;
        checkpoint.map(|_| ()).map_err(error::failed)
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

async fn connect(
    path: &Path,
    access: Access,
    connections: u32,
    settings: fn(SqliteConnectOptions) -> SqliteConnectOptions,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite:claviger.db");
    let path = path.to_owned();
    options
        .max_connections(connections)
        .min_connections(1)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        // Statements carry tags and sealed tokens as values.
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_sqlite_opts(move |options| {
            let options = options
                .filename(&path)
                .create_if_missing(false)
                .foreign_keys(true)
                // The driver hands rows from thread to thread: with few at a time, a long read mostly changes threads.
                .row_buffer_size(1_024)
                .busy_timeout(LOCK_PATIENCE);
            settings(options)
        })
        .map_sqlx_sqlite_pool_opts(move |pool| {
            pool.after_release(|connection, _| Box::pin(is_clean(connection)))
                .before_acquire(move |connection, _| Box::pin(is_fit(connection, access)))
        });
    Database::connect(options).await
}

/// Whether a connection that comes back may be used again. After some errors (a full disk, I/O) SQLite rolls back by itself;
/// the driver's own rollback then fails, and it goes on believing in the transaction: it would begin the next ones as
/// savepoints inside nothing, whose commit may commit nothing. Such a connection is closed.
async fn is_clean(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // The answer to a ping comes after the rollback that a dropped transaction left in the queue.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}

/// Whether a connection that lay idle may be used. Where the file could not be written to when a writer's connection was
/// opened, SQLite opened it for reading only, said nothing, and would leave it so after the file has recovered.
async fn is_fit(connection: &mut SqliteConnection, access: Access) -> Result<bool, sqlx::Error> {
    if access == Access::Read {
        return Ok(true);
    }
    // That somebody else is writing is no fault of the connection, and nothing to wait for here.
    let probe = sqlx::raw_sql("PRAGMA busy_timeout = 0; BEGIN IMMEDIATE; ROLLBACK")
        .execute(&mut *connection)
        .await;
    let patience = format!("PRAGMA busy_timeout = {}", LOCK_PATIENCE.as_millis());
    sqlx::raw_sql(sqlx::AssertSqlSafe(patience))
        .execute(connection)
        .await?;
    Ok(!probe.is_err_and(|e| error::sqlx_code(&e) == Some(code::READONLY)))
}

/// Makes the file before SQLite does, for its owner alone; SQLite gives its `-wal` and `-shm` files the same mode.
async fn create_private(path: &Path) -> Result<(), OpenError> {
    let mut options = tokio::fs::OpenOptions::new();
    // Written to, it also shows now what SQLite would hide by falling back to reading only.
    options.read(true).write(true).create(true);
    #[cfg(unix)]
    options.mode(0o600);
    match options.open(path).await {
        Ok(_) => Ok(()),
        Err(e) => Err(OpenError::NotWritable {
            path: path.to_owned(),
            reason: e.to_string(),
        }),
    }
}

async fn migrate(path: &Path, writer: &DatabaseConnection) -> Result<(), OpenError> {
    let known = Migrator::migrations();
    let applied = applied_steps(writer)
        .await
        .map_err(|e| open_failed(path, e))?;
    let unknown = |step: &String| !known.iter().any(|m| m.name() == step);
    if let Some(step) = applied.iter().find(|step| unknown(step)) {
        return Err(OpenError::NewerSchema {
            path: path.to_owned(),
            step: step.clone(),
        });
    }
    if applied.len() == known.len() {
        return Ok(());
    }
    Migrator::up(writer, None)
        .await
        .map_err(|e| open_failed(path, e))
}

/// The steps that the database says were applied to it.
async fn applied_steps(writer: &DatabaseConnection) -> Result<Vec<String>, DbErr> {
    if !SchemaManager::new(writer)
        .has_table(migration::TABLE)
        .await?
    {
        return Ok(Vec::new());
    }
    let applied = Query::select()
        .column("version")
        .from(migration::TABLE)
        .to_owned();
    let rows = writer.query_all(&applied).await?;
    rows.iter().map(|row| row.try_get("", "version")).collect()
}

fn open_failed(path: &Path, e: DbErr) -> OpenError {
    let path = path.to_owned();
    let source = error::failed(e.clone());
    match error::sqlite_code(&e) {
        Some(code::NOTADB | code::CORRUPT) => OpenError::NotADatabase { path },
        Some(code::BUSY | code::LOCKED) => OpenError::Locked { path },
        Some(code::READONLY | code::CANTOPEN | code::PERM) => OpenError::NotWritable {
            path,
            reason: source.to_string(),
        },
        _ => OpenError::Other { path, source },
    }
}
