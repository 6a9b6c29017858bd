//! What can go wrong in a use case, in words for the caller, with the cause kept apart for the log.

use std::error::Error as StdError;
use std::fmt;

use crate::app::envelope::EnvelopeError;
use crate::app::ports::{EntropyError, StoreError};
use crate::domain::invalid::Invalid;

/// The kinds of failure: a small, fixed set that maps one to one to gRPC status codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The request breaks a rule, whatever the state.
    InvalidArgument,
    /// No usable credential.
    Unauthenticated,
    /// The caller may not do this.
    PermissionDenied,
    /// It does not exist, or is somebody else's.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The state does not allow it.
    FailedPrecondition,
    /// Somebody else was faster.
    Aborted,
    /// Too much at once.
    ResourceExhausted,
    /// We can't now; trying again may help.
    Unavailable,
    /// Not in time.
    DeadlineExceeded,
    /// A fault of ours.
    Internal,
}

/// A failure of a use case. What the caller reads and what the log keeps are apart: `source` never reaches a caller.
#[derive(Debug)]
pub struct Error {
    /// Its kind.
    pub code: Code,
    /// A stable reason, `UPPER_SNAKE`.
    pub reason: &'static str,
    /// What is wrong and what to do about it. Never a secret, SQL, or internal text.
    pub message: String,
    /// Paths of the fields at fault, each with its own message.
    pub fields: Vec<(String, String)>,
    /// More for machines, such as the id of a key in the way.
    pub metadata: Vec<(&'static str, String)>,
    /// The cause, for the log alone.
    pub source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A failure without fields.
    pub fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            fields: Vec::new(),
            metadata: Vec::new(),
            source: None,
        }
    }

    /// A field that breaks a rule.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        let (field, message) = (field.into(), message.into());
        let mut error = Self::new(
            Code::InvalidArgument,
            "INVALID_FIELD",
            format!("`{field}` {message}"),
        );
        error.fields.push((field, message));
        error
    }

    /// A field whose value breaks a rule, with the path inside that value.
    pub fn invalid_at(field: &str, invalid: Invalid) -> Self {
        let invalid = invalid.at(field);
        Self::invalid(invalid.path, invalid.message)
    }

    /// It does not exist, or is somebody else's: the same answer for both.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            Code::NotFound,
            "NOT_FOUND",
            format!("there is no such {what}, or it is not yours to see"),
        )
    }

    /// There is one already, of this name or id.
    pub fn already_exists(what: &str, by: &str) -> Self {
        Self::new(
            Code::AlreadyExists,
            "ALREADY_EXISTS",
            format!("there is a {what} of this {by} already; update it, or choose another {by}"),
        )
    }

    /// The state does not allow it.
    pub fn precondition(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::FailedPrecondition, reason, message)
    }

    /// The caller may not do this.
    pub fn denied(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Code::PermissionDenied, reason, message)
    }

    /// The database is another history than the one that this process knows.
    pub fn replaced() -> Self {
        Self::new(
            Code::Unavailable,
            "DATABASE_REPLACED",
            "the database is not the one that this process has been following: a backup was restored, or a fail-over has lost changes; nothing was changed, and decisions go on with what was known; after a restored backup run `claviger adopt-restore`, which all processes then follow; else restart the process",
        )
    }

    /// The database can't be used now.
    pub fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(
            Code::Unavailable,
            "DATABASE_UNAVAILABLE",
            "the database can't be reached or written now, and nothing was changed; decisions go on; try again later",
        );
        error.source = Some(cause.into());
        error
    }

    /// Nobody knows whether the change was made.
    pub fn outcome_unknown(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(
            Code::Unavailable,
            "OUTCOME_UNKNOWN",
            "the database failed while the change was being committed, and it is not known whether it was made; repeat the call with the same `request_id` to settle it",
        );
        error.source = Some(cause.into());
        error
    }

    /// A fault of ours.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Self::new(
            Code::Internal,
            "INTERNAL",
            "an internal fault; the log has its cause",
        );
        error.source = Some(cause.into());
        error
    }

    /// The same fault, seen from the request that has the faulty one in this field.
    #[must_use]
    pub fn inside(mut self, field: &str) -> Self {
        for (path, _) in &mut self.fields {
            *path = format!("{field}.{path}");
        }
        self
    }

    /// The same with one more detail for machines.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.metadata.push((name, value.to_string()));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::unavailable(error),
            StoreError::OutcomeUnknown(_) => Self::outcome_unknown(error),
            StoreError::Corrupt(_) => Self::internal(error),
        }
    }
}

impl From<EntropyError> for Error {
    fn from(error: EntropyError) -> Self {
        Self::internal(error)
    }
}

impl From<EnvelopeError> for Error {
    fn from(error: EnvelopeError) -> Self {
        Self::internal(error)
    }
}
