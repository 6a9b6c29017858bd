//! A digest over all that decisions depend on, of an index at one revision and of what a database holds: where they are
//! equal, so are the decisions.
//!
//! Each record is hashed for itself (SHA-256), and what is hashed is added up by kind, modulo 2^256, and counted: the order
//! does not matter, so that neither side has to sort or to hold anything. Records that differ by accident are as unlikely to
//! come to the same sum as two digests are to be the same. It is no proof against somebody who chooses records so that they
//! do; who can do that can write to the database.
//!
//! Left out is what is no state of the database (doubts, what decisions leave behind), and which prefixes a workspace has
//! issued: that only names a reason, and is not forgotten with a key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::{mem, vec};

use crate::domain::id::{KeyId, PrincipalId, WorkspaceId};
use crate::domain::key::Key;
use crate::domain::principal::Principal;
use crate::domain::route::Route;
use crate::domain::workspace::{Scope, Subscription, Workspace};

use super::bound::Slots;
use super::hash::{Owned, OwnedRef};
use super::intern::Interner;
use super::record::{Id, KeyRecord, PrincipalRecord, WorkspaceRecord, hashed};
use super::routes::claimed_by;
use super::{Index, id_of};

/// How many records are digested in one step: few enough that what waits for the step notices nothing.
const STEP: usize = 128;

/// What there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Workspaces, without their catalogues.
    Workspaces,
    /// Entries of catalogues.
    Scopes,
    /// Subscriptions.
    Subscriptions,
    /// Principals.
    Principals,
    /// Routes.
    Routes,
    /// Hosts that say whose a request is.
    Hosts,
    /// Keys, dead ones too.
    Keys,
    /// Secrets, as they are found by what is presented, each with the key it is of.
    Secrets,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Workspaces,
        Self::Scopes,
        Self::Subscriptions,
        Self::Principals,
        Self::Routes,
        Self::Hosts,
        Self::Keys,
        Self::Secrets,
    ];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspaces => "workspaces",
            Self::Scopes => "scopes",
            Self::Subscriptions => "subscriptions",
            Self::Principals => "principals",
            Self::Routes => "routes",
            Self::Hosts => "hosts",
            Self::Keys => "keys",
            Self::Secrets => "secrets",
        }
    }
}

/// All records of a kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum {
    /// How many there are.
    pub count: u64,
    /// The sum of their digests, the lowest 64 bits first.
    limbs: [u64; 4],
}

impl Sum {
    fn add(&mut self, digest: [u8; 32]) {
        self.count += 1;
        let (limbs, _) = digest.as_chunks::<8>();
        let mut carry = false;
        for (limb, more) in self.limbs.iter_mut().zip(limbs) {
            (*limb, carry) = limb.carrying_add(u64::from_le_bytes(*more), carry);
        }
    }

    /// The sum, to be shown.
    pub fn digest(&self) -> String {
        let limbs = self.limbs.iter().rev();
        limbs.map(|limb| format!("{limb:016x}")).collect()
    }
}

/// Everything, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Digest([Sum; Kind::ALL.len()]);

impl Digest {
    /// All records of a kind.
    pub fn of(&self, kind: Kind) -> Sum {
        self.0.get(kind as usize).copied().unwrap_or_default()
    }

    fn add(&mut self, kind: Kind, digest: [u8; 32]) {
        if let Some(sum) = self.0.get_mut(kind as usize) {
            sum.add(digest);
        }
    }

    fn add_workspace(&mut self, workspace: &WorkspaceRecord) {
        self.add(Kind::Workspaces, workspace.digest());
        for (name, scope) in &workspace.scopes {
            self.add(Kind::Scopes, scope.digest(&workspace.id, name));
        }
    }

    fn add_host(&mut self, host: &[u8], workspace: &WorkspaceId) {
        self.add(Kind::Hosts, hashed::of_json(&(host, workspace)));
    }

    /// Adds a key, and those of its secrets that `found` says lead to it.
    fn add_key(&mut self, key: &KeyRecord, found: impl Fn(usize) -> bool) {
        let digest = key.digest();
        self.add(Kind::Keys, digest);
        for (n, secret) in key.secrets.iter().enumerate() {
            if found(n) {
                self.add(Kind::Secrets, secret.digest(&digest));
            }
        }
    }
}

