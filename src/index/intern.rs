//! One copy of what many keys share: sets of scopes, networks, subscriptions, and all settings that are seldom a key's own.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::domain::id::SubscriptionId;
use crate::domain::key::Key;
use crate::domain::network::IpNet;
use crate::domain::scope::Grant;

use super::bound::Bound;
use super::record::Shared;

/// What is in use.
#[derive(Debug, Default)]
pub(super) struct Interner {
    grants: Sets<Grant>,
    networks: Sets<IpNet>,
    subscriptions: Sets<SubscriptionId>,
    /// Of scopes, as routes demand them.
    pub(super) demands: Sets<String>,
    shared: Known<Shared>,
}

impl Interner {
    /// The one copy of these grants.
    pub(super) fn grants(&mut self, grants: &[Grant]) -> Arc<[Grant]> {
        self.grants.get(grants)
    }

    /// The one copy of what this key has in common with others.
    pub(super) fn shared(&mut self, key: &Key, bound: Option<Bound>) -> Arc<Shared> {
        let settings = &key.settings;
        let labels = &settings.labels;
        self.shared.get(Shared {
            workspace: key.workspace.clone(),
            scopes: self.grants.get(&settings.scopes),
            scope_source: settings.scope_source,
            principal: settings.principal.clone(),
            bound,
            subscriptions: self.subscriptions.get(&settings.subscriptions),
            allowed_cidrs: self.networks.get(&settings.allowed_cidrs),
            enforcement: settings.enforcement,
            off_the_record: settings.off_the_record,
            postback_url: settings.postback_url.as_str().into(),
            labels: (!labels.is_empty()).then(|| Box::new(labels.clone())),
            admin_only: settings.lists_only_rights(),
        })
    }
}

/// The things of one kind in use. Those that no key uses any more are swept out as the table grows.
#[derive(Debug)]
pub(super) struct Known<T: ?Sized> {
    known: HashSet<Arc<T>>,
    sweep_at: usize,
}

pub(super) type Sets<T> = Known<[T]>;

impl<T: ?Sized> Default for Known<T> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            sweep_at: 1_024,
        }
    }
}

impl<T: ?Sized + Eq + Hash> Known<T> {
    fn keep(&mut self, new: Arc<T>) -> Arc<T> {
        self.known.insert(new.clone());
        if self.known.len() > self.sweep_at {
            // What only this table still holds is used by no key.
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = (self.known.len() * 2).max(1_024);
        }
        new
    }
}

impl<T: Eq + Hash> Known<T> {
    /// The one copy of this.
    fn get(&mut self, new: T) -> Arc<T> {
        match self.known.get(&new) {
            Some(known) => known.clone(),
            None => self.keep(Arc::new(new)),
        }
    }
}

impl<T: Eq + Hash + Clone> Sets<T> {
    /// The one copy of this set.
    pub(super) fn get(&mut self, set: &[T]) -> Arc<[T]> {
        match self.known.get(set) {
            Some(known) => known.clone(),
            None => self.keep(Arc::from(set)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_one_and_unused_ones_go() {
        let mut sets = Sets::default();
        let first = sets.get(&[1, 2]);
        assert!(Arc::ptr_eq(&first, &sets.get(&[1, 2])));
        for n in 0..5_000 {
            drop(sets.get(&[n]));
        }
        assert!(sets.known.len() <= 1_025, "{}", sets.known.len());
        assert!(Arc::ptr_eq(&first, &sets.get(&[1, 2])));
    }
}
