//! Keys: stable identities with settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::{KeyId, PrincipalId, SubscriptionId, WorkspaceId};
use super::network::IpNet;
use super::principal::{Granted, ScopeSource};
use super::revision;
use super::scope::Grant;
use super::secret::{Secret, Slot};
use super::time::Time;

/// Most secrets of one key that may be in their grace period at once.
pub const MAX_RETIRING: usize = 8;

/// A key with its secrets, whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Who owns it.
    pub workspace: WorkspaceId,
    /// What administrators set.
    pub settings: KeySettings,
    /// Its secrets, oldest first.
    pub secrets: Vec<Secret>,
    /// When it was made.
    pub create_time: Time,
    /// When a setting or secret of it last changed.
    pub update_time: Time,
    /// When it was deleted.
    pub delete_time: Option<Time>,
    /// When a deleted key goes for good.
    pub purge_time: Option<Time>,
    /// The revision (`n`) of its last change: its etag.
    pub revision: u64,
}

/// What administrators set of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySettings {
    /// A name for people.
    pub display_name: String,
    /// A longer text for people.
    pub description: String,
    /// What it lists to grant, sorted, without doubles.
    pub scopes: Vec<Grant>,
    /// Where what it grants comes from.
    #[serde(default)]
    pub scope_source: ScopeSource,
    /// Who it is bound to.
    #[serde(default)]
    pub principal: Option<PrincipalId>,
    /// What it is bound to, sorted, without doubles; empty: nothing.
    pub subscriptions: Vec<SubscriptionId>,
    /// Where it may be used from, sorted, without doubles; empty: anywhere.
    pub allowed_cidrs: Vec<IpNet>,
    /// Where its events go; empty: nowhere.
    pub postback_url: String,
    /// Record nothing of its requests.
    pub off_the_record: bool,
    /// Switched on.
    pub enabled: bool,
    /// Refused from then on.
    pub expire_time: Option<Time>,
    /// For machines.
    pub labels: BTreeMap<String, String>,
    /// Which restrictions only report.
    pub enforcement: Enforcement,
}

impl KeySettings {
    /// What it grants, where its principal may do this; one that is not there may do nothing.
    pub fn granted<'a>(&'a self, principal: Option<&'a [Grant]>) -> Granted<'a> {
        let within = self
            .principal
            .as_ref()
            .map(|_| principal.unwrap_or_default());
        Granted::of(&self.scopes, self.scope_source, within)
    }

    /// Whether all that it lists are rights over Claviger.
    pub fn lists_only_rights(&self) -> bool {
        !self.scopes.is_empty() && self.scopes.iter().all(Grant::is_admin)
    }
}

/// Which restrictions only report instead of denying; false: enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Enforcement {
    /// `allowed_cidrs` only reports.
    pub shadow_network: bool,
    /// Presentations only report.
    pub shadow_presentation: bool,
    /// `subscriptions` only reports.
    pub shadow_subscription: bool,
    /// Scopes only report.
    pub shadow_scopes: bool,
}

impl Enforcement {
    /// What is in shadow in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            shadow_network: self.shadow_network || other.shadow_network,
            shadow_presentation: self.shadow_presentation || other.shadow_presentation,
            shadow_subscription: self.shadow_subscription || other.shadow_subscription,
            shadow_scopes: self.shadow_scopes || other.shadow_scopes,
        }
    }

    /// Whether anything is in shadow.
    pub fn any(self) -> bool {
        self.shadow_network
            || self.shadow_presentation
            || self.shadow_subscription
            || self.shadow_scopes
    }
}

/// What a key is at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It opens what its settings say.
    Active,
    /// Switched off.
    Disabled,
    /// Past its expiry.
    Expired,
    /// Soft-deleted.
    Deleted,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            display_name: String::new(),
            description: String::new(),
            scopes: Vec::new(),
            scope_source: ScopeSource::Explicit,
            principal: None,
            subscriptions: Vec::new(),
            allowed_cidrs: Vec::new(),
            postback_url: String::new(),
            off_the_record: false,
            enabled: true,
            expire_time: None,
            labels: BTreeMap::new(),
            enforcement: Enforcement::default(),
        }
    }
}

impl Key {
    /// What it is at `now`: deleted before disabled before expired.
    pub fn state(&self, now: Time) -> KeyState {
        if self.delete_time.is_some() {
            KeyState::Deleted
        } else if !self.settings.enabled {
            KeyState::Disabled
        } else if self.settings.expire_time.is_some_and(|end| end <= now) {
            KeyState::Expired
        } else {
            KeyState::Active
        }
    }

    /// The active (neither retiring nor revoked) secret of a slot.
    pub fn active(&self, slot: Slot) -> Option<&Secret> {
        self.secrets
            .iter()
            .find(|s| s.slot == slot && s.revoke_time.is_none() && s.retire_time.is_none())
    }

    /// Whether a decision accepts any of its secrets at `now`.
    pub fn has_live_secret(&self, now: Time) -> bool {
        self.secrets.iter().any(|s| s.is_live(now))
    }

    /// When a decision last accepted any of its secrets.
    pub fn last_used_time(&self) -> Option<Time> {
        self.secrets.iter().filter_map(|s| s.last_used_time).max()
    }

    /// What a guarded change compares: changes with every change of the key.
    pub fn etag(&self) -> String {
        revision::etag(self.revision)
    }
}
