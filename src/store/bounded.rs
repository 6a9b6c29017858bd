//! Connections and transactions whose every statement ends in time.
//!
//! SQLite ends by itself: nothing but its own locks can hold a statement up, and they have their patience. A PostgreSQL
//! server that is frozen, or behind a cable that was pulled, says nothing at all, and no setting of it can help.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use sea_orm::{
    AccessMode, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr,
    ExecResult, IsolationLevel, QueryResult, RuntimeErr, SqliteTransactionMode, Statement,
    StreamTrait, TransactionOptions, TransactionTrait as _,
};

use super::error::{commit_failed, failed, outcome_unknown};
use crate::app::ports::StoreError;

/// What a statement that got no answer fails with.
pub(super) const NO_ANSWER: &str = "the database server does not answer";

/// What a statement fails with before the database was seen to be one that this program can work on.
pub(super) const NOT_OPENED: &str = "the database has not been reached since the start";

/// How long the first row of a stream is waited for: it may come after a sort of all rows.
const FIRST_ROW: Duration = Duration::from_secs(120);

/// How long an answer is waited for, and when one last failed to come.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    limit: Duration,
    silence: Arc<Silence>,
    gate: Gate,
}

/// Shut until the server was checked and its schema brought up to date: nothing is said to it before that.
#[derive(Debug, Clone, Default)]
pub(super) struct Gate(Arc<AtomicBool>);

impl Gate {
    pub(super) fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// When a pool's server last left a statement without an answer. Connections of before are not used again: what was given
/// up may still be under way on them, a transaction's beginning above all, and nothing could tell.
#[derive(Debug, Default)]
pub(super) struct Silence(Mutex<Option<Instant>>);

impl Silence {
    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection of this age is from before the last silence.
    pub(super) fn outlived_by(&self, age: Duration) -> bool {
        let last = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() <= age)
    }
}

impl Patience {
    pub(super) fn new(limit: Duration, silence: Arc<Silence>, gate: Gate) -> Self {
        Self {
            limit,
            silence,
            gate,
        }
    }

    /// Waits for an answer, but not longer than the limit.
    async fn wait<T>(&self, answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        if !self.gate.is_open() {
            return Err(DbErr::Conn(RuntimeErr::Internal(NOT_OPENED.to_owned())));
        }
        // Alive until the silence is noted: dropped, it gives its connection back, and that must be known by then.
        let mut answer = pin!(answer);
        match tokio::time::timeout(self.limit, answer.as_mut()).await {
            Ok(answer) => answer,
            Err(_) => {
                self.silence.note();
                Err(DbErr::Conn(RuntimeErr::Internal(NO_ANSWER.to_owned())))
            }
        }
    }
}

/// A connection or a transaction; on PostgreSQL with patience.
#[derive(Debug, Clone)]
pub(super) struct Bounded<C> {
    inner: C,
    patience: Option<Patience>,
}

/// Connections.
pub(super) type Connections = Bounded<DatabaseConnection>;

impl<C> Bounded<C> {
    pub(super) fn new(inner: C, patience: Option<Patience>) -> Self {
        Self { inner, patience }
    }

    /// What is waited for, without a limit.
    pub(super) fn inner(&self) -> &C {
        &self.inner
    }

    async fn wait<T>(&self, answer: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        match &self.patience {
            Some(patience) => patience.wait(answer).await,
            None => answer.await,
        }
    }
}

