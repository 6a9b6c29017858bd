//! One copy of what many keys share: sets of scopes, networks, subscriptions.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::domain::id::SubscriptionId;
use crate::domain::network::IpNet;
use crate::domain::scope::Grant;

/// The sets in use.
#[derive(Debug, Default)]
pub(super) struct Interner {
    pub(super) grants: Sets<Grant>,
    pub(super) networks: Sets<IpNet>,
    pub(super) subscriptions: Sets<SubscriptionId>,
}

/// The sets of one kind in use. Those that no key uses any more are swept out as the table grows.
#[derive(Debug)]
pub(super) struct Sets<T> {
    known: HashSet<Arc<[T]>>,
    sweep_at: usize,
}

impl<T> Default for Sets<T> {
    fn default() -> Self {
        Self {
            known: HashSet::new(),
            sweep_at: 1_024,
        }
    }
}

impl<T: Eq + Hash + Clone> Sets<T> {
    /// The one copy of this set.
    pub(super) fn get(&mut self, set: &[T]) -> Arc<[T]> {
        if let Some(known) = self.known.get(set) {
            return known.clone();
        }
        let set: Arc<[T]> = Arc::from(set);
        self.known.insert(set.clone());
        if self.known.len() > self.sweep_at {
            // A set that only this table still holds is used by no key.
            self.known.retain(|set| Arc::strong_count(set) > 1);
            self.sweep_at = (self.known.len() * 2).max(1_024);
        }
        set
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
