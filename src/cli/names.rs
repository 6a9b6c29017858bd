//! Names of enum values: shown without their prefix, typed in lower case.

use clap::ValueEnum;

use crate::grpc::proto::v1;

/// Defines the function that shows a value; one that this program does not know shows as its number.
macro_rules! shown {
    ($(#[$doc:meta] $name:ident: $enum:ty, $prefix:literal;)*) => {$(
        #[$doc]
        pub(super) fn $name(value: i32) -> String {
            match <$enum>::try_from(value) {
                Ok(known) => {
                    let name = known.as_str_name();
                    name.strip_prefix($prefix).unwrap_or(name).to_owned()
                }
                Err(_) => value.to_string(),
            }
        }
    )*};
}

shown! {
    /// A key's state.
    key_state: v1::key::State, "STATE_";
    /// A secret's state.
    secret_state: v1::secret::State, "STATE_";
    /// Who made a token.
    origin: v1::secret::Origin, "ORIGIN_";
    /// A slot.
    slot: v1::Slot, "SLOT_";
    /// Why a secret was revoked.
    revocation: v1::RevocationReason, "REVOCATION_REASON_";
    /// Enforced or in shadow.
    mode: v1::EnforcementMode, "ENFORCEMENT_MODE_";
    /// How a token travels.
    presentation: v1::Presentation, "PRESENTATION_";
    /// Allow or deny.
    decision: v1::Decision, "DECISION_";
    /// Why.
    reason: v1::Reason, "REASON_";
    /// What becomes of a check that demands nothing.
    undemanded: v1::UndemandedScopes, "UNDEMANDED_SCOPES_";
    /// Whether tokens can be read again.
    storage: v1::SecretStorage, "SECRET_STORAGE_";
    /// How many secrets a key must have.
    slots: v1::SlotPolicy, "SLOT_POLICY_";
    /// Through which door a decision came.
    surface: v1::Surface, "SURFACE_";
    /// Which requests are logged.
    request_log: v1::RequestLog, "REQUEST_LOG_";
    /// Where a delivery stands.
    delivery_state: v1::delivery::State, "STATE_";
    /// Why an attempt failed.
    failure: v1::delivery::Failure, "FAILURE_";
    /// Whether routes demand keys.
    key_scheme: v1::KeyScheme, "KEY_SCHEME_";
    /// What becomes of requests that no route takes.
    unmatched: v1::UnmatchedRequests, "UNMATCHED_REQUESTS_";
    /// Who may pass a route.
    access: v1::Access, "ACCESS_";
    /// Who makes keys.
    key_creation: v1::KeyCreation, "KEY_CREATION_";
    /// Where the scopes of a key come from.
    scope_source: v1::ScopeSource, "SCOPE_SOURCE_";
    /// What becomes of a key whose token was found in public.
    leak_policy: v1::LeakPolicy, "LEAK_POLICY_";
    /// Whether something is a key's token.
    verdict: v1::leak_result::Verdict, "VERDICT_";
    /// What was done about a leaked secret.
    leak_action: v1::leaked_secret::Action, "ACTION_";
    /// What there is about a key.
    finding: v1::hygiene_finding::Kind, "KIND_";
    /// A check of a decision.
    explained_check: v1::explain_step::Check, "CHECK_";
    /// What became of a check of a decision.
    explained_outcome: v1::explain_step::Outcome, "OUTCOME_";
    /// Where a replica stands.
    replica_state: v1::replica::State, "STATE_";
    /// What became of an item of an import.
    outcome: v1::import_result::Outcome, "OUTCOME_";
}

