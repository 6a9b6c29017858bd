//! How a command ends: exit codes, and faults in words with what to do about them.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::io::Io;
use crate::domain::invalid::Invalid;

/// How the command ended. The numbers are promised in `--help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Failed, or the decision is DENY, or the server is not healthy, or some items of an import were refused.
    Failed = 1,
    /// The command line, the settings or a value is wrong.
    Usage = 2,
    /// The server can't be reached, or can't answer now.
    Unreachable = 3,
    /// There is no such thing, or it is not the caller's to see.
    NotFound = 4,
    /// The caller's key is missing, unusable, or lacks the right.
    Denied = 5,
    /// The state does not allow it, or it exists already.
    Conflict = 6,
    /// Interrupted by the user: what was answered is done, the rest is not. (128 and the number of SIGINT.)
    Interrupted = 130,
}

/// The exit codes for people; the foot of every `--help`.
pub(super) const EXIT_CODES: &str = "\
Exit codes:
  0  done                              4  not found
  1  failed, denied, some refused      5  the caller's key is missing or lacks the right
  2  wrong usage or value              6  conflict or unmet precondition
  3  server not reached, or busy     130  interrupted";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    message: String,
    details: Vec<String>,
    /// Whether a call was made that got no answer.
    unanswered: bool,
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            details: Vec::new(),
            unanswered: false,
        }
    }

    /// With what to do about a change that may have been made, for commands that can be repeated.
    #[must_use]
    pub(super) fn of_repeatable(self) -> Self {
        if !self.unanswered {
            return self;
        }
        self.hint("whether a change was made is not known; look before trying again, or repeat it with the same `--request-id`")
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A value that breaks a rule.
    pub(super) fn invalid(what: &str, fault: &Invalid) -> Self {
        Self::usage(format!("{what} {fault}"))
    }

    /// With a line about what to do.
    #[must_use]
    pub(super) fn hint(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Tells the user, and returns the exit code. A reader that has gone away has heard enough.
    pub(super) fn report(&self, io: &mut Io<'_>) -> Exit {
        if !self.message.is_empty() {
            io.note(format_args!("error: {}", self.message));
            for line in &self.details {
                io.note(format_args!("  {line}"));
            }
        }
        self.exit
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let message = match error.kind() {
            io::ErrorKind::BrokenPipe => String::new(),
            _ => format!("the output can't be written: {error}"),
        };
        Self::new(Exit::Failed, message)
    }
}

/// The innermost cause of a fault: what the layers around it say is of no use to people.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if let Some(lost) = lost(&status) {
            return lost;
        }
        let details = status.get_error_details();
        let reason = details.error_info().map(|info| info.reason.as_str());
        let message = match (status.message(), reason) {
            ("", None) => format!("{:?}", status.code()),
            (message, Some(reason)) if !message.contains(reason) => format!("{message} ({reason})"),
            (message, _) => message.to_owned(),
        };
        let mut failure = Self::new(exit_of(status.code()), message);
        let violations = details
            .bad_request()
            .map(|bad| bad.field_violations.as_slice())
            .unwrap_or_default();
        failure.details = violations
            .iter()
            .filter(|v| !failure.message.contains(&v.description))
            .map(|v| format!("`{}` {}", v.field, v.description))
            .collect();
        failure
    }
}

/// A call that got no answer from the server: these have a cause on our side, or are our own time running out.
fn lost(status: &Status) -> Option<Failure> {
    let message = if status.code() == Code::Cancelled {
        "the server did not answer in time".to_owned()
    } else {
        format!("the connection was lost: {}", root_cause(status.source()?))
    };
    Some(Failure {
        unanswered: true,
        ..Failure::new(Exit::Unreachable, message)
    })
}

/// Whether what went wrong may be gone after a while.
pub(super) fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled => true,
        // Of these, what the server said is final, and what broke on the way is not.
        Code::Unknown | Code::Internal => status.source().is_some(),
        _ => false,
    }
}

fn exit_of(code: Code) -> Exit {
    match code {
        Code::Ok => Exit::Ok,
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => Exit::Unreachable,
        Code::NotFound => Exit::NotFound,
        Code::PermissionDenied | Code::Unauthenticated => Exit::Denied,
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => Exit::Conflict,
        Code::Cancelled | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            Exit::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::super::io::testing::Captured;
    use super::*;

    #[test]
    fn every_status_has_its_exit_code() {
        for (code, exit) in [
            (Code::InvalidArgument, 2),
            (Code::Unavailable, 3),
            (Code::DeadlineExceeded, 3),
            (Code::ResourceExhausted, 3),
            (Code::NotFound, 4),
            (Code::PermissionDenied, 5),
            (Code::Unauthenticated, 5),
            (Code::AlreadyExists, 6),
            (Code::FailedPrecondition, 6),
            (Code::Aborted, 6),
            (Code::Internal, 1),
            (Code::Unimplemented, 1),
        ] {
            assert_eq!(
                Failure::from(Status::new(code, "x")).exit as u8,
                exit,
                "{code:?}"
            );
        }
    }

    #[test]
    fn a_fault_names_its_reason_and_every_field() {
        let mut details =
            ErrorDetails::with_error_info("INVALID_FIELD", "claviger", HashMap::new());
        details.add_bad_request_violation("key.scopes[0]", "is not a scope");
        details.add_bad_request_violation("key.allowed_cidrs[1]", "is no network");
        let status = Status::with_error_details(
            Code::InvalidArgument,
            "`key.scopes[0]` is not a scope",
            details,
        );
        let mut captured = Captured::default();
        let exit = Failure::from(status).report(&mut captured.io());
        assert_eq!(exit, Exit::Usage);
        assert_eq!(
            captured.err(),
            "error: `key.scopes[0]` is not a scope (INVALID_FIELD)\n  `key.allowed_cidrs[1]` is no network\n"
        );
        assert_eq!(captured.out(), "");
    }

    #[test]
    fn a_reader_that_went_away_is_not_told_so() {
        let mut captured = Captured::default();
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(gone.report(&mut captured.io()), Exit::Failed);
        assert_eq!(captured.err(), "");
    }
}
