//! How much is taken at once: the rest is refused at once, so that what was taken is served in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
        let taken = self
            .under_way
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < self.most).then(|| n + 1)
            });
        if taken.is_err() {
            self.shed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(Permit(self.clone()))
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
