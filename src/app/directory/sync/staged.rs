//! What was sent of a synchronisation, held until it is certain that it is all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::app::error::Error;
use crate::domain::id::PrincipalId;
use crate::domain::scope::Grant;

/// Most principals of one synchronisation: they are held in memory.
const MOST_STAGED: usize = 250_000;
/// Most faults that are told; all are counted.
const MOST_FAULTS: usize = 1_000;

/// What a principal is to be.
#[derive(Debug)]
pub struct Wanted {
    /// A name for people.
    pub display_name: String,
    /// Switched on.
    pub enabled: bool,
    /// What it may do, sorted, without doubles.
    pub scopes: Vec<Grant>,
}

/// What has been sent so far.
#[derive(Debug, Default)]
pub struct Staged {
    received: u64,
    pub(super) wanted: HashMap<PrincipalId, Place>,
    pub(super) faults: Faults,
    /// One copy of what many may.
    scopes: HashSet<Arc<[Grant]>>,
}

/// What was sent of a principal, and at which place; nothing where it was at fault.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) index: u64,
    pub(super) wanted: Option<Staying>,
}

/// What it is to be.
#[derive(Debug)]
pub(super) struct Staying {
    pub(super) display_name: Box<str>,
    pub(super) enabled: bool,
    pub(super) scopes: Arc<[Grant]>,
}

/// Why one principal was refused.
#[derive(Debug)]
pub struct SyncFault {
    /// Its place among those that were sent, from 0.
    pub index: u64,
    /// Its id, or what was sent as such.
    pub id: String,
    /// Why.
    pub error: Error,
}

/// What was refused: the first are told, all are counted.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) count: u64,
    pub(super) first: Vec<SyncFault>,
}

impl Faults {
    pub(super) fn add(&mut self, index: u64, id: String, error: Error) {
        self.count += 1;
        if self.first.len() < MOST_FAULTS {
            self.first.push(SyncFault { index, id, error });
        }
    }
}

impl Staged {
    /// How many were sent.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes one more: its id as it was sent, and what it is to be, or why it can't be.
    pub fn add(
        &mut self,
        id: Result<PrincipalId, (String, Error)>,
        wanted: Result<Wanted, Error>,
    ) -> Result<(), Error> {
        let index = self.received;
        self.received += 1;
        let id = match id {
            Ok(id) => id,
            Err((text, error)) => {
                self.faults.add(index, text, error);
                return Ok(());
            }
        };
        if self.wanted.contains_key(&id) {
            let mut error =
                Error::invalid("principal.id", "was sent before; send each principal once");
            error.reason = "SENT_TWICE";
            self.faults.add(index, id.to_string(), error);
            return Ok(());
        }
        if self.wanted.len() >= MOST_STAGED {
            return Err(Error::precondition(
                "TOO_MANY_PRINCIPALS",
                format!(
                    "a synchronisation takes at most {MOST_STAGED} principals; nothing was applied; send them in parts, in mode UPSERT"
                ),
            ));
        }
        let wanted = match wanted {
            Ok(wanted) => Some(Staying {
                display_name: wanted.display_name.into(),
                enabled: wanted.enabled,
                scopes: self.one_copy(&wanted.scopes),
            }),
            Err(error) => {
                self.faults.add(index, id.to_string(), error);
                None
            }
        };
        self.wanted.insert(id, Place { index, wanted });
        Ok(())
    }

    fn one_copy(&mut self, scopes: &[Grant]) -> Arc<[Grant]> {
        if let Some(known) = self.scopes.get(scopes) {
            return known.clone();
        }
        let new: Arc<[Grant]> = scopes.into();
        self.scopes.insert(new.clone());
        new
    }
}
