//! Replicas: the processes that decide from one database, and which of them a change must have reached before it can be said
//! to be in force everywhere.
//!
//! A lease is a promise of a replica's: who has not renewed it in time does not decide (Gray and Cheriton, "Leases", SOSP
//! 1989). A replica counts from before it asked for the renewal, whoever looks at it from after they first read that renewal,
//! each on a clock of its own, and the replica takes [`MARGIN`] off: so it has stopped before anybody may think so, whatever
//! the way of the message took, and however the time of day is set anywhere.

use std::time::Duration;

use super::id::ReplicaId;
use super::revision::Revision;
use super::time::Time;

/// How long a lease is good for, as others count.
pub const LEASE: Duration = Duration::from_secs(5);
/// How much earlier its holder takes it to be over.
pub const MARGIN: Duration = Duration::from_secs(1);

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// It is about to decide, and reads what it may have missed.
    Joining,
    /// It decides.
    Serving,
}

impl ReplicaState {
    /// Every state.
    pub const ALL: [Self; 2] = [Self::Joining, Self::Serving];

    /// Its name in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "JOINING",
            Self::Serving => "SERVING",
        }
    }
}

/// A process that decides, as it last said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its id: the same after a restart in the same data directory.
    pub id: ReplicaId,
    /// What people call it.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// Where it stands.
    pub state: ReplicaState,
    /// What it has applied.
    pub applied: Revision,
    /// Whether it stops deciding when its lease is over.
    pub strict: bool,
    /// When its process started, by its own clock.
    pub start_time: Time,
    /// When it last said something, by the database's clock.
    pub seen_time: Time,
}

impl Replica {
    /// Whether it may be deciding, where it is silent or not: has said nothing for a whole lease. Who goes on without a lease
    /// may, until somebody who knows better has it forgotten.
    pub fn may_decide(&self, silent: bool) -> bool {
        match self.state {
            // Whoever is not done with joining when its lease is over begins anew.
            ReplicaState::Joining => !silent,
            ReplicaState::Serving => !silent || !self.strict,
        }
    }

    /// Whether it surely has the change.
    pub fn has(&self, revision: Revision) -> bool {
        let one_history = self.applied.epoch == revision.epoch;
        self.state == ReplicaState::Serving && one_history && self.applied.n >= revision.n
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(state: ReplicaState, strict: bool) -> Replica {
        Replica {
            id: ReplicaId::from_u128(1),
            name: "one".to_owned(),
            version: "1".to_owned(),
            state,
            applied: Revision { epoch: 7, n: 10 },
            strict,
            start_time: Time::from_micros(0),
            seen_time: Time::from_micros(0),
        }
    }

    #[test]
    fn only_who_stops_by_itself_is_given_up_when_its_lease_is_over() {
        for (state, strict, later) in [
            (ReplicaState::Joining, false, false),
            (ReplicaState::Joining, true, false),
            (ReplicaState::Serving, true, false),
            (ReplicaState::Serving, false, true),
        ] {
            let replica = replica(state, strict);
            assert!(replica.may_decide(false));
            assert_eq!(replica.may_decide(true), later, "{state:?} {strict}");
        }
    }

    #[test]
    fn a_change_is_there_where_it_was_applied_in_the_same_history_by_one_that_decides() {
        let at = |epoch, n| Revision { epoch, n };
        let serving = replica(ReplicaState::Serving, false);
        assert!(serving.has(at(7, 10)) && serving.has(at(7, 9)));
        assert!(!serving.has(at(7, 11)) && !serving.has(at(8, 1)));
        assert!(!replica(ReplicaState::Joining, false).has(at(7, 10)));
    }
}
