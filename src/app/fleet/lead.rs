//! One replica leads: it alone carries POSTbacks, tells of expiries, and purges what is due.
//!
//! Invariant: at no moment do two take themselves to lead. The lead is a lease in the database and not a lock of one of its
//! sessions (`pg_advisory_lock`): such a lock stays with a process that stands still, for the kernel keeps its connection, and
//! a pooler that shares connections between transactions gives it to anybody. Nothing rests on the invariant alone: what is
//! delivered is claimed row by row, and what is purged is read again in the change that does it.

use std::time::Duration;

use super::lease::{Lease, SinceBoot};
use crate::app::Core;
use crate::app::ports::StoreError;

/// How often it is looked at whether the lead is still held: a read of memory.
const LOOK: Duration = Duration::from_millis(50);

/// Whether this process leads.
#[derive(Debug)]
pub(super) struct Lead(Lease);

impl Lead {
    /// Of one that does not.
    pub(super) fn new(since_boot: SinceBoot) -> Self {
        // It ends with its lease, whatever is so of decisions.
        Self(Lease::new(true, since_boot))
    }

    fn is_held(&self) -> bool {
        self.0.may_decide()
    }

    /// Notes what was answered to one who asked at this moment.
    fn note(&self, asked: Duration, given: bool) {
        if !given {
            self.0.end();
        } else if !self.0.extend(asked) {
            // The one before was over, and nobody took it.
            self.0.begin(asked);
            self.0.extend(asked);
        }
    }
}

impl Core {
    /// Whether this process leads now.
    pub fn leads(&self) -> bool {
        self.fleet.lead.is_held()
    }

    /// Takes the lead where nobody has it, and keeps it where this process does. Where that can't be told, it runs out.
    pub async fn take_lead(&self) -> Result<bool, StoreError> {
        let fleet = &self.fleet;
        let asked = fleet.lead.0.now();
        let given = fleet.replicas.lead(&fleet.me()).await?;
        fleet.lead.note(asked, given);
        Ok(self.leads())
    }

    /// Leaves the lead to others, who need not wait for it.
    pub async fn resign(&self) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        fleet.lead.0.end();
        fleet.replicas.resign(&fleet.me()).await
    }

    /// Works as long as this process leads; none where it does not, or no longer.
    pub async fn while_leading<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            // First, so that a process that stood still does nothing more once it goes on.
            biased;
            () = self.lead_lost() => None,
            done = work => Some(done),
        }
    }

    async fn lead_lost(&self) {
        while self.leads() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    thread_local! {
        static NOW: std::cell::Cell<u64> = const { std::cell::Cell::new(10_000) };
    }

    fn since_boot() -> Duration {
        Duration::from_millis(NOW.get())
    }

    fn at(now: u64) -> Duration {
        NOW.set(now);
        since_boot()
    }

    #[test]
    fn the_lead_ends_by_itself_a_second_before_another_one_may_take_it() {
        let lead = Lead::new(Arc::new(since_boot));
        assert!(!lead.is_held());
        let asked = at(10_000);
        // The answer took a second.
        NOW.set(11_000);
        lead.note(asked, true);
        assert!(lead.is_held());
        NOW.set(13_999);
        assert!(lead.is_held());
        NOW.set(14_000);
        assert!(!lead.is_held());
        // It had it all the time, for nobody else asked.
        lead.note(at(15_000), true);
        assert!(lead.is_held());
        lead.note(at(16_000), false);
        assert!(!lead.is_held());
    }

    #[test]
    fn an_answer_that_comes_when_the_lease_is_over_gives_no_lead() {
        let lead = Lead::new(Arc::new(since_boot));
        let asked = at(10_000);
        NOW.set(14_000);
        lead.note(asked, true);
        assert!(!lead.is_held());
    }
}
