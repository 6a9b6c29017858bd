//! Where a credential may be, and how it may travel.

use serde::{Deserialize, Serialize};

use crate::domain::invalid::Invalid;

/// One place where a credential may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Location {
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// A header; its name in lower case.
    Header(String),
    /// A query parameter; its exact name.
    Query(String),
}

impl Location {
    /// The places where none are set.
    pub fn defaults() -> Vec<Self> {
        let header = |name: &str| Self::Header(name.to_owned());
        vec![
            Self::Bearer,
            header("x-api-key"),
            header("api-key"),
            header("apikey"),
            Self::Basic,
            Self::Query("apikey".to_owned()),
        ]
    }

    /// A header of its own for the key. Names that mean something else to HTTP or to us are refused.
    pub fn header(name: &str) -> Result<Self, Invalid> {
        let name = name.to_ascii_lowercase();
        let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(1..=64).contains(&name.len()) || !name.bytes().all(token) {
            return Err(Invalid::new(
                "is not a header name: 1 to 64 of `[A-Za-z0-9._-]`",
            ));
        }
        let reserved = [
            "authorization",
            "host",
            "cookie",
            "connection",
            "content-length",
            "content-type",
            "transfer-encoding",
            "te",
            "upgrade",
            "x-forwarded-for",
        ];
        if reserved.contains(&name.as_str())
            || name.starts_with("x-claviger-")
            || name.starts_with("x-envoy-")
        {
            return Err(Invalid::new(
                "this header has another meaning; use a header of its own for the key, or `bearer` or `basic`",
            ));
        }
        Ok(Self::Header(name))
    }

    /// A query parameter for the key.
    pub fn query(name: &str) -> Result<Self, Invalid> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
            Ok(Self::Query(name.to_owned()))
        } else {
            Err(Invalid::new(
                "is not a plain parameter name: 1 to 64 of `[A-Za-z0-9._-]`",
            ))
        }
    }
}

/// How a token travelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Presentation {
    /// In a header of its own.
    Header,
    /// `Authorization: Bearer`.
    Bearer,
    /// `Authorization: Basic`.
    Basic,
    /// In the query.
    Query,
}

/// A set of ways of presenting a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<Presentation>", into = "Vec<Presentation>")]
pub struct PresentationSet(u8);

impl PresentationSet {
    const ALL: [Presentation; 4] = [
        Presentation::Header,
        Presentation::Bearer,
        Presentation::Basic,
        Presentation::Query,
    ];

    /// The ways accepted where none are set.
    pub fn defaults() -> Self {
        [Presentation::Header, Presentation::Bearer]
            .into_iter()
            .collect()
    }

    /// Whether none are set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this way is in it.
    pub fn contains(self, presentation: Presentation) -> bool {
        self.0 & Self::bit(presentation) != 0
    }

    /// The ways in it, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Presentation> {
        Self::ALL.into_iter().filter(move |p| self.contains(*p))
    }

    const fn bit(presentation: Presentation) -> u8 {
        match presentation {
            Presentation::Header => 1,
            Presentation::Bearer => 2,
            Presentation::Basic => 4,
            Presentation::Query => 8,
        }
    }
}

impl FromIterator<Presentation> for PresentationSet {
    fn from_iter<I: IntoIterator<Item = Presentation>>(iter: I) -> Self {
        Self(iter.into_iter().fold(0, |bits, p| bits | Self::bit(p)))
    }
}

impl From<Vec<Presentation>> for PresentationSet {
    fn from(list: Vec<Presentation>) -> Self {
        list.into_iter().collect()
    }
}

impl From<PresentationSet> for Vec<Presentation> {
    fn from(set: PresentationSet) -> Self {
        set.iter().collect()
    }
}
