//! What went wrong in the database, in the port's words.
//!
//! Values never get into a text: only what the database says of the statement (it names tables, columns and constraints),
//! the kind of failure, and its code.

use sea_orm::sqlx;
use sea_orm::sqlx::postgres::PgDatabaseError;
use sea_orm::{ConnAcquireErr, DbBackend, DbErr, RuntimeErr};

use super::bounded::{NO_ANSWER, NOT_OPENED};
use crate::app::ports::StoreError;

/// Result codes of SQLite, <https://www.sqlite.org/rescode.html>; the lower eight bits of an extended one.
pub(super) mod code {
    pub(in crate::store) const PERM: i32 = 3;
    pub(in crate::store) const BUSY: i32 = 5;
    pub(in crate::store) const LOCKED: i32 = 6;
    pub(in crate::store) const NOMEM: i32 = 7;
    pub(in crate::store) const READONLY: i32 = 8;
    pub(in crate::store) const INTERRUPT: i32 = 9;
    pub(in crate::store) const IOERR: i32 = 10;
    pub(in crate::store) const CORRUPT: i32 = 11;
    pub(in crate::store) const FULL: i32 = 13;
    pub(in crate::store) const CANTOPEN: i32 = 14;
    pub(in crate::store) const PROTOCOL: i32 = 15;
    pub(in crate::store) const CONSTRAINT: i32 = 19;
    pub(in crate::store) const NOTADB: i32 = 26;
}

/// Classes of PostgreSQL's SQLSTATEs that come from server, network or other sessions, and may go away:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
const PASSING: [&str; 12] = [
    "08",    // connection exception
    "25", // invalid transaction state: read-only (25006), idle for too long (25P03), took too long (25P04)
    "26", // a prepared statement that is not there: another server process than before, behind a pooler
    "28", // invalid authorization: the password was changed
    "3D", // the database is not there: it is being restored
    "40", // transaction rollback: serialization failure, deadlock
    "42501", // insufficient privilege: rights were taken
    "53", // insufficient resources: disk full, memory, too many connections
    "55", // not in the right state: a lock not had in time (55P03)
    "57", // operator intervention: cancelled, shut down, starting up
    "58", // system error: input or output
    "F0", // the server's own lock file
];

/// SQLSTATEs of a COMMIT after which it is certain that nothing happened. The server reports an ERROR only before it has
/// written the commit record; after that it knows but warnings, PANIC, or a session that ends. So what ends a session (57P01
/// and its like, class 08) and what leaves it open by its name (40003) are not here: the record may be there by then.
const NOT_COMMITTED: [&str; 11] = [
    "25006", // read-only
    "25P02", // the transaction had failed
    "25P03", // ended for idleness, so before the COMMIT was read
    "25P04", // took too long
    "40001", // serialization failure
    "40002", // a constraint checked at the end
    "40P01", // deadlock
    "53",    // no resources: asked for before the record is written
    "54",    // a limit of the program
    "55P03", // a lock not had in time
    "57014", // cancelled: a commit that is being written is not
];

/// A failed statement: nothing of its transaction is committed.
pub(super) fn failed(error: DbErr) -> StoreError {
    let text = describe(&error);
    match class(&error) {
        Class::Environment => StoreError::Unavailable(text),
        Class::Contents => StoreError::Corrupt(text),
    }
}

/// A failed COMMIT.
pub(super) fn commit_failed(backend: DbBackend, error: DbErr) -> StoreError {
    let text = describe(&error);
    match backend {
        DbBackend::Postgres => match sqlstate(&error) {
            Some(state) if state.starts_with("23") => StoreError::Corrupt(text),
            Some(state) if is_among(&NOT_COMMITTED, state) => StoreError::Unavailable(text),
            _ => StoreError::OutcomeUnknown(text),
        },
        // Only where SQLite refuses before it writes is it certain that nothing happened: after an I/O error the commit
        // record may have reached the disk, and a recovery would find it.
        _ => match sqlite_code(&error) {
            Some(code::BUSY | code::LOCKED | code::READONLY) => StoreError::Unavailable(text),
            Some(code::CONSTRAINT) => StoreError::Corrupt(text),
            _ => StoreError::OutcomeUnknown(text),
        },
    }
}

/// A COMMIT without an answer.
pub(super) fn outcome_unknown(error: DbErr) -> StoreError {
    StoreError::OutcomeUnknown(describe(&error))
}

/// A row that does not say what this program writes.
pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into())
}

/// Whether an SQLSTATE is one of these, or of one of these classes.
fn is_among(known: &[&str], state: &str) -> bool {
    known.iter().any(|known| state.starts_with(known))
}

enum Class {
    /// The machine, the file or server, another process: may go away.
    Environment,
    /// Schema or rows: a matter of the database's contents.
    Contents,
}

fn class(error: &DbErr) -> Class {
    use sqlx::Error;
    if let Some(state) = sqlstate(error) {
        return if is_among(&PASSING, state) {
            Class::Environment
        } else {
            Class::Contents
        };
    }
    if let Some(code) = sqlite_code(error) {
        return match code {
            code::PERM
            | code::BUSY
            | code::LOCKED
            | code::NOMEM
            | code::READONLY
            | code::INTERRUPT
            | code::IOERR
            | code::FULL
            | code::CANTOPEN
            | code::PROTOCOL => Class::Environment,
            _ => Class::Contents,
        };
    }
    match sqlx_error(error) {
        Some(
            Error::ColumnDecode { .. }
            | Error::Decode(_)
            | Error::ColumnNotFound(_)
            | Error::ColumnIndexOutOfBounds { .. }
            | Error::TypeNotFound { .. },
        ) => Class::Contents,
        Some(_) => Class::Environment,
        None => match error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => Class::Environment,
            _ => Class::Contents,
        },
    }
}

