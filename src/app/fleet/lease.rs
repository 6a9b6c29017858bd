//! A lease as its holder counts it: from before it asked, and on a clock that goes on while the machine sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::domain::replica::{LEASE, MARGIN};

/// The time since the machine was started, with the time that it slept (`CLOCK_BOOTTIME`): a process that was suspended
/// must not take its lease for good.
pub type SinceBoot = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Whether the process may decide. Read by every decision.
pub struct Lease {
    strict: bool,
    since_boot: SinceBoot,
    joined: AtomicBool,
    /// When it is over, in milliseconds since the machine was started.
    until: AtomicU64,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease")
            .field("strict", &self.strict)
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Lease {
    /// A lease that was not given yet. Only a strict one ends what it allows.
    pub fn new(strict: bool, since_boot: SinceBoot) -> Self {
        Self {
            strict,
            since_boot,
            joined: AtomicBool::new(false),
            until: AtomicU64::new(0),
        }
    }

    /// Now, on the clock that it is counted on.
    pub fn now(&self) -> Duration {
        (self.since_boot)()
    }

    /// Whether the process may decide now.
    pub fn may_decide(&self) -> bool {
        self.joined.load(Ordering::Acquire) && (!self.strict || self.is_held())
    }

    fn is_held(&self) -> bool {
        millis(self.now()) < self.until.load(Ordering::Acquire)
    }

    /// It was given to one who is about to join, and asked for it at this moment.
    pub fn begin(&self, asked: Duration) {
        self.joined.store(false, Ordering::Release);
        self.put(asked);
    }

    /// It was given anew to one who asked at this moment. False where it was over before the answer came: others may have
    /// taken the process to have stopped in between.
    pub fn extend(&self, asked: Duration) -> bool {
        let joined = self.joined.load(Ordering::Acquire);
        if !self.is_held() && (self.strict || !joined) {
            self.joined.store(false, Ordering::Release);
            return false;
        }
        self.put(asked);
        self.joined.store(true, Ordering::Release);
        true
    }

    /// The one of before the start is taken up, which has no end; not by one that stops without.
    pub fn resume(&self) {
        self.joined.store(!self.strict, Ordering::Release);
    }

    /// It is given back.
    pub fn end(&self) {
        self.joined.store(false, Ordering::Release);
    }

    fn put(&self, asked: Duration) {
        let until = asked + LEASE.saturating_sub(MARGIN);
        self.until.store(millis(until), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    fn since_boot() -> Duration {
        Duration::from_millis(NOW.get())
    }

    fn lease(strict: bool) -> Lease {
        NOW.set(10_000);
        Lease::new(strict, Arc::new(since_boot))
    }

    #[test]
    fn nobody_decides_before_it_has_joined() {
        for strict in [false, true] {
            let lease = lease(strict);
            assert!(!lease.may_decide());
            lease.begin(lease.now());
            assert!(!lease.may_decide());
            assert!(lease.extend(lease.now()));
            assert!(lease.may_decide());
            lease.end();
            assert!(!lease.may_decide());
        }
    }

    #[test]
    fn a_strict_one_stops_a_second_before_the_fleet_may_think_so_counted_from_when_it_asked() {
        let lease = lease(true);
        lease.begin(lease.now());
        let asked = lease.now();
        // The answer took two seconds.
        NOW.set(12_000);
        assert!(lease.extend(asked));
        NOW.set(13_999);
        assert!(lease.may_decide());
        NOW.set(14_000);
        assert!(!lease.may_decide());
    }

    #[test]
    fn an_answer_that_comes_after_the_end_extends_nothing() {
        for (strict, goes_on) in [(true, false), (false, true)] {
            let lease = lease(strict);
            lease.begin(lease.now());
            assert!(lease.extend(lease.now()));
            let asked = Duration::from_millis(13_900);
            NOW.set(14_100);
            assert_eq!(lease.extend(asked), goes_on);
            assert_eq!(lease.may_decide(), goes_on);
        }
    }

    #[test]
    fn who_takes_too_long_to_join_has_not_joined() {
        for strict in [false, true] {
            let lease = lease(strict);
            lease.begin(lease.now());
            NOW.set(14_000);
            assert!(!lease.extend(lease.now()));
            assert!(!lease.may_decide());
        }
    }
}
