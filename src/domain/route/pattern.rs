//! What requests a route takes: hosts, path templates, gRPC services.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::domain::invalid::Invalid;

/// Longest host name (RFC 1035).
pub const MAX_HOST: usize = 253;
const MAX_PATH: usize = 512;
const MAX_SEGMENTS: usize = 32;

macro_rules! serde_as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }
    };
}

/// A host: exact, or all below a suffix (`*.example.com`). In lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

impl HostPattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The suffix with its dot, of a pattern that has one.
    pub fn suffix(&self) -> Option<&str> {
        self.0.strip_prefix('*')
    }
}

impl FromStr for HostPattern {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let text = text.to_ascii_lowercase();
        let name = text.strip_prefix("*.").unwrap_or(&text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if name.len() <= MAX_HOST && name.split('.').all(label) {
            Ok(Self(text))
        } else {
            Err(Invalid::new(
                "is not a host: a name such as `api.example.com` without a port, or `*.example.com`",
            ))
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

serde_as_text!(HostPattern);

/// A host as a request says it (`Host`, `:authority`), in lower case, without port and final dot; empty where it is none.
pub fn normal_host<'b>(host: &[u8], buffer: &'b mut [u8; MAX_HOST]) -> &'b [u8] {
    let end = match host.first() {
        Some(b'[') => host.iter().position(|b| *b == b']').map(|at| at + 1),
        _ => host.iter().position(|b| *b == b':'),
    };
    let host = host.get(..end.unwrap_or(host.len())).unwrap_or_default();
    let host = host.strip_suffix(b".").unwrap_or(host);
    let Some(room) = buffer.get_mut(..host.len()) else {
        return &[];
    };
    for (to, from) in room.iter_mut().zip(host) {
        *to = from.to_ascii_lowercase();
    }
    room
}

/// One segment of a path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text.
    Literal(String),
    /// Any one segment, under this name.
    Capture(String),
    /// Whatever is left, nothing included, under this name; only at the end.
    Rest(String),
}

/// A path template: `/v1/{subscription}/messages`, `/files/{rest=**}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTemplate(Vec<Segment>);

impl PathTemplate {
    /// What stands for a gRPC service's methods: one of them, or all.
    pub fn grpc(service: &str, method: Option<&str>) -> Self {
        let method = match method {
            Some(method) => Segment::Literal(method.to_owned()),
            None => Segment::Capture("method".to_owned()),
        };
        Self(vec![Segment::Literal(service.to_owned()), method])
    }

    /// Its segments.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The place of a capture of one segment.
    pub fn capture(&self, name: &str) -> Option<usize> {
        let is_it = |s: &Segment| matches!(s, Segment::Capture(own) if own == name);
        self.0.iter().position(is_it)
    }

    /// The template without the names of its captures: two of the same shape match the same paths.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.0 {
            shape.push('/');
            shape.push_str(match segment {
                Segment::Literal(text) => text,
                Segment::Capture(_) => "{}",
                Segment::Rest(_) => "{**}",
            });
        }
        if shape.is_empty() {
            shape.push('/');
        }
        shape
    }
}

impl FromStr for PathTemplate {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |what: &str| {
            Err(Invalid::new(format!(
                "{what}; give a template such as `/v1/{{subscription}}/messages` or `/files/{{rest=**}}`"
            )))
        };
        if text.len() > MAX_PATH {
            return wrong("is longer than 512 bytes");
        }
        let Some(rest) = text.strip_prefix('/') else {
            return wrong("does not begin with `/`");
        };
        if rest.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let mut segments: Vec<Segment> = Vec::new();
        for part in rest.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return wrong("goes on after `**`, which takes all that is left");
            }
            let Some(segment) = segment(part) else {
                return wrong(
                    "has a segment that is neither plain text (decoded, without `{}%;?#\\*` and spaces), nor `{name}`, nor `{name=**}`",
                );
            };
            if let Segment::Capture(name) | Segment::Rest(name) = &segment
                && segments.iter().any(|s| captures(s, name))
            {
                return wrong("has two captures of one name");
            }
            segments.push(segment);
        }
        if segments.len() > MAX_SEGMENTS {
            return wrong("has more than 32 segments");
        }
        Ok(Self(segments))
    }
}

fn captures(segment: &Segment, name: &str) -> bool {
    matches!(segment, Segment::Capture(own) | Segment::Rest(own) if own == name)
}

