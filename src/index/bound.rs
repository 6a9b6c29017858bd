//! Principals at the hand of the keys that are bound to them: a decision follows a pointer to what its key's principal may,
//! where a look-up by two names would wait for memory half a dozen times. One slot for each principal, however many keys are
//! bound to it, so that it still changes in one swap.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::domain::id::{PrincipalId, WorkspaceId};

use super::PrincipalRecord;
use super::hash::Owned;

/// What a principal may, as it is now; empty where there is none of its name.
#[derive(Debug, Default)]
struct Slot(ArcSwapOption<PrincipalRecord>);

/// What a key that is bound to a principal has of it. There is one for each name: two that are equal but for it are equal.
#[derive(Debug, Clone)]
pub(super) struct Bound(Arc<Slot>);

impl Bound {
    /// Whether this is the principal in the slot; none: whether there is none.
    pub(super) fn leads_to(&self, principal: Option<&Arc<PrincipalRecord>>) -> bool {
        let now = self.0.0.load();
        now.as_ref().map(Arc::as_ptr) == principal.map(Arc::as_ptr)
    }
}

impl PartialEq for Bound {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Bound {}

impl Hash for Bound {
    fn hash<H: Hasher>(&self, _: &mut H) {
        // The name is hashed beside it.
    }
}

/// The slots of all principals that keys are bound to. For writers.
#[derive(Debug)]
pub(super) struct Slots {
    known: HashMap<Owned<PrincipalId>, Bound>,
    sweep_at: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            known: HashMap::new(),
            sweep_at: 1_024,
        }
    }
}

impl Slots {
    /// The slot of a principal that a key is bound to; a new one holds what `now` says.
    pub(super) fn bind(
        &mut self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
        now: impl FnOnce() -> Option<Arc<PrincipalRecord>>,
    ) -> Bound {
        let name = Owned(workspace.clone(), id.clone());
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        if self.known.len() >= self.sweep_at {
            // What only this table holds is bound to by no key.
            self.known
                .retain(|_, bound| Arc::strong_count(&bound.0) > 1);
            self.sweep_at = (self.known.len() * 2).max(1_024);
        }
        let bound = Bound(Arc::new(Slot(ArcSwapOption::new(now()))));
        self.known.insert(name, bound.clone());
        bound
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Puts a principal in its slot, if keys are bound to it; or says that there is none.
    pub(super) fn put(&self, name: &Owned<PrincipalId>, now: Option<Arc<PrincipalRecord>>) {
        if let Some(bound) = self.known.get(name) {
            bound.0.0.store(now);
        }
    }
}

/// The principal of the first key that a decision asks it of, in the state in which it was found: the decision asks again.
#[derive(Debug, Default)]
pub(super) struct Acting(OnceCell<(*const Slot, Guard<Option<Arc<PrincipalRecord>>>)>);

impl Acting {
    /// What is in a slot, if it is that of the first key.
    pub(super) fn of(&self, bound: &Bound) -> Option<Option<&PrincipalRecord>> {
        let slot = Arc::as_ptr(&bound.0);
        let (first, now) = self.0.get_or_init(|| (slot, bound.0.0.load()));
        (*first == slot).then_some(now.as_deref())
    }
}
