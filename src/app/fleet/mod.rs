//! The fleet: all processes that decide from one database, and what each of them is known to have applied.
//!
//! Invariants: a process decides only while it is entered, or, where it may go on without its lease, from when it was first
//! entered; a change is said to be everywhere only when everybody who may be deciding has said to have applied it. What a
//! process says to have applied it knows after a restart, too, be it one without the database.

mod alone;
mod lead;
mod lease;
mod place;
mod silence;
mod waiting;

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::authorize::not_loaded;
use crate::app::directory::workspaces::require_system;
use crate::app::error::{Code, Error};
use crate::app::ports::fleet::{Identity, Me, Replicas};
use crate::app::ports::{StoreError, Verified};
use crate::domain::id::ReplicaId;
use crate::domain::replica::Replica;
use crate::domain::revision::Revision;
use crate::index::Index;

pub use alone::Alone;
use lead::Lead;
pub use lease::{Lease, SinceBoot};
pub use waiting::{DEFAULT_WAIT, MAX_WAIT, Propagation, Wait, within};

use place::Claim;
use silence::Silence;

/// A replica, and whether it counts.
#[derive(Debug, Clone)]
pub struct Listed {
    /// It, as it last said of itself.
    pub replica: Replica,
    /// Whether it may be deciding: changes wait for it.
    pub counts: bool,
    /// Whether it holds a lease, as far as this process can tell.
    pub holds_lease: bool,
    /// Whether it is the process that answers.
    pub is_me: bool,
    /// Whether it leads.
    pub leads: bool,
}

/// The list of replicas, as it was read.
#[derive(Debug, Clone, Default)]
struct Roll {
    replicas: Vec<Replica>,
    /// Who of them holds no lease any more.
    silent: HashSet<ReplicaId>,
}

impl Roll {
    fn is_silent(&self, replica: &Replica) -> bool {
        self.silent.contains(&replica.id)
    }

    fn may_decide(&self, replica: &Replica) -> bool {
        replica.may_decide(self.is_silent(replica))
    }
}

/// How it is read.
#[derive(Debug, Default)]
struct Reading {
    /// When it was last begun.
    begun: Option<Instant>,
    silence: Silence,
}

