//! The resident key set: everything a decision needs, in memory, whole.
//!
//! Invariants: readers never block and never allocate; a record is immutable and swapped whole; a late re-read never
//! brings an old state back (each record carries its revision). Writers take turns: whoever applies the feed, and who
//! closes what is in doubt.
//! No tokio, no tonic, no SQL in here.

mod bound;
pub mod digest;
mod hash;
mod intern;
mod live;
mod record;
mod routes;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use papaya::HashMap;

use crate::domain::id::{KeyId, PrincipalId, SecretId, SubscriptionId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::revision::Revision;
use crate::domain::secret::Origin;
use crate::domain::time::Time;
use crate::domain::token::{LookupKey, Tag};
use crate::domain::workspace::{Scope, Subscription, Workspace};

use bound::{Acting, Slots};
use hash::{BuildIdHasher, Owned, OwnedRef};
use intern::Interner;
pub use live::{Live, Now};
use record::Id;
pub use record::{
    KeyRecord, LogPolicy, PrincipalRecord, ScopeRecord, SecretRecord, SecretUsage, Secrets, Shared,
    Touch, WorkspaceRecord,
};
pub use routes::{KeylessUses, Matched, RouteRecord, RouteTable};
pub use view::View;

/// How many prefixes of a workspace are remembered.
const MAX_PREFIXES: usize = 1_024;

/// The resident key set.
#[derive(Debug)]
pub struct Index {
    lookup: LookupKey,
    epoch: u32,
    applied: AtomicU64,
    loaded: AtomicBool,
    tags: HashMap<Id, Arc<KeyRecord>, BuildIdHasher>,
    /// Who holds a tag that several keys hold, where workspaces hold the same external token: counts before `tags`.
    held_by_many: HashMap<Id, Arc<[Arc<KeyRecord>]>, BuildIdHasher>,
    keys: HashMap<Id, Arc<KeyRecord>, BuildIdHasher>,
    workspaces: HashMap<WorkspaceId, Arc<WorkspaceRecord>>,
    subscriptions: HashMap<Owned<SubscriptionId>, SubscriptionState>,
    principals: HashMap<Owned<PrincipalId>, Arc<PrincipalRecord>>,
    prefixes: HashMap<WorkspaceId, Arc<BTreeSet<String>>>,
    routes: HashMap<WorkspaceId, Arc<RouteTable>>,
    /// Whose a host is, where a request names no workspace: hosts, and suffixes with their dot.
    hosts: HashMap<Box<[u8]>, WorkspaceId>,
    writer: Mutex<Writer>,
}

/// What only writers touch. Held while a record is built and put in: closing a key waits for that, and is then seen.
#[derive(Debug, Default)]
struct Writer {
    interner: Interner,
    slots: Slots,
    /// The index that this one is to take the place of: what decisions left at its records goes on at those of this one.
    before: Option<Arc<Index>>,
    /// What is refused until the feed has spoken, and the number of the doubt: a later doubt is not lifted with an earlier.
    keys_in_doubt: std::collections::HashMap<KeyId, u64>,
    workspaces_in_doubt: std::collections::HashMap<WorkspaceId, u64>,
    doubts: u64,
}

/// What is refused until the feed has spoken.
#[derive(Debug, Clone, Default)]
pub struct Closed {
    /// Keys, each with the number of its doubt.
    pub keys: Vec<(KeyId, u64)>,
    /// Workspaces, likewise.
    pub workspaces: Vec<(WorkspaceId, u64)>,
}

impl Closed {
    /// Whether nothing is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.workspaces.is_empty()
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
            held_by_many: HashMap::with_hasher(BuildIdHasher),
            keys: HashMap::with_hasher(BuildIdHasher),
            workspaces: HashMap::new(),
            subscriptions: HashMap::new(),
            principals: HashMap::new(),
            prefixes: HashMap::new(),
            routes: HashMap::new(),
            hosts: HashMap::new(),
            writer: Mutex::default(),
        }
    }

    /// An empty index that is to take the place of another one, when it is whole. Decisions go on with that meanwhile; what
    /// they leave behind at its records is shared by those of the same things here.
    pub fn beside(before: &Arc<Self>, epoch: u32) -> Self {
        let index = Self::new(before.lookup.clone(), epoch);
        index.writer().before = Some(before.clone());
        index
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
            held_by_many: self.held_by_many.pin(),
            keys: self.keys.pin(),
            workspaces: self.workspaces.pin(),
            subscriptions: self.subscriptions.pin(),
            principals: self.principals.pin(),
            prefixes: self.prefixes.pin(),
            routes: self.routes.pin(),
            acting: Acting::default(),
        }
    }

    /// When a secret was last used, as far as this process knows.
    pub fn last_used(&self, key: KeyId, secret: SecretId) -> Option<Time> {
        let keys = self.keys.pin();
        let record = keys.get(&id_of(key))?;
        record
            .secrets
            .iter()
            .find(|s| s.id() == secret)?
            .usage
            .last_used()
    }
}

