//! What a fleet needs from the world: one list of its replicas.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::id::ReplicaId;
use crate::domain::replica::{Replica, ReplicaState};
use crate::domain::revision::Revision;
use crate::domain::time::Time;

/// Who a replica is: what does not change while its process runs.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its id.
    pub id: ReplicaId,
    /// What people call it.
    pub name: String,
    /// The version of the program.
    pub version: String,
    /// Whether it stops deciding when its lease is over.
    pub strict: bool,
    /// When the process started, by its own clock.
    pub start_time: Time,
}

/// The place that a process was entered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nobody was in it, or the same process, or one that had lost its lease.
    Free,
    /// Another process was in it, and held a lease a moment ago: the life before of this one, or one that lives.
    Taken,
}

/// What became of the renewal of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// It is held.
    Held,
    /// There is nothing to renew: the process is not entered.
    Lost,
    /// Another process is in its place.
    Displaced,
}

/// Where a replica has its id from.
pub trait Identity: Send + Sync + 'static {
    /// Gives it another one, which the next start finds as well where it can be kept.
    fn anew(&self) -> Result<ReplicaId, StoreError>;
}

/// The list of replicas.
#[async_trait]
pub trait Replicas: Send + Sync + 'static {
    /// Enters a replica, in the place of what it was before, with a lease from now on. A place that was [`Place::Taken`] is
    /// entered with nothing applied: what was there may have applied less.
    async fn enter(
        &self,
        me: &Me,
        state: ReplicaState,
        applied: Revision,
    ) -> Result<Place, StoreError>;
    /// Says that a replica serves, and what it has applied, and renews its lease.
    async fn renew(&self, me: &Me, applied: Revision) -> Result<Renewal, StoreError>;
    /// Reads the list, by id.
    async fn roll(&self) -> Result<Vec<Replica>, StoreError>;
    /// Strikes off whoever leaves; another process in its place stays.
    async fn leave(&self, me: &Me) -> Result<(), StoreError>;
    /// Strikes off a replica that has said nothing since it was seen like this; false where it has, in the same moment: who
    /// renews its lease must not be struck off by who saw it without one.
    async fn strike(&self, seen: &Replica) -> Result<bool, StoreError>;
}
