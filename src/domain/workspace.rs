//! Workspaces with their settings, subscriptions and scope catalogues.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{SubscriptionId, WorkspaceId};
use super::invalid::Invalid;
use super::scope::Grant;
use super::time::Time;

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Its id.
    pub id: WorkspaceId,
    /// A name for people.
    pub display_name: String,
    /// False: every key of it is refused.
    pub enabled: bool,
    /// How its keys behave.
    pub settings: WorkspaceSettings,
    /// When it was made.
    pub create_time: Time,
    /// When it last changed.
    pub update_time: Time,
    /// The revision (`n`) of its last change: its etag.
    pub revision: u64,
}

/// How the keys of a workspace behave. Kept as JSON: what an older process does not know it ignores, what an older row
/// does not have gets its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkspaceSettings {
    /// Where a credential may be; empty: [`Location::defaults`].
    pub locations: Vec<Location>,
    /// Which ways of presenting are accepted; empty: header and Bearer.
    pub presentations: PresentationSet,
    /// What becomes of a check that demands nothing.
    pub undemanded_scopes: UndemandedScopes,
    /// Whether tokens can be read again.
    pub recoverable: bool,
    /// Whether every key has two active secrets.
    pub two_slots: bool,
    /// How long the use of a secret guards it against being replaced; absent: 24 hours.
    pub rotation_guard: Option<Duration>,
    /// Prefix of generated tokens; absent: `clv`.
    pub token_prefix: Option<String>,
    /// Whether the key scheme is switched on.
    pub key_scheme: KeyScheme,
    /// When it was switched on, after it had been off.
    pub key_scheme_time: Option<Time>,
    /// What becomes of requests that no route takes.
    pub unmatched_requests: UnmatchedRequests,
    /// Who makes keys.
    pub key_creation: KeyCreation,
    /// How long a key lives that is made without an expiry; absent: `longest_lifetime`.
    pub default_lifetime: Option<Duration>,
    /// How long a key may live; absent: for ever.
    pub longest_lifetime: Option<Duration>,
    /// How old a secret may become before it is due for regeneration; absent: any age.
    pub rotation_age: Option<Duration>,
    /// What becomes of a key whose token was found in public.
    pub leak_policy: LeakPolicy,
    /// How long a leaked token is still accepted where the policy replaces it; absent: not at all.
    pub leak_grace: Option<Duration>,
    /// The key that comes with every subscription; absent: none.
    pub provisioning: Option<Provisioning>,
    /// Sealed tokens of the time before `recoverable` was switched off are still being destroyed. Not set by anybody.
    pub destroying_sealed: bool,
}

impl WorkspaceSettings {
    /// The guard period where none is set.
    pub const DEFAULT_ROTATION_GUARD: Duration = Duration::from_secs(24 * 3_600);
    /// The prefix where none is set.
    pub const DEFAULT_TOKEN_PREFIX: &'static str = "clv";

    /// The prefix of generated tokens.
    pub fn prefix(&self) -> &str {
        self.token_prefix
            .as_deref()
            .unwrap_or(Self::DEFAULT_TOKEN_PREFIX)
    }

    /// The guard period.
    pub fn guard(&self) -> Duration {
        self.rotation_guard.unwrap_or(Self::DEFAULT_ROTATION_GUARD)
    }

    /// When a key ends that is made now without saying so; none: never.
    pub fn default_end(&self, now: Time) -> Option<Time> {
        self.default_lifetime
            .or(self.longest_lifetime)
            .map(|lifetime| now.plus(lifetime))
    }

    /// When a key made at a moment must have ended; none: never.
    pub fn latest_end(&self, made: Time) -> Option<Time> {
        self.longest_lifetime.map(|lifetime| made.plus(lifetime))
    }
}

impl Default for WorkspaceSettings {
    fn default() -> Self {
        Self {
            locations: Vec::new(),
            presentations: PresentationSet::default(),
            undemanded_scopes: UndemandedScopes::Default,
            recoverable: false,
            two_slots: false,
            rotation_guard: None,
            token_prefix: None,
            key_scheme: KeyScheme::Default,
            key_scheme_time: None,
            unmatched_requests: UnmatchedRequests::Default,
            key_creation: KeyCreation::default(),
            default_lifetime: None,
            longest_lifetime: None,
            rotation_age: None,
            leak_policy: LeakPolicy::Notify,
            leak_grace: None,
            provisioning: None,
            destroying_sealed: false,
        }
    }
}

/// Whether routes demand keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyScheme {
    /// On, and it always was.
    #[default]
    Default,
    /// Not yet: routes made now are grandfathered.
    Off,
    /// On.
    On,
}

/// What becomes of requests that no route takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedRequests {
    /// They are judged by what they themselves demand.
    #[default]
    Default,
    /// Denied.
    Deny,
}

/// Who makes keys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum KeyCreation {
    /// Whoever may write keys.
    #[default]
    KeysWrite,
    /// Only who holds every right.
    Administrators,
    /// Only for themselves.
    SelfOnly,
}

/// What becomes of a key whose token was found in public.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LeakPolicy {
    /// It is noted, and goes on.
    #[default]
    Notify,
    /// It is switched off.
    Disable,
    /// The token is replaced.
    Regenerate,
}

/// The key that comes with every subscription: two secrets, bound to the subscription.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provisioning {
    /// What it grants, sorted, without doubles; no rights over Claviger.
    pub scopes: Vec<Grant>,
}

/// What becomes of a check that demands no scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UndemandedScopes {
    /// Denied through Envoy, allowed through `Authorize`.
    #[default]
    Default,
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
}

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

/// What a customer buys inside a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// Its id.
    pub id: SubscriptionId,
    /// A name for people.
    pub display_name: String,
    /// False: requests for it are refused.
    pub enabled: bool,
    /// When it was made.
    pub create_time: Time,
    /// When it last changed.
    pub update_time: Time,
    /// The revision (`n`) of its last change: its etag.
    pub revision: u64,
}

/// An entry of a workspace's scope catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The workspace it belongs to.
    pub workspace: WorkspaceId,
    /// Its name.
    pub name: String,
    /// A name for people.
    pub display_name: String,
    /// A longer text for people.
    pub description: String,
    /// Ways of presenting accepted for it beside the workspace's.
    pub presentations: PresentationSet,
    /// `claviger:` grants that come with it, sorted, without doubles.
    pub implies: Vec<Grant>,
    /// When it was made.
    pub create_time: Time,
    /// When it last changed.
    pub update_time: Time,
    /// The revision (`n`) of its last change: its etag.
    pub revision: u64,
}
