//! The index that decisions are made with now, and how another one takes its place.
//!
//! Invariants: a decision sees one index from its beginning to its end; another one takes the place only when it is whole;
//! what is refused in doubt stays so across the change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};

use super::{Closed, Index, RouteTable};
use crate::domain::id::{KeyId, SecretId, WorkspaceId};
use crate::domain::revision::Revision;
use crate::domain::time::Time;

/// The index that is in force, held for as long as something is read from it. Keep it short: what it holds stays in memory.
pub type Now = Guard<Arc<Index>>;

/// The place of the index that is in force.
#[derive(Debug)]
pub struct Live {
    now: ArcSwap<Index>,
    /// Held where something is closed, and while an index takes the place of another: nothing is closed in one that is on
    /// its way out.
    turn: Mutex<()>,
}

impl Live {
    /// The place of this one.
    pub fn new(index: Index) -> Self {
        Self {
            now: ArcSwap::from_pointee(index),
            turn: Mutex::default(),
        }
    }

    /// The index to decide with: no lock, no memory, no count that others write to.
    pub fn now(&self) -> Now {
        self.now.load()
    }

    /// The same, for who writes to it.
    pub fn whole(&self) -> Arc<Index> {
        self.now.load_full()
    }

    /// Puts another one in its place, in one step, with what is refused in doubt; returns the one before, which those who
    /// are at it go on reading.
    pub fn replace(&self, by: Index) -> Arc<Index> {
        let _turn = self.turn();
        by.take_doubts(&self.now());
        self.now.swap(Arc::new(by))
    }

    /// Refuses keys and workspaces until [`Index::lift`]: whether access was taken from them is not known.
    pub fn close(&self, keys: &[KeyId], workspaces: &[WorkspaceId]) {
        let _turn = self.turn();
        self.now().close(keys, workspaces);
    }

    /// What is refused, each with the number of its doubt.
    pub fn closed(&self) -> Closed {
        self.now().closed()
    }

    /// Which history it follows.
    pub fn epoch(&self) -> u32 {
        self.now().epoch()
    }

    /// The revision it has reached: every change up to it is in force.
    pub fn applied(&self) -> Revision {
        self.now().applied()
    }

    /// Whether it is whole.
    pub fn is_loaded(&self) -> bool {
        self.now().is_loaded()
    }

    /// How many keys and secrets it holds, dead ones too.
    pub fn len(&self) -> (usize, usize) {
        self.now().len()
    }

    /// Whether it holds no key.
    pub fn is_empty(&self) -> bool {
        self.now().is_empty()
    }

    /// When a secret was last used, as far as this process knows.
    pub fn last_used(&self, key: KeyId, secret: SecretId) -> Option<Time> {
        self.now().last_used(key, secret)
    }

    /// The routes of a workspace, as they are now.
    pub fn routes_of(&self, workspace: &str) -> Option<Arc<RouteTable>> {
        self.now().routes_of(workspace)
    }

    /// The routes of all workspaces, as they are now.
    pub fn all_routes(&self) -> Vec<Arc<RouteTable>> {
        self.now().all_routes()
    }

    /// Whose a host is, as a request says it.
    pub fn workspace_of_host(&self, host: &[u8]) -> Option<WorkspaceId> {
        self.now().workspace_of_host(host)
    }

    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
