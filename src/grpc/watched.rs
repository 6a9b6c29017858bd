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
