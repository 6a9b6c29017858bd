//! Routes: what an integration exposes, and what it demands of those who call it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::id::{RouteId, SubscriptionId, WorkspaceId};
use super::invalid::Invalid;
use super::time::Time;
use super::token::LookupKey;
use super::workspace::Location;

pub mod path;
pub mod pattern;

use pattern::{GrpcService, HostPattern, PathTemplate};

/// Most hosts times paths times methods of one route.
pub const MAX_SHAPES: usize = 256;

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The workspace whose keys open it.
    pub workspace: WorkspaceId,
    /// Its id.
    pub id: RouteId,
    /// What it takes and demands.
    pub settings: RouteSettings,
    /// Made while the key scheme was off, and not saved since: it demands no key.
    pub keyless: bool,
    /// When it was made.
    pub create_time: Time,
    /// When it last changed.
    pub update_time: Time,
    /// The revision (`n`) of its last change: its etag.
    pub revision: u64,
}

impl Route {
    /// Who may pass.
    pub fn access(&self) -> Access {
        match (self.settings.public, self.keyless) {
            (true, _) => Access::Public,
            (false, true) => Access::Grandfathered,
            (false, false) => Access::KeyRequired,
        }
    }
}

/// Who may pass a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Who has a key that is good for it.
    KeyRequired,
    /// As before there were keys: everybody who has the other factors, but nobody with a key that is dead.
    Grandfathered,
    /// Everybody.
    Public,
}

/// What a route takes and demands. Kept as JSON: what an older process does not know it ignores, what an older row does not
/// have gets its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteSettings {
    /// A name for people.
    pub display_name: String,
    /// Its hosts, sorted, without doubles; empty: any.
    pub hosts: Vec<HostPattern>,
    /// Whether a request to one of its hosts that names no workspace belongs to this one.
    pub claims_hosts: bool,
    /// Its path; none for a route of gRPC services.
    pub path: Option<PathTemplate>,
    /// Its methods, sorted, without doubles; empty: any.
    pub methods: Vec<String>,
    /// Its gRPC services, in place of a path.
    pub grpc: Vec<GrpcService>,
    /// Scopes that a key must hold, all of them; sorted, without doubles.
    pub all_of: Vec<String>,
    /// Scopes of which a key must hold one; sorted, without doubles.
    pub any_of: Vec<String>,
    /// What says which subscription a request is for.
    pub subscription: SubscriptionSource,
    /// What is demanded beside the key.
    pub factors: Vec<Factor>,
    /// Where a credential may be; empty: where the workspace says.
    pub locations: Vec<Location>,
    /// Open to everybody.
    pub public: bool,
    /// For machines.
    pub labels: BTreeMap<String, String>,
}

impl RouteSettings {
    /// The templates of its paths.
    pub fn templates(&self) -> Vec<PathTemplate> {
        let of_grpc = self.grpc.iter().flat_map(GrpcService::templates);
        self.path.iter().cloned().chain(of_grpc).collect()
    }

    /// What it takes, one text for each host, path and method: two routes with one in common are equally specific for some
    /// request.
    pub fn shapes(&self) -> BTreeSet<String> {
        let any = || vec!["*"];
        let hosts: Vec<&str> = match &*self.hosts {
            [] => any(),
            hosts => hosts.iter().map(HostPattern::as_str).collect(),
        };
        let methods: Vec<&str> = match &*self.methods {
            [] => any(),
            methods => methods.iter().map(String::as_str).collect(),
        };
        let mut shapes = BTreeSet::new();
        for path in self.templates().iter().map(PathTemplate::shape) {
            for host in &hosts {
                // No part has a space in it.
                shapes.extend(
                    methods
                        .iter()
                        .map(|method| format!("{method} {host} {path}")),
                );
            }
        }
        shapes
    }

    /// Whether it demands a claim of a JWT: then `Authorization` carries that, and no key.
    pub fn demands_jwt(&self) -> bool {
        self.factors.iter().any(|f| matches!(f, Factor::Jwt { .. }))
    }

    /// Whether it demands this scope, of the key or of a further one.
    pub fn demands_scope(&self, name: &str) -> bool {
        let further = |factor: &Factor| match factor {
            Factor::Header {
                demand: HeaderDemand::Key(scope),
                ..
            } => scope == name,
            _ => false,
        };
        let mut demanded = self.all_of.iter().chain(&self.any_of);
        demanded.any(|own| own == name) || self.factors.iter().any(further)
    }

    /// What a save of more than labels is told by.
    pub fn without_labels(&self) -> Self {
        Self {
            labels: BTreeMap::new(),
            ..self.clone()
        }
    }
}

/// What says which subscription a request is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionSource {
    /// Nothing: the one asked for, else the key's only one.
    #[default]
    None,
    /// A capture of the path.
    Capture(String),
    /// A header; its name in lower case.
    Header(String),
    /// Always this one.
    Fixed(SubscriptionId),
}

