//! The layer before a tonic server, and the interceptors on both sides.

use std::net::SocketAddr;

use claviger::client::{AuthorizeLayer, Bearer, RequireAllowed, Token};
use claviger::grpc::proto::v1;
use claviger::grpc::proto::v1::authorize_client::AuthorizeClient;
use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;
use tower::Layer as _;

use super::guarded::Guarded;
use super::{claviger, layer};
use crate::harness::{Admin, PATIENCE, key};

/// A gRPC service behind a layer, and behind the interceptor that demands one.
fn health_behind(layer: Option<AuthorizeLayer>) -> Guarded {
    let (reporter, _) = tonic_health::server::health_reporter();
    let health = HealthService::from_health_reporter(reporter);
    let health = HealthServer::with_interceptor(health, RequireAllowed);
    Guarded::serving(|listener| async move {
        let incoming = TcpListenerStream::new(listener);
        let layer = tower::util::option_layer(layer);
        let server = Server::builder().layer(layer).add_service(health);
        server.serve_with_incoming(incoming).await.unwrap();
    })
}

/// One call of it with this token, on the runtime of a client.
fn call(admin: &Admin, address: SocketAddr, token: Option<&str>) -> Result<(), Status> {
    admin.runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_timeout(PATIENCE)
            .connect_lazy();
        let request = HealthCheckRequest::default();
        let answer = match token {
            Some(token) => {
                let bearer = Bearer::new(&token.parse::<Token>().unwrap());
                let mut client = HealthClient::with_interceptor(channel, bearer);
                client.check(request).await
            }
            None => HealthClient::new(channel).check(request).await,
        };
        answer.map(|_| ())
    })
}

#[test]
fn a_grpc_caller_gets_grpc_statuses() {
    let (mut process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let writer = admin.make("default", key("writer", &["orders:write"]));
    let service = health_behind(Some(layer(&admin)));
    let call = |token| call(&admin, service.address, token);
    call(Some(&made.token)).unwrap();

    let denied = call(None).unwrap_err();
    assert_eq!(denied.code(), Code::Unauthenticated);
    assert_eq!(denied.message(), "an API key is required");
    let challenge = denied.metadata().get("www-authenticate").unwrap();
    assert_eq!(challenge, "Bearer realm=\"claviger\"");
    let denied = call(Some("nobody-knows-this-one")).unwrap_err();
    assert_eq!(denied.code(), Code::Unauthenticated);
    let denied = call(Some(&writer.token)).unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    // Two credentials that differ: a 400 for HTTP, and no INVALID_ARGUMENT here, which would blame the message.
    let denied = call(Some("one,two")).unwrap_err();
    assert_eq!(denied.code(), Code::Unauthenticated);

    process.kill();
    let refused = call(Some(&made.token)).unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
}

#[test]
fn a_grpc_refusal_is_one_head_without_a_body() {
    let (_process, admin) = claviger(&[]);
    let service = Guarded::start(layer(&admin));
    for content_type in ["application/grpc", "application/grpc-web+proto"] {
        let header = crate::harness::header("content-type", content_type);
        let answer = service.get("/orders.Orders/List", &[header]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(content_type));
        assert_eq!(answer.header("grpc-status"), Some("16"));
        assert_eq!(
            answer.header("grpc-message"),
            Some("an%20API%20key%20is%20required")
        );
        assert_eq!(answer.body, b"");
    }
    assert_eq!(service.count(), 0);
}

#[test]
fn a_service_whose_layer_was_forgotten_is_not_reached() {
    let (_process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    let service = health_behind(None);
    let refused = call(&admin, service.address, Some(&made.token)).unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

#[test]
fn a_layer_before_one_service_leaves_the_others_open_and_one_before_the_server_does_not() {
    let (_process, admin) = claviger(&[]);
    let made = admin.make("default", key("reader", &["orders:read"]));
    // A service that the server does not have: only who gets past the layer is told so.
    let other = |service: &Guarded| {
        let address = format!("http://{}", service.address);
        admin.runtime.block_on(async {
            let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
            let request = v1::CheckRequest::default();
            let answer = AuthorizeClient::new(channel).check(request).await;
            answer.unwrap_err().code()
        })
    };
    let (_reporter, health) = tonic_health::server::health_reporter();
    let guarded = layer(&admin).layer(health);
    let service = Guarded::serving(|listener| async move {
        let server = Server::builder().add_service(guarded);
        let incoming = TcpListenerStream::new(listener);
        server.serve_with_incoming(incoming).await.unwrap();
    });
    let call = |token| call(&admin, service.address, token);
    call(Some(&made.token)).unwrap();
    assert_eq!(call(None).unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(other(&service), Code::Unimplemented);

    let whole = health_behind(Some(layer(&admin)));
    assert_eq!(other(&whole), Code::Unauthenticated);
}

#[test]
fn an_address_that_tonic_knows_is_the_one_a_key_is_judged_by() {
    let (_process, admin) = claviger(&[]);
    let service = health_behind(Some(layer(&admin)));
    for (cidr, code) in [
        ("127.0.0.1/32", None),
        ("203.0.113.0/24", Some(Code::PermissionDenied)),
    ] {
        let bound = v1::Key {
            allowed_cidrs: vec![cidr.to_owned()],
            ..key("bound", &["orders:read"])
        };
        let token = admin.make("default", bound).token;
        let answer = call(&admin, service.address, Some(&token));
        assert_eq!(answer.err().map(|status| status.code()), code, "{cidr}");
    }
}

#[test]
fn an_administrator_calls_with_the_same_token_and_interceptor() {
    let (process, admin) = claviger(&[]);
    let token = crate::harness::bootstrap_token(&process.folder().data());
    let channel: Channel = admin.channel();
    let bearer = Bearer::new(&token.parse().unwrap());
    let mut keys = KeyAdminClient::with_interceptor(channel.clone(), bearer);
    let shown = format!("{keys:?}");
    assert!(!shown.contains(&token), "{shown}");
    let list = || v1::ListKeysRequest::default();
    let runtime = &admin.runtime;
    runtime.block_on(keys.list_keys(list())).unwrap();
    let mut nobody = KeyAdminClient::new(channel);
    let refused = runtime.block_on(nobody.list_keys(list())).unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