/// Takes the digest of what a load brings. Nothing of it is held but which hosts are claimed.
#[derive(Debug, Default)]
pub struct Pieces {
    digest: Digest,
    interner: Interner,
    slots: Slots,
    hosts: BTreeMap<Box<[u8]>, WorkspaceId>,
}

impl Pieces {
    /// Takes a workspace with its catalogue.
    pub fn put_workspace(&mut self, workspace: &Workspace, scopes: &[Scope]) {
        let record = WorkspaceRecord::new(workspace, scopes, 0, false);
        self.digest.add_workspace(&record);
    }

    /// Takes a subscription.
    pub fn put_subscription(&mut self, subscription: &Subscription) {
        let state = (subscription.enabled, subscription.revision);
        let place = (&subscription.workspace, &subscription.id);
        self.digest
            .add(Kind::Subscriptions, hashed::of_json(&(place, state)));
    }

    /// Takes a route.
    pub fn put_route(&mut self, route: &Route) {
        self.digest.add(Kind::Routes, hashed::of_route(route));
        for host in claimed_by(route) {
            self.hosts.insert(host.into(), route.workspace.clone());
        }
    }

    /// Takes a principal.
    pub fn put_principal(&mut self, principal: &Principal) {
        let record = PrincipalRecord::new(principal, &mut self.interner);
        let digest = record.digest(&principal.workspace, &principal.id);
        self.digest.add(Kind::Principals, digest);
    }

    /// Takes a key with its secrets.
    pub fn put_key(&mut self, key: &Key) {
        // Which it is does not count, but that there is one.
        let principal = key.settings.principal.as_ref();
        let bound = principal.map(|id| self.slots.bind(&key.workspace, id, || None));
        let shared = self.interner.shared(key, bound);
        let record = KeyRecord::new(key, None, false, shared);
        self.digest.add_key(&record, |_| true);
    }

    /// The digest of all of it.
    pub fn end(mut self) -> Digest {
        for (host, workspace) in &self.hosts {
            self.digest.add_host(host, workspace);
        }
        self.digest
    }
}

/// Takes the digest of an index as it was when this began, in steps between which changes go on. Whoever applies changes
/// shows what they are about to change, and makes none while a step is taken.
#[derive(Debug)]
pub struct Walk {
    index: Arc<Index>,
    digest: Digest,
    keys: vec::IntoIter<Id>,
    tags: vec::IntoIter<Id>,
    principals: vec::IntoIter<Owned<PrincipalId>>,
    /// What has changed since, as it was; none: it was not there.
    keys_before: HashMap<Id, Option<Arc<KeyRecord>>>,
    principals_before: HashMap<Owned<PrincipalId>, Option<Arc<PrincipalRecord>>>,
}

impl Index {
    /// Who a tag leads to.
    fn holders(&self, place: Id) -> Vec<Arc<KeyRecord>> {
        match self.held_by_many.pin().get(&place) {
            Some(many) => many.to_vec(),
            None => self.tags.pin().get(&place).cloned().into_iter().collect(),
        }
    }

    /// Whether a secret of a key leads to this very state of it.
    fn is_found(&self, key: &Arc<KeyRecord>, secret: usize) -> bool {
        let secret = key.secrets.get(secret);
        let place = secret.map(|secret| Id::of(secret.tag().index()));
        let holders = place.map(|place| self.holders(place)).unwrap_or_default();
        holders.iter().any(|holder| Arc::ptr_eq(holder, key))
    }

    /// Whether a key leads to its principal as that is.
    fn is_bound(&self, key: &KeyRecord) -> bool {
        let Some(id) = &key.principal else {
            return key.bound.is_none();
        };
        let principals = self.principals.pin();
        let now = principals.get(&OwnedRef(key.workspace.as_str(), id.as_str()));
        let bound = key.bound.as_ref();
        bound.is_some_and(|bound| bound.leads_to(now))
    }

