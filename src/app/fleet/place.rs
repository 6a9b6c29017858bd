//! The place of this process in its fleet's list: how it is taken, kept and given back.
//!
//! A place is of a data directory, so that a process which was killed takes up its own again, at once. Where somebody copied a
//! directory, two processes have the same: whoever enters can't tell the copy from the life before. So it takes the place, and for
//! as long as a lease lasts confirms nothing in it; whoever lives finds another process in its place by then, and takes another
//! one. Not counted for a while is only who was displaced and cut off from the database, both at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::Fleet;
use crate::app::Core;
use crate::app::ports::fleet::{Me, Place, Renewal};
use crate::app::ports::{Standing, StoreError};
use crate::domain::replica::{LEASE, ReplicaState};
use crate::domain::revision::Revision;

/// Whether the place is surely this process's own. Until then nothing is confirmed in it.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// From when on it is, in milliseconds since the machine was started.
    from: AtomicU64,
}

impl Claim {
    /// The place may have been another's until this moment.
    fn contest(&self, now: Duration) {
        let from = u64::try_from(now.saturating_add(LEASE).as_millis()).unwrap_or(u64::MAX);
        self.from.store(from.saturating_add(1), Ordering::Release);
    }

    fn is_sure(&self, now: Duration) -> bool {
        now.as_millis() >= u128::from(self.from.load(Ordering::Acquire))
    }
}

impl Fleet {
    /// Decides from now on as the replica that this process was before its start, which others still wait for. Only one
    /// that goes on without a lease may.
    pub fn resume(&self) {
        self.resumed.store(true, Ordering::Release);
        self.away.store(true, Ordering::Release);
        self.lease.resume();
    }

    async fn enter(&self, state: ReplicaState, applied: Revision) -> Result<(), StoreError> {
        let entered = self.replicas.enter(&self.me(), state, applied).await;
        // Nor is it known of an answer that is lost.
        if !matches!(entered, Ok(Place::Free)) {
            self.claim.contest(self.lease.now());
        }
        entered.map(drop)
    }

    /// Takes another id: the place is another's, who has a copy of the data directory.
    fn give_way(&self) -> Result<(), StoreError> {
        let before = self.me();
        let id = self.identity.anew()?;
        tracing::error!(
            replica = %before.id,
            id = %id,
            "another process has a copy of this data directory and took the place of this replica, which takes another id; \
             give each process a data directory of its own"
        );
        let me = Me {
            id,
            ..Me::clone(&before)
        };
        *self.me.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(me);
        Ok(())
    }
}

impl Core {
    /// What others may be told to be applied here.
    pub(super) fn told(&self) -> Revision {
        let confirmed = self.feed.confirmed();
        match self.fleet.claim.is_sure(self.fleet.lease.now()) {
            true => confirmed,
            false => Revision { n: 0, ..confirmed },
        }
    }

    /// Looks whether a database that was away is the one that was left. Where it is not, nothing is confirmed to it.
    async fn meet(&self) -> Result<(), StoreError> {
        // As it was before the read: what is applied meanwhile is newer than what is read.
        let known = self.index.applied();
        let there = self.store.position().await?;
        self.feed.follows(known, there);
        self.fleet.away.store(false, Ordering::Release);
        Ok(())
    }

    /// Joins the fleet: is entered as one who is about to decide, then applies all that was there by then, and decides.
    /// Who made a change before that is known to have it; who makes one after it finds the newcomer in the list.
    pub async fn join(&self) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        let mut entered = fleet.speaking.lock().await;
        // Who may come back without the database must not be dropped for not having renewed its lease.
        let state = match self.feed.is_kept() {
            true => ReplicaState::Serving,
            false => ReplicaState::Joining,
        };
        loop {
            let asked = fleet.lease.now();
            fleet.enter(state, self.told()).await?;
            fleet.lease.begin(asked);
            if state == ReplicaState::Serving {
                self.feed.stand(Standing::Entered).await?;
            }
            let there = self.store.position().await?;
            self.feed.catch_up(there.into()).await?;
            match self.renewed().await? {
                Renewal::Held => {
                    *entered = Some(self.index.epoch());
                    return Ok(());
                }
                // It took too long, or was struck off meanwhile: who looked by now may not have counted it.
                Renewal::Lost => {}
                Renewal::Displaced => fleet.give_way()?,
            }
        }
    }

    /// Tells the fleet what was applied, and renews the lease. Where that was over before, joins anew; and where it was
    /// struck off and goes on deciding all the same, is entered again.
    pub async fn speak(&self) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        let mut entered = fleet.speaking.lock().await;
        let epoch = self.index.epoch();
        if fleet.away.load(Ordering::Acquire) {
            self.meet().await?;
        }
        let renewal = self.renewed().await.inspect_err(|_| {
            fleet.away.store(true, Ordering::Release);
        })?;
        if renewal == Renewal::Held {
            return self.note_entered(&mut entered, epoch).await;
        }
        // What it finds there is its own life before.
        let resumed = fleet.resumed.load(Ordering::Acquire);
        if renewal == Renewal::Displaced && !resumed {
            fleet.give_way()?;
        }
        if fleet.me().strict {
            drop(entered);
            tracing::warn!("the lease of this replica was over; it joins the fleet anew");
            return self.join().await;
        }
        fleet.enter(ReplicaState::Serving, self.told()).await?;
        fleet.resumed.store(false, Ordering::Release);
        if renewal == Renewal::Lost && !resumed {
            tracing::warn!(
                replica = %fleet.me().id,
                "this replica was struck off while it served, by `claviger fleet forget`, or with a backup that was put back; \
                 it is entered again"
            );
        }
        self.note_entered(&mut entered, epoch).await
    }

    /// It is entered in the list of a database that may have been put back: from now on it may start without that.
    async fn note_entered(&self, entered: &mut Option<u32>, epoch: u32) -> Result<(), StoreError> {
        if *entered != Some(epoch) {
            if self.feed.is_kept() {
                self.feed.stand(Standing::Entered).await?;
            }
            *entered = Some(epoch);
        }
        Ok(())
    }

    /// Whether the lease could be renewed before it was over. One that goes on without a lease renews it at any time.
    async fn renewed(&self) -> Result<Renewal, StoreError> {
        let fleet = &self.fleet;
        let asked = fleet.lease.now();
        let renewal = fleet.replicas.renew(&fleet.me(), self.told()).await?;
        Ok(match renewal {
            Renewal::Held if !fleet.lease.extend(asked) => Renewal::Lost,
            renewal => renewal,
        })
    }

    /// Looks who is there: so it is known since when each of them is silent before somebody waits for that.
    pub async fn look_around(&self) -> Result<(), StoreError> {
        self.fleet.roll(self.told()).await.map(drop)
    }

    /// Leaves the fleet in order: nobody waits for it any more. It must not decide after that, nor start again without the
    /// database. Where that can't be reached it stays, and may.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        let _speaking = fleet.speaking.lock().await;
        fleet.lease.end();
        self.store.position().await?;
        self.feed.stand(Standing::Left).await?;
        fleet.replicas.leave(&fleet.me()).await
    }
}
