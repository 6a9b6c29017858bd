//! Opening a PostgreSQL database: what a server must be, and how its connections are kept.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgConnection};
use sea_orm::sqlx::{self, ConnectOptions as _, Connection as _, Row as _};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DbErr, TransactionTrait as _};

use super::SqlStore;
use super::bounded::{Bounded, Connections, Gate, Patience, Silence};
use super::connect::{Access, OpenError};
use super::error::{self, describe, describe_sqlx};
use super::migration::Migrator;
use super::records::SqlRecords;
use super::schema;

/// How long a statement waits for a lock, as on SQLite.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// How long a caller waits for a connection, opening one included.
const PATIENCE: Duration = Duration::from_millis(2_500);
/// How long one statement may work, waiting for locks included.
const STATEMENT: Duration = Duration::from_secs(4);
/// The same for lists and for the load at the start, which nobody waits behind.
const LONG_STATEMENT: Duration = Duration::from_secs(10);
/// How much longer than the server's own limit an answer is waited for.
const GRACE: Duration = Duration::from_millis(500);
/// How long the poll of the feed waits: the next one comes soon.
const POLL: Duration = Duration::from_millis(2_500);
/// How long a transaction may do nothing: it may hold the revision counter, and then everybody waits.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(5);
/// How long a connection may lie idle before it is asked whether it still lives.
const FRESH: Duration = Duration::from_millis(500);
/// How long that question waits.
const PING: Duration = Duration::from_secs(1);
/// Connections are replaced now and then: a fail-over behind a name is found that way.
const LIFETIME: Duration = Duration::from_secs(1_800);
/// How long the first connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long another process may take for the schema.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(60);
/// The advisory lock around the schema's steps; the name is only ours by agreement.
const MIGRATION_LOCK: i64 = 0x0063_6c61_7669_6765;

/// Mutations queue on the counter's row, so more of them at once gain nothing but their begin and commit.
const WRITERS: u32 = 4;
const READERS: u32 = 8;
/// One polls, one reads what is new.
const FOLLOWERS: u32 = 2;
/// One speaks for the process, others look how far a change has come.
const FLEET: u32 = 3;
/// What is recorded has a writer of its own, and readers of its own: neither waits behind the other's.
const RECORD_WRITERS: u32 = 1;
const RECORD_READERS: u32 = 2;
/// The oldest server that is known to do: `client_connection_check_interval` came with it.
const OLDEST: i32 = 140_000;

impl SqlStore {
    /// Opens the PostgreSQL database at `url` and brings its schema up to date. The database itself must be there.
    pub async fn connect(url: &str) -> Result<Self, OpenError> {
        let (store, opening) = Self::connect_later(url).await?;
        opening.open().await?;
        Ok(store)
    }

    /// The same for a database that can't be reached now: everything that is asked of it fails until it was opened.
    pub async fn connect_later(url: &str) -> Result<(Self, Opening), OpenError> {
        let mut server = Server::new(url)?;
        server.gate = Gate::default();
        let writer = server.pool(WRITERS, Access::Write, STATEMENT).await?;
        let reader = server.pool(READERS, Access::Read, LONG_STATEMENT).await?;
        let follower = server.pool(FOLLOWERS, Access::Read, STATEMENT).await?;
        let recorder = server.pool(RECORD_WRITERS, Access::Write, STATEMENT);
        let recorder = recorder.await?.patient(STATEMENT + GRACE);
        let recorded = server.pool(RECORD_READERS, Access::Read, LONG_STATEMENT);
        let recorded = recorded.await?.patient(LONG_STATEMENT + GRACE);
        let fleet = server.pool(FLEET, Access::Write, STATEMENT).await?;
        let store = Self {
            records: SqlRecords::new(recorder, recorded),
            // A lease is over before a patience as long as the others' is.
            fleet: fleet.patient(POLL),
            writer: writer.patient(STATEMENT + GRACE),
            reader: reader.patient(LONG_STATEMENT + GRACE),
            poller: follower.patient(POLL),
            follower: follower.patient(STATEMENT + GRACE),
        };
        Ok((store, Opening(server)))
    }

    /// Opens the PostgreSQL database at `url` to read from it alone, beside the service that writes to it; it must have the
    /// schema of this version.
    pub async fn connect_to_read(url: &str) -> Result<Self, OpenError> {
        let server = Server::new(url)?;
        server.check().await?;
        let reader = server.pool(2, Access::Read, LONG_STATEMENT).await?;
        let reader = reader.patient(LONG_STATEMENT + GRACE);
        Ok(Self::of_readers(reader.clone(), reader))
    }

