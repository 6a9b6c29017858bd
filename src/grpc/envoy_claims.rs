//! Claims that Envoy's `jwt_authn` has verified, as it passes them on: `metadata_context`, written by hand like `envoy`.

use bytes::Bytes;

use crate::decide::Claims;

/// The filter under whose name they stand.
const JWT_AUTHN: &[u8] = b"envoy.filters.http.jwt_authn";

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct Metadata {
    #[prost(message, repeated, tag = "1")]
    pub(super) filter_metadata: Vec<FilterEntry>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct FilterEntry {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<Struct>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct Struct {
    #[prost(message, repeated, tag = "1")]
    pub(super) fields: Vec<Field>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct Field {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) key: Bytes,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct Value {
    #[prost(oneof = "Kind", tags = "3, 4, 5, 6")]
    pub(super) kind: Option<Kind>,
}

/// Numbers and null are left out: a double has lost what it was, and no claim is compared with it.
#[derive(Clone, PartialEq, prost::Oneof)]
#[prost(skip_debug)]
pub(super) enum Kind {
    #[prost(bytes = "bytes", tag = "3")]
    Text(Bytes),
    #[prost(bool, tag = "4")]
    Truth(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(List),
}

#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub(super) struct List {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<Value>,
}

impl Struct {
    fn get(&self, name: &[u8]) -> Option<&Kind> {
        let field = self.fields.iter().find(|field| field.key == name)?;
        field.value.as_ref()?.kind.as_ref()
    }
}

impl Kind {
    fn text(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Truth(true) => Some(b"true"),
            Self::Truth(false) => Some(b"false"),
            Self::Struct(_) | Self::List(_) => None,
        }
    }
}

impl Claims for Metadata {
    fn for_each<'c>(&'c self, payload: &str, claim: &str, each: &mut dyn FnMut(&'c [u8])) {
        let of_filter = self.filter_metadata.iter().find(|e| e.key == JWT_AUTHN);
        let Some(filter) = of_filter.and_then(|e| e.value.as_ref()) else {
            return;
        };
        let Some(Kind::Struct(claims)) = filter.get(payload.as_bytes()) else {
            return;
        };
        match claims.get(claim.as_bytes()) {
            Some(Kind::List(list)) => list
                .values
                .iter()
                .filter_map(|value| value.kind.as_ref()?.text())
                .for_each(each),
            Some(one) => one.text().into_iter().for_each(each),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::value::Kind as Theirs;

    use super::*;

    fn value(kind: Theirs) -> prost_types::Value {
        prost_types::Value { kind: Some(kind) }
    }

    fn structure(fields: Vec<(&str, prost_types::Value)>) -> prost_types::Value {
        let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        value(Theirs::StructValue(prost_types::Struct { fields }))
    }

    fn text(text: &str) -> prost_types::Value {
        value(Theirs::StringValue(text.to_owned()))
    }

    #[test]
    fn claims_are_read_as_envoy_writes_them() {
        use envoy_types::pb::envoy::config::core::v3 as theirs;
        let list = prost_types::ListValue {
            values: vec![text("a"), value(Theirs::NumberValue(7.0)), text("b")],
        };
        let payload = structure(vec![
            ("scope", text("read write")),
            ("aud", value(Theirs::ListValue(list))),
            ("admin", value(Theirs::BoolValue(true))),
            ("exp", value(Theirs::NumberValue(1.0))),
            ("realm", structure(vec![("x", text("y"))])),
        ]);
        let Some(Theirs::StructValue(filter)) = structure(vec![("jwt_payload", payload)]).kind
        else {
            panic!("no struct")
        };
        let filter =
            envoy_types::pb::google::protobuf::Struct::decode(filter.encode_to_vec().as_slice())
                .unwrap();
        let metadata = theirs::Metadata {
            filter_metadata: [("envoy.filters.http.jwt_authn".to_owned(), filter)].into(),
            ..Default::default()
        };
        let ours = Metadata::decode(metadata.encode_to_vec().as_slice()).unwrap();
        let read = |payload: &str, claim: &str| {
            let mut found = Vec::new();
            ours.for_each(payload, claim, &mut |v| {
                found.push(String::from_utf8(v.to_vec()).unwrap());
            });
            found
        };
        assert_eq!(read("jwt_payload", "scope"), ["read write"]);
        assert_eq!(read("jwt_payload", "aud"), ["a", "b"]);
        assert_eq!(read("jwt_payload", "admin"), ["true"]);
        for (payload, claim) in [
            ("jwt_payload", "exp"),
            ("jwt_payload", "realm"),
            ("jwt_payload", "sub"),
            ("other", "scope"),
        ] {
            assert!(read(payload, claim).is_empty(), "{payload} {claim}");
        }
        // Another filter's word is not that of who verifies.
        let mut foreign = ours.clone();
        foreign.filter_metadata[0].key = Bytes::from_static(b"envoy.filters.http.lua");
        let mut found = 0;
        foreign.for_each("jwt_payload", "scope", &mut |_| found += 1);
        assert_eq!(found, 0);
    }

    #[test]
    fn values_nested_without_end_are_refused_and_do_not_overflow() {
        let mut inner = Vec::new();
        for _ in 0..10_000 {
            // Value { list_value { values { … } } }
            let mut list = Vec::new();
            prost::encoding::bytes::encode(1, &inner, &mut list);
            inner.clear();
            prost::encoding::bytes::encode(6, &list, &mut inner);
        }
        assert!(Value::decode(inner.as_slice()).is_err());
    }
}
