//! What the index holds of a key, a workspace and a principal: just what a decision asks for.

use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

use crate::domain::id::{KeyId, PrincipalId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::{Enforcement, Key};
use crate::domain::network::IpNet;
use crate::domain::principal::{Granted, Principal, ScopeSource};
use crate::domain::scope::Grant;
use crate::domain::secret::{Origin, Secret};
use crate::domain::time::Time;
use crate::domain::token::Tag;
use crate::domain::workspace::{
    Location, PresentationSet, RequestLog, Scope, UndemandedScopes, UnmatchedRequests, Workspace,
};

use super::bound::Bound;
use super::intern::Interner;

pub(super) mod hashed;

/// A key. Immutable but for `closed` and the times of last use. What many keys have in common is one copy, to which it
/// dereferences: a million keys fit where memory is small.
#[derive(Debug)]
pub struct KeyRecord {
    id: Id,
    /// The revision of its last change.
    pub revision: u64,
    /// Its secrets, dead ones too.
    pub secrets: Secrets,
    shared: Arc<Shared>,
    expire_time: Moment,
    /// Switched on.
    pub enabled: bool,
    /// Soft-deleted.
    pub deleted: bool,
    /// Refused until it is put in again.
    pub(super) closed: AtomicBool,
    /// Of which of its principal's lists of permissions the places are, where it lists no grants of its own: the number of the
    /// principal's last change, cut off.
    exercised_of: AtomicU32,
    /// Which of its grants were made use of, by place: a key has at most as many as there are bits, and so has a principal.
    exercised: AtomicU64,
}

/// What keys have in common. What decisions ask comes first.
#[derive(Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Shared {
    /// Who owns it.
    pub workspace: WorkspaceId,
    /// Where its principal is found.
    pub(super) bound: Option<Bound>,
    /// Where what it grants comes from.
    pub scope_source: ScopeSource,
    /// It lists rights over Claviger and nothing else: no key to data requests.
    pub admin_only: bool,
    /// Record nothing of its requests.
    pub off_the_record: bool,
    /// Which restrictions only report.
    pub enforcement: Enforcement,
    /// What it lists to grant, rights over Claviger included.
    pub scopes: Arc<[Grant]>,
    /// Where it may be used from; empty: anywhere.
    pub allowed_cidrs: Arc<[IpNet]>,
    /// What it is bound to; empty: nothing.
    pub subscriptions: Arc<[SubscriptionId]>,
    /// Who it is bound to. Not what that may: so a principal with any number of keys changes in one swap.
    pub principal: Option<PrincipalId>,
    /// Where its events go; empty: nowhere.
    pub postback_url: Box<str>,
    /// For machines; absent: none, which costs nothing.
    pub labels: Option<Box<BTreeMap<String, String>>>,
}

impl Shared {
    /// What it grants, where its principal is this; one that is not there may do nothing.
    pub fn granted<'a>(&'a self, principal: Option<&'a PrincipalRecord>) -> Granted<'a> {
        let may = || principal.map_or(&[][..], |principal| &*principal.scopes);
        let within = self.principal.as_ref().map(|_| may());
        Granted::of(&self.scopes, self.scope_source, within)
    }
}

impl Deref for KeyRecord {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl KeyRecord {
    pub(super) fn new(key: &Key, old: Option<&Self>, closed: bool, shared: Arc<Shared>) -> Self {
        let settings = &key.settings;
        let usage_of = |secret: &Secret| {
            old.and_then(|old| {
                let mut known = old.secrets.iter();
                known.find(|s| s.id() == secret.id && *s.tag() == secret.tag)
            })
            .map_or_else(|| Arc::new(SecretUsage::new(secret)), |s| s.usage.clone())
        };
        let record_of = |secret: &Secret| SecretRecord {
            weak: secret.weak,
            by_digest: secret.origin == Origin::ExternalDigest,
            revoked: secret.revoke_time.is_some(),
            retire_time: Moment::of(secret.retire_time),
            usage: usage_of(secret),
        };
        // The places are those of the same list alone.
        let same = old.filter(|old| {
            old.shared.scopes == shared.scopes && old.shared.principal == shared.principal
        });
        let exercised = same.map_or(0, |old| old.exercised.load(Ordering::Relaxed));
        let exercised_of = same.map_or(0, |old| old.exercised_of.load(Ordering::Relaxed));
        Self {
            id: Id::of(key.id.as_u128()),
            revision: key.revision,
            secrets: match key.secrets.as_slice() {
                [one] => Secrets::One([record_of(one)]),
                many => Secrets::Many(many.iter().map(record_of).collect()),
            },
            shared,
            expire_time: Moment::of(settings.expire_time),
            enabled: settings.enabled,
            deleted: key.delete_time.is_some(),
            closed: AtomicBool::new(closed),
            exercised_of: AtomicU32::new(exercised_of),
            exercised: AtomicU64::new(exercised),
        }
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        KeyId::from_u128(self.id.number())
    }

