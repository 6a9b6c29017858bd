//! Calls as bytes by path, so that one loop takes them all.

use bytes::{Buf as _, BufMut as _};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status};

use crate::harness::server::Client;

/// Messages as bytes.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        *self
    }
    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(item.as_slice());
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

pub(crate) async fn call(client: &Client, rpc: &str, request: &[u8]) -> Result<Vec<u8>, Status> {
    let path = PathAndQuery::try_from(format!("/claviger.v1.{rpc}")).unwrap();
    let mut grpc = tonic::client::Grpc::new(client.line());
    grpc.ready().await.unwrap();
    // A stream without an end: what it says first counts.
    if rpc == "Insights/WatchEvents" {
        let request = Request::new(request.to_vec());
        let mut answers = grpc.server_streaming(request, path, Raw).await?;
        let first = answers.get_mut().message().await?;
        return first.ok_or_else(|| Status::unknown("the stream ended"));
    }
    let answer = grpc
        .unary(Request::new(request.to_vec()), path, Raw)
        .await?;
    Ok(answer.into_inner())
}
