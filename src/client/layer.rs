//! The layer and its service: every request is checked before the service behind it sees it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{HeaderName, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Channel;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use super::answer::{Kind, answer};
use super::ask::Asking;
use super::credential::{Locations, strip_identity};
use super::faults::Faults;
use super::{Allowed, Demand, Refusal};

/// A decision takes well under a millisecond; what takes this long is a fault.
const DEADLINE: Duration = Duration::from_millis(200);
/// Below what one process of Claviger takes, so that one service can't take all of it.
const MAX_CONCURRENT: usize = 1024;

type DemandOf = dyn Fn(&Parts) -> Demand + Send + Sync;
type PeerOf = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

/// A [`tower::Layer`] that asks Claviger about every request, over one shared connection.
///
/// An allowed request goes on with [`Allowed`] in its extensions, without its credential. A refused one is answered with
/// 400, 401, 403, 429 or 503 and, where one is due, a `WWW-Authenticate`: as HTTP, or as a gRPC status where its content
/// type is gRPC's. [`Refusal`] is in the extensions of the answer. Where no decision is had in time the request is refused;
/// there is no setting that lets it through. The log is told when that begins and when it is over, as a warning and for
/// information, and of each request at the level DEBUG.
///
/// It guards whatever it is put before. Before a whole server that includes health, reflection and CORS preflights: put it
/// before the services that are to be guarded where those are to be open (see the [module](super)).
///
/// Headers that begin with `x-claviger-` are removed from every request: what they say is for Claviger to say.
///
/// The address of the client, for keys with `allowed_cidrs`, is that of the connection: tonic's servers know it, others put
/// a [`SocketAddr`] into the request's extensions, or [`peer`](Self::peer) finds it. Where it is unknown such keys are
/// refused.
#[derive(Clone)]
pub struct AuthorizeLayer {
    asking: Asking,
    faults: Arc<Faults>,
    demand: Arc<DemandOf>,
    peer: Arc<PeerOf>,
    locations: Locations,
    on_fault: StatusCode,
}

impl AuthorizeLayer {
    /// Demands the same of every request.
    pub fn new(claviger: Channel, demand: Demand) -> Self {
        Self::with(claviger, move |_| demand.clone())
    }

    /// Demands of each request what `demand` says of its head.
    pub fn with(
        claviger: Channel,
        demand: impl Fn(&Parts) -> Demand + Send + Sync + 'static,
    ) -> Self {
        Self {
            asking: Asking::new(claviger, DEADLINE, MAX_CONCURRENT),
            faults: Arc::default(),
            demand: Arc::new(demand),
            peer: Arc::new(peer_of_connection),
            locations: Locations::default(),
            on_fault: StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// How long an answer may take, connecting included; 200 ms unless told.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.asking.deadline = deadline;
        self
    }

    /// How many requests may wait for an answer at once, 1024 unless told; more are refused with 503 and `Retry-After`.
    #[must_use]
    pub fn max_concurrent(mut self, count: usize) -> Self {
        self.asking.limit(count);
        self
    }

    /// The HTTP status where no decision was had, 503 unless told. One that is no error counts as 503. gRPC callers get
    /// UNAVAILABLE where it is 500 or more.
    #[must_use]
    pub fn status_on_fault(mut self, status: StatusCode) -> Self {
        if status.is_client_error() || status.is_server_error() {
            self.on_fault = status;
        }
        self
    }

    /// The headers that may carry a credential, instead of `authorization`, `x-api-key`, `api-key` and `apikey`. No other
    /// is looked at; these are removed from allowed requests, but an `authorization` that is no key's (another scheme than
    /// Bearer and Basic, or a JWT).
    #[must_use]
    pub fn credential_headers(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.locations.headers = names.into_iter().collect();
        self
    }

    /// The query parameters that may carry a credential, instead of `apikey`.
    #[must_use]
    pub fn credential_queries<S: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = S>,
    ) -> Self {
        self.locations.queries = names.into_iter().map(Into::into).collect();
        self
    }

    /// Where the client's address is found: behind a proxy that is trusted, or in a server's own extension, as in
    /// `.peer(|head| head.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip()))` with axum.
    #[must_use]
    pub fn peer(mut self, peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.peer = Arc::new(peer);
        self
    }

    /// Decides about a request, and makes its head what the service may see of it.
    async fn admit(&self, head: &mut Parts) -> Result<(), Refusal> {
        strip_identity(&mut head.headers);
        head.extensions.remove::<Allowed>();
        let told = self.locations.told(head);
        let peer = (self.peer)(head);
        let demand = (self.demand)(head);
        let answer = self.asking.about(told, peer, demand).await;
        self.faults.heard(&answer);
        let allowed = answer?;
        self.locations.strip(head).map_err(|_| {
            // Of the client's making: nothing that the log should be full of.
            tracing::debug!("a request has no address without its credential");
            Refusal::Unusable("the request has no address without its credential")
        })?;
        head.extensions.insert(allowed);
        Ok(())
    }
}

impl fmt::Debug for AuthorizeLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizeLayer")
            .field("asking", &self.asking)
            .field("locations", &self.locations)
            .field("on_fault", &self.on_fault)
            .finish_non_exhaustive()
    }
}

fn peer_of_connection(head: &Parts) -> Option<IpAddr> {
    let of_tonic = head.extensions.get::<TcpConnectInfo>();
    of_tonic
        .and_then(TcpConnectInfo::remote_addr)
        .or_else(|| head.extensions.get::<SocketAddr>().copied())
        .map(|peer| peer.ip())
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            inner,
            layer: Arc::new(self.clone()),
        }
    }
}

/// A service behind an [`AuthorizeLayer`].
#[derive(Debug, Clone)]
pub struct Authorize<S> {
    inner: S,
    layer: Arc<AuthorizeLayer>,
}

impl<S, In, Out> Service<Request<In>> for Authorize<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    In: Send + 'static,
    Out: HttpBody<Data = Bytes> + Send + 'static,
    Out::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        // The one that said it is ready is the one to be called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let layer = Arc::clone(&self.layer);
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            let kind = Kind::of(&head.headers);
            match layer.admit(&mut head).await {
                Ok(()) => {
                    let answer = inner.call(Request::from_parts(head, body)).await?;
                    Ok(answer.map(Body::new))
                }
                Err(refusal) => Ok(answer(refusal, kind, layer.on_fault)),
            }
        })
    }
}

impl<S: NamedService> NamedService for Authorize<S> {
    const NAME: &'static str = S::NAME;
}
