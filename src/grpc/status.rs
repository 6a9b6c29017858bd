//! Failures as gRPC statuses: the only place that maps the one to the other.

use tonic::Code as GrpcCode;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::app::error::{Code, Error};

/// The `domain` of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "claviger";

/// The gRPC status code of a kind of failure.
pub const fn grpc_code(code: Code) -> GrpcCode {
    match code {
        Code::InvalidArgument => GrpcCode::InvalidArgument,
        Code::Unauthenticated => GrpcCode::Unauthenticated,
        Code::PermissionDenied => GrpcCode::PermissionDenied,
        Code::NotFound => GrpcCode::NotFound,
        Code::AlreadyExists => GrpcCode::AlreadyExists,
        Code::FailedPrecondition => GrpcCode::FailedPrecondition,
        Code::Aborted => GrpcCode::Aborted,
        Code::ResourceExhausted => GrpcCode::ResourceExhausted,
        Code::Unavailable => GrpcCode::Unavailable,
        Code::DeadlineExceeded => GrpcCode::DeadlineExceeded,
        Code::Internal => GrpcCode::Internal,
    }
}

/// What the caller reads: code, message, reason, field paths; never the cause. The cause of what is no fault of the caller
/// is logged here, once.
pub fn to_status(error: &Error) -> Status {
    log(error);
    let metadata = error
        .metadata
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    let mut details = ErrorDetails::with_error_info(
        error.reason,
        ERROR_DOMAIN,
        metadata.collect::<std::collections::HashMap<_, _>>(),
    );
    for (field, message) in &error.fields {
        details.add_bad_request_violation(field.clone(), message.clone());
    }
    Status::with_error_details(grpc_code(error.code), error.message.clone(), details)
}

/// Implements a service: each method hands over to one of the service's own, and maps its failure. Those that answer with a
/// stream stand behind the others.
macro_rules! serve {
    (
        $service:ident for $own:ident {
            $($rpc:ident($request:ident) -> $response:ident = $work:ident;)*
        }
        $($stream:ident($asked:ty) -> $kind:ident: $answers:ty = $begin:ident;)*
    ) => {
        #[tonic::async_trait]
        impl $service for $own {
            $(async fn $rpc(&self, request: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                self.$work(request).await.map(Response::new).map_err(|e| to_status(&e))
            })*

            $(type $kind = $answers;

            async fn $stream(&self, request: Request<$asked>) -> Result<Response<$answers>, Status> {
                self.$begin(request).map(Response::new).map_err(|e| to_status(&e))
            })*
        }
    };
}
pub(super) use serve;

fn log(error: &Error) {
    let cause = error
        .source
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    match error.code {
        Code::Internal => tracing::error!(reason = error.reason, cause, "internal fault"),
        Code::Unavailable
            if matches!(
                error.reason,
                "NOT_LOADED" | "SHUTTING_DOWN" | "CONNECTION_AGED"
            ) => {}
        Code::Unavailable => tracing::warn!(
            reason = error.reason,
            cause,
            "call answered with UNAVAILABLE"
        ),
        // Anybody can cause it, as often as they like: the metrics count it, and the log is told on request.
        Code::Unauthenticated => tracing::debug!(cause, "administration call without a usable key"),
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::ResourceExhausted
        | Code::DeadlineExceeded => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_reason_and_fields_and_never_the_cause() {
        let mut error = Error::invalid("key.scopes[1]", "is not a scope");
        error.source = Some("SELECT secret".into());
        let status = to_status(&error.with("key_id", "key_1"));
        assert_eq!(status.code(), GrpcCode::InvalidArgument);
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("INVALID_FIELD", "claviger")
        );
        assert_eq!(info.metadata.get("key_id").unwrap(), "key_1");
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations[0].field, "key.scopes[1]");
        assert!(!format!("{status:?}").contains("SELECT"));
    }
}
