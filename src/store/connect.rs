//! Opening and closing: the file, its settings, its schema.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, Connection as _, SqliteConnection};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, DbErr};
use sea_orm_migration::MigratorTrait;

use super::SqlStore;
use super::bounded::{Bounded, Connections};
use super::error::{self, code};
use super::migration::{Migrator, RecordsMigrator};
use super::records::SqlRecords;
use super::schema;
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
        "the database {database} was written by a newer version of claviger (it has the schema step `{step}`); run that version, or restore a backup from before it"
    )]
    NewerSchema {
        /// The file, or the server and its database.
        database: String,
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
    /// The URL is not one that can be connected to.
    #[error("`CLAVIGER_DATABASE_URL` can't be read; `claviger check-config` says why")]
    Url,
    /// The server does not answer.
    #[error(
        "the database {server} can't be reached: {reason}; check that the server runs, and host, port and `sslmode` in `CLAVIGER_DATABASE_URL`"
    )]
    Unreachable {
        /// The server and its database.
        server: String,
        /// What went wrong.
        reason: String,
    },
    /// The server does not let us in.
    #[error(
        "the database {server} refuses the connection: {reason}; check user, password and database in `CLAVIGER_DATABASE_URL`"
    )]
    Refused {
        /// The server and its database.
        server: String,
        /// What the server says.
        reason: String,
    },
    /// The server can't hold what it is to hold.
    #[error("the database {server} can't be used: {reason}")]
    Unsuitable {
        /// The server and its database.
        server: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// Anything else.
    #[error("the database {database} can't be opened: {source}")]
    Other {
        /// The file, or the server and its database.
        database: String,
        /// What went wrong.
        source: StoreError,
    },
}

impl SqlStore {
    /// Opens the SQLite database at `path` and brings its schema up to date; makes it where there is none, in a directory
    /// that exists.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        create_private(path).await?;
        let writer = connect(path, Access::Write, 1, writing)
            .await
            .map_err(|e| open_failed(path, e))?;
        migrate::<Migrator>(path, &writer).await?;
        let records = open_records(path).await?;
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
        let follower = Bounded::new(follower, None);
        let writer = Bounded::new(writer, None);
        Ok(Self {
            // Nobody else is in it: it is written to by tests alone.
            fleet: writer.clone(),
            writer,
            reader: Bounded::new(reader, None),
            poller: follower.clone(),
            follower,
            records,
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
        let reader = Bounded::new(reader, None);
        let path = records_beside(path);
        // Before a version that records has served it, there is none.
        let records = if path.exists() {
            let records = connect(&path, Access::Read, 1, |options| {
                options.pragma("query_only", "ON")
            });
            Bounded::new(records.await.map_err(|e| open_failed(&path, e))?, None)
        } else {
            reader.clone()
        };
        Ok(Self::of_readers(reader, records))
    }

    /// Opens the SQLite database at `path` to wrap its keys anew, beside the service that writes to it; there must be one.
    pub async fn open_to_rewrap(path: &Path) -> Result<Self, OpenError> {
        let writer = connect(path, Access::Write, 1, writing)
            .await
            .map_err(|e| open_failed(path, e))?;
        let writer = Bounded::new(writer, None);
        Ok(Self::of_readers(writer.clone(), writer))
    }

    /// A store of these connections alone.
    pub(super) fn of_readers(reader: Connections, records: Connections) -> Self {
        Self {
            writer: reader.clone(),
            poller: reader.clone(),
            follower: reader.clone(),
            fleet: reader.clone(),
            records: SqlRecords::new(records.clone(), records),
            reader,
        }
    }

    /// Closes what was opened to read from.
    pub async fn close_reading(&self) -> Result<(), StoreError> {
        self.records.reader.close().await?;
        self.reader.close().await
    }

    /// Brings the schema of the SQLite database at `path` up to date; returns the steps that were applied.
    pub async fn migrate_file(path: &Path) -> Result<Vec<String>, OpenError> {
        create_private(path).await?;
        let writer = connect(path, Access::Write, 1, writing)
            .await
            .map_err(|e| open_failed(path, e))?;
        let steps = migrate::<Migrator>(path, &writer).await?;
        let records = open_records(path).await?.close().await;
        let close = writer.close_by_ref().await;
        close.map_err(|e| open_failed(path, e))?;
        records.map_err(|source| OpenError::Other {
            database: records_beside(path).display().to_string(),
            source,
        })?;
        Ok(steps)
    }

    /// Closes the database; SQLite's write-ahead log is moved into its file. Calls after this fail.
    pub async fn close(&self) -> Result<(), StoreError> {
        // Readers first: a snapshot of theirs would keep the log from being emptied.
        self.reader.close().await?;
        self.follower.close().await?;
        let records = self.records.close().await;
        let checkpoint = fold(&self.writer).await;
        self.writer.close().await?;
        checkpoint?;
        records
    }
}

/// Moves SQLite's write-ahead log into its file.
pub(super) async fn fold(writer: &Connections) -> Result<(), StoreError> {
    if writer.get_database_backend() == DbBackend::Sqlite {
        let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
        writer
            .execute_unprepared(fold)
            .await
            .map_err(error::failed)?;
    }
    Ok(())
}

/// Where the records of the SQLite database at `path` are: `claviger-log.db` beside `claviger.db`.
fn records_beside(path: &Path) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push("-log.db");
    path.with_file_name(name)
}

