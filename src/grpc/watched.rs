//! The end of a stream: its status comes last, and only then can the call be counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tonic::body::Body;
use tonic::{Code, Status};

use crate::app::calls::CallCounts;

/// A body whose trailers are read as they pass.
pub(super) struct Watched {
    body: Body,
    calls: Arc<CallCounts>,
    /// The place of the method; none: the call has been counted.
    method: Option<usize>,
}

impl Watched {
    pub(super) fn new(body: Body, calls: Arc<CallCounts>, method: usize) -> Self {
        Self {
            body,
            calls,
            method: Some(method),
        }
    }

    fn note(&mut self, code: Code) {
        if let Some(method) = self.method.take() {
            self.calls.note(method, code as usize);
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    let status = trailers.get(Status::GRPC_STATUS);
                    self.note(status.map_or(Code::Unknown, |s| Code::from_bytes(s.as_bytes())));
                }
            }
            Poll::Ready(Some(Err(status))) => self.note(status.code()),
            Poll::Ready(None) => self.note(Code::Unknown),
            Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Whoever hung up never got to the end.
        self.note(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;
    use http::HeaderMap;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    const PATH: &str = "/a.B/C";

    fn watched(calls: &Arc<CallCounts>, status: &str) -> Watched {
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, status.parse().unwrap());
        let frames = [
            Frame::data(Bytes::from_static(b"x")),
            Frame::trailers(trailers),
        ];
        let frames = futures::stream::iter(frames).map(Ok::<_, Status>);
        let method = calls.method(PATH).unwrap();
        Watched::new(Body::new(StreamBody::new(frames)), calls.clone(), method)
    }

    #[tokio::test]
    async fn a_stream_is_counted_once_by_the_status_at_its_end() {
        let calls = Arc::new(CallCounts::new([PATH.to_owned()]));
        let whole = watched(&calls, "7").collect().await.unwrap();
        assert!(whole.trailers().is_some());
        assert_eq!(
            calls.iter().collect::<Vec<_>>(),
            [(PATH, "PERMISSION_DENIED", 1)]
        );
    }

    #[tokio::test]
    async fn a_stream_whose_client_hung_up_is_counted_as_cancelled() {
        let calls = Arc::new(CallCounts::new([PATH.to_owned()]));
        let mut body = watched(&calls, "0");
        body.frame().await.unwrap().unwrap();
        assert_eq!(calls.iter().count(), 0);
        drop(body);
        assert_eq!(calls.iter().collect::<Vec<_>>(), [(PATH, "CANCELLED", 1)]);
    }
}
