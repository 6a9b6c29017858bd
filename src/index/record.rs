//! What the index holds of a key and of a workspace: just what a decision asks for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use crate::domain::id::{KeyId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key};
use crate::domain::network::IpNet;
use crate::domain::scope::Grant;
use crate::domain::secret::Secret;
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{Location, PresentationSet, Scope, UndemandedScopes, Workspace};

use super::intern::Interner;

/// A key. Immutable but for `closed` and the times of last use.
#[derive(Debug)]
pub struct KeyRecord {
    /// Its id.
    pub id: KeyId,
    /// Who owns it.
    pub workspace: WorkspaceId,
    /// The revision of its last change.
    pub revision: u64,
    /// Its secrets, dead ones too.
    pub secrets: Box<[SecretRecord]>,
    /// What it grants, rights over Claviger included.
    pub scopes: Arc<[Grant]>,
    /// What it is bound to; empty: nothing.
    pub subscriptions: Arc<[SubscriptionId]>,
    /// Where it may be used from; empty: anywhere.
    pub allowed_cidrs: Arc<[IpNet]>,
    /// Which restrictions only report.
    pub enforcement: Enforcement,
    /// Switched on.
    pub enabled: bool,
    /// Soft-deleted.
    pub deleted: bool,
    /// Refused from then on.
    pub expire_time: Option<Time>,
    /// Record nothing of its requests.
    pub off_the_record: bool,
    /// Where its events go; empty: nowhere.
    pub postback_url: Box<str>,
    /// For machines; absent: none, which costs nothing.
    pub labels: Option<Box<BTreeMap<String, String>>>,
    /// It holds rights over Claviger and nothing else: no key to data requests.
    pub admin_only: bool,
    /// Refused until it is put in again.
    pub(super) closed: AtomicBool,
}

impl KeyRecord {
    pub(super) fn new(key: &Key, old: Option<&Self>, interner: &mut Interner) -> Self {
        let settings = &key.settings;
        let usage_of = |secret: &Secret| {
            old.and_then(|old| old.secrets.iter().find(|s| s.id == secret.id))
                .map_or_else(|| Arc::new(SecretUsage::new(secret)), |s| s.usage.clone())
        };
        Self {
            id: key.id,
            workspace: key.workspace.clone(),
            revision: key.revision,
            secrets: key
                .secrets
                .iter()
                .map(|secret| SecretRecord {
                    id: secret.id,
                    tag: secret.tag,
                    weak: secret.weak,
                    revoked: secret.revoke_time.is_some(),
                    retire_time: secret.retire_time,
                    usage: usage_of(secret),
                })
                .collect(),
            scopes: interner.grants.get(&settings.scopes),
            subscriptions: interner.subscriptions.get(&settings.subscriptions),
            allowed_cidrs: interner.networks.get(&settings.allowed_cidrs),
            enforcement: settings.enforcement,
            enabled: settings.enabled,
            deleted: key.delete_time.is_some(),
            expire_time: settings.expire_time,
            off_the_record: settings.off_the_record,
            postback_url: settings.postback_url.as_str().into(),
            labels: (!settings.labels.is_empty()).then(|| Box::new(settings.labels.clone())),
            admin_only: !settings.scopes.is_empty() && settings.scopes.iter().all(Grant::is_admin),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether it is refused because the outcome of a change is not known.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether a weak secret of it is live: then its networks are always enforced.
    pub fn is_fenced(&self, now: Time) -> bool {
        self.secrets.iter().any(|s| s.weak && s.is_live(now))
    }
}

/// A secret.
#[derive(Debug)]
pub struct SecretRecord {
    /// Its id.
    pub id: SecretId,
    /// Its whole tag.
    pub tag: Tag,
    /// Under 112 bits of entropy, or not known to have them.
    pub weak: bool,
    /// Refused for ever.
    pub revoked: bool,
    /// Supplanted, and accepted until then.
    pub retire_time: Option<Time>,
    /// Its use; outlives the record.
    pub usage: Arc<SecretUsage>,
}

impl SecretRecord {
    /// Whether it is accepted at `now`.
    pub fn is_live(&self, now: Time) -> bool {
        !self.revoked && self.retire_time.is_none_or(|end| now < end)
    }
}

/// When a secret was last used: written by decisions, read by whoever flushes it.
#[derive(Debug)]
pub struct SecretUsage {
    /// The secret.
    pub id: SecretId,
    /// Microseconds; 0: never.
    last_used: AtomicI64,
    /// It waits to be flushed.
    queued: AtomicBool,
}

/// What a use of a secret means for those who flush it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Nothing: it waits to be flushed already, or was used within this second.
    Known,
    /// It is to be flushed.
    Queue,
    /// The same, at once: it was never used before.
    First,
}

impl SecretUsage {
    const RESOLUTION_MICROS: i64 = 1_000_000;