/// What writers call: a lock gives them turns.
impl Index {
    /// Says that it is whole up to a revision.
    pub fn set_loaded(&self, n: u64) {
        // It must not be kept in memory by the one that takes its place.
        self.writer().before = None;
        self.applied.store(n, Ordering::Release);
        self.loaded.store(true, Ordering::Release);
    }

    /// Says that every change up to a revision is in.
    pub fn set_applied(&self, n: u64) {
        self.applied.fetch_max(n, Ordering::AcqRel);
    }

    /// Puts a key in, in place of an older state of it.
    pub fn put_key(&self, key: &Key) {
        let mut writer = self.writer();
        let keys = self.keys.pin();
        let old = keys.get(&id_of(key.id)).cloned();
        if old.as_ref().is_some_and(|old| old.revision > key.revision) {
            return;
        }
        let closed = writer.keys_in_doubt.contains_key(&key.id);
        let before = writer.before.as_ref().filter(|_| old.is_none());
        let heir_of = before.and_then(|before| before.keys.pin().get(&id_of(key.id)).cloned());
        let heir_of = old.as_deref().or(heir_of.as_deref());
        let Writer {
            interner, slots, ..
        } = &mut *writer;
        let principal = key.settings.principal.as_ref();
        let bound = principal.map(|id| {
            let name = OwnedRef(key.workspace.as_str(), id.as_str());
            slots.bind(&key.workspace, id, || {
                self.principals.pin().get(&name).cloned()
            })
        });
        let shared = interner.shared(key, bound);
        let record = KeyRecord::new(key, heir_of, closed, shared);
        let record = Arc::new(record);
        for secret in &*record.secrets {
            self.replace_holder(secret.tag(), key.id, Some(&record));
        }
        if let Some(old) = old {
            // By tag, not by id: a token may have been imported again since.
            let gone = old
                .secrets
                .iter()
                .map(|s| *s.tag())
                .filter(|tag| !record.secrets.iter().any(|n| n.tag() == tag));
            for tag in gone {
                self.replace_holder(&tag, key.id, None);
            }
        }
        for secret in key.secrets.iter().filter(|s| s.origin == Origin::Generated) {
            self.note_prefix(&key.workspace, &secret.prefix);
        }
        keys.insert(id_of(key.id), record);
    }

    /// Takes a key out.
    pub fn remove_key(&self, id: KeyId) {
        let _writer = self.writer();
        let keys = self.keys.pin();
        if let Some(record) = keys.remove(&id_of(id)) {
            for secret in &*record.secrets {
                self.replace_holder(secret.tag(), id, None);
            }
        }
    }

    /// Refuses keys and workspaces until [`Self::lift`]: whether access was taken from them is not known. Whatever is put
    /// in meanwhile is refused as well.
    pub fn close(&self, keys: &[KeyId], workspaces: &[WorkspaceId]) {
        let mut writer = self.writer();
        writer.doubts += 1;
        let number = writer.doubts;
        for id in keys {
            writer.keys_in_doubt.insert(*id, number);
            if let Some(record) = self.keys.pin().get(&id_of(*id)) {
                record.closed.store(true, Ordering::Release);
            }
        }
        for id in workspaces {
            writer.workspaces_in_doubt.insert(id.clone(), number);
            if let Some(record) = self.workspaces.pin().get(id) {
                record.closed.store(true, Ordering::Release);
            }
        }
    }

    /// What is refused, each with the number of its doubt.
    pub fn closed(&self) -> Closed {
        let writer = self.writer();
        Closed {
            keys: writer
                .keys_in_doubt
                .iter()
                .map(|(id, n)| (*id, *n))
                .collect(),
            workspaces: writer
                .workspaces_in_doubt
                .iter()
                .map(|(id, n)| (id.clone(), *n))
                .collect(),
        }
    }

    /// Ends these doubts, unless there are newer ones: what was read since they arose is to be put in next.
    pub fn lift(&self, closed: &Closed) {
        let mut writer = self.writer();
        for (id, number) in &closed.keys {
            if writer.keys_in_doubt.get(id) == Some(number) {
                writer.keys_in_doubt.remove(id);
            }
        }
        for (id, number) in &closed.workspaces {
            if writer.workspaces_in_doubt.get(id) == Some(number) {
                writer.workspaces_in_doubt.remove(id);
            }
        }
    }

