//! The fleet: all processes that decide from one database, and what each of them is known to have applied.
//!
//! Invariants: a process decides only while it is entered, or, where it may go on without its lease, from when it was first
//! entered; a change is said to be everywhere only when everybody who may be deciding has said to have applied it. What a
//! process says to have applied it knows after a restart, too, be it one without the database.

mod alone;
mod lease;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::authorize::not_loaded;
use crate::app::directory::workspaces::require_system;
use crate::app::error::{Code, Error};
use crate::app::ports::fleet::{Me, Replicas, Roll};
use crate::app::ports::{Standing, StoreError, Verified};
use crate::domain::id::ReplicaId;
use crate::domain::replica::{Replica, ReplicaState};
use crate::domain::revision::Revision;
use crate::domain::time::Time;
use crate::index::Index;

pub use alone::Alone;
pub use lease::{Lease, SinceBoot};

/// The longest that a change may be waited for.
pub const MAX_WAIT: Duration = Duration::from_secs(60);
/// How long it is waited for where nobody says.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// How long between two looks at the list while a change is waited for: the first soon, later ones rarer.
const LOOKS: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(25)];
/// How long the first look may take, however short the wait is: who does not wait wants to know how it stands.
const FIRST_LOOK: Duration = Duration::from_millis(250);

tokio::task_local! {
    /// When the call ends that this task works for.
    static END: Instant;
}

/// Runs a call that is cut off at this moment: what it waits for ends a little earlier, so that it is answered.
pub async fn within<T>(end: Instant, call: impl Future<Output = T>) -> T {
    END.scope(end, call).await
}

/// For how long a call may wait that would for so long: a tenth of what is left of it is for the answer.
fn at_most(most: Duration) -> Duration {
    let end = END.try_with(|end| *end).ok();
    let left = end.map(|end| end.saturating_duration_since(Instant::now()));
    left.map_or(most, |left| most.min(left.mul_f32(0.9)))
}

/// What a change waits for before it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// That it is in force on this process.
    #[default]
    Local,
    /// That it is in force on every replica, for so long at most.
    AllReplicas(Duration),
}

/// How far a change has come.
#[derive(Debug, Clone)]
pub struct Propagation {
    /// Every replica that may be deciding has it.
    pub complete: bool,
    /// How many replicas count.
    pub total: usize,
    /// How many of them have it.
    pub applied: usize,
    /// Those that are not known to have it.
    pub unconfirmed: Vec<Replica>,
    /// How long it was waited for.
    pub elapsed: Duration,
}

/// A replica, and whether it counts.
#[derive(Debug, Clone)]
pub struct Listed {
    /// It, as it last said of itself.
    pub replica: Replica,
    /// Whether it may be deciding: changes wait for it.
    pub counts: bool,
    /// Whether it holds a lease.
    pub holds_lease: bool,
    /// Whether it is the process that answers.
    pub is_me: bool,
}

/// This process in its fleet.
pub struct Fleet {
    me: Me,
    replicas: Arc<dyn Replicas>,
    lease: Lease,
    /// This process was started without the database, and is entered only as it was in the life before.
    resumed: AtomicBool,
    /// One speaks to the list for this process at a time.
    speaking: Mutex<()>,
    /// The history that it is known to be entered in; the list is another one where the database was put back.
    entered_in: std::sync::Mutex<Option<u32>>,
    /// The list as it was last read.
    last: std::sync::Mutex<Roll>,
    /// When that had begun. One reads at a time, for all who wait: many of them must not stand in the way of who speaks.
    reading: Mutex<Option<Instant>>,
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fleet")
            .field("me", &self.me)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

impl Fleet {
    /// A process that has not joined yet.
    pub fn new(me: Me, replicas: Arc<dyn Replicas>, since_boot: SinceBoot) -> Self {
        Self {
            lease: Lease::new(me.strict, since_boot),
            me,
            replicas,
            resumed: AtomicBool::new(false),
            entered_in: std::sync::Mutex::default(),
            speaking: Mutex::new(()),
            last: std::sync::Mutex::new(Roll {
                replicas: Vec::new(),
                now: Time::from_micros(0),
            }),
            reading: Mutex::default(),
        }
    }

    /// Who this process is.
    pub fn me(&self) -> &Me {
        &self.me
    }

    /// Whether this process may decide now.
    pub fn may_decide(&self) -> bool {
        self.lease.may_decide()
    }

    /// Decides from now on as the replica that this process was before its start, which others still wait for. Only one
    /// that goes on without a lease may.
    pub fn resume(&self) {
        self.resumed.store(true, Ordering::Release);
        self.lease.resume();
    }

    fn is_entered_in(&self, epoch: u32) -> bool {
        let entered = self.entered_in.lock();
        *entered.unwrap_or_else(PoisonError::into_inner) == Some(epoch)
    }

