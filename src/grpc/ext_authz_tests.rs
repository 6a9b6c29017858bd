//! Our hand-written messages against Envoy's own definitions.

use envoy_types::pb::envoy::service::auth::v3 as theirs;
use prost::Message as _;

use super::*;

fn their_request() -> theirs::CheckRequest {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use theirs::attribute_context::{HttpRequest, Peer, Request};
    let socket = core::SocketAddress {
        address: "203.0.113.9".to_owned(),
        ..Default::default()
    };
    let address = core::Address {
        address: Some(core::address::Address::SocketAddress(socket)),
    };
    let raw = core::HeaderValue {
        key: "x-api-key".to_owned(),
        raw_value: vec![0xff, b'k'],
        ..Default::default()
    };
    let http = HttpRequest {
        method: "GET".to_owned(),
        path: "/p?apikey=k".to_owned(),
        headers: [("a".to_owned(), "b".to_owned())].into(),
        header_map: Some(core::HeaderMap { headers: vec![raw] }),
        ..Default::default()
    };
    theirs::CheckRequest {
        attributes: Some(theirs::AttributeContext {
            source: Some(Peer {
                address: Some(address),
                ..Default::default()
            }),
            request: Some(Request {
                http: Some(http),
                ..Default::default()
            }),
            context_extensions: [("claviger.scopes".to_owned(), "x y".to_owned())].into(),
            ..Default::default()
        }),
    }
}

#[test]
fn what_envoy_encodes_we_decode() {
    let ours = CheckRequest::decode(their_request().encode_to_vec().as_slice()).unwrap();
    let attributes = ours.attributes.unwrap();
    let address = attributes
        .source
        .unwrap()
        .address
        .unwrap()
        .socket_address
        .unwrap()
        .address;
    assert_eq!(address, "203.0.113.9");
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!(http.path, "/p?apikey=k");
    let mut seen = Vec::new();
    http.for_each(&mut |name, value| seen.push((name.to_vec(), value.to_vec())));
    assert_eq!(
        seen,
        [
            (b"a".to_vec(), b"b".to_vec()),
            (b"x-api-key".to_vec(), vec![0xff, b'k'])
        ]
    );
    let demands = Demands::read(&attributes.context_extensions).unwrap();
    assert_eq!((demands.all_of, demands.any_of), ("x y", ""));
}

#[test]
fn text_that_is_not_utf8_is_decoded_all_the_same() {
    // attributes { request { http { path: "\xff" } } }, which a string field would refuse.
    let bytes = [0x0a, 7, 0x22, 5, 0x12, 3, 0x22, 1, 0xff];
    assert!(theirs::CheckRequest::decode(&bytes[..]).is_err());
    let ours = CheckRequest::decode(&bytes[..]).unwrap();
    assert_eq!(
        ours.attributes.unwrap().request.unwrap().http.unwrap().path,
        &b"\xff"[..]
    );
}

#[test]
fn what_we_encode_envoy_decodes() {
    use theirs::check_response::HttpResponse;
    let denial = theirs::CheckResponse::decode(overloaded().encode_to_vec().as_slice()).unwrap();
    assert_eq!(denial.status.unwrap().code, 14);
    let Some(HttpResponse::DeniedResponse(denied)) = denial.http_response else {
        panic!("no denial")
    };
    assert_eq!(denied.status.unwrap().code, 503);
    let retry = &denied.headers[0];
    assert_eq!(retry.header.as_ref().unwrap().key, "retry-after");
    assert_eq!(retry.append_action, 2);
    assert!(!denied.body.is_empty());
}

#[test]
fn a_misspelt_demand_is_not_read_as_no_demand() {
    let entry = |key: &'static str| envoy::Entry {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(b"x"),
    };
    assert!(Demands::read(&[entry("claviger.scopes"), entry("other")]).is_some());
    assert!(Demands::read(&[entry("claviger.scope")]).is_none());
}
