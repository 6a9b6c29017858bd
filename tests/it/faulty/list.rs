//! A list of replicas that several processes share, on a clock that tests move; calls wait on demand.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::app::ports::StoreError;
use claviger::app::ports::fleet::{Me, Place, Renewal, Replicas};
use claviger::domain::id::ReplicaId;
use claviger::domain::replica::{LEASE, Replica, ReplicaState};
use claviger::domain::revision::Revision;
use claviger::domain::time::Time;
use tokio::sync::oneshot;

/// The time since the machine was started, the same for all processes.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedClock(Arc<AtomicU64>);

impl SharedClock {
    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    pub(super) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.0.fetch_add(by, Ordering::SeqCst);
    }
}

/// What is asked of the list, before or after it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    BeforeEnter,
    BeforeRenew,
    AfterRoll,
}

type Hold = (Step, oneshot::Sender<()>, oneshot::Receiver<()>);

#[derive(Debug)]
struct Row {
    replica: Replica,
    lease_end: Duration,
}

/// The list, as one process sees it.
#[derive(Clone)]
pub(super) struct List {
    rows: Arc<Mutex<BTreeMap<ReplicaId, Row>>>,
    clock: SharedClock,
    /// How far the database's clock is ahead of all others, in seconds.
    jumped: Arc<AtomicU64>,
    held: Arc<Mutex<Option<Hold>>>,
}

impl List {
    pub(super) fn new(clock: SharedClock) -> Self {
        Self {
            rows: Arc::default(),
            clock,
            jumped: Arc::default(),
            held: Arc::default(),
        }
    }

    /// The same list, for another process.
    pub(super) fn of_another(&self) -> Self {
        Self {
            held: Arc::default(),
            ..self.clone()
        }
    }

    /// Somebody sets the database's clock forward.
    pub(super) fn jump(&self, by: Duration) {
        self.jumped.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// The next time that this process comes to the step it waits there: that is told, and it goes on at a word.
    pub(super) fn hold(&self, step: Step) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (tell, told) = oneshot::channel();
        let (go, gone) = oneshot::channel();
        *self.held.lock().unwrap() = Some((step, tell, gone));
        (told, go)
    }

    /// Who is in it.
    pub(super) fn entered(&self) -> Vec<Replica> {
        let rows = self.rows.lock().unwrap();
        rows.values().map(|row| row.replica.clone()).collect()
    }

    async fn pass(&self, step: Step) {
        let held = self.held.lock().unwrap().take_if(|(at, ..)| *at == step);
        if let Some((_, tell, gone)) = held {
            tell.send(()).unwrap();
            gone.await.unwrap();
        }
    }

    /// The database's clock.
    fn now(&self) -> Duration {
        self.clock.now() + Duration::from_secs(self.jumped.load(Ordering::SeqCst))
    }

    fn seen(&self) -> Time {
        Time::from_micros(0).plus(self.now())
    }
}

#[async_trait]
impl Replicas for List {
    async fn enter(
        &self,
        me: &Me,
        state: ReplicaState,
        applied: Revision,
    ) -> Result<Place, StoreError> {
        self.pass(Step::BeforeEnter).await;
        let mut rows = self.rows.lock().unwrap();
        let taken = rows.get(&me.id).is_some_and(|row| {
            row.replica.start_time != me.start_time && row.lease_end > self.now()
        });
        let replica = Replica {
            id: me.id,
            name: me.name.clone(),
            version: me.version.clone(),
            state,
            applied: match taken {
                true => Revision { n: 0, ..applied },
                false => applied,
            },
            strict: me.strict,
            start_time: me.start_time,
            seen_time: self.seen(),
        };
        let lease_end = self.now() + LEASE;
        rows.insert(me.id, Row { replica, lease_end });
        Ok(match taken {
            true => Place::Taken,
            false => Place::Free,
        })
    }

    async fn renew(&self, me: &Me, applied: Revision) -> Result<Renewal, StoreError> {
        self.pass(Step::BeforeRenew).await;
        let mut rows = self.rows.lock().unwrap();
        Ok(match rows.get_mut(&me.id) {
            None => Renewal::Lost,
            Some(row) if row.replica.start_time != me.start_time => Renewal::Displaced,
            Some(row) => {
                row.replica.state = ReplicaState::Serving;
                row.replica.applied = applied;
                row.replica.seen_time = self.seen();
                row.lease_end = self.now() + LEASE;
                Renewal::Held
            }
        })
    }

    async fn roll(&self) -> Result<Vec<Replica>, StoreError> {
        let entered = self.entered();
        self.pass(Step::AfterRoll).await;
        Ok(entered)
    }

    async fn leave(&self, me: &Me) -> Result<(), StoreError> {
        let mut rows = self.rows.lock().unwrap();
        if rows
            .get(&me.id)
            .is_some_and(|row| row.replica.start_time == me.start_time)
        {
            rows.remove(&me.id);
        }
        Ok(())
    }

    async fn strike(&self, seen: &Replica) -> Result<bool, StoreError> {
        let mut rows = self.rows.lock().unwrap();
        let same = rows.get(&seen.id).is_some_and(|row| row.replica == *seen);
        if same {
            rows.remove(&seen.id);
        }
        Ok(same)
    }
}
