//! Metrics and health over HTTP, on a port of their own: `/metrics`, `/livez`, `/readyz`.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::telemetry::Metrics;

/// What is served.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether decisions are served.
    pub serving: watch::Receiver<bool>,
}

impl Pages {
    /// Answers a request.
    pub async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, kind, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => match self.metrics.encode() {
                Ok(text) => (
                    StatusCode::OK,
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                    text,
                ),
                Err(_) => (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "text/plain",
                    "the metrics can't be written\n".to_owned(),
                ),
            },
            (&Method::GET | &Method::HEAD, "/livez") => {
                (StatusCode::OK, "text/plain", "alive\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") if *self.serving.borrow() => {
                (StatusCode::OK, "text/plain", "ready\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") => (
                StatusCode::SERVICE_UNAVAILABLE,
                "text/plain",
                "loading or draining\n".to_owned(),
            ),
            _ => (
                StatusCode::NOT_FOUND,
                "text/plain",
                "there are /metrics, /livez and /readyz\n".to_owned(),
            ),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static(kind),
        );
        Ok(response)
    }
}
