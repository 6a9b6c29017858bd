//! Real gRPC callers through Envoy: the service behind it is Claviger's own health service.

use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{PATIENCE, Rig, Route, demands, key};

fn rig() -> Rig {
    let route = demands("/grpc.health.v1.Health", &[("scopes", "orders:read")]);
    Rig::with_routes(vec![Route {
        to_grpc: true,
        ..route
    }])
}

/// Calls the service behind Envoy with these metadata.
fn call(rig: &Rig, metadata: &[(&'static str, &str)]) -> Result<i32, Status> {
    let address = rig.envoy.address();
    rig.admin.runtime.block_on(async {
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut request = Request::new(HealthCheckRequest::default());
        request.set_timeout(PATIENCE);
        for (name, value) in metadata {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        let answer = HealthClient::new(channel).check(request).await?;
        Ok(answer.into_inner().status)
    })
}

#[test]
fn a_grpc_caller_passes_with_a_key_and_gets_a_grpc_status_without() {
    let rig = rig();
    let good = rig.admin.make("default", key("reader", &["orders:read"]));
    let writer = rig.admin.make("default", key("writer", &["orders:write"]));

    assert_eq!(call(&rig, &[("x-api-key", &good.token)]).unwrap(), 1);
    let bearer = format!("Bearer {}", good.token);
    assert_eq!(call(&rig, &[("authorization", &bearer)]).unwrap(), 1);

    let none = call(&rig, &[]).unwrap_err();
    assert_eq!(none.code(), Code::Unauthenticated, "{none:?}");
    assert!(none.metadata().get("www-authenticate").is_some());
    assert!(!none.message().is_empty() && !none.message().contains('{'));

    let unknown = call(&rig, &[("x-api-key", "of-nobody-0123456789abcdef")]).unwrap_err();
    assert_eq!(unknown.code(), Code::Unauthenticated, "{unknown:?}");

    let scope = call(&rig, &[("x-api-key", &writer.token)]).unwrap_err();
    assert_eq!(scope.code(), Code::PermissionDenied, "{scope:?}");

    // Two credentials are HTTP 400, of which Envoy would make INTERNAL for a gRPC caller.
    let two = [
        ("x-api-key", good.token.as_str()),
        ("api-key", &writer.token),
    ];
    let two = call(&rig, &two).unwrap_err();
    assert!(
        [Code::Unauthenticated, Code::PermissionDenied].contains(&two.code()),
        "{two:?}"
    );
    let repeated = [
        ("x-api-key", good.token.as_str()),
        ("x-api-key", &writer.token),
    ];
    let repeated = call(&rig, &repeated).unwrap_err();
    assert_eq!(repeated.code(), two.code(), "{repeated:?}");

    rig.admin.enable(&good.id, false).unwrap();
    let disabled = call(&rig, &[("x-api-key", &good.token)]).unwrap_err();
    assert_eq!(disabled.code(), Code::Unauthenticated);
    assert_eq!(disabled.message(), unknown.message());
}
