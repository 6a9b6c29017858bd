//! The resident key set: everything a decision needs, in memory, whole.
//!
//! Invariants: readers never block and never allocate; a record is immutable and swapped whole; a late re-read never
//! brings an old state back (each record carries its revision). There is one writer at a time: whoever applies the feed.
//! No tokio, no tonic, no SQL in here.

mod hash;
mod intern;
mod record;

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use papaya::{HashMap, HashMapRef, LocalGuard};

use crate::domain::id::{KeyId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::revision::Revision;
use crate::domain::secret::Origin;
use crate::domain::time::Time;
use crate::domain::token::{LookupKey, Tag};
use crate::domain::workspace::{Scope, Subscription, Workspace};

use hash::BuildIdHasher;
use intern::Interner;
pub use record::{KeyRecord, ScopeRecord, SecretRecord, SecretUsage, Touch, WorkspaceRecord};

/// The resident key set.
#[derive(Debug)]
pub struct Index {
    lookup: LookupKey,
    epoch: u32,
    applied: AtomicU64,
    loaded: AtomicBool,
    tags: HashMap<u128, Holders, BuildIdHasher>,
    keys: HashMap<KeyId, Arc<KeyRecord>, BuildIdHasher>,
    workspaces: HashMap<WorkspaceId, Arc<WorkspaceRecord>>,
    subscriptions: HashMap<SubscriptionKey, SubscriptionState>,
    prefixes: HashMap<WorkspaceId, Arc<BTreeSet<String>>>,
    /// Touched by the writer alone; a lock because the writer is not always the same thread.
    interner: Mutex<Interner>,
}

/// Who holds a tag: one key almost always; several where workspaces hold the same external token.
#[derive(Debug, Clone)]
enum Holders {
    One(Arc<KeyRecord>),
    Many(Arc<[Arc<KeyRecord>]>),
}

impl Holders {
    fn as_slice(&self) -> &[Arc<KeyRecord>] {
        match self {
            Self::One(record) => std::slice::from_ref(record),
            Self::Many(records) => records,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct SubscriptionState {
    enabled: bool,
    revision: u64,
}

impl Index {
    /// An empty index of one database.
    pub fn new(lookup: LookupKey, epoch: u32) -> Self {
        Self {
            lookup,
            epoch,
            applied: AtomicU64::new(0),
            loaded: AtomicBool::new(false),
            tags: HashMap::with_hasher(BuildIdHasher),
            keys: HashMap::with_hasher(BuildIdHasher),
            workspaces: HashMap::new(),
            subscriptions: HashMap::new(),
            prefixes: HashMap::new(),
            interner: Mutex::default(),
        }
    }

    /// The key that tags are made with.
    pub fn lookup_key(&self) -> &LookupKey {
        &self.lookup
    }

    /// Which history it follows.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The revision it has reached: every change up to it is in force.
    pub fn applied(&self) -> Revision {
        Revision {
            epoch: self.epoch,
            n: self.applied.load(Ordering::Acquire),
        }
    }

    /// Whether it is whole.
    pub fn is_loaded(&self) -> bool {
        self.loaded.load(Ordering::Acquire)
    }

    /// How many keys and secrets it holds, dead ones too.
    pub fn len(&self) -> (usize, usize) {
        (self.keys.len(), self.tags.len())
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// A view to decide with. Everything read through it stays valid as long as the view lives; keep it short.
    pub fn view(&self) -> View<'_> {
        View {
            // Before the maps are read: what is read is then at least as new as the revision that is said.
            revision: self.applied(),
            lookup: &self.lookup,
            tags: self.tags.pin(),
            workspaces: self.workspaces.pin(),
            subscriptions: self.subscriptions.pin(),
            prefixes: self.prefixes.pin(),
        }
    }

    /// When a secret was last used, as far as this process knows.
    pub fn last_used(&self, key: KeyId, secret: SecretId) -> Option<Time> {
        let keys = self.keys.pin();
        let record = keys.get(&key)?;
        record
            .secrets
            .iter()
            .find(|s| s.id == secret)?
            .usage
            .last_used()
    }
}

/// What only the writer calls: one at a time.
impl Index {
    /// Says that it is whole up to a revision.
    pub fn set_loaded(&self, n: u64) {
        self.applied.store(n, Ordering::Release);
        self.loaded.store(true, Ordering::Release);
    }

    /// Says that every change up to a revision is in.
    pub fn set_applied(&self, n: u64) {
        self.applied.fetch_max(n, Ordering::AcqRel);
    }

    /// Puts a key in, in place of an older state of it.
    pub fn put_key(&self, key: &Key) {
        let keys = self.keys.pin();
        let old = keys.get(&key.id).cloned();
        if old.as_ref().is_some_and(|old| old.revision > key.revision) {
            return;
        }
        let record = {
            let mut interner = self.interner.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::new(KeyRecord::new(key, old.as_deref(), &mut interner))
        };
        for secret in &*record.secrets {
            self.replace_holder(&secret.tag, key.id, Some(&record));
        }
        if let Some(old) = old {
            let gone = old
                .secrets
                .iter()
                .filter(|s| !record.secrets.iter().any(|n| n.id == s.id));
            for secret in gone {
                self.replace_holder(&secret.tag, key.id, None);
            }
        }
        for secret in key.secrets.iter().filter(|s| s.origin == Origin::Generated) {
            self.note_prefix(&key.workspace, &secret.prefix);
        }
        keys.insert(key.id, record);
    }

    /// Takes a key out.
    pub fn remove_key(&self, id: KeyId) {
        let keys = self.keys.pin();
        if let Some(record) = keys.remove(&id) {
            for secret in &*record.secrets {
                self.replace_holder(&secret.tag, id, None);
            }
        }
    }

    /// Refuses a key until it is put in again: the outcome of a change that takes access away is not known.
    pub fn close_key(&self, id: KeyId) {
        if let Some(record) = self.keys.pin().get(&id) {
            record.closed.store(true, Ordering::Release);
        }
    }

    /// Puts a workspace in with its whole catalogue, as they were at revision `at`, in place of an older state of them.
    pub fn put_workspace(&self, workspace: &Workspace, scopes: &[Scope], at: u64) {
        let record = Arc::new(WorkspaceRecord::new(workspace, scopes, at));
        let workspaces = self.workspaces.pin();
        let old = workspaces.get(&workspace.id);
        if old.is_none_or(|old| old.revision <= record.revision) {
            workspaces.insert(workspace.id.clone(), record);
        }
    }

    /// Takes a workspace out.
    pub fn remove_workspace(&self, id: &WorkspaceId) {
        self.workspaces.pin().remove(id);
        self.prefixes.pin().remove(id);
    }

    /// Refuses a workspace until it is put in again.
    pub fn close_workspace(&self, id: &WorkspaceId) {
        if let Some(record) = self.workspaces.pin().get(id) {
            record.closed.store(true, Ordering::Release);
        }
    }

    /// Puts a subscription in, in place of an older state of it.
    pub fn put_subscription(&self, subscription: &Subscription) {
        let key = SubscriptionKey(subscription.workspace.clone(), subscription.id.clone());
        let state = SubscriptionState {
            enabled: subscription.enabled,
            revision: subscription.revision,
        };
        let subscriptions = self.subscriptions.pin();
        if subscriptions
            .get(&key)
            .is_none_or(|old| old.revision <= state.revision)
        {
            subscriptions.insert(key, state);
        }
    }

    /// Takes a subscription out.
    pub fn remove_subscription(&self, workspace: &WorkspaceId, id: &SubscriptionId) {
        self.subscriptions
            .pin()
            .remove(&SubscriptionKey(workspace.clone(), id.clone()));
    }

    fn replace_holder(&self, tag: &Tag, key: KeyId, with: Option<&Arc<KeyRecord>>) {
        let tags = self.tags.pin();
        let others: Vec<_> = tags
            .get(&tag.index())
            .map(|holders| {
                holders
                    .as_slice()
                    .iter()
                    .filter(|r| r.id != key)
                    .cloned()
                    .collect()
            })
            .unwrap_or_default();
        match (with, others.is_empty()) {
            (Some(record), true) => {
                tags.insert(tag.index(), Holders::One(record.clone()));
            }
            (Some(record), false) => {
                let all = others.into_iter().chain([record.clone()]).collect();
                tags.insert(tag.index(), Holders::Many(all));
            }
            (None, false) => {
                tags.insert(tag.index(), Holders::Many(others.into()));
            }
            (None, true) => {
                tags.remove(&tag.index());
            }
        }
    }

    fn note_prefix(&self, workspace: &WorkspaceId, prefix: &str) {
        if prefix.is_empty() {
            return;
        }
        let prefixes = self.prefixes.pin();
        let known = prefixes.get(workspace);
        if known.is_none_or(|known| !known.contains(prefix)) {
            let mut set = known
                .map(|known| BTreeSet::clone(known))
                .unwrap_or_default();
            set.insert(prefix.to_owned());
            prefixes.insert(workspace.clone(), Arc::new(set));
        }
    }
}

type Pinned<'i, K, V, S> = HashMapRef<'i, K, V, S, LocalGuard<'i>>;

/// The index as one decision sees it.
#[derive(Debug)]
pub struct View<'i> {
    /// Every change up to it is seen.
    pub revision: Revision,
    lookup: &'i LookupKey,
    tags: Pinned<'i, u128, Holders, BuildIdHasher>,
    workspaces: Pinned<'i, WorkspaceId, Arc<WorkspaceRecord>, std::hash::RandomState>,
    subscriptions: Pinned<'i, SubscriptionKey, SubscriptionState, std::hash::RandomState>,
    prefixes: Pinned<'i, WorkspaceId, Arc<BTreeSet<String>>, std::hash::RandomState>,
}

impl View<'_> {
    /// The key that tags are made with.
    pub fn lookup_key(&self) -> &LookupKey {
        self.lookup
    }

    /// A workspace.
    pub fn workspace(&self, id: &str) -> Option<&Arc<WorkspaceRecord>> {
        self.workspaces.get(id)
    }

    /// The keys that a tag leads to, at most one in each workspace, with the secret it is. All 32 bytes of the tag are
    /// compared, in constant time: the index looks at half of them.
    pub fn holders(&self, tag: &Tag) -> impl Iterator<Item = (&KeyRecord, &SecretRecord)> {
        let holders = self
            .tags
            .get(&tag.index())
            .map(Holders::as_slice)
            .unwrap_or_default();
        holders.iter().filter_map(move |record| {
            record
                .secrets
                .iter()
                .find(|s| s.tag == *tag)
                .map(|s| (&**record, s))
        })
    }

    /// Whether a subscription exists and is enabled.
    pub fn subscription_enabled(&self, workspace: &str, id: &str) -> bool {
        self.subscriptions
            .get(&SubscriptionRef(workspace, id))
            .is_some_and(|state| state.enabled)
    }

    /// The prefixes that a workspace has issued tokens with.
    pub fn prefixes(&self, workspace: &str) -> impl Iterator<Item = &str> {
        self.prefixes
            .get(workspace)
            .into_iter()
            .flat_map(|set| set.iter().map(String::as_str))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct SubscriptionKey(WorkspaceId, SubscriptionId);

/// The same, borrowed: must hash alike.
struct SubscriptionRef<'a>(&'a str, &'a str);

impl Hash for SubscriptionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0.as_str(), self.1.as_str()).hash(state);
    }
}

impl Hash for SubscriptionRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1).hash(state);
    }
}

impl papaya::Equivalent<SubscriptionKey> for SubscriptionRef<'_> {
    fn equivalent(&self, key: &SubscriptionKey) -> bool {
        self.0 == key.0.as_str() && self.1 == key.1.as_str()
    }
}