    fn new(secret: &Secret) -> Self {
        Self {
            id: secret.id,
            last_used: AtomicI64::new(secret.last_used_time.map_or(0, Time::micros)),
            queued: AtomicBool::new(false),
        }
    }

    /// When it was last used; none: never.
    pub fn last_used(&self) -> Option<Time> {
        match self.last_used.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Time::from_micros(micros)),
        }
    }

    /// Notes a use, to the second: a busy key writes to shared memory once in that time.
    pub fn touch(&self, now: Time) -> Touch {
        let last = self.last_used.load(Ordering::Relaxed);
        if last != 0 && now.micros() < last.saturating_add(Self::RESOLUTION_MICROS) {
            return Touch::Known;
        }
        self.last_used.fetch_max(now.micros(), Ordering::Relaxed);
        match (self.queued.swap(true, Ordering::AcqRel), last) {
            (true, _) => Touch::Known,
            (false, 0) => Touch::First,
            (false, _) => Touch::Queue,
        }
    }

    /// Takes it off the queue: later uses queue it again.
    pub fn take(&self) -> (SecretId, Option<Time>) {
        self.queued.store(false, Ordering::Release);
        (self.id, self.last_used())
    }
}

/// A workspace with its catalogue.
#[derive(Debug)]
pub struct WorkspaceRecord {
    /// Its id.
    pub id: WorkspaceId,
    /// The revision it was read at, its catalogue included.
    pub revision: u64,
    /// Switched on.
    pub enabled: bool,
    /// Where a credential may be; never empty.
    pub locations: Box<[Location]>,
    /// Which ways of presenting are accepted; never empty.
    pub presentations: PresentationSet,
    /// What becomes of a check that demands nothing.
    pub undemanded_scopes: UndemandedScopes,
    /// Its catalogue by name.
    pub scopes: HashMap<String, ScopeRecord>,
    pub(super) closed: AtomicBool,
}

/// A catalogue entry.
#[derive(Debug)]
pub struct ScopeRecord {
    /// Ways of presenting accepted for it beside the workspace's.
    pub presentations: PresentationSet,
    /// Rights over Claviger that come with it.
    pub implies: Box<[Grant]>,
}

impl WorkspaceRecord {
    pub(super) fn new(workspace: &Workspace, scopes: &[Scope], at: u64) -> Self {
        let settings = &workspace.settings;
        Self {
            id: workspace.id.clone(),
            revision: at,
            enabled: workspace.enabled,
            locations: if settings.locations.is_empty() {
                Location::defaults().into()
            } else {
                settings.locations.clone().into()
            },
            presentations: if settings.presentations.is_empty() {
                PresentationSet::defaults()
            } else {
                settings.presentations
            },
            undemanded_scopes: settings.undemanded_scopes,
            scopes: scopes
                .iter()
                .map(|scope| {
                    let record = ScopeRecord {
                        presentations: scope.presentations,
                        implies: scope.implies.clone().into(),
                    };
                    (scope.name.clone(), record)
                })
                .collect(),
            closed: AtomicBool::new(false),
        }
    }

    /// Whether it is refused because the outcome of a change is not known.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
