//! What stands before every service: limits, deadlines, and for administration the recognition of the caller, all before a
//! request's message is read.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderValue;
use hyper::body::Incoming;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code as GrpcCode, Status};
use tower::Service;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::calls::CallCounts;
use crate::app::error::{Code, Error};
use crate::app::fleet::{MAX_WAIT, within};
use crate::app::limit::{Limit, Shares};
use crate::domain::id::PrincipalId;
use crate::domain::invalid::Invalid;

use super::inbox::Terms;
use super::status::to_status;
use super::watched::Watched;

/// The metadata in which a portal says who is logged in, and for which subscription.
const PRINCIPAL: &str = "x-claviger-principal";
const SUBSCRIPTION: &str = "x-claviger-subscription";

/// Longest an administration call may take, where its caller sets no deadline.
const ADMIN_DEADLINE: Duration = Duration::from_secs(30);
/// Longest a decision may take to come in and be answered.
const DECISION_DEADLINE: Duration = Duration::from_secs(10);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub enum PeerAddress {
    /// By TCP.
    Ip(IpAddr),
    /// By Unix socket: counts as loopback, for its file says who may connect.
    Local,
}

/// Told when a connection is to be let go: what would stay open on it for ever ends then, and goes on elsewhere.
#[derive(Debug, Clone, Default)]
pub struct ConnectionEnd(Arc<CancellationToken>);

impl ConnectionEnd {
    /// Says that it is.
    pub fn tell(&self) {
        self.0.cancel();
    }

    /// Waits for that.
    pub async fn told(&self) {
        self.0.cancelled().await;
    }
}

