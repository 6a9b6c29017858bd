//! What became of attempts to deliver, counted for whoever watches.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::app::ports::outbox::{OutboxState, Sent};
use crate::domain::postback::{DeliveryState, Failure};
use crate::domain::time::Time;

/// Counts of this process, and the last look at what the database holds.
#[derive(Debug, Default)]
pub struct PostbackCounts {
    delivered: AtomicU64,
    died: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
    missed: AtomicU64,
    pending: AtomicU64,
    dead: AtomicU64,
    oldest_age_micros: AtomicI64,
}

impl PostbackCounts {
    /// Notes an attempt and where the delivery stands after it.
    pub fn attempted(&self, sent: Sent, state: DeliveryState) {
        match state {
            DeliveryState::Delivered => self.delivered.fetch_add(1, Ordering::Relaxed),
            DeliveryState::Dead => self.died.fetch_add(1, Ordering::Relaxed),
            DeliveryState::Pending => 0,
        };
        if let Some(count) = sent.failure.and_then(|f| self.failed.get(f.index())) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that an event of a stranger was passed over: too many at once.
    pub fn miss(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes what the database holds.
    pub fn look(&self, state: OutboxState, now: Time) {
        self.pending.store(state.pending, Ordering::Relaxed);
        self.dead.store(state.dead, Ordering::Relaxed);
        let age = state.oldest.map_or(0, |t| now.micros() - t.micros());
        self.oldest_age_micros.store(age.max(0), Ordering::Relaxed);
    }

    /// Events delivered by this process.
    pub fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Events given up by this process.
    pub fn died(&self) -> u64 {
        self.died.load(Ordering::Relaxed)
    }

    /// Attempts of this process that failed so.
    pub fn failed(&self, failure: Failure) -> u64 {
        let count = self.failed.get(failure.index());
        count.map_or(0, |n| n.load(Ordering::Relaxed))
    }

    /// Events of strangers that were passed over.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Deliveries that are pending in the database, and dead ones.
    pub fn held(&self) -> (u64, u64) {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        (read(&self.pending), read(&self.dead))
    }

    /// How old the oldest pending delivery was when the database was last looked at, in whole seconds.
    pub fn oldest_age_seconds(&self) -> i64 {
        self.oldest_age_micros.load(Ordering::Relaxed) / 1_000_000
    }
}
