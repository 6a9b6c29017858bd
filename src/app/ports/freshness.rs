//! How fresh an index is: when its feed was last known to have nothing new, and how long changes took to get here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::time::Time;

/// Upper ends of the classes that lags are counted in; what took longer is in one more.
pub const LAG_CLASSES: [Duration; 11] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(75),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
];

/// What is known of it, by whoever follows the feed.
#[derive(Debug, Default)]
pub struct Freshness {
    /// When a look at the feed that found everything applied had begun.
    looked: Mutex<Option<Instant>>,
    /// How many changes took how long.
    lags: [AtomicU64; LAG_CLASSES.len() + 1],
    micros: AtomicU64,
    reloads: [AtomicU64; Reload::ALL.len()],
    refused: AtomicBool,
}

/// Why everything was loaded again, into an index that took the place of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// Changes were pruned before they were read.
    Pruned,
    /// The database was given another history.
    Replaced,
}

impl Reload {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::Pruned, Self::Replaced];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pruned => "changes_pruned",
            Self::Replaced => "database_replaced",
        }
    }
}

/// How long changes took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lags {
    /// How many are in each of [`LAG_CLASSES`], and last those beyond them.
    pub counts: [u64; LAG_CLASSES.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Freshness {
    /// All that was there at this moment is applied.
    pub fn looked(&self, at: Instant) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        *looked = (*looked).max(Some(at));
    }

    /// How long ago that was; none where it never was.
    pub fn staleness(&self) -> Option<Duration> {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.map(|at| at.elapsed())
    }

    /// Everything was loaded again.
    pub fn reloaded(&self, why: Reload) {
        if let Some(count) = self.reloads.get(why as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often that was so.
    pub fn reloads(&self, why: Reload) -> u64 {
        let count = self.reloads.get(why as usize);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Whether the database is one that is not followed.
    pub fn refuse(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// The same, to be told.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// A change of another process, made at one moment, was applied here at another one. Two clocks may differ: what seems
    /// to have come before it was made took no time.
    pub fn applied(&self, made: Time, now: Time) {
        let micros = u64::try_from(now.micros().saturating_sub(made.micros())).unwrap_or_default();
        let lag = Duration::from_micros(micros);
        let class = LAG_CLASSES.iter().take_while(|end| lag > **end).count();
        if let Some(count) = self.lags.get(class) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How long changes took so far.
    pub fn lags(&self) -> Lags {
        Lags {
            counts: self.lags.each_ref().map(|n| n.load(Ordering::Relaxed)),
            sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_counted_in_the_first_class_that_holds_it() {
        let fresh = Freshness::default();
        let at = Time::from_micros;
        for (lag, class) in [
            (-7, 0),
            (0, 0),
            (5_000, 0),
            (5_001, 1),
            (10_000_000, 10),
            (10_000_001, 11),
        ] {
            let before = fresh.lags().counts[class];
            fresh.applied(at(1_000_000), at(1_000_000 + lag));
            assert_eq!(fresh.lags().counts[class], before + 1, "{lag}");
        }
        assert_eq!(fresh.lags().counts.iter().sum::<u64>(), 6);
        assert_eq!(fresh.lags().sum, Duration::from_micros(20_010_002));
    }

    #[test]
    fn an_older_look_does_not_undo_a_newer_one() {
        let fresh = Freshness::default();
        assert_eq!(fresh.staleness(), None);
        let now = Instant::now();
        let before = now.checked_sub(Duration::from_secs(3_600)).unwrap_or(now);
        fresh.looked(now);
        fresh.looked(before);
        assert!(fresh.staleness().unwrap() < Duration::from_secs(1_800));
    }
}
