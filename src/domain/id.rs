//! Identifiers: of keys, secrets and events (ours, time-ordered), of workspaces, subscriptions and principals (chosen by
//! others).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::invalid::Invalid;
use super::time::Time;

macro_rules! time_ordered_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// A new id: a `UUIDv7` (RFC 9562) of this moment and these random bytes.
            pub fn new(now: Time, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(now.millis(), &random).into_uuid().as_u128())
            }

            /// From its number, as the database keeps it.
            pub const fn from_u128(value: u128) -> Self {
                Self(value)
            }

            /// Its number; its order is the order of creation.
            pub const fn as_u128(self) -> u128 {
                self.0
            }

            /// Its bytes, most significant first.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), Uuid::from_u128(self.0).simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                text.strip_prefix($prefix)
                    .filter(|hex| hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                    .and_then(|hex| u128::from_str_radix(hex, 16).ok())
                    .map(Self)
                    .ok_or_else(|| Invalid::new(concat!("must be the id of ", $what, ": `", $prefix, "` and 32 lower-case hexadecimal digits")))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

time_ordered_id!(
    /// The id of a key: `key_` and 32 hexadecimal digits.
    KeyId, "key_", "a key"
);
time_ordered_id!(
    /// The id of a secret: `sec_` and 32 hexadecimal digits.
    SecretId, "sec_", "a secret"
);
time_ordered_id!(
    /// The id of an event on its way to a key's POSTback URL: `evt_` and 32 hexadecimal digits.
    EventId, "evt_", "an event"
);
time_ordered_id!(
    /// The id of a secret that POSTbacks are signed with: `sig_` and 32 hexadecimal digits.
    SigningSecretId, "sig_", "a signing secret"
);

time_ordered_id!(
    /// The id of a replica: `rep_` and 32 hexadecimal digits.
    ReplicaId, "rep_", "a replica"
);

/// The id of a workspace: 1 to 63 of `[a-z0-9-]`, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkspaceId(Arc<str>);

impl WorkspaceId {
    /// The workspace whose keys administer all workspaces.
    pub const SYSTEM: &'static str = "system";

    /// The workspace of those who administer all workspaces.
    pub fn system() -> Self {
        Self(Arc::from(Self::SYSTEM))
    }

    /// Whether this is `system`.
    pub fn is_system(&self) -> bool {
        &*self.0 == Self::SYSTEM
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for WorkspaceId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = text.as_bytes();
        let good = (1..=63).contains(&bytes.len())
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if good {
            Ok(Self(Arc::from(text)))
        } else {
            Err(Invalid::new(
                "must be 1 to 63 of `[a-z0-9-]`, starting and ending with a letter or digit",
            ))
        }
    }
}

/// The id of a subscription: 1 to 64 of `[A-Za-z0-9._-]`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SubscriptionId(Arc<str>);

impl SubscriptionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SubscriptionId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bytes = text.as_bytes();
        let good = (1..=64).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if good {
            Ok(Self(Arc::from(text)))
        } else {
            Err(Invalid::new(
                "must be 1 to 64 of `[A-Za-z0-9._-]`, starting with a letter or digit",
            ))
        }
    }
}

/// The id of a route: 1 to 64 of `[A-Za-z0-9._-]`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RouteId(Arc<str>);

impl RouteId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RouteId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        // The alphabet of subscriptions, which is that of names in URLs and headers.
        text.parse::<SubscriptionId>().map(|id| Self(id.0))
    }
}

/// The id of a principal, as where it comes from: 1 to 128 visible ASCII characters without comma. It stands in a header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalId(Arc<str>);

impl PrincipalId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrincipalId {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let plain = |b: u8| b.is_ascii_graphic() && b != b',';
        if (1..=128).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(Invalid::new(
                "must be 1 to 128 visible ASCII characters without comma",
            ))
        }
    }
}

macro_rules! text_id {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
text_id!(WorkspaceId);
text_id!(SubscriptionId);
text_id!(RouteId);
text_id!(PrincipalId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_and_orders_by_time() {
        let early = KeyId::new(Time::from_micros(1_700_000_000_000_000), [9; 10]);
        let late = KeyId::new(Time::from_micros(1_700_000_000_001_000), [1; 10]);
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(early.to_string().len(), 36);
    }

    #[test]
    fn a_foreign_id_is_refused() {
        for text in [
            "",
            "key_",
            "sec_0123456789abcdef0123456789abcdef",
            "key_0123456789ABCDEF0123456789abcdef",
            "key_+123456789abcdef0123456789abcdef",
        ] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }

    #[test]
    fn ids_that_others_choose_keep_their_alphabet() {
        assert!("acme-1".parse::<WorkspaceId>().is_ok());
        for text in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(64)] {
            assert!(text.parse::<WorkspaceId>().is_err(), "{text}");
        }
        for text in [
            "joe",
            "joe@example.com",
            "AD\\joe",
            "auth0|1",
            "CN=joe;O=x",
            &"x".repeat(128),
        ] {
            assert!(text.parse::<PrincipalId>().is_ok(), "{text}");
        }
        for text in ["", "a b", "a,b", "j\u{f6}", "a\n", &"x".repeat(129)] {
            assert!(text.parse::<PrincipalId>().is_err(), "{text}");
        }
        assert!("Sub_1.x-Y".parse::<SubscriptionId>().is_ok());
        for text in ["", ".a", "a b", "ä", &"a".repeat(65)] {
            assert!(text.parse::<SubscriptionId>().is_err(), "{text}");
        }
    }
}
