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
    /// What is to be known of a process that has not reached its database since the start; none: it has.
    pub apart: watch::Receiver<Option<String>>,
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
                let text = match &*self.apart.borrow() {
                    Some(apart) => format!("ready, {apart}\n"),
                    None => "ready\n".to_owned(),
                };
                (StatusCode::OK, "text/plain", text)
            }
            (&Method::GET | &Method::HEAD, "/readyz") => {
                let text = match &*self.apart.borrow() {
                    Some(apart) => format!("not ready, {apart}\n"),
                    None => "loading or draining\n".to_owned(),
                };
                (StatusCode::SERVICE_UNAVAILABLE, "text/plain", text)
            }
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