pub(super) fn describe(error: &DbErr) -> String {
    match (sqlx_error(error), error) {
        (Some(error), _) => describe_sqlx(error),
        (None, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) => NO_CONNECTION.to_owned(),
        (None, DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)) => CLOSED.to_owned(),
        (None, DbErr::Migration(_) | DbErr::Custom(_)) => {
            "the schema can't be brought up to date".to_owned()
        }
        (None, DbErr::Conn(RuntimeErr::Internal(text)))
            if text == NO_ANSWER || text == NOT_OPENED =>
        {
            text.clone()
        }
        (None, DbErr::Conn(_)) => "it can't be connected to".to_owned(),
        (None, _) => "a row can't be read".to_owned(),
    }
}

const NO_CONNECTION: &str = "no connection could be had in time";
const CLOSED: &str = "it is closed";

/// What the driver says, as far as it may be shown: never the URL, nor a value.
pub(super) fn describe_sqlx(error: &sqlx::Error) -> String {
    use sqlx::Error;
    match error {
        Error::Database(e) => match e.code() {
            Some(code) => format!("{} (code {code})", e.message()),
            None => e.message().to_owned(),
        },
        Error::ColumnDecode { index, .. } => {
            format!("column {index} does not hold what it should")
        }
        Error::ColumnNotFound(name) => format!("there is no column `{name}`"),
        Error::Io(e) => format!("input or output failed: {}", e.kind()),
        Error::Tls(e) => format!("TLS failed: {e}"),
        Error::PoolTimedOut => NO_CONNECTION.to_owned(),
        Error::PoolClosed => CLOSED.to_owned(),
        Error::WorkerCrashed | Error::Protocol(_) | Error::BeginFailed => {
            "the connection broke".to_owned()
        }
        _ => "the statement failed".to_owned(),
    }
}

fn sqlx_error(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(e))
        | DbErr::Exec(RuntimeErr::SqlxError(e))
        | DbErr::Query(RuntimeErr::SqlxError(e)) => Some(e),
        _ => None,
    }
}

/// PostgreSQL's SQLSTATE, where it was PostgreSQL that failed.
pub(super) fn sqlstate(error: &DbErr) -> Option<&str> {
    sqlx_error(error).and_then(sqlx_sqlstate)
}

/// The same, one layer below.
pub(super) fn sqlx_sqlstate(error: &sqlx::Error) -> Option<&str> {
    match error {
        sqlx::Error::Database(e) => e
            .try_downcast_ref::<PgDatabaseError>()
            .map(PgDatabaseError::code),
        _ => None,
    }
}

/// SQLite's primary result code, where it was SQLite that failed.
pub(super) fn sqlite_code(error: &DbErr) -> Option<i32> {
    sqlx_error(error).and_then(sqlx_code)
}

/// The same, one layer below.
pub(super) fn sqlx_code(error: &sqlx::Error) -> Option<i32> {
    match error {
        // Made of digits alone, an SQLSTATE could be taken for one.
        sqlx::Error::Database(e) if e.try_downcast_ref::<PgDatabaseError>().is_none() => {
            e.code()?.parse::<i32>().ok().map(|code| code & 0xff)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_that_a_lost_session_or_its_name_leaves_open_is_never_called_a_failure() {
        for open in [
            "08000", "08003", "08006", "08007", "40003", "57P01", "57P02", "57P03", "57P05",
            "58030", "XX000", "XX001", "F0000",
        ] {
            assert!(!is_among(&NOT_COMMITTED, open), "{open}");
        }
        for certain in ["25006", "40001", "40P01", "53100", "55P03", "57014"] {
            assert!(is_among(&NOT_COMMITTED, certain), "{certain}");
        }
    }

    #[test]
    fn what_comes_from_server_or_network_passes_and_what_comes_from_rows_does_not() {
        for passing in [
            "08006", "25006", "25P03", "28P01", "3D000", "40001", "40P01", "42501", "53300",
            "55P03", "57014", "57P01", "57P03", "58030",
        ] {
            assert!(is_among(&PASSING, passing), "{passing}");
        }
        for lasting in [
            "22021", "23505", "23503", "42601", "42703", "42P01", "XX001",
        ] {
            assert!(!is_among(&PASSING, lasting), "{lasting}");
        }
    }

    #[test]
    fn without_an_answer_the_server_is_said_to_be_silent() {
        let silent = || DbErr::Conn(RuntimeErr::Internal(NO_ANSWER.to_owned()));
        for (error, text) in [
            (failed(silent()), "the database is unavailable: "),
            (
                outcome_unknown(silent()),
                "the outcome of a commit is unknown: ",
            ),
        ] {
            assert_eq!(error.to_string(), format!("{text}{NO_ANSWER}"));
        }
        let closed = DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed);
        let commit = commit_failed(DbBackend::Postgres, closed);
        assert!(matches!(commit, StoreError::OutcomeUnknown(_)), "{commit}");
    }
}