#[async_trait]
impl<C: ConnectionTrait> ConnectionTrait for Bounded<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.wait(self.inner.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.wait(self.inner.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.wait(self.inner.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.wait(self.inner.query_all_raw(statement)).await
    }
}

impl Connections {
    /// Begins a transaction that will write. On SQLite at once as a writer: one that reads first and writes later fails
    /// when another has written in between, whatever the busy timeout.
    pub(super) async fn begin_writing(&self) -> Result<Transaction, StoreError> {
        self.begin(TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        })
        .await
    }

    /// A transaction whose reads all see the same state. Dropped, never committed: it writes nothing.
    pub(super) async fn snapshot(&self) -> Result<Transaction, StoreError> {
        let options = match self.get_database_backend() {
            DbBackend::Postgres => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..TransactionOptions::default()
            },
            // Every transaction of SQLite's is one.
            _ => TransactionOptions::default(),
        };
        self.begin(options).await
    }

    /// The same for reading everything: a statement may take as long as its rows are taken. Each row still has its limit.
    pub(super) async fn long_snapshot(&self) -> Result<Transaction, StoreError> {
        let snapshot = self.snapshot().await?;
        if self.get_database_backend() == DbBackend::Postgres {
            snapshot.unlimited().await?;
        }
        Ok(snapshot)
    }

    async fn begin(&self, options: TransactionOptions) -> Result<Transaction, StoreError> {
        let begun = self.wait(self.inner.begin_with_options(options)).await;
        Ok(Transaction {
            statements: Bounded::new(begun.map_err(failed)?, self.patience.clone()),
            failed: AtomicBool::new(false),
        })
    }

    pub(super) async fn close(&self) -> Result<(), StoreError> {
        self.inner.close_by_ref().await.map_err(failed)
    }
}

/// A transaction. One of whose statements failed can't be committed: PostgreSQL would roll it back and call that a success.
#[derive(Debug)]
pub(super) struct Transaction {
    statements: Bounded<DatabaseTransaction>,
    failed: AtomicBool,
}

impl Transaction {
    /// Lifts, until its end, the server's limits on a statement and on a pause between two. PostgreSQL alone knows them.
    pub(super) async fn unlimited(&self) -> Result<(), StoreError> {
        for limit in ["statement_timeout", "idle_in_transaction_session_timeout"] {
            let lift = format!("SET LOCAL {limit} = 0");
            self.execute_unprepared(&lift).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Commits. Without an answer the outcome is not known.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable(
                "a statement of the transaction had failed".to_owned(),
            ));
        }
        let Bounded { inner, patience } = self.statements;
        let backend = ConnectionTrait::get_database_backend(&inner);
        let commit = inner.commit();
        let done = match &patience {
            Some(patience) => patience.wait(commit).await,
            None => commit.await,
        };
        done.map_err(|error| match &error {
            DbErr::Conn(RuntimeErr::Internal(_)) => outcome_unknown(error),
            _ => commit_failed(backend, error),
        })
    }

    fn noted<T>(&self, done: Result<T, DbErr>) -> Result<T, DbErr> {
        if done.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        done
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.statements.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.noted(self.statements.execute_raw(statement).await)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.noted(self.statements.execute_unprepared(sql).await)
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.noted(self.statements.query_one_raw(statement).await)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.noted(self.statements.query_all_raw(statement).await)
    }
}

impl StreamTrait for Transaction {
    type Stream<'a> = BoxStream<'a, Result<QueryResult, DbErr>>;

    fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(self)
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> Pin<Box<dyn Future<Output = Result<Self::Stream<'a>, DbErr>> + 'a + Send>> {
        let Bounded { inner, patience } = &self.statements;
        Box::pin(async move {
            let rows = self.noted(self.statements.wait(inner.stream_raw(statement)).await)?;
            let rows = rows.map(|row| self.noted(row));
            let Some(patience) = patience else {
                return Ok(rows.boxed());
            };
            let first = Patience {
                limit: FIRST_ROW.max(patience.limit),
                ..patience.clone()
            };
            let bounded = stream::unfold(Some((rows.boxed(), first)), async move |state| {
                let (mut rows, limit) = state?;
                let next = async { rows.next().await.transpose() };
                match self.noted(limit.wait(next).await) {
                    Ok(row) => row.map(|row| (Ok(row), Some((rows, patience.clone())))),
                    // What comes after a silence belongs to nobody any more.
                    Err(error) => Some((Err(error), None)),
                }
            });
            Ok(bounded.boxed())
        })
    }
}
