//! Answers that no Claviger of today gives: whatever they are, they open nothing.

use claviger::client::{AuthorizeLayer, Demand};
use claviger::grpc::proto::v1;
use claviger::grpc::proto::v1::authorize_server::{Authorize, AuthorizeServer};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Endpoint, Server};
use tonic::{Request, Response, Status};

use super::guarded::Guarded;
use crate::harness::{PATIENCE, header};

/// Answers every check alike.
struct Fake(Result<v1::CheckResponse, Status>);

#[tonic::async_trait]
impl Authorize for Fake {
    async fn check(
        &self,
        _: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        self.0.clone().map(Response::new)
    }

    async fn batch_check(
        &self,
        _: Request<v1::BatchCheckRequest>,
    ) -> Result<Response<v1::BatchCheckResponse>, Status> {
        Err(Status::unimplemented("nobody asks for batches here"))
    }
}

fn decision(decision: v1::Decision, http_status: u32) -> v1::CheckResponse {
    v1::CheckResponse {
        decision: decision.into(),
        http_status,
        // Can't be a header: must not break the answer.
        challenge: "two\nlines".to_owned(),
        ..v1::CheckResponse::default()
    }
}

#[test]
fn only_a_clear_allow_opens_and_no_denial_looks_like_a_success() {
    use v1::Decision::{Allow, Deny, Unspecified};
    for (answer, status, grpc_status) in [
        (Ok(decision(Allow, 200)), 200, None),
        (Ok(decision(Deny, 429)), 429, Some("8")),
        (Ok(decision(Deny, 401)), 401, Some("16")),
        (Ok(decision(Deny, 200)), 403, Some("7")),
        (Ok(decision(Deny, 0)), 403, Some("7")),
        (Ok(decision(Deny, 70_000)), 403, Some("7")),
        (Ok(decision(Unspecified, 200)), 503, Some("14")),
        (
            Err(Status::unimplemented("no such method")),
            503,
            Some("14"),
        ),
        (Err(Status::permission_denied("not you")), 503, Some("14")),
        (Err(Status::deadline_exceeded("late")), 503, Some("14")),
        (Err(Status::resource_exhausted("full")), 503, Some("14")),
    ] {
        let what = format!("{answer:?}");
        let fake = Guarded::serving(|listener| {
            let server = Server::builder().add_service(AuthorizeServer::new(Fake(answer)));
            let incoming = TcpListenerStream::new(listener);
            async move { server.serve_with_incoming(incoming).await.unwrap() }
        });
        let channel = fake.within(|| {
            Endpoint::from_shared(format!("http://{}", fake.address))
                .unwrap()
                .connect_lazy()
        });
        let layer = AuthorizeLayer::new(channel, Demand::any_key()).deadline(PATIENCE);
        let service = Guarded::start(layer);
        let answer = service.get("/", &[]);
        assert_eq!(answer.status, status, "{what}");
        let challenged = answer.header("www-authenticate").is_some();
        assert_eq!(challenged, status == 401, "{what}");
        let grpc = service.get("/", &[header("content-type", "application/grpc")]);
        assert_eq!(grpc.header("grpc-status"), grpc_status, "{what}");
        assert_eq!(service.count(), if status == 200 { 2 } else { 0 }, "{what}");
    }
}