    /// Opens the PostgreSQL database at `url` to wrap its keys anew, beside the service that writes to it.
    pub async fn connect_to_rewrap(url: &str) -> Result<Self, OpenError> {
        let server = Server::new(url)?;
        server.check().await?;
        let writer = server.pool(1, Access::Write, STATEMENT).await?;
        let writer = writer.patient(STATEMENT + GRACE);
        Ok(Self::of_readers(writer.clone(), writer))
    }

    /// Brings the schema of the PostgreSQL database at `url` up to date; returns the steps that were applied.
    pub async fn migrate_server(url: &str) -> Result<Vec<String>, OpenError> {
        let server = Server::new(url)?;
        server.check().await?;
        server.migrate().await
    }
}

/// A database that is still to be opened.
pub struct Opening(Server);

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Opening").field(&self.0.name).finish()
    }
}

impl Opening {
    /// Checks the server and brings its schema up to date; from then on it is worked with.
    pub async fn open(&self) -> Result<(), OpenError> {
        self.0.check().await?;
        self.0.migrate().await?;
        self.0.gate.open();
        Ok(())
    }
}

/// A server as its URL names it.
struct Server {
    url: String,
    options: PgConnectOptions,
    /// How it is named in errors: without user and password.
    name: String,
    gate: Gate,
}

struct Pool {
    connection: sea_orm::DatabaseConnection,
    silence: Arc<Silence>,
    gate: Gate,
}

impl Pool {
    fn patient(&self, limit: Duration) -> Connections {
        let patience = Patience::new(limit, self.silence.clone(), self.gate.clone());
        Bounded::new(self.connection.clone(), Some(patience))
    }
}