    fn note_entered(&self, epoch: u32) {
        let entered = self.entered_in.lock();
        *entered.unwrap_or_else(PoisonError::into_inner) = Some(epoch);
    }

    /// The list as it was at some moment after this call.
    async fn roll(&self, applied: Revision) -> Result<Roll, StoreError> {
        let asked = Instant::now();
        let mut reading = self.reading.lock().await;
        if reading.is_none_or(|begun| begun < asked) {
            let begun = Instant::now();
            let roll = self.replicas.roll().await?;
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = roll;
            *reading = Some(begun);
        }
        let mut roll = self.last_roll();
        // Of itself it knows better than the list.
        for replica in &mut roll.replicas {
            if replica.id == self.me.id {
                replica.applied = applied;
            }
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

    /// What others may be told to be applied here.
    fn confirmed(&self) -> Revision {
        self.feed.confirmed()
    }

    /// The same to those of a database that was away: nothing, where it is not the one that was left.
    async fn confirmed_there(&self) -> Result<Revision, StoreError> {
        // As it was before the read: what is applied meanwhile is newer than what is read.
        let known = self.index.applied();
        let there = self.store.position().await?;
        let same = there.epoch == known.epoch && there.n >= known.n;
        Ok(match same {
            true => self.confirmed(),
            false => Revision { n: 0, ..known },
        })
    }

    /// Joins the fleet: is entered as one who is about to decide, then applies all that was there by then, and decides.
    /// Who made a change before that is known to have it; who makes one after it finds the newcomer in the list.
    pub async fn join(&self) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        let _speaking = fleet.speaking.lock().await;
        // Who may come back without the database must not be dropped for not having renewed its lease.
        let state = match self.feed.is_kept() {
            true => ReplicaState::Serving,
            false => ReplicaState::Joining,
        };
        loop {
            let asked = fleet.lease.now();
            fleet
                .replicas
                .enter(&fleet.me, state, self.confirmed())
                .await?;
            fleet.lease.begin(asked);
            if state == ReplicaState::Serving {
                self.feed.stand(Standing::Entered).await?;
            }
            let there = self.store.position().await?;
            self.feed.catch_up(there.into()).await?;
            if self.renewed().await? {
                fleet.note_entered(self.index.epoch());
                return Ok(());
            }
            // It took too long, or was struck off meanwhile: who looked by now may not have counted it.
        }
    }

    /// Tells the fleet what was applied, and renews the lease. Where that was over before, joins anew; and where it was
    /// struck off and goes on deciding all the same, is entered again.
    pub async fn speak(&self) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        let speaking = fleet.speaking.lock().await;
        let epoch = self.index.epoch();
        if self.renewed().await? {
            return self.entered_in(epoch).await;
        }
        if fleet.me.strict {
            drop(speaking);
            tracing::warn!("the lease of this replica was over; it joins the fleet anew");
            return self.join().await;
        }
        let resumed = fleet.resumed.load(Ordering::Acquire);
        let confirmed = match resumed {
            true => self.confirmed_there().await?,
            false => self.confirmed(),
        };
        fleet
            .replicas
            .enter(&fleet.me, ReplicaState::Serving, confirmed)
            .await?;
        fleet.resumed.store(false, Ordering::Release);
        if !resumed {
            tracing::warn!(
                replica = %fleet.me.id,
                "this replica was struck off while it served, by `claviger fleet forget`, by another process with a copy of \
                 its data directory, or with a backup that was put back; it is entered again"
            );
        }
        self.entered_in(epoch).await
    }

    /// It is entered in the list of a database that may have been put back: from now on it may start without that.
    async fn entered_in(&self, epoch: u32) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        if !fleet.is_entered_in(epoch) {
            if self.feed.is_kept() {
                self.feed.stand(Standing::Entered).await?;
            }
            fleet.note_entered(epoch);
        }
        Ok(())
    }

    /// Whether the lease could be renewed before it was over. One that goes on without a lease renews it at any time.
    async fn renewed(&self) -> Result<bool, StoreError> {
        let fleet = &self.fleet;
        let asked = fleet.lease.now();
        let applied = self.confirmed();
        let entered = fleet.replicas.renew(&fleet.me, applied).await?;
        Ok(entered && fleet.lease.extend(asked))
    }

    /// Leaves the fleet in order: nobody waits for it any more. It must not decide after that, nor start again without the
    /// database. Where that can't be reached it stays, and may.
    pub async fn leave(&self) -> Result<(), StoreError> {
        let fleet = &self.fleet;
        let _speaking = fleet.speaking.lock().await;
        fleet.lease.end();
        self.store.position().await?;
        self.feed.stand(Standing::Left).await?;
        fleet.replicas.leave(&fleet.me).await
    }

