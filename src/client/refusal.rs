//! Why a request was not let through.

use std::time::Duration;

use http::StatusCode;

use crate::grpc::proto::v1;

/// Why a request was not let through. It is in the extensions of the answer, for logs and metrics of the service; the client
/// is told less.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Claviger decided so.
    #[error("denied: {}", .0.reason.as_str_name())]
    Denied(Denied),
    /// The service demands nothing of the key, and did not say that any key will do. 403.
    #[error("nothing is demanded of the key; demand a scope, or say `Demand::any_key()`")]
    NothingDemanded,
    /// This service waits for as many answers as it may, or Claviger takes no more calls. 503, to be tried again.
    #[error("more requests at once than are taken")]
    Overloaded,
    /// No answer within the deadline.
    #[error("no answer from Claviger within {0:?}")]
    TimedOut(Duration),
    /// Claviger can't be reached, is not ready, or refuses to decide, as it does where the demand is malformed.
    #[error("no decision from Claviger: {0}")]
    Undecided(#[source] tonic::Status),
    /// The answer is none, or what is left of the request without its credential is none.
    #[error("{0}")]
    Unusable(&'static str),
}

/// A denial. Its details are not for the client's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Denied {
    /// Why.
    pub reason: v1::Reason,
    /// The status to answer with: 400, 401, 403 or 429.
    pub http_status: StatusCode,
    /// The `WWW-Authenticate` to answer with; empty: none.
    pub challenge: String,
    /// The workspace decided in.
    pub workspace: String,
    /// The key, where one was recognised; else empty.
    pub key_id: String,
    /// The revision decided at, `epoch.n`.
    pub revision: String,
}

impl Denied {
    /// Of an answer that was seen to deny.
    pub(super) fn of(answer: v1::CheckResponse) -> Self {
        // Whatever the number is, it does not become a status that looks like a success.
        let http_status = u16::try_from(answer.http_status)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .filter(StatusCode::is_client_error)
            .unwrap_or(StatusCode::FORBIDDEN);
        Self {
            reason: answer.reason(),
            http_status,
            challenge: answer.challenge,
            workspace: answer.workspace,
            key_id: answer.key_id,
            revision: answer.revision,
        }
    }
}
