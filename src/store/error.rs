//! What went wrong in the database, in the port's words.
//!
//! Values never get into a text: only what SQLite says of the statement (it names tables, columns and constraints), the
//! kind of failure, and its code.

use sea_orm::sqlx;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

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

/// A failed statement: nothing of its transaction is committed.
pub(super) fn failed(error: DbErr) -> StoreError {
    let text = describe(&error);
    match class(&error) {
        Class::Environment => StoreError::Unavailable(text),
        Class::Contents => StoreError::Corrupt(text),
    }
}

/// A failed COMMIT. Only where SQLite refuses before it writes is it certain that nothing happened: after an I/O error the
/// commit record may have reached the disk, and a recovery would find it.
pub(super) fn commit_failed(error: DbErr) -> StoreError {
    match sqlite_code(&error) {
        Some(code::BUSY | code::LOCKED | code::READONLY) => {
            StoreError::Unavailable(describe(&error))
        }
        Some(code::CONSTRAINT) => StoreError::Corrupt(describe(&error)),
        _ => StoreError::OutcomeUnknown(describe(&error)),
    }
}

/// A row that does not say what this program writes.
pub(super) fn corrupt(what: impl Into<String>) -> StoreError {
    StoreError::Corrupt(what.into())
}

enum Class {
    /// The machine, the file, another process: may go away.
    Environment,
    /// Schema or rows: a matter of the database's contents.
    Contents,
}

fn class(error: &DbErr) -> Class {
    use sqlx::Error;
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

fn describe(error: &DbErr) -> String {
    use sqlx::Error;
    match (sqlx_error(error), error) {
        (Some(Error::Database(e)), _) => match e.code() {
            Some(code) => format!("{} (code {code})", e.message()),
            None => e.message().to_owned(),
        },
        (Some(Error::ColumnDecode { index, .. }), _) => {
            format!("column {index} does not hold what it should")
        }
        (Some(Error::ColumnNotFound(name)), _) => format!("there is no column `{name}`"),
        (Some(Error::Io(e)), _) => format!("input or output failed: {}", e.kind()),
        (Some(Error::PoolTimedOut), _)
        | (None, DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) => {
            "no connection became free in time".to_owned()
        }
        (Some(Error::PoolClosed), _)
        | (None, DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)) => {
            "it is closed".to_owned()
        }
        (Some(Error::WorkerCrashed), _) => "the connection broke".to_owned(),
        (Some(_), _) => "the statement failed".to_owned(),
        (None, DbErr::Migration(_) | DbErr::Custom(_)) => {
            "the schema can't be brought up to date".to_owned()
        }
        (None, DbErr::Conn(_)) => "it can't be connected to".to_owned(),
        (None, _) => "a row can't be read".to_owned(),
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

/// SQLite's primary result code, where it was SQLite that failed.
pub(super) fn sqlite_code(error: &DbErr) -> Option<i32> {
    match sqlx_error(error) {
        Some(sqlx::Error::Database(e)) => e.code()?.parse::<i32>().ok().map(|code| code & 0xff),
        _ => None,
    }
}
