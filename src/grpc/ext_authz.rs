//! `envoy.service.auth.v3.Authorization`: decisions for Envoy.
//!
//! Invariants: whatever a client can cause is answered with a denial, never with a gRPC error; an allow and a denial are
//! each built in one place, so that a denial always has a non-zero `status.code` (Envoy 1.40 takes a `denied_response` with
//! code 0 for an allow).

use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::HeaderValue;
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::app::Core;
use crate::app::authorize::{DecisionCounts, Surface};
use crate::app::limit::Limit;
use crate::decide::{Attributes, Claims, Demand, Headers, Presented, Question};
use crate::domain::network::{self, IpNet};

use super::envoy::{self, CheckRequest, CheckResponse, HttpRequest};
use super::envoy_answer::{allow, deny, fault, overloaded};
use super::status::to_status;

/// Largest message taken: Envoy's largest header block is far below, and it sends bodies only where it is told to.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;
/// How long a message may take to come in.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The service.
#[derive(Debug, Clone)]
pub struct ExtAuthzService {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    counts: Arc<DecisionCounts>,
    limit: Arc<Limit>,
    trusted_proxies: Vec<IpNet>,
}

impl ExtAuthzService {
    /// The service over these use cases. Only peers in `trusted_proxies` are believed what they forward for.
    pub fn new(
        core: Arc<Core>,
        counts: Arc<DecisionCounts>,
        limit: Arc<Limit>,
        trusted_proxies: Vec<IpNet>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                core,
                counts,
                limit,
                trusted_proxies,
            }),
        }
    }
}

impl Inner {
    fn check(&self, request: &CheckRequest) -> Result<CheckResponse, Status> {
        let empty = HttpRequest::default();
        let attributes = request.attributes.as_ref();
        let http = attributes
            .and_then(|a| a.request.as_ref())
            .and_then(|r| r.http.as_ref())
            .unwrap_or(&empty);
        let grpc = is_grpc(http);
        let Some(demands) = Demands::read(
            attributes
                .map(|a| &*a.context_extensions)
                .unwrap_or_default(),
        ) else {
            return Ok(fault(grpc));
        };
        let of_host;
        let workspace = match demands.workspace {
            Some(named) => named,
            None => {
                of_host = self.core.workspace_of_host(&http.host);
                of_host.as_str()
            }
        };
        let claims = attributes.and_then(|a| a.metadata_context.as_ref());
        let question = Question {
            workspace,
            presented: Presented::Http {
                headers: http,
                path: &http.path,
            },
            source_ip: self.client_ip(request, http),
            all_of: Demand::Words(demands.all_of),
            any_of: Demand::Words(demands.any_of),
            subscription: demands.subscription,
            must_demand: true,
            attributes: Attributes {
                route: demands.route,
                method: &http.method,
                host: &http.host,
                path: &http.path,
                claims: claims.map(|claims| claims as &dyn Claims),
            },
        };
        let decided = self.core.decide(
            Surface::Envoy,
            &question,
            &self.counts,
            |verdict, revision| {
                if verdict.is_allow() {
                    allow(verdict, &question, revision)
                } else {
                    deny(verdict, &question, revision, grpc)
                }
            },
        );
        decided.map_err(|e| to_status(&e))
    }

    fn client_ip(&self, request: &CheckRequest, http: &HttpRequest) -> Option<IpAddr> {
        let address = &request
            .attributes
            .as_ref()?
            .source
            .as_ref()?
            .address
            .as_ref()?
            .socket_address
            .as_ref()?
            .address;
        let peer = std::str::from_utf8(address).ok()?.parse().ok()?;
        client_behind(peer, http, &self.trusted_proxies)
    }
}

/// The client's address, by who spoke to Envoy; only of trusted proxies it is believed for whom they speak.
pub(super) fn client_behind(
    peer: IpAddr,
    headers: &dyn Headers,
    trusted_proxies: &[IpNet],
) -> Option<IpAddr> {
    if trusted_proxies.is_empty() {
        return Some(network::canonical(peer));
    }
    let mut forwarded_for: Vec<&[u8]> = Vec::new();
    headers.for_each(&mut |name, value| {
        if name.eq_ignore_ascii_case(b"x-forwarded-for") {
            forwarded_for.push(value);
        }
    });
    network::client_behind(Some(peer), trusted_proxies, &forwarded_for)
}