impl PeerAddress {
    fn ip(self) -> IpAddr {
        match self {
            Self::Ip(ip) => ip.to_canonical(),
            Self::Local => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// The services of one listener, guarded.
#[derive(Clone)]
pub struct Guard {
    routes: Routes,
    core: Arc<Core>,
    decisions: Arc<Limit>,
    administration: Option<Arc<Shares>>,
    calls: Arc<CallCounts>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

/// What kind of call a path is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Administration,
    Decision,
    /// Envoy's, health, reflection: they guard themselves, or need it not.
    Other,
}

impl Kind {
    fn of(path: &str) -> Self {
        if path.starts_with("/claviger.v1.Authorize/") {
            Self::Decision
        } else if path.starts_with("/claviger.") {
            Self::Administration
        } else {
            Self::Other
        }
    }
}

impl Guard {
    /// Guards these services; without `administration` there is none among them.
    pub fn new(
        routes: Routes,
        core: Arc<Core>,
        decisions: Arc<Limit>,
        administration: Option<Arc<Shares>>,
        calls: Arc<CallCounts>,
    ) -> Self {
        Self {
            routes,
            core,
            decisions,
            administration,
            calls,
        }
    }

    fn recognise(&self, request: &http::Request<Incoming>) -> Result<Caller, Error> {
        // Whether an administrator's key is still good is a decision, too.
        self.core.may_decide()?;
        let headers = request.headers();
        let mut given = headers.get_all(http::header::AUTHORIZATION).iter();
        let credential = match (given.next(), given.next()) {
            (Some(value), None) => bearer(value.as_bytes()),
            _ => b"",
        };
        let named = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        let workspace = named("x-claviger-workspace");
        let peer = request
            .extensions()
            .get::<PeerAddress>()
            .map(|peer| peer.ip());
        let now = self.core.clock.now();
        let index = self.core.index.now();
        let view = index.view();
        let caller = Caller::authenticate(
            credential,
            workspace,
            peer,
            &view,
            now,
            &self.core.last_used,
        )?;
        let field = |name: &str, e: Invalid| Error::invalid_at(name, e);
        let subscription = named(SUBSCRIPTION).map(str::parse).transpose();
        let subscription = subscription.map_err(|e| field(SUBSCRIPTION, e))?;
        let caller = caller.with_default_subscription(subscription);
        let Some(principal) = headers.get(PRINCIPAL) else {
            return Ok(caller);
        };
        let principal: PrincipalId = principal
            .to_str()
            .unwrap_or_default()
            .parse()
            .map_err(|e| field(PRINCIPAL, e))?;
        // Named by its own key, as a gateway may do, it is no other.
        if caller.is(Some(&principal)) {
            return Ok(caller);
        }
        let of = match caller.is_system() {
            true => workspace.unwrap_or(self.core.default_workspace.as_str()),
            false => caller.workspace.as_str(),
        };
        let of = of.parse().map_err(|e| field("x-claviger-workspace", e))?;
        caller.on_behalf_of(principal, of, &view)
    }

    async fn administer(mut self, mut request: http::Request<Incoming>) -> http::Response<Body> {
        // First who calls, from the head alone and at no cost: a stranger holds no place while a message is awaited.
        let caller = match self.recognise(&request) {
            Ok(caller) => caller,
            Err(error) => return refuse(&error),
        };
        let shares = self.administration.clone();
        let Some(_permit) = shares.as_ref().and_then(|s| s.acquire(&caller.workspace)) else {
            return refuse(&busy());
        };
        request.extensions_mut().insert(caller);
        let asked = grpc_timeout(request.headers());
        // Of a stream the permit and the deadline here bound the opening; what comes then takes places of its own.
        if let Some(places) = shares.filter(|_| is_stream(request.uri().path())) {
            let deadline = asked.and_then(|asked| Instant::now().checked_add(asked));
            request.extensions_mut().insert(Terms { places, deadline });
        }
        // Who asks for more time may have a change waited for.
        let longest = ADMIN_DEADLINE.saturating_add(MAX_WAIT);
        let deadline = asked.map_or(ADMIN_DEADLINE, |asked| asked.min(longest));
        // A change that has begun goes on in its own task: the caller only stops waiting for it.
        self.run(request, deadline).await
    }

    async fn run(
        &mut self,
        request: http::Request<Incoming>,
        deadline: Duration,
    ) -> http::Response<Body> {
        let end = Instant::now() + deadline;
        let answering = within(end.into_std(), self.routes.call(request));
        let answering = AssertUnwindSafe(answering).catch_unwind();
        match tokio::time::timeout(deadline, answering).await {
            Ok(Ok(Ok(response))) => clarify(response),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(_panic)) => refuse(&Error::internal("a call panicked")),
            Err(_elapsed) => refuse(&Error::new(
                Code::DeadlineExceeded,
                "DEADLINE_EXCEEDED",
                "the call was not done in time; a change may still be made: repeat it with the same `request_id` to learn",
            )),
        }
    }

    async fn decide(mut self, request: http::Request<Incoming>) -> http::Response<Body> {
        let Some(_permit) = self.decisions.acquire() else {
            return refuse(&busy());
        };
        let deadline = grpc_timeout(request.headers())
            .map_or(DECISION_DEADLINE, |asked| asked.min(DECISION_DEADLINE));
        self.run(request, deadline).await
    }
}

impl Service<http::Request<Incoming>> for Guard {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let mut guard = self.clone();
        async move {
            let path = request.uri().path();
            let method = guard.calls.method(path);
            let calls = guard.calls.clone();
            let stream = is_stream(path);
            let response = match Kind::of(path) {
                // A listener without administration does not judge administrators' keys either.
                Kind::Administration if guard.administration.is_some() => {
                    guard.administer(request).await
                }
                Kind::Decision => guard.decide(request).await,
                Kind::Administration | Kind::Other => match guard.routes.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
            };
            let Some(method) = method else {
                return Ok(response);
            };
            if stream && code_of(&response) == GrpcCode::Ok {
                return Ok(response.map(|body| Body::new(Watched::new(body, calls, method))));
            }
            calls.note(method, code_of(&response) as usize);
            Ok(response)
        }
        .boxed()
    }
}

/// The status of an answer, where it stands in the head; a message that was sent is followed by OK.
fn code_of(response: &http::Response<Body>) -> GrpcCode {
    let status = response.headers().get(Status::GRPC_STATUS);
    status.map_or(GrpcCode::Ok, |status| {
        GrpcCode::from_bytes(status.as_bytes())
    })
}

/// Says clearly what the framework says in passing: a message that is too large, or no message of this kind.
fn clarify(response: http::Response<Body>) -> http::Response<Body> {
    let own = response.headers().contains_key("grpc-status-details-bin");
    match clearer(code_of(&response)) {
        Some(error) if !own => refuse(&error),
        _ => response,
    }
}

/// What a status of the framework's own says of a message.
pub(super) fn clearer(code: GrpcCode) -> Option<Error> {
    let (reason, message) = match code {
        GrpcCode::OutOfRange => (
            "MESSAGE_TOO_LARGE",
            "the message is larger than 4 MiB; send less at once",
        ),
        GrpcCode::Internal => (
            "MALFORMED_MESSAGE",
            "the message can't be read as a request of this method; use the protos of this server's reflection",
        ),
        _ => return None,
    };
    Some(Error::new(Code::InvalidArgument, reason, message))
}

/// Whether a path is a call of many messages, which goes on when its head is answered.
fn is_stream(path: &str) -> bool {
    [
        "/claviger.v1.KeyAdmin/ImportKeys",
        "/claviger.v1.Directory/SyncPrincipals",
        "/claviger.v1.Insights/WatchEvents",
    ]
    .contains(&path)
}

fn refuse(error: &Error) -> http::Response<Body> {
    to_status(error).into_http()
}

pub(super) fn busy() -> Error {
    Error::new(
        Code::ResourceExhausted,
        "OVERLOADED",
        "more calls at once than the process takes; try again soon",
    )
}

fn bearer(value: &[u8]) -> &[u8] {
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => b"",
    }
}

/// The deadline that a caller sets: `grpc-timeout`, at most 8 digits and a unit. What is not of that form is no deadline.
fn grpc_timeout(headers: &http::HeaderMap<HeaderValue>) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n * 3_600),
        "M" => Duration::from_secs(n * 60),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_the_protocol_writes_them() {
        let read = |text: &str| {
            grpc_timeout(&http::HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-timeout"),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(read("5m"), Some(Duration::from_millis(5)));
        assert_eq!(
            read("99999999H"),
            Some(Duration::from_secs(99_999_999 * 3_600))
        );
        for text in ["", "m", "5", "5x", "-5m", "123456789m", "5 m"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_bearer_credential_counts() {
        assert_eq!(bearer(b"Bearer abc"), b"abc");
        assert_eq!(bearer(b"bearer  abc "), b"abc");
        for value in [&b"Basic abc"[..], b"abc", b"Bearer", b""] {
            assert_eq!(bearer(value), b"");
        }
    }
}
