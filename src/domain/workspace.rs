//! Workspaces with their settings, subscriptions and scope catalogues.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{SubscriptionId, WorkspaceId};
use super::invalid::Invalid;
use super::key::Enforcement;
use super::scope::Grant;
use super::time::Time;

mod credential;

pub use credential::{Location, Presentation, PresentationSet};

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
    /// Which restrictions only report, for all keys: beside those that a key has in shadow itself.
    pub enforcement: Enforcement,
    /// Which requests are logged.
    pub request_log: RequestLog,
    /// Which share of the allowed requests [`RequestLog::DeniedAndSampled`] logs; absent: one in a hundred.
    pub request_log_sample: Option<Share>,
    /// How long the request log is kept; absent: 30 days.
    pub request_log_retention: Option<Duration>,
    /// How long usage is kept; absent: 400 days.
    pub usage_retention: Option<Duration>,
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
    /// The share of allowed requests that is logged where none is set.
    pub const DEFAULT_SAMPLE: Share = Share(10_000);
    /// How long the request log is kept where nothing is set.
    pub const DEFAULT_LOG_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
    /// How long usage is kept where nothing is set: what a year's invoices rest on, and a month to dispute them.
    pub const DEFAULT_USAGE_RETENTION: Duration = Duration::from_secs(400 * 24 * 3_600);

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

    /// How long the request log is kept.
    pub fn log_retention(&self) -> Duration {
        self.request_log_retention
            .unwrap_or(Self::DEFAULT_LOG_RETENTION)
    }

    /// How long usage is kept.
    pub fn usage_retention(&self) -> Duration {
        self.usage_retention
            .unwrap_or(Self::DEFAULT_USAGE_RETENTION)
    }

    /// Which share of the allowed requests is logged.
    pub fn logged_share(&self) -> Share {
        match self.request_log {
            RequestLog::All => Share::WHOLE,
            RequestLog::DeniedAndSampled => self.request_log_sample.unwrap_or(Self::DEFAULT_SAMPLE),
            RequestLog::Off => Share::NONE,
        }
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
            enforcement: Enforcement::default(),
            request_log: RequestLog::default(),
            request_log_sample: None,
            request_log_retention: None,
            usage_retention: None,
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

/// Which requests are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RequestLog {
    /// All that are denied, and a share of those that are allowed.
    #[default]
    DeniedAndSampled,
    /// All.
    All,
    /// None.
    Off,
}

/// A share of requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Share(u32);

impl Share {
    const MILLION: u32 = 1_000_000;
    /// All of them.
    pub const WHOLE: Self = Self(Self::MILLION);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// From a number between 0 and 1; finer than a millionth it is rounded.
    pub fn of(share: f64) -> Result<Self, Invalid> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Invalid::new("must be between 0 and 1"));
        }
        let millionths = (share * f64::from(Self::MILLION)).round();
        // A number within the range of the check is one of these.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between 0 and a million"
        )]
        Ok(Self(millionths as u32))
    }

    /// As a number between 0 and 1.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / f64::from(Self::MILLION)
    }

    /// Below which a random number of 32 bits must be for a request to be of this share.
    pub fn threshold(self) -> u64 {
        u64::from(self.0) * (1 << 32) / u64::from(Self::MILLION)
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