    /// Takes over what is refused in another one, in place of which it is about to be put.
    fn take_doubts(&self, from: &Self) {
        let mut writer = self.writer();
        let theirs = from.writer();
        writer.doubts = theirs.doubts;
        writer.keys_in_doubt.clone_from(&theirs.keys_in_doubt);
        writer
            .workspaces_in_doubt
            .clone_from(&theirs.workspaces_in_doubt);
        let (keys, workspaces) = (self.keys.pin(), self.workspaces.pin());
        for id in writer.keys_in_doubt.keys() {
            if let Some(record) = keys.get(&id_of(*id)) {
                record.closed.store(true, Ordering::Release);
            }
        }
        for id in writer.workspaces_in_doubt.keys() {
            if let Some(record) = workspaces.get(id) {
                record.closed.store(true, Ordering::Release);
            }
        }
    }

    /// Puts a workspace in with its whole catalogue, as they were at revision `at`, in place of an older state of them.
    pub fn put_workspace(&self, workspace: &Workspace, scopes: &[Scope], at: u64) {
        let writer = self.writer();
        let closed = writer.workspaces_in_doubt.contains_key(&workspace.id);
        let record = Arc::new(WorkspaceRecord::new(workspace, scopes, at, closed));
        let workspaces = self.workspaces.pin();
        let old = workspaces.get(&workspace.id);
        if old.is_none_or(|old| old.revision <= record.revision) {
            workspaces.insert(workspace.id.clone(), record);
        }
    }

    /// Takes a workspace out, and all that is left of it.
    pub fn remove_workspace(&self, id: &WorkspaceId) {
        let writer = self.writer();
        self.put_table(id, None);
        self.workspaces.pin().remove(id);
        self.prefixes.pin().remove(id);
        self.subscriptions
            .pin()
            .retain(|Owned(workspace, _), _| workspace != id);
        self.principals.pin().retain(|key, _| {
            let keep = key.0 != *id;
            if !keep {
                writer.slots.put(key, None);
            }
            keep
        });
    }

    /// Puts a subscription in, in place of an older state of it.
    pub fn put_subscription(&self, subscription: &Subscription) {
        let key = Owned(subscription.workspace.clone(), subscription.id.clone());
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
            .remove(&Owned(workspace.clone(), id.clone()));
    }

    /// Puts a principal in, in place of an older state of it: one swap, however many keys are bound to it.
    pub fn put_principal(&self, principal: &Principal) {
        let mut writer = self.writer();
        let key = Owned(principal.workspace.clone(), principal.id.clone());
        let principals = self.principals.pin();
        if principals
            .get(&key)
            .is_none_or(|old| old.revision <= principal.revision)
        {
            let record = PrincipalRecord::new(principal, &mut writer.interner);
            let record = Arc::new(record);
            writer.slots.put(&key, Some(record.clone()));
            principals.insert(key, record);
        }
    }

    /// Takes a principal out.
    pub fn remove_principal(&self, workspace: &WorkspaceId, id: &PrincipalId) {
        let writer = self.writer();
        let key = Owned(workspace.clone(), id.clone());
        writer.slots.put(&key, None);
        self.principals.pin().remove(&key);
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// At every moment a reader finds either the holders before or those after.
    fn replace_holder(&self, tag: &Tag, key: KeyId, with: Option<&Arc<KeyRecord>>) {
        let (tags, held_by_many) = (self.tags.pin(), self.held_by_many.pin());
        let place = Id::of(tag.index());
        let before = match held_by_many.get(&place) {
            Some(many) => many,
            None => tags
                .get(&place)
                .map(std::slice::from_ref)
                .unwrap_or_default(),
        };
        let others = before.iter().filter(|record| record.id() != key);
        let after: Vec<_> = others.chain(with).cloned().collect();
        match after.as_slice() {
            [] => {
                held_by_many.remove(&place);
                tags.remove(&place);
            }
            [one] => {
                tags.insert(place, one.clone());
                held_by_many.remove(&place);
            }
            many => {
                held_by_many.insert(place, many.into());
            }
        }
    }

    fn note_prefix(&self, workspace: &WorkspaceId, prefix: &str) {
        if prefix.is_empty() {
            return;
        }
        let prefixes = self.prefixes.pin();
        let known = prefixes.get(workspace);
        // Beyond that only the name of a reason is less exact; a set without bound would be a way to fill the memory.
        if known.is_none_or(|known| !known.contains(prefix) && known.len() < MAX_PREFIXES) {
            let mut set = known
                .map(|known| BTreeSet::clone(known))
                .unwrap_or_default();
            set.insert(prefix.to_owned());
            prefixes.insert(workspace.clone(), Arc::new(set));
        }
    }
}

fn id_of(key: KeyId) -> Id {
    Id::of(key.as_u128())
}
