//! What comes in on a stream, message by message: a client may be silent for a while, and not for ever.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{Stream, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::app::error::{Code, Error};
use crate::app::limit::Shares;

use super::guard::clearer;
use super::status::to_status;

/// How long a client may be silent.
const IDLE_DEADLINE: Duration = Duration::from_secs(60);

/// What holds for a stream for as long as it lasts; the guard says it with the head of the call.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The places of administration calls: each message takes one while it is worked on.
    pub(super) places: Arc<Shares>,
    /// The caller's own deadline.
    pub(super) deadline: Option<Instant>,
}

/// The messages of a call under way.
pub(super) struct Inbox<M> {
    pub(super) terms: Terms,
    stopping: CancellationToken,
    messages: M,
}

impl<M, T> Inbox<M>
where
    M: Stream<Item = Result<T, Status>> + Send + Unpin + 'static,
{
    pub(super) fn new(terms: Terms, stopping: CancellationToken, messages: M) -> Self {
        Self {
            terms,
            stopping,
            messages,
        }
    }

    /// The next message; none: the client has sent all.
    pub(super) async fn next(&mut self) -> Result<Option<T>, Status> {
        let until = self.until(IDLE_DEADLINE);
        let message = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Err(to_status(&shutting_down())),
            message = tokio::time::timeout_at(until, self.messages.next()) => message,
        };
        match message {
            Ok(message) => message.transpose().map_err(clarified),
            Err(_elapsed) => Err(to_status(&too_late(
                "no message came in time: a stream may be silent for 60 seconds, and lasts no longer than its own deadline; what was answered stands, call again for the rest",
            ))),
        }
    }

    /// The end of a span of time from now, or of the caller's patience.
    pub(super) fn until(&self, span: Duration) -> Instant {
        let until = Instant::now() + span;
        self.terms.deadline.map_or(until, |own| until.min(own))
    }
}

/// What the framework says of a message that is none, in clear words.
fn clarified(status: Status) -> Status {
    match clearer(status.code()) {
        Some(error) if status.details().is_empty() => to_status(&error),
        _ => status,
    }
}

pub(super) fn too_late(message: &str) -> Error {
    Error::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message)
}

fn shutting_down() -> Error {
    Error::new(
        Code::Unavailable,
        "SHUTTING_DOWN",
        "this process is being stopped; what was answered stands, call again for the rest",
    )
}
