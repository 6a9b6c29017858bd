//! A hyper server behind a layer: answers with what arrived, and counts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use claviger::client::{Allowed, AuthorizeLayer};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tower::{Layer as _, ServiceExt as _, service_fn};

use crate::harness::{self, Target};

/// A running server; ends when dropped.
pub(super) struct Guarded {
    pub(super) address: SocketAddr,
    count: Arc<AtomicUsize>,
    runtime: Runtime,
}

impl Guarded {
    /// Behind this layer.
    pub(super) fn start(layer: AuthorizeLayer) -> Self {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let mut this = Self::serving(|listener| serve(listener, layer, counter));
        this.count = count;
        this
    }

    /// Whatever serves on a listener.
    pub(super) fn serving<F>(serve: impl FnOnce(TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.handle().spawn(serve(listener));
        Self {
            address,
            count: Arc::default(),
            runtime,
        }
    }

    /// Makes something that needs a runtime: this one's, which goes on until this is dropped.
    pub(super) fn within<T>(&self, make: impl FnOnce() -> T) -> T {
        let _in_runtime = self.runtime.enter();
        make()
    }

    /// One GET.
    pub(super) fn get(
        &self,
        path: impl AsRef<[u8]>,
        headers: &[(String, Vec<u8>)],
    ) -> harness::Response {
        harness::get(&Target::Tcp(self.address), path, headers)
    }

    /// How many requests the service behind the layer has seen.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

async fn serve(listener: TcpListener, layer: AuthorizeLayer, counter: Arc<AtomicUsize>) {
    let service = layer.layer(service_fn(move |request| {
        counter.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok::<_, Infallible>(echo(&request)))
    }));
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = listener.accept().await.unwrap();
        let service = service.clone();
        let with_peer = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            service.clone().oneshot(request)
        });
        let service = TowerToHyperService::new(with_peer);
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

fn echo(request: &Request<Incoming>) -> Response<String> {
    let headers: serde_json::Map<_, _> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let allowed = request.extensions().get::<Allowed>().unwrap();
    let body = json!({
        "path": request.uri().to_string(),
        "headers": headers,
        "allowed": {
            "key_id": allowed.key_id,
            "workspace": allowed.workspace,
            "subscription": allowed.subscription,
            "scopes": allowed.scopes,
            "labels": allowed.labels,
            "revision": allowed.revision,
        },
    });
    Response::new(body.to_string())
}