fn segment(part: &str) -> Option<Segment> {
    let name = |name: &str| {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let rest = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        (first && name.len() <= 64 && name.bytes().all(rest)).then(|| name.to_owned())
    };
    if let Some(inner) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) {
        return match inner.strip_suffix("=**") {
            Some(inner) => name(inner).map(Segment::Rest),
            None => name(inner).map(Segment::Capture),
        };
    }
    let plain = |c: char| {
        !c.is_control()
            && !c.is_whitespace()
            && !matches!(c, '{' | '}' | '%' | ';' | '?' | '#' | '\\' | '*')
    };
    let good = !part.is_empty() && !matches!(part, "." | "..") && part.chars().all(plain);
    good.then(|| Segment::Literal(part.to_owned()))
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("/");
        }
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Capture(name) => write!(f, "/{{{name}}}")?,
                Segment::Rest(name) => write!(f, "/{{{name}=**}}")?,
            }
        }
        Ok(())
    }
}

serde_as_text!(PathTemplate);

/// A gRPC service, whole or by some of its methods.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GrpcService {
    /// Its full name, `package.Service`.
    pub service: String,
    /// Some of its methods; empty: all.
    pub methods: Vec<String>,
}

impl GrpcService {
    /// Checks names; the error says which is wrong.
    pub fn check(&self) -> Result<(), Invalid> {
        let identifier = |name: &str| {
            let first = |b: u8| b.is_ascii_alphabetic() || b == b'_';
            (1..=256).contains(&name.len())
                && name.bytes().next().is_some_and(first)
                && name.bytes().all(|b| first(b) || b.is_ascii_digit())
        };
        if self.service.len() > 256 || !self.service.split('.').all(identifier) {
            return Err(Invalid::new(
                "is not the full name of a gRPC service such as `acme.v1.Orders`",
            )
            .at("service"));
        }
        match self.methods.iter().position(|m| !identifier(m)) {
            None => Ok(()),
            Some(i) => Err(
                Invalid::new("is not the name of a method such as `ListOrders`")
                    .at(format!("methods[{i}]")),
            ),
        }
    }

    /// Its templates: a path each.
    pub fn templates(&self) -> Vec<PathTemplate> {
        if self.methods.is_empty() {
            return vec![PathTemplate::grpc(&self.service, None)];
        }
        self.methods
            .iter()
            .map(|m| PathTemplate::grpc(&self.service, Some(m)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_reads_back_and_has_a_shape() {
        for (text, shape) in [
            ("/", "/"),
            ("/v1/{subscription}/messages", "/v1/{}/messages"),
            ("/files/{rest=**}", "/files/{**}"),
            ("/{rest=**}", "/{**}"),
            ("/a:verb/b-c_d.e~f@g", "/a:verb/b-c_d.e~f@g"),
        ] {
            let template: PathTemplate = text.parse().unwrap();
            assert_eq!(template.to_string(), text);
            assert_eq!(template.shape(), shape);
        }
    }

    #[test]
    fn a_template_that_no_path_can_match_is_refused() {
        for text in [
            "",
            "v1",
            "//",
            "/a/",
            "/a//b",
            "/.",
            "/a/..",
            "/{}",
            "/{A}",
            "/{a",
            "/a}",
            "/x{a}",
            "/{a=*}",
            "/{a=**}/b",
            "/{a}/{a}",
            "/a b",
            "/a%20b",
            "/a;b",
            "/a?b",
            "/*",
            &format!("/{}", "x".repeat(512)),
            &"/a".repeat(33),
        ] {
            assert!(text.parse::<PathTemplate>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts_keep_their_shape() {
        let host = |text: &str| text.parse::<HostPattern>().unwrap();
        assert_eq!(host("API.Example.com").as_str(), "api.example.com");
        assert_eq!(host("*.example.com").suffix(), Some(".example.com"));
        for bad in [
            "", "*", "*.", "a..b", "a:80", "a/b", ".a", "*a.b", "a.*", "ä.de",
        ] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_header_is_read_without_case_port_and_final_dot() {
        for (said, host) in [
            ("API.example.com", "api.example.com"),
            ("api.example.com:8443", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("api.example.com.:80", "api.example.com"),
            ("[::1]:80", "[::1]"),
            ("", ""),
        ] {
            let mut buffer = [0; MAX_HOST];
            assert_eq!(normal_host(said.as_bytes(), &mut buffer), host.as_bytes());
        }
        let mut buffer = [0; MAX_HOST];
        assert_eq!(normal_host(&[b'a'; 300], &mut buffer), b"");
    }
}
