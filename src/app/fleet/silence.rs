//! Who of the fleet is silent: has said nothing for a whole lease, as this process saw it, by its own clock.
//!
//! No two clocks are compared, so it does not matter how any is set, or that somebody sets it. Whoever holds a lease counts from
//! before it asked for the renewal, and this process from after it first read that: the holder comes to its end earlier, by
//! [`MARGIN`](crate::domain::replica::MARGIN) at least. Nor can a renewal that this process does not see prolong it: one that is
//! written after the list was read comes when the lease is over, and then extends nothing (`lease.rs`).
//!
//! The two clocks must run at the same pace, but for a fifth, and both must go on while their machine sleeps. A machine that
//! was stopped from outside, clock and all, does not know that time has passed; with strict replicas don't pause machines.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::domain::id::ReplicaId;
use crate::domain::replica::{LEASE, Replica};
use crate::domain::revision::Revision;
use crate::domain::time::Time;

/// What each replica last said, and since when that is known.
#[derive(Debug, Default)]
pub(super) struct Silence(HashMap<ReplicaId, Heard>);

#[derive(Debug, Clone, Copy)]
struct Heard {
    said: (Time, Time, Revision),
    at: Duration,
}

impl Silence {
    /// Takes note of the list, which was asked for at one moment and had come by another. Who of it is silent.
    pub(super) fn note(
        &mut self,
        replicas: &[Replica],
        asked: Duration,
        came: Duration,
    ) -> HashSet<ReplicaId> {
        let heard = replicas.iter().map(|replica| {
            let said = (replica.start_time, replica.seen_time, replica.applied);
            let before = self.0.get(&replica.id).filter(|b| b.said == said);
            let at = before.map_or(came, |before| before.at);
            (replica.id, Heard { said, at })
        });
        self.0 = heard.collect();
        let silent = |heard: &Heard| asked >= heard.at.saturating_add(LEASE);
        let silent = self.0.iter().filter(|(_, heard)| silent(heard));
        silent.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::app::fleet::Lease;
    use crate::domain::replica::ReplicaState;

    const ID: ReplicaId = ReplicaId::from_u128(1);

    fn said(seen: i64) -> Replica {
        Replica {
            id: ID,
            name: "one".to_owned(),
            version: "1".to_owned(),
            state: ReplicaState::Serving,
            applied: Revision { epoch: 7, n: 10 },
            strict: true,
            start_time: Time::from_micros(0),
            seen_time: Time::from_micros(seen),
        }
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn who_said_nothing_new_for_a_whole_lease_is_silent_counted_from_when_that_was_known() {
        let mut silence = Silence::default();
        assert!(silence.note(&[said(1)], at(100), at(200)).is_empty());
        // Asked for a moment too early, however late it comes.
        assert!(silence.note(&[said(1)], at(5_199), at(9_000)).is_empty());
        assert!(silence.note(&[said(1)], at(5_200), at(5_200)).contains(&ID));
        // It speaks again, and falls silent again.
        assert!(silence.note(&[said(2)], at(60_000), at(60_000)).is_empty());
        let (before, then) = (at(64_999), at(65_000));
        assert!(silence.note(&[said(2)], before, before).is_empty());
        assert!(silence.note(&[said(2)], then, then).contains(&ID));
    }

    #[test]
    fn how_the_database_sets_its_clock_changes_nothing() {
        let mut silence = Silence::default();
        for (n, seen) in [5, 1_000_000_000_000, 3, -7].into_iter().enumerate() {
            let now = at(4_000 * u64::try_from(n).unwrap());
            assert!(silence.note(&[said(seen)], now, now).is_empty());
        }
        assert!(
            silence
                .note(&[said(-7)], at(17_000), at(17_000))
                .contains(&ID)
        );
    }

    #[test]
    fn who_was_struck_off_and_is_entered_again_is_not_silent_from_before() {
        let mut silence = Silence::default();
        assert!(silence.note(&[said(1)], at(0), at(0)).is_empty());
        assert!(silence.note(&[], at(3_000), at(3_000)).is_empty());
        assert!(silence.note(&[said(1)], at(6_000), at(6_000)).is_empty());
    }

    thread_local! {
        static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    #[test]
    fn nobody_is_silent_who_still_decides_by_a_strict_lease() {
        // When it is asked for, when the answer comes, and when this process first reads of it: in any order that there is.
        for (asked, answered, read) in [(0, 0, 0), (0, 900, 1), (0, 3_900, 3_900), (0, 10, 3_000)] {
            let lease = Lease::new(true, Arc::new(|| at(NOW.get())));
            let mut silence = Silence::default();
            NOW.set(asked);
            lease.begin(at(asked));
            NOW.set(answered);
            assert!(lease.extend(at(asked)));
            let mut stopped = 0;
            for now in (read..12_000).step_by(50) {
                NOW.set(now);
                if silence.note(&[said(1)], at(now), at(now)).contains(&ID) {
                    assert!(!lease.may_decide(), "{asked} {answered} {read} {now}");
                    // Nor does an answer that comes now prolong it.
                    assert!(!lease.extend(at(now)));
                    stopped += 1;
                }
            }
            assert!(stopped > 0);
        }
    }
}
