//! Which grants of keys decisions made use of, on their way to whoever writes it down.

use std::collections::{BTreeSet, HashMap};
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::app::Core;
use crate::app::ports::StoreError;
use crate::decide::Demands;
use crate::domain::id::KeyId;
use crate::index::{KeyRecord, PrincipalRecord};

/// Grants that wait to be written. A key and a grant come here once in the life of a record, and stay at most until the next
/// flush that succeeds: bounded by what keys grant.
#[derive(Debug, Default)]
pub struct ExercisedGrants {
    pending: Mutex<HashMap<KeyId, BTreeSet<String>>>,
}

impl ExercisedGrants {
    /// Notes what a decision that allowed made use of; of a key that lists nothing, of what its principal may. Nothing is noted
    /// of keys that are off the record.
    pub fn note(
        &self,
        demands: &Demands<'_>,
        key: &KeyRecord,
        principal: Option<&PrincipalRecord>,
    ) {
        if key.off_the_record || key.is_exercised_whole(principal) {
            return;
        }
        let granted = key.granted(principal);
        for (all_of, any_of) in demands {
            let any = any_of.iter().find(|scope| granted.covers(scope));
            for scope in all_of.iter().chain(any) {
                if let Some(grant) = key.exercise(scope, principal) {
                    let grant = grant.as_str().to_owned();
                    self.pending().entry(key.id()).or_default().insert(grant);
                }
            }
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<KeyId, BTreeSet<String>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Writes down what waits; what can't be written goes on waiting. Returns of how many keys it was.
    pub async fn flush_exercised(&self) -> Result<usize, StoreError> {
        let taken = mem::take(&mut *self.exercised.pending());
        if taken.is_empty() {
            return Ok(0);
        }
        let used: Vec<_> = taken
            .iter()
            .map(|(key, grants)| (*key, grants.iter().cloned().collect()))
            .collect();
        let written = self.store.flush_exercised(&used).await;
        if written.is_err() {
            let mut pending = self.exercised.pending();
            for (key, grants) in taken {
                pending.entry(key).or_default().extend(grants);
            }
        }
        written.map(|()| used.len())
    }

    /// Which grants of a key this process saw being made use of.
    pub(in crate::app) fn exercised_here(&self, key: KeyId) -> BTreeSet<String> {
        let waiting = self.exercised.pending().get(&key).cloned();
        let mut all = waiting.unwrap_or_default();
        let index = self.index.now();
        let view = index.view();
        if let Some(record) = view.key(key) {
            let used = record.exercised(view.principal_of(record));
            all.extend(used.map(|grant| grant.as_str().to_owned()));
        }
        all
    }
}
