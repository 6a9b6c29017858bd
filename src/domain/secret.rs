//! Secrets: the values that prove possession of a key, as they are known to us. The value itself (its token) is not here.

use serde::{Deserialize, Serialize};

use super::id::SecretId;
use super::time::Time;
use super::token::Tag;

/// One value that proves possession of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Its id.
    pub id: SecretId,
    /// The slot it fills, or filled.
    pub slot: Slot,
    /// The keyed tag that its token leads to. Left out of audit records and stored answers.
    #[serde(skip)]
    pub tag: Tag,
    /// Who made the token.
    pub origin: Origin,
    /// Under 112 bits of entropy, or not known to have them (ASVS 6.5.2).
    pub weak: bool,
    /// Prefix of a generated token, without its `_`; empty for none and for external ones.
    pub prefix: String,
    /// Prefix and last four characters; empty for a digest.
    pub hint: String,
    /// The token, sealed, where the workspace is RECOVERABLE. Audit records and stored answers say only whether it is.
    #[serde(with = "presence")]
    pub sealed: Option<Vec<u8>>,
    /// SHA-256 of the token, sealed, of a secret that is being made: the store takes it, and gives it to nobody who reads
    /// keys, but to who asks for it. Left out of audit records and stored answers.
    #[serde(skip)]
    pub sealed_digest: Option<Vec<u8>>,
    /// When it was made.
    pub create_time: Time,
    /// Whether it replaced or filled a slot of a key that existed (true), or came with the key (false). The rotation guard
    /// asks only about regenerated ones.
    pub regenerated: bool,
    /// It was supplanted and is accepted until then.
    pub retire_time: Option<Time>,
    /// It was revoked then.
    pub revoke_time: Option<Time>,
    /// Why it was revoked.
    pub revocation_reason: RevocationReason,
    /// Somebody confirmed to have saved the token.
    pub acknowledge_time: Option<Time>,
    /// It was reported to have been found in public.
    pub leak_time: Option<Time>,
    /// When a decision last accepted it, as far as flushed.
    pub last_used_time: Option<Time>,
}

/// Says that there is something, and not what.
mod presence {
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the signature is serde's")]
    pub(super) fn serialize<S: Serializer>(
        sealed: &Option<Vec<u8>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(sealed.is_some())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Vec<u8>>, D::Error> {
        bool::deserialize(deserializer).map(|sealed| sealed.then(Vec::new))
    }
}

/// Where a secret stands at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretState {
    /// It opens what its key opens.
    Active,
    /// Supplanted, and still accepted.
    Retiring,
    /// Refused for ever.
    Revoked,
}

impl Secret {
    /// One that is new, of which nothing is kept but what it is found by.
    pub fn new(id: SecretId, slot: Slot, tag: Tag, origin: Origin, create_time: Time) -> Self {
        Self {
            id,
            slot,
            tag,
            origin,
            weak: false,
            prefix: String::new(),
            hint: String::new(),
            sealed: None,
            sealed_digest: None,
            create_time,
            regenerated: false,
            retire_time: None,
            revoke_time: None,
            revocation_reason: RevocationReason::Unspecified,
            acknowledge_time: None,
            leak_time: None,
            last_used_time: None,
        }
    }

    /// Where it stands at `now`.
    pub fn state(&self, now: Time) -> SecretState {
        match (self.revoke_time, self.retire_time) {
            (Some(_), _) => SecretState::Revoked,
            (None, Some(end)) if end <= now => SecretState::Revoked,
            (None, Some(_)) => SecretState::Retiring,
            (None, None) => SecretState::Active,
        }
    }

    /// Whether a decision accepts it at `now`.
    pub fn is_live(&self, now: Time) -> bool {
        self.state(now) != SecretState::Revoked
    }

    /// When it stopped or will stop being accepted.
    pub fn end_time(&self) -> Option<Time> {
        self.revoke_time.or(self.retire_time)
    }
}

/// Which of a key's two places for active secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Slot {
    /// The first.
    Primary,
    /// The second.
    Secondary,
}

impl Slot {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Primary => Self::Secondary,
            Self::Secondary => Self::Primary,
        }
    }
}

/// Who made a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Origin {
    /// Claviger.
    Generated,
    /// An external system, which handed in the token.
    ExternalToken,
    /// An external system, which handed in its digest.
    ExternalDigest,
}

/// Why a secret was revoked, in the manner of RFC 5280, section 5.3.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RevocationReason {
    /// No reason given.
    #[default]
    Unspecified,
    /// The token may be known to others.
    KeyCompromise,
    /// The holder or their role changed.
    AffiliationChanged,
    /// Another secret takes its place.
    Superseded,
    /// No longer needed.
    CessationOfOperation,
    /// The right to it was withdrawn.
    PrivilegeWithdrawn,
}

macro_rules! text_enum {
    ($name:ident { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl $name {
            /// The text that the database keeps.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
            /// From the text that the database keeps.
            pub fn from_str_exact(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
text_enum!(Slot { Primary => "PRIMARY", Secondary => "SECONDARY" });
text_enum!(Origin { Generated => "GENERATED", ExternalToken => "EXTERNAL_TOKEN", ExternalDigest => "EXTERNAL_DIGEST" });
text_enum!(RevocationReason {
    Unspecified => "UNSPECIFIED",
    KeyCompromise => "KEY_COMPROMISE",
    AffiliationChanged => "AFFILIATION_CHANGED",
    Superseded => "SUPERSEDED",
    CessationOfOperation => "CESSATION_OF_OPERATION",
    PrivilegeWithdrawn => "PRIVILEGE_WITHDRAWN",
});
