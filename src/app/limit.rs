//! How much is taken at once: the rest is refused at once, so that what was taken is served in time.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::domain::id::WorkspaceId;

/// A limit on what is under way.
#[derive(Debug)]
pub struct Limit {
    most: usize,
    under_way: AtomicUsize,
    shed: AtomicU64,
}

impl Limit {
    /// At most this many at once; 0: none.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            under_way: AtomicUsize::new(0),
            shed: AtomicU64::new(0),
        })
    }

    /// Takes a place, or sheds.
    pub fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let permit = self.take();
        if permit.is_none() {
            self.note_shed();
        }
        permit
    }

    /// Takes a place if there is one.
    fn take(self: &Arc<Self>) -> Option<Permit> {
        let taken = self
            .under_way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < self.most).then(|| n + 1)
            });
        taken.is_ok().then(|| Permit(self.clone()))
    }

    fn note_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Relaxed)
    }

    /// How many were refused so far.
    pub fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }
}

/// A limit that workspaces share: none but `system` gets more than half of it, and `system` has a reserve beside it. So no
/// tenant can keep others from administering, and nobody the administrators of all.
#[derive(Debug)]
pub struct Shares {
    tenants: Arc<Limit>,
    system: Arc<Limit>,
    held: Mutex<HashMap<WorkspaceId, usize>>,
    /// Told whenever a place has become free.
    freed: Notify,
}

impl Shares {
    /// At most this many at once, and a quarter more in reserve for `system`.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            tenants: Limit::new(most),
            system: Limit::new(most.div_ceil(4)),
            held: Mutex::default(),
            freed: Notify::new(),
        })
    }

    /// Takes a place for a workspace, or sheds.
    pub fn acquire(self: &Arc<Self>, workspace: &WorkspaceId) -> Option<Share> {
        let share = self.take(workspace);
        if share.is_none() {
            self.tenants.note_shed();
        }
        share
    }

    /// Takes a place for a workspace, as soon as there is one within this time, or sheds.
    pub async fn acquire_within(
        self: &Arc<Self>,
        workspace: &WorkspaceId,
        patience: Duration,
    ) -> Option<Share> {
        let waiting = async {
            loop {
                // Listening begins before looking: a place that is freed in between is not missed.
                let mut freed = pin!(self.freed.notified());
                freed.as_mut().enable();
                if let Some(share) = self.take(workspace) {
                    return share;
                }
                freed.await;
            }
        };
        let share = tokio::time::timeout(patience, waiting).await.ok();
        if share.is_none() {
            self.tenants.note_shed();
        }
        share
    }

    fn take(self: &Arc<Self>, workspace: &WorkspaceId) -> Option<Share> {
        let share = |permit, of| Share {
            permit: Some(permit),
            of,
            shares: self.clone(),
        };
        if workspace.is_system() {
            let permit = self.system.take().or_else(|| self.tenants.take())?;
            return Some(share(permit, None));
        }
        // The own share first: a place that is taken only to be given back is one that others miss meanwhile.
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(workspace).copied().unwrap_or_default();
        if own >= self.tenants.most.div_ceil(2) {
            return None;
        }
        let permit = self.tenants.take()?;
        held.insert(workspace.clone(), own + 1);
        Some(share(permit, Some(workspace.clone())))
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.tenants.under_way() + self.system.under_way()
    }

    /// How many were refused so far.
    pub fn shed(&self) -> u64 {
        self.tenants.shed() + self.system.shed()
    }
}

/// A place that a workspace holds; dropping it frees it.
#[derive(Debug)]
pub struct Share {
    permit: Option<Permit>,
    /// The workspace it counts for; none: `system`.
    of: Option<WorkspaceId>,
    shares: Arc<Shares>,
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(workspace) = &self.of {
            let mut held = self
                .shares
                .held
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(own) = held.get_mut(workspace) {
                *own -= 1;
                if *own == 0 {
                    held.remove(workspace);
                }
            }
        }
        // The place first, then the word that it is free.
        drop(self.permit.take());
        self.shares.freed.notify_waiters();
    }
}

/// A place under a limit; dropping it frees it.
#[derive(Debug)]
pub struct Permit(Arc<Limit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_workspace_takes_more_than_half_and_system_has_its_own() {
        let shares = Shares::new(4);
        let (a, b): (WorkspaceId, WorkspaceId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let held: Vec<_> = (0..3).map(|_| shares.acquire(&a)).collect();
        assert_eq!(held.iter().flatten().count(), 2);
        assert!(shares.acquire(&b).is_some());
        assert!(shares.acquire(&WorkspaceId::system()).is_some());
        drop(held);
        assert_eq!((shares.under_way(), shares.shed()), (0, 1));
        assert!(shares.held.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_waits_for_a_place_gets_it_when_it_is_freed_and_is_shed_when_it_is_not() {
        let shares = Shares::new(2);
        let a: WorkspaceId = "a".parse().unwrap();
        let held = shares.acquire(&a).unwrap();
        assert!(shares.acquire_within(&a, Duration::ZERO).await.is_none());
        let patience = Duration::from_secs(60);
        let (share, ()) = futures::future::join(shares.acquire_within(&a, patience), async {
            drop(held);
        })
        .await;
        assert!(share.is_some());
        drop(share);
        assert_eq!((shares.under_way(), shares.shed()), (0, 1));
    }

    #[test]
    fn what_is_over_the_limit_is_shed_and_places_come_back() {
        let limit = Limit::new(1);
        let first = limit.acquire();
        assert!(first.is_some() && limit.acquire().is_none());
        drop(first);
        assert!(limit.acquire().is_some());
        assert_eq!((limit.under_way(), limit.shed()), (0, 1));
        assert!(Limit::new(0).acquire().is_none());
    }
}