/// Something demanded beside the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    /// A claim of a JWT that somebody verified: Envoy's `jwt_authn`, or the internal caller.
    Jwt {
        /// Under which name Envoy has the payload (`payload_in_metadata`).
        payload: String,
        /// The claim.
        claim: String,
        /// What it must be, or contain; empty: that it is there is enough.
        values: Vec<String>,
    },
    /// A header.
    Header {
        /// Its name in lower case.
        name: String,
        /// What it must be.
        demand: HeaderDemand,
        /// Whether the service may see it.
        forward: bool,
    },
}

impl Factor {
    /// The header in which a further key is demanded.
    pub fn key_header(&self) -> Option<&str> {
        match self {
            Self::Header {
                name,
                demand: HeaderDemand::Key(_),
                ..
            } => Some(name),
            _ => None,
        }
    }
}

/// What a header must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderDemand {
    /// There.
    Present,
    /// One of these values, of which only tags are kept.
    OneOf(Vec<ValueTag>),
    /// The token of another live key of the workspace, which holds this scope.
    Key(String),
}

/// What is kept of a header's value: keyed, so that it tells nothing to who has the database alone, and another one in every
/// workspace.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ValueTag([u8; 32]);

impl ValueTag {
    /// The tag of a value within a workspace.
    pub fn of(key: &LookupKey, workspace: &str, value: &[u8]) -> Self {
        Self(key.derive("route-factor", &[workspace.as_bytes(), value]))
    }
}

// Constant time: how much of a tag fits must not be seen in how long the comparison takes (ASVS 11.2.4).
impl PartialEq for ValueTag {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ValueTag {}

impl fmt::Debug for ValueTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ValueTag(..)")
    }
}

impl From<ValueTag> for String {
    fn from(tag: ValueTag) -> Self {
        tag.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl TryFrom<String> for ValueTag {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        let digit = |b: u8| {
            char::from(b)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let mut bytes = [0; 32];
        let mut digits = text.bytes().map(digit);
        for byte in &mut bytes {
            let pair = digits.next().flatten().zip(digits.next().flatten());
            let (high, low) = pair.ok_or_else(not_a_tag)?;
            *byte = high << 4 | low;
        }
        match digits.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(not_a_tag()),
        }
    }
}

fn not_a_tag() -> Invalid {
    Invalid::new("is not what was read from a route: 64 hexadecimal digits")
}

/// Checks a method; `CONNECT` matches no route.
pub fn check_method(method: &str) -> Result<(), Invalid> {
    let token = |b: u8| b.is_ascii_uppercase() || matches!(b, b'-' | b'_');
    if !(1..=32).contains(&method.len()) || !method.bytes().all(token) || method == "CONNECT" {
        return Err(Invalid::new(
            "is not a method that a route can take: such as `GET` or `POST`, in upper case, not `CONNECT`",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_tell_what_two_routes_have_in_common() {
        let settings = |path: &str, methods: &[&str], hosts: &[&str]| RouteSettings {
            path: Some(path.parse().unwrap()),
            methods: methods.iter().map(|m| (*m).to_owned()).collect(),
            hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(),
            ..RouteSettings::default()
        };
        let one = settings("/v1/{a}/x", &["GET", "PUT"], &["a.b", "*.c"]).shapes();
        assert_eq!(one.len(), 4);
        assert!(one.contains("GET *.c /v1/{}/x"));
        // Other names of captures are the same shape.
        let other = settings("/v1/{b}/x", &["PUT"], &["a.b"]).shapes();
        assert!(!one.is_disjoint(&other));
        assert!(one.is_disjoint(&settings("/v1/{b}/x", &[], &[]).shapes()));
    }

    #[test]
    fn a_tag_reads_back_and_is_of_one_workspace() {
        let key = LookupKey::new(&[1; 32]);
        let tag = ValueTag::of(&key, "acme", b"v");
        assert_eq!(ValueTag::try_from(String::from(tag)), Ok(tag));
        assert_ne!(tag, ValueTag::of(&key, "beta", b"v"));
        for bad in ["", "00", &"0".repeat(65), &"g".repeat(64)] {
            assert!(ValueTag::try_from((*bad).to_owned()).is_err());
        }
    }

    #[test]
    fn settings_read_back_from_json() {
        let settings = RouteSettings {
            path: Some("/v1/{s}".parse().unwrap()),
            hosts: vec!["*.example.com".parse().unwrap()],
            subscription: SubscriptionSource::Capture("s".to_owned()),
            factors: vec![Factor::Header {
                name: "x-tracking".to_owned(),
                demand: HeaderDemand::OneOf(vec![ValueTag([7; 32])]),
                forward: false,
            }],
            ..RouteSettings::default()
        };
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(
            serde_json::from_str::<RouteSettings>(&json).unwrap(),
            settings
        );
        assert_eq!(
            serde_json::from_str::<RouteSettings>("{}").unwrap(),
            RouteSettings::default()
        );
    }
}