    /// Refused from then on.
    pub fn expire_time(&self) -> Option<Time> {
        self.expire_time.get()
    }

    /// Whether it is refused because the outcome of a change is not known.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The grants of which it is noted which were made use of: those that it lists; where it lists none, its principal's.
    fn noted<'a>(&'a self, principal: Option<&'a PrincipalRecord>) -> &'a [Grant] {
        match principal {
            Some(principal) if self.inherits() => &principal.scopes,
            _ => &self.scopes,
        }
    }

    /// Whether it grants all that its principal may.
    fn inherits(&self) -> bool {
        self.scopes.is_empty() && self.scope_source == ScopeSource::Principal
    }

    /// Whether the places are those of the grants as they are now.
    fn is_noted_of(&self, principal: Option<&PrincipalRecord>) -> bool {
        !self.inherits()
            || principal.is_none_or(|p| self.exercised_of.load(Ordering::SeqCst) == cut(p.revision))
    }

    /// Notes that what covers this scope was made use of; where that is news, the grant.
    pub fn exercise<'a>(
        &'a self,
        scope: &str,
        principal: Option<&'a PrincipalRecord>,
    ) -> Option<&'a Grant> {
        let grants = self.noted(principal);
        let place = grants.iter().position(|grant| grant.covers(scope))?;
        let bit = u32::try_from(place)
            .ok()
            .and_then(|n| 1_u64.checked_shl(n))?;
        if let (false, Some(principal)) = (self.is_noted_of(principal), principal) {
            // In this order, so that whoever still has the list of before either is forgotten with it, or sees it below.
            self.exercised_of
                .store(cut(principal.revision), Ordering::SeqCst);
            self.exercised.store(0, Ordering::SeqCst);
        }
        // Read first: a busy key writes to shared memory once for each grant.
        let is_news = self.exercised.load(Ordering::Relaxed) & bit == 0
            && self.exercised.fetch_or(bit, Ordering::SeqCst) & bit == 0;
        if is_news && !self.is_noted_of(principal) {
            self.exercised.fetch_and(!bit, Ordering::SeqCst);
        }
        grants.get(place).filter(|_| is_news)
    }

    /// Whether all its grants were made use of.
    pub fn is_exercised_whole(&self, principal: Option<&PrincipalRecord>) -> bool {
        let grants = u32::try_from(self.noted(principal).len()).unwrap_or(u32::MAX);
        let rest = 1_u64
            .checked_shl(grants)
            .map_or(0, |next| u64::MAX - (next - 1));
        self.exercised.load(Ordering::Relaxed) | rest == u64::MAX && self.is_noted_of(principal)
    }

    /// The grants that were made use of.
    pub fn exercised<'a>(
        &'a self,
        principal: Option<&'a PrincipalRecord>,
    ) -> impl Iterator<Item = &'a Grant> {
        let used = match self.is_noted_of(principal) {
            true => self.exercised.load(Ordering::Relaxed),
            false => 0,
        };
        let bits = (0..u64::BITS).map(move |n| used >> n & 1 == 1);
        self.noted(principal)
            .iter()
            .zip(bits)
            .filter_map(|(grant, used)| used.then_some(grant))
    }

    /// Whether a weak secret of it is live: then its networks are always enforced.
    pub fn is_fenced(&self, now: Time) -> bool {
        self.secrets.iter().any(|s| s.weak && s.is_live(now))
    }
}

/// The lower half of a revision's number: it tells one list of permissions from those just before it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the lower half is what is asked for"
)]
const fn cut(revision: u64) -> u32 {
    revision as u32
}

/// A number of 128 bits that asks for the alignment of one of 64: beside smaller fields it leaves no gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id([u64; 2]);

impl Id {
    pub(super) fn of(number: u128) -> Self {
        let (high, low) = (number >> 64, number & u128::from(u64::MAX));
        Self([high, low].map(|half| u64::try_from(half).unwrap_or_default()))
    }

    fn number(self) -> u128 {
        let [high, low] = self.0.map(u128::from);
        high << 64 | low
    }
}

// As `BuildIdHasher` wants it.
impl Hash for Id {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.number());
    }
}

/// A moment that may be missing, in the room of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment(i64);

impl Moment {
    const NONE: Self = Self(i64::MAX);

    fn of(time: Option<Time>) -> Self {
        time.map_or(Self::NONE, |time| Self(time.micros()))
    }

    fn get(self) -> Option<Time> {
        (self != Self::NONE).then(|| Time::from_micros(self.0))
    }
}

/// The secrets of a key: one almost always, which then needs no list.
#[derive(Debug)]
pub enum Secrets {
    /// One.
    One([SecretRecord; 1]),
    /// None, or several.
    Many(Box<[SecretRecord]>),
}

impl Deref for Secrets {
    type Target = [SecretRecord];

