//! The fleet of a database that only one process can open.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use crate::app::ports::fleet::{Me, Place, Renewal, Replicas};
use crate::app::ports::{Clock, StoreError};
use crate::domain::replica::{Replica, ReplicaState};
use crate::domain::revision::Revision;

/// A list of one, in memory: nobody else looks at it.
pub struct Alone {
    clock: Arc<dyn Clock>,
    row: Mutex<Option<Replica>>,
}

impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alone").finish_non_exhaustive()
    }
}

impl Alone {
    /// A list that nobody is entered in yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            row: Mutex::default(),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Option<Replica>) -> T) -> T {
        work(&mut self.row.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Replicas for Alone {
    async fn enter(
        &self,
        me: &Me,
        state: ReplicaState,
        applied: Revision,
    ) -> Result<Place, StoreError> {
        let now = self.clock.now();
        let replica = Replica {
            id: me.id,
            name: me.name.clone(),
            version: me.version.clone(),
            state,
            applied,
            strict: me.strict,
            start_time: me.start_time,
            seen_time: now,
        };
        self.with(|row| *row = Some(replica));
        Ok(Place::Free)
    }

    async fn renew(&self, me: &Me, applied: Revision) -> Result<Renewal, StoreError> {
        let now = self.clock.now();
        Ok(self.with(|row| match row {
            Some(row) if row.id == me.id && row.start_time == me.start_time => {
                row.state = ReplicaState::Serving;
                row.applied = applied;
                row.seen_time = now;
                Renewal::Held
            }
            Some(_) => Renewal::Displaced,
            None => Renewal::Lost,
        }))
    }

    async fn roll(&self) -> Result<Vec<Replica>, StoreError> {
        Ok(self.with(|row| row.iter().cloned().collect()))
    }

    async fn leave(&self, me: &Me) -> Result<(), StoreError> {
        self.with(|row| row.take_if(|row| row.id == me.id && row.start_time == me.start_time));
        Ok(())
    }

    async fn strike(&self, seen: &Replica) -> Result<bool, StoreError> {
        let same = |row: &mut Replica| row == seen;
        Ok(self.with(|row| row.take_if(same).is_some()))
    }
}