impl Server {
    fn new(url: &str) -> Result<Self, OpenError> {
        // What the driver says of a URL may quote it.
        let options = PgConnectOptions::from_str(url).map_err(|_| OpenError::Url)?;
        let place = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", options.get_host(), options.get_port()),
        };
        let name = match options.get_database() {
            Some(database) => format!("{place}/{database}"),
            None => place,
        };
        let gate = Gate::default();
        gate.open();
        Ok(Self {
            // sea-orm knows this scheme alone.
            url: url.replacen("postgresql:", "postgres:", 1),
            options,
            name,
            gate,
        })
    }

    /// Connects once, outside a pool, which would hide why it can't; and sees whether the server will do.
    async fn check(&self) -> Result<(), OpenError> {
        let looked = tokio::time::timeout(CONNECT, async {
            let options = self.options.clone().disable_statement_logging();
            let mut connection = PgConnection::connect_with(&options).await?;
            let row = sqlx::query(
                "SELECT current_setting('server_version_num')::int, pg_is_in_recovery(), \
                 current_setting('synchronous_commit'), current_setting('server_encoding')",
            )
            .fetch_one(&mut connection)
            .await?;
            let found = (
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
            );
            connection.close().await?;
            Ok::<(i32, bool, String, String), sqlx::Error>(found)
        })
        .await;
        let (version, standby, synchronous, encoding) = match looked {
            Ok(Ok(found)) => found,
            Ok(Err(e)) => return Err(self.not_connected(&e)),
            Err(_) => return Err(self.unreachable("it does not answer")),
        };
        if version < OLDEST {
            return Err(self.unsuitable(format!(
                "it is version {}; claviger needs {} or newer",
                version / 10_000,
                OLDEST / 10_000
            )));
        }
        if standby {
            return Err(self.unsuitable(
                "it is a standby, which can't be written to; name the primary in `CLAVIGER_DATABASE_URL`, or promote it",
            ));
        }
        if synchronous == "off" {
            return Err(self.unsuitable(
                "`synchronous_commit` is off, so that a crash would undo changes that were answered; turn it on for the database or the user",
            ));
        }
        if encoding != "UTF8" {
            return Err(self.unsuitable(format!(
                "its encoding is {encoding}; create it with `ENCODING 'UTF8' TEMPLATE template0`"
            )));
        }
        Ok(())
    }

    async fn pool(
        &self,
        connections: u32,
        access: Access,
        statement: Duration,
    ) -> Result<Pool, OpenError> {
        let silence = Arc::new(Silence::default());
        let (on_release, on_acquire) = (silence.clone(), silence.clone());
        let mut options = ConnectOptions::new(self.url.clone());
        options
            .max_connections(connections)
            .min_connections(0)
            .connect_lazy(true)
            .acquire_timeout(PATIENCE)
            .max_lifetime(LIFETIME)
            .test_before_acquire(false)
            // Statements carry tags and sealed tokens as values.
            .sqlx_logging(false)
            .record_stmt_in_spans(false)
            .map_sqlx_postgres_opts(move |options| settings(options, access, statement))
            .map_sqlx_postgres_pool_opts(move |pool| {
                let (on_release, on_acquire) = (on_release.clone(), on_acquire.clone());
                pool.after_release(move |connection, about| {
                    let stale = on_release.outlived_by(about.age);
                    Box::pin(async move { Ok(!stale && lives(connection).await) })
                })
                .before_acquire(move |connection, about| {
                    let stale = on_acquire.outlived_by(about.age);
                    let fresh = about.idle_for < FRESH;
                    Box::pin(async move { Ok(!stale && (fresh || lives(connection).await)) })
                })
            });
        match Database::connect(options).await {
            Ok(connection) => Ok(Pool {
                connection,
                silence,
                gate: self.gate.clone(),
            }),
            Err(e) => Err(self.unreachable(describe(&e))),
        }
    }

    /// Applies the steps that are missing. Processes that start together take turns; all steps are one transaction.
    async fn migrate(&self) -> Result<Vec<String>, OpenError> {
        let pool = self
            .pool(1, Access::Write, Duration::ZERO)
            .await?
            .connection;
        let outcome = async {
            if schema::pending::<Migrator, _>(&pool, &self.name)
                .await?
                .is_empty()
            {
                return Ok(Vec::new());
            }
            let tx = pool.begin().await.map_err(|e| self.failed(e))?;
            let seconds =
                |limit: Duration| format!("SET LOCAL lock_timeout = '{}s'", limit.as_secs());
            let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
            // A step that waits for long behind a long transaction would make everybody wait behind itself.
            for sql in [seconds(MIGRATION_PATIENCE), lock, seconds(LOCK_PATIENCE)] {
                let done = tx.execute_unprepared(&sql).await;
                done.map_err(|e| self.failed(e))?;
            }
            // Another process may have been first.
            let steps = schema::pending::<Migrator, _>(&tx, &self.name).await?;
            if !steps.is_empty() {
                schema::apply::<Migrator, _>(&tx, &self.name).await?;
            }
            tx.commit().await.map_err(|e| self.failed(e))?;
            Ok(steps)
        }
        .await;
        let _ = pool.close_by_ref().await;
        outcome
    }

    fn not_connected(&self, e: &sqlx::Error) -> OpenError {
        let reason = match e {
            // What is wrong with a certificate comes as such.
            sqlx::Error::Io(e) => e.to_string(),
            other => describe_sqlx(other),
        };
        match error::sqlx_sqlstate(e) {
            Some(state) if state.starts_with("28") || state == "3D000" || state == "42501" => {
                OpenError::Refused {
                    server: self.name.clone(),
                    reason,
                }
            }
            _ => self.unreachable(reason),
        }
    }

    fn unreachable(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Unreachable {
            server: self.name.clone(),
            reason: reason.into(),
        }
    }

    fn unsuitable(&self, reason: impl Into<String>) -> OpenError {
        OpenError::Unsuitable {
            server: self.name.clone(),
            reason: reason.into(),
        }
    }

    fn failed(&self, e: DbErr) -> OpenError {
        OpenError::Other {
            database: self.name.clone(),
            source: error::failed(e),
        }
    }
}

/// What every connection is told. A statement limit of zero is none.
fn settings(options: PgConnectOptions, access: Access, statement: Duration) -> PgConnectOptions {
    let milliseconds = |limit: Duration| limit.as_millis().to_string();
    let read_only = if access == Access::Read { "on" } else { "off" };
    options.application_name("claviger").options([
        ("default_transaction_read_only", read_only.to_owned()),
        // A mutation that waited for the counter must see what the one before it wrote.
        ("default_transaction_isolation", "read committed".to_owned()),
        ("lock_timeout", milliseconds(LOCK_PATIENCE)),
        ("statement_timeout", milliseconds(statement)),
        (
            "idle_in_transaction_session_timeout",
            milliseconds(IDLE_IN_TRANSACTION),
        ),
        // The server's side of a connection whose process or cable is gone must not hold the counter.
        ("client_connection_check_interval", "1000".to_owned()),
        ("tcp_keepalives_idle", "15".to_owned()),
        ("tcp_keepalives_interval", "5".to_owned()),
        ("tcp_keepalives_count", "3".to_owned()),
    ])
}

async fn lives(connection: &mut PgConnection) -> bool {
    matches!(
        tokio::time::timeout(PING, connection.ping()).await,
        Ok(Ok(()))
    )
}
