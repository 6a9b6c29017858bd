//! The generated messages and services of `claviger.v1`, and the `Debug` of those messages that carry a token: it never
//! shows it.

use std::collections::HashSet;
use std::fmt;

use prost::Message as _;

/// `claviger.v1`, documented in `proto/claviger/v1/*.proto`.
#[expect(
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::doc_markdown,
    clippy::large_enum_variant,
    reason = "generated code: its attributes are tonic's, its comments are written for every language; a decision is not boxed for the sake of a batch's errors"
)]
pub mod v1 {
    tonic::include_proto!("claviger.v1");
}

/// All protos as a descriptor set, Envoy's and their comments included: what reflection serves.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// The paths of all methods that are served, Envoy's and health included.
pub fn methods() -> HashSet<String> {
    let sets = [DESCRIPTOR, tonic_health::pb::FILE_DESCRIPTOR_SET];
    let files = sets
        .into_iter()
        .filter_map(|set| prost_types::FileDescriptorSet::decode(set).ok())
        .flat_map(|set| set.file);
    let mut methods = HashSet::new();
    for file in files {
        for service in &file.service {
            let of = |method: &prost_types::MethodDescriptorProto| {
                format!("/{}.{}/{}", file.package(), service.name(), method.name())
            };
            methods.extend(service.method.iter().map(of));
        }
    }
    methods
}

/// Stands for a value that nobody may see; an empty one is shown as such, which helps to find a missing one.
struct Hidden(bool);

impl Hidden {
    fn of(text: &str) -> Self {
        Self(text.is_empty())
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "(empty)" } else { "(redacted)" })
    }
}

impl fmt::Debug for v1::ExternalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalToken")
            .field("token", &Hidden::of(&self.token))
            .field("allow_weak", &self.allow_weak)
            .finish()
    }
}

impl fmt::Debug for v1::ExternalDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalDigest")
            .field("sha256_hex", &Hidden::of(&self.sha256_hex))
            .field("asserted_entropy_bits", &self.asserted_entropy_bits)
            .field("allow_weak", &self.allow_weak)
            .finish()
    }
}

impl fmt::Debug for v1::IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken")
            .field("secret_id", &self.secret_id)
            .field("slot", &self.slot)
            .field("token", &Hidden::of(&self.token))
            .finish()
    }
}

impl fmt::Debug for v1::LookupKeyRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookupKeyRequest")
            .field("workspace", &self.workspace)
            .field("token", &Hidden::of(&self.token))
            .field("sha256_hex", &Hidden::of(&self.sha256_hex))
            .finish()
    }
}

// The place may repeat the token, in whatever spelling.
impl fmt::Debug for v1::FoundToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FoundToken")
            .field("token", &Hidden::of(&self.token))
            .field("sha256_hex", &Hidden::of(&self.sha256_hex))
            .field("type", &self.r#type)
            .field("url", &Hidden::of(&self.url))
            .field("source", &self.source)
            .finish()
    }
}

impl fmt::Debug for v1::Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("id", &self.id)
            .field("slot", &self.slot())
            .field("state", &self.state())
            .field("origin", &self.origin())
            .field("weak", &self.weak)
            .field("hint", &self.hint)
            .field("recoverable", &self.recoverable)
            .field("create_time", &self.create_time)
            .field("expire_time", &self.expire_time)
            .field("last_used_time", &self.last_used_time)
            .field("acknowledge_time", &self.acknowledge_time)
            .field("revocation_reason", &self.revocation_reason())
            .field("sha256_hex", &Hidden::of(&self.sha256_hex))
            .field("leak_time", &self.leak_time)
            .finish()
    }
}

// What services publish is their customers' business.
impl fmt::Debug for v1::PublishEventRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishEventRequest")
            .field("key_id", &self.key_id)
            .field("event_id", &self.event_id)
            .field("type", &self.r#type)
            .field("data_json", &Hidden::of(&self.data_json))
            .finish()
    }
}

impl fmt::Debug for v1::CreateSigningSecretResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateSigningSecretResponse")
            .field("signing_secret", &self.signing_secret)
            .field("text", &Hidden::of(&self.text))
            .field("text_withheld", &self.text_withheld)
            .field("revision", &self.revision)
            .finish()
    }
}

impl fmt::Debug for v1::RotateSigningSecretResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotateSigningSecretResponse")
            .field("signing_secret", &self.signing_secret)
            .field("text", &Hidden::of(&self.text))
            .field("text_withheld", &self.text_withheld)
            .field("revision", &self.revision)
            .finish()
    }
}

impl fmt::Debug for v1::Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("token", &Hidden::of(&self.token))
            .field("presentation", &self.presentation)
            .finish()
    }
}

// The query may hold a key, and nobody knows under which name: only the path before it is shown.
impl fmt::Debug for v1::HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        f.debug_struct("HttpRequest")
            .field("headers", &self.headers)
            .field("path", &path)
            .field("query", &Hidden(path.len() == self.path.len()))
            .field("method", &self.method)
            .field("host", &self.host)
            .finish()
    }
}

impl fmt::Debug for v1::HttpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpHeader")
            .field("name", &self.name)
            .field("value", &Hidden::of(&self.value))
            .finish()
    }
}

impl fmt::Debug for v1::HeaderValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeaderValues")
            .field("values", &Hidden(self.values.is_empty()))
            .field("tags", &self.tags.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::v1;

    #[test]
    fn no_message_prints_its_token() {
        const SECRET: &str = "token-nobody-may-see";
        let text = || SECRET.to_owned();
        let header = v1::HttpHeader {
            name: "x-api-key".to_owned(),
            value: text(),
        };
        let external = v1::ExternalToken {
            token: text(),
            allow_weak: true,
        };
        let source = v1::SecretSource {
            source: Some(v1::secret_source::Source::ExternalToken(external)),
        };
        let printed = [
            format!("{source:?}"),
            format!(
                "{:?}",
                v1::PublishEventRequest {
                    data_json: text(),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::CreateSigningSecretResponse {
                    text: text(),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::RotateSigningSecretResponse {
                    text: text(),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::ExternalDigest {
                    sha256_hex: text(),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::RevealSecretResponse {
                    token: Some(v1::IssuedToken {
                        token: text(),
                        ..Default::default()
                    }),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::LookupKeyRequest {
                    token: text(),
                    sha256_hex: text(),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::ReportLeakRequest {
                    leaks: vec![v1::FoundToken {
                        token: text(),
                        url: format!("https://example.com/?key={SECRET}"),
                        ..Default::default()
                    }],
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::ListKeysResponse {
                    keys: vec![v1::Key {
                        secrets: vec![v1::Secret {
                            sha256_hex: text(),
                            ..Default::default()
                        }],
                        ..Default::default()
                    }],
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::CheckRequest {
                    credential: Some(v1::Credential {
                        token: text(),
                        presentation: 1
                    }),
                    http: Some(v1::HttpRequest {
                        headers: vec![header],
                        path: format!("/orders?apikey={SECRET}"),
                        ..Default::default()
                    }),
                    ..Default::default()
                }
            ),
            format!(
                "{:?}",
                v1::HeaderFactor {
                    demand: Some(v1::header_factor::Demand::OneOf(v1::HeaderValues {
                        values: vec![text()],
                        tags: Vec::new(),
                    })),
                    ..Default::default()
                }
            ),
        ];
        for text in printed {
            assert!(!text.contains("nobody"), "{text}");
            assert!(text.contains("redacted"), "{text}");
        }
    }
}