    fn deref(&self) -> &[SecretRecord] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

/// A secret.
#[derive(Debug)]
pub struct SecretRecord {
    /// Its use, and what never changes of it; outlives the record.
    pub usage: Arc<SecretUsage>,
    retire_time: Moment,
    /// Under 112 bits of entropy, or not known to have them.
    pub weak: bool,
    /// Only its digest was handed in: who did so need not know the token.
    pub by_digest: bool,
    /// Refused for ever.
    pub revoked: bool,
}

impl SecretRecord {
    /// Its id.
    pub fn id(&self) -> SecretId {
        self.usage.id()
    }

    /// Its whole tag.
    pub fn tag(&self) -> &Tag {
        &self.usage.tag
    }

    /// The end of its grace, or of its time.
    pub fn retire_time(&self) -> Option<Time> {
        self.retire_time.get()
    }

    /// Whether it is accepted at `now`.
    pub fn is_live(&self, now: Time) -> bool {
        !self.revoked && self.retire_time.get().is_none_or(|end| now < end)
    }
}

/// A secret's id and tag, and when it was last used: written by decisions, read by whoever flushes it.
#[derive(Debug)]
pub struct SecretUsage {
    id: Id,
    tag: Tag,
    /// Twice the microseconds, and one more while it waits to be flushed; without that one, 0: never used.
    last_used: AtomicI64,
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
    const QUEUED: i64 = 1;

    fn new(secret: &Secret) -> Self {
        let last_used = secret.last_used_time.map_or(0, Time::micros);
        Self {
            id: Id::of(secret.id.as_u128()),
            tag: secret.tag,
            last_used: AtomicI64::new(last_used.saturating_mul(2) & !Self::QUEUED),
        }
    }

    /// The secret.
    pub fn id(&self) -> SecretId {
        SecretId::from_u128(self.id.number())
    }

    /// When it was last used; none: never.
    pub fn last_used(&self) -> Option<Time> {
        match self.last_used.load(Ordering::Relaxed) >> 1 {
            0 => None,
            micros => Some(Time::from_micros(micros)),
        }
    }

    /// Notes a use, to the second: a busy key writes to shared memory once in that time.
    pub fn touch(&self, now: Time) -> Touch {
        let last = self.last_used.load(Ordering::Relaxed) >> 1;
        if last != 0 && now.micros() < last.saturating_add(Self::RESOLUTION_MICROS) {
            return Touch::Known;
        }
        // The later time, marked as waiting, in one step: nobody sees the one without the other.
        let marked = now.micros().saturating_mul(2) | Self::QUEUED;
        let before = self
            .last_used
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |stands| {
                Some((stands | Self::QUEUED).max(marked))
            })
            .unwrap_or_else(|stands| stands);
        match (before & Self::QUEUED != 0, before >> 1) {
            (true, _) => Touch::Known,
            (false, 0) => Touch::First,
            (false, _) => Touch::Queue,
        }
    }

    /// Takes it off the queue: later uses queue it again.
    pub fn take(&self) -> (SecretId, Option<Time>) {
        self.last_used.fetch_and(!Self::QUEUED, Ordering::AcqRel);
        (self.id(), self.last_used())
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
    /// Which restrictions only report, whatever a key says.
    pub enforcement: Enforcement,
    /// Which requests are logged.
    pub log: LogPolicy,
    /// What becomes of requests that no route takes.
    pub unmatched_requests: UnmatchedRequests,
    /// Its catalogue by name.
    pub scopes: HashMap<String, ScopeRecord>,
    pub(super) closed: AtomicBool,
}

/// Which requests of a workspace are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPolicy {
    /// Those that are denied.
    pub denied: bool,
    /// Those that are allowed, where a random number of 32 bits is below this.
    pub allowed_below: u64,
}

/// A principal.
#[derive(Debug)]
pub struct PrincipalRecord {
    /// The revision of its last change.
    pub revision: u64,
    /// When that was.
    pub update_time: Time,
    /// Switched on.
    pub enabled: bool,
    /// What it may do, rights over Claviger included.
    pub scopes: Arc<[Grant]>,
    /// It may do nothing but administer: its keys open no data.
    pub admin_only: bool,
}

impl PrincipalRecord {
    pub(super) fn new(principal: &Principal, interner: &mut Interner) -> Self {
        let scopes = &principal.scopes;
        Self {
            revision: principal.revision,
            update_time: principal.update_time,
            enabled: principal.enabled,
            scopes: interner.grants(scopes),
            admin_only: !scopes.is_empty() && scopes.iter().all(Grant::is_admin),
        }
    }
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
    pub(super) fn new(workspace: &Workspace, scopes: &[Scope], at: u64, closed: bool) -> Self {
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
            enforcement: settings.enforcement,
            log: LogPolicy {
                denied: settings.request_log != RequestLog::Off,
                allowed_below: settings.logged_share().threshold(),
            },
            unmatched_requests: settings.unmatched_requests,
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
            closed: AtomicBool::new(closed),
        }
    }

    /// Whether it is refused because the outcome of a change is not known.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
