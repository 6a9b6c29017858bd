//! What a fleet needs from the world: one list of its replicas, with one clock.

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

/// Everybody who is entered.
#[derive(Debug, Clone)]
pub struct Roll {
    /// The replicas, by id.
    pub replicas: Vec<Replica>,
    /// The moment of it, by the clock that their leases are counted on.
    pub now: Time,
}

/// The list of replicas.
#[async_trait]
pub trait Replicas: Send + Sync + 'static {
    /// Enters a replica, in the place of what it was before, with a lease from now on.
    async fn enter(
        &self,
        me: &Me,
        state: ReplicaState,
        applied: Revision,
    ) -> Result<(), StoreError>;
    /// Says that a replica serves, and what it has applied, and renews its lease; false where it is not entered, or another
    /// process is in its place.
    async fn renew(&self, me: &Me, applied: Revision) -> Result<bool, StoreError>;
    /// Reads the list. Its moment is not after that of the rows: who was silent by then, was.
    async fn roll(&self) -> Result<Roll, StoreError>;
    /// Strikes off whoever leaves; another process in its place stays.
    async fn leave(&self, me: &Me) -> Result<(), StoreError>;
    /// Strikes off a replica that holds no lease; false where there is none such: in the same moment, for who renews its
    /// lease must not be struck off by who saw it without one.
    async fn strike(&self, id: ReplicaId) -> Result<bool, StoreError>;
}