/// Opens the records of the SQLite database at `path`, and brings their schema up to date.
async fn open_records(path: &Path) -> Result<SqlRecords, OpenError> {
    let path = &records_beside(path);
    create_private(path).await?;
    let writer = connect(path, Access::Write, 1, recording)
        .await
        .map_err(|e| open_failed(path, e))?;
    migrate::<RecordsMigrator>(path, &writer).await?;
    let reader = connect(path, Access::Read, READERS, |options| {
        options.pragma("query_only", "ON")
    })
    .await
    .map_err(|e| open_failed(path, e))?;
    Ok(SqlRecords::new(
        Bounded::new(writer, None),
        Bounded::new(reader, None),
    ))
}

/// A crash of the machine may cost the last moments, never the file: NORMAL syncs when the log is folded in.
fn recording(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        // What is past its retention is overwritten where that costs no writing of its own.
        .pragma("secure_delete", "FAST")
        .pragma("journal_size_limit", "67108864")
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "8000")
}

fn writing(options: SqliteConnectOptions) -> SqliteConnectOptions {
    options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // What is deleted is to be gone, sealed tokens above all.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", "67108864")
        // Tags come in no order: each finds its place in an index on another page than the last one. Room for those pages,
        // and for many changes of one before it is written back, is worth more here than it costs.
        .pragma("cache_size", "-65536")
        .pragma("wal_autocheckpoint", "8000")
}

async fn migrate<M: MigratorTrait>(
    path: &Path,
    writer: &DatabaseConnection,
) -> Result<Vec<String>, OpenError> {
    let name = path.display().to_string();
    let steps = schema::pending::<M, _>(writer, &name).await?;
    if !steps.is_empty() {
        schema::apply::<M, _>(writer, &name).await?;
    }
    Ok(steps)
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
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

fn open_failed(path: &Path, e: DbErr) -> OpenError {
    OpenError::of(&path.display().to_string(), e)
}

impl OpenError {
    /// Why a statement at the opening failed.
    pub(super) fn of(database: &str, e: DbErr) -> Self {
        let path = PathBuf::from(database);
        let code = error::sqlite_code(&e);
        let source = error::failed(e);
        match code {
            Some(code::NOTADB | code::CORRUPT) => Self::NotADatabase { path },
            Some(code::BUSY | code::LOCKED) => Self::Locked { path },
            Some(code::READONLY | code::CANTOPEN | code::PERM) => Self::NotWritable {
                path,
                reason: source.to_string(),
            },
            _ => Self::Other {
                database: database.to_owned(),
                source,
            },
        }
    }
}
