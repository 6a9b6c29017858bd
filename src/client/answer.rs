//! What a refused client is told, as HTTP or as a gRPC status: what Envoy would tell it in the same case.

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tonic::body::Body;
use tonic::{Code, Status};

use super::Refusal;
use crate::grpc::proto::v1::Reason;

/// The kind of client.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    Http,
    /// With the content type it sent, which names its dialect.
    Grpc(HeaderValue),
}

impl Kind {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE) {
            Some(value) if is_grpc(value.as_bytes()) => Self::Grpc(value.clone()),
            _ => Self::Http,
        }
    }
}

fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .get(..16)
        .is_some_and(|head| head.eq_ignore_ascii_case(b"application/grpc"))
}

/// The answer to a refused request. `on_fault` is the status where it could not be decided.
pub(super) fn answer(refusal: Refusal, kind: Kind, on_fault: StatusCode) -> Response<Body> {
    let told = Told::of(&refusal, on_fault);
    let mut response = match kind {
        Kind::Http => told.http(),
        Kind::Grpc(content_type) => told.grpc(content_type),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(challenge) = told.challenge {
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    if told.retry {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response.extensions_mut().insert(refusal);
    response
}

/// What a client is told of a refusal.
struct Told {
    status: StatusCode,
    problem: &'static str,
    title: &'static str,
    challenge: Option<HeaderValue>,
    retry: bool,
}

impl Told {
    fn of(refusal: &Refusal, on_fault: StatusCode) -> Self {
        let (status, (problem, title)) = match refusal {
            Refusal::Denied(denied) => (denied.http_status, problem(denied.reason)),
            Refusal::NothingDemanded => (StatusCode::FORBIDDEN, problem(Reason::NothingDemanded)),
            Refusal::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                ("overloaded", "too many requests at once; try again soon"),
            ),
            Refusal::TimedOut(_) | Refusal::Undecided(_) | Refusal::Unusable(_) => (
                on_fault,
                ("undecided", "the request can't be authorized now"),
            ),
        };
        Self {
            status,
            problem,
            title,
            challenge: challenge(refusal, status),
            retry: matches!(refusal, Refusal::Overloaded),
        }
    }

    fn http(&self) -> Response<Body> {
        // Every part is one of ours, and needs no escaping.
        let document = format!(
            "{{\"type\":\"urn:claviger:{}\",\"title\":\"{}\",\"status\":{}}}",
            self.problem,
            self.title,
            self.status.as_u16()
        );
        let mut response = Response::new(Body::new(document));
        *response.status_mut() = self.status;
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, problem);
        response
    }

    /// The status alone, in the head of the answer ("trailers-only").
    fn grpc(&self, content_type: HeaderValue) -> Response<Body> {
        let code = match self.status.as_u16() {
            // What is wrong with a credential is UNAUTHENTICATED, as Envoy has it; INVALID_ARGUMENT would be the message.
            400 | 401 => Code::Unauthenticated,
            429 => Code::ResourceExhausted,
            500.. => Code::Unavailable,
            _ => Code::PermissionDenied,
        };
        let mut response = Status::new(code, self.title).into_http::<Body>();
        response.headers_mut().insert(CONTENT_TYPE, content_type);
        response
    }
}

fn challenge(refusal: &Refusal, status: StatusCode) -> Option<HeaderValue> {
    let given = match refusal {
        Refusal::Denied(denied) => HeaderValue::from_str(&denied.challenge).ok(),
        _ => None,
    };
    given.filter(|value| !value.is_empty()).or_else(|| {
        // RFC 9110, 15.5.2: a 401 has a challenge.
        (status == StatusCode::UNAUTHORIZED)
            .then(|| HeaderValue::from_static("Bearer realm=\"claviger\""))
    })
}

/// Type and title of the problem document. Unknown, revoked, expired and disabled look the same from outside.
fn problem(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::NoCredential => ("no-credential", "an API key is required"),
        Reason::AmbiguousCredential => (
            "ambiguous-credential",
            "send exactly one API key, in one place",
        ),
        Reason::MalformedCredential
        | Reason::UnknownKey
        | Reason::SecretRevoked
        | Reason::KeyDeleted
        | Reason::KeyDisabled
        | Reason::KeyExpired
        | Reason::WorkspaceDisabled
        | Reason::PrincipalDisabled => ("invalid-key", "invalid key"),
        Reason::IpNotAllowed | Reason::IpUnknown => (
            "address-not-allowed",
            "the key may not be used from this address",
        ),
        Reason::PresentationNotAllowed => (
            "presentation-not-allowed",
            "the key may not be sent this way",
        ),
        Reason::SubscriptionNotAllowed => (
            "subscription-not-allowed",
            "the key is not valid for this subscription",
        ),
        Reason::InsufficientScope => ("insufficient-scope", "the key lacks a scope that is needed"),
        Reason::RouteUnknown => (
            "route-unknown",
            "there is nothing here that is open to this request",
        ),
        Reason::FactorMissing => (
            "factor-missing",
            "something that is needed beside the API key is missing",
        ),
        Reason::NothingDemanded => ("not-open", "this is not open to API keys"),
        // A reason newer than this client.
        Reason::Unspecified | Reason::Ok => ("denied", "the request is not allowed"),
    }
}