/// Defines what people type for an enum of the API.
macro_rules! typed {
    ($(#[$doc:meta] $name:ident => $enum:ty { $(#[$vdoc:meta] $variant:ident => $value:ident,)* })*) => {$(
        #[$doc]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
        pub(super) enum $name {
            $(#[$vdoc] $variant,)*
        }

        impl $name {
            pub(super) fn number(self) -> i32 {
                match self {
                    $(Self::$variant => <$enum>::$value.into(),)*
                }
            }
        }
    )*};
}

typed! {
    /// A key's state, to filter by.
    StateName => v1::key::State {
        /// Opens what its settings say
        Active => Active,
        /// Switched off
        Disabled => Disabled,
        /// Past its expiry
        Expired => Expired,
        /// Deleted, not yet purged
        Deleted => Deleted,
    }
    /// Where a delivery stands, to filter by.
    DeliveryStateName => v1::delivery::State {
        /// Tried, or waiting for the next attempt
        Pending => Pending,
        /// Taken by the receiver
        Delivered => Delivered,
        /// Given up
        Dead => Dead,
    }
    /// A slot.
    SlotName => v1::Slot {
        /// The first
        Primary => Primary,
        /// The second
        Secondary => Secondary,
    }
    /// Why a secret is revoked.
    RevocationName => v1::RevocationReason {
        /// Somebody may know it who should not
        KeyCompromise => KeyCompromise,
        /// The holder or their role changed
        AffiliationChanged => AffiliationChanged,
        /// Another secret takes its place
        Superseded => Superseded,
        /// No longer needed
        CessationOfOperation => CessationOfOperation,
        /// The right to it was withdrawn
        PrivilegeWithdrawn => PrivilegeWithdrawn,
    }
    /// How a token travels.
    PresentationName => v1::Presentation {
        /// In a header of its own
        Header => Header,
        /// `Authorization: Bearer`
        Bearer => Bearer,
        /// `Authorization: Basic`
        Basic => Basic,
        /// A query parameter
        Query => Query,
    }
    /// What becomes of a check that demands no scope.
    UndemandedName => v1::UndemandedScopes {
        /// Denied through Envoy, allowed through `Authorize`
        Default => Unspecified,
        /// Any live key passes
        Allow => Allow,
        /// Denied
        Deny => Deny,
    }
    /// Whether tokens can be read again.
    StorageName => v1::SecretStorage {
        /// No: only a keyed tag is kept
        Hashed => Hashed,
        /// Yes: kept sealed
        Recoverable => Recoverable,
    }
    /// How many live secrets a key must have.
    SlotsName => v1::SlotPolicy {
        /// One, or two
        One => One,
        /// Always two
        Two => Two,
    }
    /// Allow or deny, to filter by.
    DecisionName => v1::Decision {
        /// Let through
        Allow => Allow,
        /// Refused
        Deny => Deny,
    }
    /// Why, to filter by.
    ReasonName => v1::Reason {
        /// All checks passed
        Ok => Ok,
        /// No scope was demanded
        NothingDemanded => NothingDemanded,
        /// There was no credential
        NoCredential => NoCredential,
        /// There was more than one credential
        AmbiguousCredential => AmbiguousCredential,
        /// It could be no credential
        MalformedCredential => MalformedCredential,
        /// No secret of the workspace
        UnknownKey => UnknownKey,
        /// The secret was revoked
        SecretRevoked => SecretRevoked,
        /// The key was deleted
        KeyDeleted => KeyDeleted,
        /// The key was disabled
        KeyDisabled => KeyDisabled,
        /// The key had expired
        KeyExpired => KeyExpired,
        /// The workspace was disabled
        WorkspaceDisabled => WorkspaceDisabled,
        /// The key's principal was disabled, or is gone
        PrincipalDisabled => PrincipalDisabled,
        /// The address was not in the key's networks
        IpNotAllowed => IpNotAllowed,
        /// The address was not known
        IpUnknown => IpUnknown,
        /// It came in a way that is not accepted
        PresentationNotAllowed => PresentationNotAllowed,
        /// The subscription was not the key's
        SubscriptionNotAllowed => SubscriptionNotAllowed,
        /// A scope was missing
        InsufficientScope => InsufficientScope,
        /// No route took it, or none of the name
        RouteUnknown => RouteUnknown,
        /// What its route demands beside the key was missing
        FactorMissing => FactorMissing,
    }
    /// How usage is added up.
    IntervalName => v1::UsageInterval {
        /// By the hour
        Hour => Hour,
        /// By the day, in UTC
        Day => Day,
    }
    /// What usage can be told apart by.
    DimensionName => v1::UsageDimension {
        /// The key
        Key => Key,
        /// The subscription
        Subscription => Subscription,
        /// The route
        Route => Route,
        /// Allow and deny
        Decision => Decision,
        /// The reason
        Reason => Reason,
    }
    /// Which requests are logged.
    RequestLogName => v1::RequestLog {
        /// All of them
        All => All,
        /// Those that are denied, and a share of those that are allowed
        DeniedAndSampled => DeniedAndSampled,
        /// None
        Off => Off,
    }
    /// Whether routes demand keys.
    KeySchemeName => v1::KeyScheme {
        /// Not yet: routes made now are grandfathered
        Off => Off,
        /// Yes: routes that are made or saved now demand a key
        On => On,
    }
    /// What becomes of requests that no route takes.
    UnmatchedName => v1::UnmatchedRequests {
        /// Judged by what they themselves demand
        Default => Unspecified,
        /// Denied
        Deny => Deny,
    }
    /// Who may pass a route.
    AccessName => v1::Access {
        /// Who has a key that is good for it
        KeyRequired => KeyRequired,
        /// Everybody
        Public => Public,
    }
    /// Who makes keys.
    CreationName => v1::KeyCreation {
        /// Whoever holds `claviger:keys:write`, or for themselves `claviger:keys:self`
        KeysWrite => KeysWrite,
        /// Only who holds `claviger:*`
        Administrators => Administrators,
        /// Only for themselves
        SelfOnly => SelfOnly,
    }
    /// Where the scopes of a key come from.
    SourceName => v1::ScopeSource {
        /// What it lists, within what its principal may
        Explicit => Explicit,
        /// What its principal may, cut down to what it lists
        Principal => Principal,
    }
    /// What becomes of a key whose token was found in public.
    LeakPolicyName => v1::LeakPolicy {
        /// It is noted, and goes on
        Notify => Notify,
        /// It is disabled
        Disable => Disable,
        /// The token is replaced
        Regenerate => Regenerate,
    }
    /// What there is about a key.
    FindingName => v1::hygiene_finding::Kind {
        /// A token that is accepted was found in public
        Leaked => Leaked,
        /// A secret is older than the workspace's rotation age
        RotationDue => RotationDue,
        /// It ends soon
        Expiring => Expiring,
        /// A secret in its grace is still used
        RetiringInUse => RetiringInUse,
        /// A rotation has one step left
        RotationUnfinished => RotationUnfinished,
        /// A secret is weak
        WeakSecret => WeakSecret,
        /// It lives longer than the workspace allows now
        BeyondLongestLifetime => BeyondLongestLifetime,
        /// It never expires
        NoExpiry => NoExpiry,
        /// It was not used for long
        Unused => Unused,
        /// A token was neither acknowledged nor used
        Unacknowledged => Unacknowledged,
        /// It grants what it never made use of
        OverScoped => OverScoped,
        /// It has more than one scope
        SeveralScopes => SeveralScopes,
        /// It is bound to more than one subscription
        SeveralSubscriptions => SeveralSubscriptions,
    }
    /// Through which door a request comes.
    SurfaceName => v1::explain_request::Surface {
        /// As an internal service asks `Authorize`
        Authorize => Authorize,
        /// As Envoy asks
        Envoy => Envoy,
    }
    /// Deny, or only say so.
    ModeName => v1::EnforcementMode {
        /// A failed check denies
        Enforce => Enforce,
        /// A failed check is only reported
        Shadow => Shadow,
    }
}

impl IntervalName {
    /// Its length.
    pub(super) fn seconds(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_prefix_and_unknown_values_show_as_numbers() {
        assert_eq!(key_state(1), "ACTIVE");
        assert_eq!(reason(16), "INSUFFICIENT_SCOPE");
        assert_eq!(revocation(0), "UNSPECIFIED");
        assert_eq!(slot(77), "77");
        assert_eq!(RevocationName::KeyCompromise.number(), 1);
        assert_eq!(UndemandedName::Default.number(), 0);
    }
}