    /// What a tag leads to that is no state of a key any more, or has no such secret.
    fn strays(&self, place: Id) -> Vec<Arc<KeyRecord>> {
        let keys = self.keys.pin();
        let mut holders = self.holders(place);
        holders.retain(|holder| {
            let stands = keys.get(&id_of(holder.id()));
            let mut secrets = holder.secrets.iter();
            !stands.is_some_and(|key| Arc::ptr_eq(key, holder))
                || !secrets.any(|secret| Id::of(secret.tag().index()) == place)
        });
        holders
    }
}

impl Walk {
    /// Begins at the index as it is now. What there are few of is digested at once.
    pub fn begin(index: Arc<Index>) -> Self {
        let mut digest = Digest::default();
        for workspace in index.workspaces.pin().values() {
            digest.add_workspace(workspace);
        }
        for (Owned(workspace, id), state) in &index.subscriptions.pin() {
            let state = (state.enabled, state.revision);
            let place = (workspace, id);
            digest.add(Kind::Subscriptions, hashed::of_json(&(place, state)));
        }
        for table in index.routes.pin().values() {
            for route in table.iter() {
                digest.add(Kind::Routes, hashed::of_route(route));
            }
        }
        for (host, workspace) in &index.hosts.pin() {
            digest.add_host(host, workspace);
        }
        let keys: Vec<Id> = index.keys.pin().keys().copied().collect();
        let tags: Vec<Id> = index.tags.pin().keys().copied().collect();
        let principals: Vec<_> = index.principals.pin().keys().cloned().collect();
        Self {
            index,
            digest,
            keys: keys.into_iter(),
            tags: tags.into_iter(),
            principals: principals.into_iter(),
            keys_before: HashMap::new(),
            principals_before: HashMap::new(),
        }
    }

    /// A key is about to change.
    pub fn changes_key(&mut self, id: KeyId) {
        let id = id_of(id);
        let keys = self.index.keys.pin();
        let before = self.keys_before.entry(id);
        before.or_insert_with(|| keys.get(&id).cloned());
    }

    /// A principal is about to change.
    pub fn changes_principal(&mut self, workspace: &WorkspaceId, id: &PrincipalId) {
        let place = Owned(workspace.clone(), id.clone());
        let principals = self.index.principals.pin();
        let now = principals.get(&place).cloned();
        self.principals_before.entry(place).or_insert(now);
    }

    /// A workspace is about to go, with all that is left of it.
    pub fn changes_workspace(&mut self, workspace: &WorkspaceId) {
        for (place, record) in &self.index.principals.pin() {
            if place.0 == *workspace {
                let before = self.principals_before.entry(place.clone());
                before.or_insert_with(|| Some(record.clone()));
            }
        }
    }

    /// Goes on for a little; false: there was nothing left.
    pub fn step(&mut self) -> bool {
        let (keys, principals) = (self.index.keys.pin(), self.index.principals.pin());
        let mut left = STEP;
        for id in self.keys.by_ref().take(left) {
            left -= 1;
            match self.keys_before.get(&id) {
                // Its tags are those of its new state.
                Some(before) => before
                    .iter()
                    .for_each(|key| self.digest.add_key(key, |_| true)),
                None => keys.get(&id).into_iter().for_each(|key| {
                    let found = |n| self.index.is_found(key, n);
                    self.digest.add_key(key, found);
                    if !self.index.is_bound(key) {
                        self.digest.add(Kind::Principals, key.digest());
                    }
                }),
            }
        }
        for place in self.principals.by_ref().take(mem::take(&mut left)) {
            let now = || principals.get(&place).cloned();
            let before = self.principals_before.get(&place).cloned();
            if let Some(record) = before.unwrap_or_else(now) {
                let digest = record.digest(&place.0, &place.1);
                self.digest.add(Kind::Principals, digest);
            }
        }
        for place in self.tags.by_ref().take(STEP) {
            for stray in self.index.strays(place) {
                self.digest.add(Kind::Secrets, stray.digest());
            }
        }
        self.keys.len() + self.tags.len() + self.principals.len() > 0
    }

    /// The digest, at the end.
    pub fn end(self) -> Digest {
        self.digest
    }
}
