//! What a decision says.

/// Why a decision came out as it did. Variants are in the order of the checks; the first check that fails decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// All checks passed.
    Ok,
    /// No route of the workspace takes the request, and it demands one; or the route that it names does not exist.
    RouteUnknown,
    /// The check demands no scope, and the workspace does not allow that.
    NothingDemanded,
    /// No credential.
    NoCredential,
    /// More than one credential, or one that parties may read differently.
    AmbiguousCredential,
    /// Bytes that no token has, or a wrong checksum under a prefix this workspace issued.
    MalformedCredential,
    /// No secret of this workspace.
    UnknownKey,
    /// The secret is revoked, supplanted, or past its grace.
    SecretRevoked,
    /// The key is deleted.
    KeyDeleted,
    /// The key is disabled.
    KeyDisabled,
    /// The key is expired.
    KeyExpired,
    /// The workspace is disabled or does not exist.
    WorkspaceDisabled,
    /// The principal that the key is bound to is disabled.
    PrincipalDisabled,
    /// The address is not in the key's networks.
    IpNotAllowed,
    /// The key has networks, and the address is not known.
    IpUnknown,
    /// The way of presenting is not accepted.
    PresentationNotAllowed,
    /// The subscription is not the key's, does not exist, or is disabled.
    SubscriptionNotAllowed,
    /// A demanded scope is missing.
    InsufficientScope,
    /// Something that the route demands beside the key is missing.
    FactorMissing,
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 19] = [
        Self::Ok,
        Self::RouteUnknown,
        Self::NothingDemanded,
        Self::NoCredential,
        Self::AmbiguousCredential,
        Self::MalformedCredential,
        Self::UnknownKey,
        Self::SecretRevoked,
        Self::KeyDeleted,
        Self::KeyDisabled,
        Self::KeyExpired,
        Self::WorkspaceDisabled,
        Self::PrincipalDisabled,
        Self::IpNotAllowed,
        Self::IpUnknown,
        Self::PresentationNotAllowed,
        Self::SubscriptionNotAllowed,
        Self::InsufficientScope,
        Self::FactorMissing,
    ];

    /// The stable name, as logs, metrics and Envoy's metadata carry it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::RouteUnknown => "ROUTE_UNKNOWN",
            Self::NothingDemanded => "NOTHING_DEMANDED",
            Self::NoCredential => "NO_CREDENTIAL",
            Self::AmbiguousCredential => "AMBIGUOUS_CREDENTIAL",
            Self::MalformedCredential => "MALFORMED_CREDENTIAL",
            Self::UnknownKey => "UNKNOWN_KEY",
            Self::SecretRevoked => "SECRET_REVOKED",
            Self::KeyDeleted => "KEY_DELETED",
            Self::KeyDisabled => "KEY_DISABLED",
            Self::KeyExpired => "KEY_EXPIRED",
            Self::WorkspaceDisabled => "WORKSPACE_DISABLED",
            Self::PrincipalDisabled => "PRINCIPAL_DISABLED",
            Self::IpNotAllowed => "IP_NOT_ALLOWED",
            Self::IpUnknown => "IP_UNKNOWN",
            Self::PresentationNotAllowed => "PRESENTATION_NOT_ALLOWED",
            Self::SubscriptionNotAllowed => "SUBSCRIPTION_NOT_ALLOWED",
            Self::InsufficientScope => "INSUFFICIENT_SCOPE",
            Self::FactorMissing => "FACTOR_MISSING",
        }
    }

    /// The HTTP status for the end client.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::AmbiguousCredential => 400,
            Self::NoCredential
            | Self::MalformedCredential
            | Self::UnknownKey
            | Self::SecretRevoked
            | Self::KeyDeleted
            | Self::KeyDisabled
            | Self::KeyExpired
            | Self::WorkspaceDisabled
            | Self::PrincipalDisabled
            | Self::FactorMissing => 401,
            Self::RouteUnknown
            | Self::NothingDemanded
            | Self::IpNotAllowed
            | Self::IpUnknown
            | Self::PresentationNotAllowed
            | Self::SubscriptionNotAllowed
            | Self::InsufficientScope => 403,
        }
    }

    /// Whether a key that is known is refused for what it is: revoked, deleted, disabled, expired. Nothing lets it pass.
    pub const fn is_dead_key(self) -> bool {
        matches!(
            self,
            Self::SecretRevoked
                | Self::KeyDeleted
                | Self::KeyDisabled
                | Self::KeyExpired
                | Self::WorkspaceDisabled
                | Self::PrincipalDisabled
        )
    }

    /// Its place in [`Self::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_reasons_is_whole_and_in_order() {
        for (i, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), i);
        }
    }
}