/// What the operator configured for the route: Envoy's `context_extensions`.
#[derive(Default)]
struct Demands<'r> {
    workspace: Option<&'r str>,
    all_of: &'r str,
    any_of: &'r str,
    subscription: &'r str,
    route: &'r str,
}

impl<'r> Demands<'r> {
    /// None where a name of ours is not known: a misspelt demand must not become no demand.
    fn read(entries: &'r [envoy::Entry]) -> Option<Self> {
        let mut demands = Self::default();
        for entry in entries {
            let Some(name) = entry.key.strip_prefix(b"claviger.") else {
                continue;
            };
            let value = std::str::from_utf8(&entry.value).ok()?;
            match name {
                b"workspace" => demands.workspace = Some(value).filter(|v| !v.is_empty()),
                b"scopes" => demands.all_of = value,
                b"any-scopes" => demands.any_of = value,
                b"subscription" => demands.subscription = value,
                b"route" => demands.route = value,
                _ => return None,
            }
        }
        Some(demands)
    }
}

fn is_grpc(http: &HttpRequest) -> bool {
    let mut grpc = false;
    http.for_each(&mut |name, value| {
        grpc |= name.eq_ignore_ascii_case(b"content-type")
            && value
                .get(..16)
                .is_some_and(|head| head.eq_ignore_ascii_case(b"application/grpc"));
    });
    grpc
}

impl Headers for HttpRequest {
    fn for_each<'h>(&'h self, each: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        for entry in &self.headers {
            each(&entry.key, &entry.value);
        }
        for header in self.header_map.iter().flat_map(|map| &map.headers) {
            each(&header.key, header.bytes());
        }
    }
}

impl UnaryService<CheckRequest> for ExtAuthzService {
    type Response = CheckResponse;
    type Future = std::future::Ready<Result<Response<CheckResponse>, Status>>;

    fn call(&mut self, request: Request<CheckRequest>) -> Self::Future {
        std::future::ready(self.inner.check(request.get_ref()).map(Response::new))
    }
}

impl<B> Service<http::Request<B>> for ExtAuthzService
where
    B: HttpBody + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        async move {
            if request.uri().path() != envoy::CHECK_PATH {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            // Before anything is read: what sheds load must cost nothing.
            let Some(_permit) = service.inner.limit.acquire() else {
                return Ok(answer(&overloaded()));
            };
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(MAX_MESSAGE);
            let answering = AssertUnwindSafe(grpc.unary(service.clone(), request)).catch_unwind();
            Ok(match tokio::time::timeout(MAX_WAIT, answering).await {
                Ok(Ok(response)) => deny_faults(response),
                Ok(Err(_panic)) => {
                    tracing::error!("a decision for Envoy panicked; the request was denied");
                    answer(&fault(false))
                }
                Err(_elapsed) => answer(&fault(false)),
            })
        }
        .boxed()
    }
}

impl NamedService for ExtAuthzService {
    const NAME: &'static str = envoy::SERVICE;
}

/// Turns what tonic refused (undecodable, too large, compressed) into a denial. UNAVAILABLE is ours: it stays.
fn deny_faults(response: http::Response<Body>) -> http::Response<Body> {
    let status = response
        .headers()
        .get(Status::GRPC_STATUS)
        .map(HeaderValue::as_bytes)
        .map(Code::from_bytes);
    match status {
        None | Some(Code::Ok | Code::Unavailable) => response,
        Some(_) => answer(&fault(false)),
    }
}

/// A response with this message.
fn answer(message: &CheckResponse) -> http::Response<Body> {
    let encoded = message.encode_to_vec();
    let length = u32::try_from(encoded.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    // A gRPC frame: not compressed, its length, the message.
    let frame = Bytes::from([&[0][..], &length, &encoded].concat());
    let mut trailers = http::HeaderMap::new();
    trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(frame).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = http::Response::new(Body::new(body));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
}

#[cfg(test)]
#[path = "ext_authz_tests.rs"]
mod tests;
