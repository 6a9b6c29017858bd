//! Connections: taken, bounded, served, and at the end let go in time.
//!
//! A loop of our own, for tonic's spins when file descriptors run out, drops `TCP_NODELAY` for listeners made elsewhere,
//! leaves HTTP/2 limits off that hyper has on (RUSTSEC-2024-0003), and waits for ever on peers that never say a word.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt as _, Join};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::app::limit::{Limit, Permit};
use crate::grpc::guard::{ConnectionEnd, Guard, PeerAddress};
use crate::http::Pages;
use crate::telemetry::Metrics;

use super::adapters::any_share;
use super::listener::{Listener, Reader, Writer};

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long a peer may take to begin to speak HTTP/2, or to send the head of an HTTP/1 request.
const PREFACE_DEADLINE: Duration = Duration::from_secs(10);
/// How long calls that are under way may take to end, once a connection is told to go.
const GRACE: Duration = Duration::from_secs(10);
/// How long to wait after accepting failed: file descriptors come back only when connections end.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What connections share.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) metrics: Arc<Metrics>,
    /// How many at once, on this listener.
    pub(super) limit: Arc<Limit>,
    /// How old one becomes before its client is asked to open another.
    pub(super) max_age: Option<Duration>,
    pub(super) tracker: TaskTracker,
    /// Stops accepting, and lets connections go.
    pub(super) stop: CancellationToken,
}

/// What is served on a listener.
#[derive(Clone)]
pub(super) enum Served {
    Grpc(Guard),
    Pages(Pages),
}

/// A connection that counts, until it is dropped: at its end, however that comes.
struct Counted {
    metrics: Arc<Metrics>,
    _permit: Permit,
}

impl Counted {
    fn new(metrics: &Arc<Metrics>, permit: Permit) -> Self {
        metrics.connections.inc();
        Self {
            metrics: metrics.clone(),
            _permit: permit,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Connections {
    /// Accepts and serves until told to stop.
    pub(super) async fn accept(self, listener: Listener, served: Served) {
        while let Some(accepted) = self.stop.run_until_cancelled(listener.accept()).await {
            let (reader, writer, peer) = match accepted {
                Ok(connection) => connection,
                Err(error) => {
                    if !is_of_the_peer(&error) {
                        tracing::warn!(%error, "a connection can't be accepted");
                        tokio::time::sleep(BACK_OFF).await;
                    }
                    continue;
                }
            };
            let Some(permit) = self.limit.acquire() else {
                self.metrics.refused_connections.inc();
                continue;
            };
            let counted = Counted::new(&self.metrics, permit);
            let (served, shared) = (served.clone(), self.clone());
            self.tracker.spawn(async move {
                let _counted = counted;
                match served {
                    Served::Grpc(guard) => shared.serve_grpc(reader, writer, peer, guard).await,
                    Served::Pages(pages) => shared.serve_pages(reader, writer, pages).await,
                }
            });
        }
    }

    async fn serve_grpc(
        &self,
        mut reader: Reader,
        writer: Writer,
        peer: PeerAddress,
        guard: Guard,
    ) {
        let mut preface = [0; PREFACE.len()];
        let spoken = tokio::time::timeout(PREFACE_DEADLINE, reader.read_exact(&mut preface));
        match self.stop.run_until_cancelled(spoken).await {
            Some(Ok(Ok(_))) if preface == *PREFACE => {}
            _ => return,
        }
        let io: Join<_, Writer> = tokio::io::join(Cursor::new(preface).chain(reader), writer);
        let end = ConnectionEnd::default();
        // Connections of any age end no streams, and spare their calls this.
        let of_request = self.max_age.map(|_| end.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            if let Some(end) = &of_request {
                request.extensions_mut().insert(end.clone());
            }
            guard.clone().call(request)
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(1_024)
            // Room for what a proxy may copy from its client's request into the call's own head, such as trace state: over
            // this a call fails, and failures are what `failure_mode_allow` lets through.
            .max_header_list_size(64 * 1024)
            .max_local_error_reset_streams(1_024)
            .max_pending_accept_reset_streams(20)
            .initial_stream_window_size(1024 * 1024)
            // Also what bounds small DATA frames (RUSTSEC-2026-0258); adaptive windows would shrink it.
            .initial_connection_window_size(8 * 1024 * 1024)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10));
        let connection = builder.serve_connection(TokioIo::new(io), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            () = self.stop.cancelled() => {}
            () = aged(self.max_age) => {
                self.metrics.aged_connections.inc();
                // Calls end as ever, however long they take; what would never end is told to, once the client has been asked to
                // come again by another connection. tonic's own limit cuts calls off.
                connection.as_mut().graceful_shutdown();
                end.tell();
                tokio::select! {
                    _ = &mut connection => return,
                    () = self.stop.cancelled() => {}
                }
            }
        }
        connection.as_mut().graceful_shutdown();
        // Whoever has not ended by then is cut off: a drain that a peer can hold up is none.
        let _ = tokio::time::timeout(GRACE, connection).await;
    }

    async fn serve_pages(&self, reader: Reader, writer: Writer, pages: Pages) {
        let service = service_fn(move |request| answer(pages.clone(), request));
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(PREFACE_DEADLINE)
            .max_buf_size(16 * 1024);
        let connection =
            builder.serve_connection(TokioIo::new(tokio::io::join(reader, writer)), service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = &mut connection => return,
            () = self.stop.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(GRACE, connection).await;
    }
}

/// Waits until a connection has reached its age: each one's is another, so that those that began together do not end so.
async fn aged(max: Option<Duration>) {
    let Some(max) = max else {
        return std::future::pending().await;
    };
    tokio::time::sleep(max.mul_f64(0.8 + any_share() * 0.2)).await;
}

fn answer(
    pages: Pages,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<http_body_util::Full<bytes::Bytes>>, Infallible>> {
    pages.answer(request)
}

/// Whether accepting failed because of the one peer, which went away again.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