/// This process in its fleet.
pub struct Fleet {
    me: RwLock<Arc<Me>>,
    identity: Arc<dyn Identity>,
    replicas: Arc<dyn Replicas>,
    lease: Lease,
    claim: Claim,
    lead: Lead,
    /// This process was started without the database, and is entered only as it was in the life before.
    resumed: AtomicBool,
    /// The database was away: it may be another one when it is back.
    away: AtomicBool,
    /// One speaks to the list for this process at a time, and knows in which history it is entered: the list is another one
    /// where the database was put back.
    speaking: Mutex<Option<u32>>,
    /// The list as it was last read.
    last: std::sync::Mutex<Roll>,
    /// One reads at a time, for all who wait: many of them must not stand in the way of who speaks.
    reading: Mutex<Reading>,
    /// Ends what waits for others.
    stopping: CancellationToken,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("me", &self.me())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl Fleet {
    /// A process that has not joined yet.
    pub fn new(
        me: Me,
        identity: Arc<dyn Identity>,
        replicas: Arc<dyn Replicas>,
        since_boot: SinceBoot,
    ) -> Self {
        Self {
            lease: Lease::new(me.strict, since_boot.clone()),
            lead: Lead::new(since_boot),
            claim: Claim::default(),
            me: RwLock::new(Arc::new(me)),
            identity,
            replicas,
            resumed: AtomicBool::new(false),
            away: AtomicBool::new(false),
            speaking: Mutex::default(),
            last: std::sync::Mutex::default(),
            reading: Mutex::default(),
            stopping: CancellationToken::new(),
        }
    }

    /// Who this process is.
    pub fn me(&self) -> Arc<Me> {
        let me = self.me.read().unwrap_or_else(PoisonError::into_inner);
        me.clone()
    }

    fn is_me(&self, replica: &Replica) -> bool {
        let me = self.me();
        replica.id == me.id && replica.start_time == me.start_time
    }

    /// Whether this process may decide now.
    pub fn may_decide(&self) -> bool {
        self.lease.may_decide()
    }

    /// The list as it was at some moment after this call.
    async fn roll(&self, applied: Revision) -> Result<Roll, StoreError> {
        let called = Instant::now();
        let mut reading = self.reading.lock().await;
        if reading.begun.is_none_or(|begun| begun < called) {
            let (begun, asked) = (Instant::now(), self.lease.now());
            let replicas = self.replicas.roll().await?;
            let silent = reading.silence.note(&replicas, asked, self.lease.now());
            let last = Roll { replicas, silent };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
            reading.begun = Some(begun);
        }
        let mut roll = self.last_roll();
        // Of itself it knows better than the list.
        if let Some(mine) = roll.replicas.iter_mut().find(|r| self.is_me(r)) {
            mine.applied = applied;
            roll.silent.remove(&mine.id);
        }
        Ok(roll)
    }

    fn last_roll(&self) -> Roll {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

impl Core {
    /// Fails where this process must not decide: its index is not whole, or others may take it to have stopped.
    pub fn may_decide(&self) -> Result<(), Error> {
        self.may_decide_with(&self.index.now())
    }

    /// The same of who has the index at hand.
    pub(in crate::app) fn may_decide_with(&self, index: &Index) -> Result<(), Error> {
        if !index.is_loaded() {
            return Err(not_loaded());
        }
        if !self.fleet.may_decide() {
            return Err(Error::new(
                Code::Unavailable,
                "NOT_IN_FLEET",
                "this replica has not joined its fleet, or lost its lease, and may have missed a revocation; ask another one",
            ));
        }
        Ok(())
    }

    /// Who is in the fleet, and what this process has applied.
    pub async fn list_replicas(&self, caller: &Caller) -> Result<(Vec<Listed>, Revision), Error> {
        require_system(caller, "what concerns all workspaces")?;
        let roll = self.fleet.roll(self.told()).await?;
        let leader = self.fleet.replicas.leader().await?;
        let listed = roll.replicas.iter().map(|replica| Listed {
            counts: roll.may_decide(replica),
            holds_lease: !roll.is_silent(replica),
            is_me: self.fleet.is_me(replica),
            leads: leader == Some(replica.id),
            replica: replica.clone(),
        });
        Ok((listed.collect(), self.feed.confirmed()))
    }

    /// Compares what this process decides with to what the database holds.
    pub async fn verify_index(&self, caller: &Caller) -> Result<Verified, Error> {
        require_system(caller, "what concerns all workspaces")?;
        if self.feed.freshness().is_refused() {
            return Err(Error::replaced());
        }
        Ok(self.feed.verify().await?)
    }

    /// Strikes off a replica that is gone for good. Whoever holds a lease is not.
    pub async fn forget_replica(&self, caller: &Caller, id: ReplicaId) -> Result<(), Error> {
        require_system(caller, "what concerns all workspaces")?;
        let roll = self.fleet.roll(self.told()).await?;
        let Some(replica) = roll.replicas.iter().find(|r| r.id == id) else {
            return Err(Error::not_found("replica"));
        };
        // Where it was struck off meanwhile by somebody else, whoever asks again learns so.
        if !roll.is_silent(replica) || !self.fleet.replicas.strike(replica).await? {
            return Err(Error::precondition(
                "REPLICA_ALIVE",
                "this replica said something within the last seconds, or the one that answers was just started; stop its process, \
                 which strikes it off, or ask again",
            ));
        }
        tracing::warn!(replica = %id, name = replica.name, caller = %caller.key, "a replica was forgotten");
        Ok(())
    }
}