    /// Waits until every replica that may be deciding has a change of which this one knows, or for this long.
    pub async fn propagation(&self, revision: Revision, most: Duration) -> Propagation {
        let (begun, most) = (Instant::now(), at_most(most));
        let mut looks = LOOKS.into_iter();
        let mut pause = Duration::ZERO;
        let mut least = FIRST_LOOK;
        loop {
            let left = most.saturating_sub(begun.elapsed()).max(least);
            least = Duration::ZERO;
            let found = match tokio::time::timeout(left, self.look(revision)).await {
                Ok(Ok(found)) => Some(found),
                Ok(Err(error)) => {
                    tracing::debug!(%error, "the list of replicas can't be read");
                    None
                }
                Err(_) => None,
            };
            let mut last = found.unwrap_or_else(|| self.as_last_seen(revision));
            last.elapsed = begun.elapsed();
            if last.complete || last.elapsed >= most {
                return last;
            }
            pause = looks.next().unwrap_or(pause);
            tokio::time::sleep(pause.min(most.saturating_sub(last.elapsed))).await;
        }
    }

    async fn look(&self, revision: Revision) -> Result<Propagation, StoreError> {
        let roll = self.fleet.roll(self.confirmed()).await?;
        Ok(self.count(revision, roll))
    }

    /// How far it had come when the list could last be read. Somebody else may have joined since: it is never complete.
    fn as_last_seen(&self, revision: Revision) -> Propagation {
        Propagation {
            complete: false,
            ..self.count(revision, self.fleet.last_roll())
        }
    }

    fn count(&self, revision: Revision, roll: Roll) -> Propagation {
        let applied = self.confirmed();
        let counted = roll.replicas.into_iter().filter(|r| r.may_decide(roll.now));
        let (have, unconfirmed): (Vec<_>, Vec<_>) = counted.partition(|r| r.has(revision));
        // One that was struck off while it lives is not in the list, and decides.
        let listed = have.iter().chain(&unconfirmed);
        let unlisted = !listed.clone().any(|r| r.id == self.fleet.me.id);
        let mine = applied.epoch == revision.epoch && applied.n >= revision.n;
        Propagation {
            complete: unconfirmed.is_empty() && (mine || !unlisted),
            total: listed.count() + usize::from(unlisted),
            applied: have.len() + usize::from(unlisted && mine),
            unconfirmed,
            elapsed: Duration::ZERO,
        }
    }

    /// Waits until a change is known here, and then until it is everywhere.
    pub async fn wait_for_revision(
        &self,
        revision: Revision,
        most: Duration,
    ) -> Result<Propagation, Error> {
        let (begun, most) = (Instant::now(), at_most(most));
        self.in_this_history(revision)?;
        let here = tokio::time::timeout(most, self.feed.wait_for(revision)).await;
        here.map_err(|_| {
            Error::new(
                Code::DeadlineExceeded,
                "REVISION_NOT_REACHED",
                "the revision was not reached in time; ask again",
            )
        })?;
        self.in_this_history(revision)?;
        let left = most.saturating_sub(begun.elapsed());
        let mut found = self.propagation(revision, left).await;
        found.elapsed = begun.elapsed();
        Ok(found)
    }

    fn in_this_history(&self, revision: Revision) -> Result<(), Error> {
        if revision.epoch == self.index.epoch() {
            return Ok(());
        }
        Err(Error::precondition(
            "OTHER_EPOCH",
            "the revision is of another database, or of another history of this one; read it anew",
        ))
    }

    /// Who is in the fleet, and what this process has applied.
    pub async fn list_replicas(&self, caller: &Caller) -> Result<(Vec<Listed>, Revision), Error> {
        require_system(caller, "what concerns all workspaces")?;
        let applied = self.confirmed();
        let roll = self.fleet.roll(applied).await?;
        let listed = roll.replicas.iter().map(|replica| Listed {
            counts: replica.may_decide(roll.now),
            holds_lease: roll.now < replica.lease_end,
            is_me: replica.id == self.fleet.me.id,
            replica: replica.clone(),
        });
        Ok((listed.collect(), applied))
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
        let roll = self.fleet.roll(self.confirmed()).await?;
        let Some(replica) = roll.replicas.iter().find(|r| r.id == id) else {
            return Err(Error::not_found("replica"));
        };
        // Where it was struck off meanwhile by somebody else, whoever asks again learns so.
        if roll.now < replica.lease_end || !self.fleet.replicas.strike(id).await? {
            return Err(Error::precondition(
                "REPLICA_ALIVE",
                "this replica said something within the last seconds; stop its process, which strikes it off",
            ));
        }
        tracing::warn!(replica = %id, name = replica.name, caller = %caller.key, "a replica was forgotten");
        Ok(())
    }
}
