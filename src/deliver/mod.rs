//! Carries events to the POSTback URLs of keys: takes what is due, POSTs it, writes down what came of it, and goes on for a
//! day where a receiver does not take it.
//!
//! Invariants: a connection goes to an address that was checked, and never elsewhere; no redirect is followed, no proxy
//! asked; what is not settled is due again.

mod address;
mod client;
mod notices;
mod resolve;
mod throttle;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{self, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::app::ports::StoreError;
use crate::app::ports::outbox::{Delivery, Outbox, Outcome, Sent};
use crate::app::postbacks::message;
use crate::domain::postback::{DeliveryState, Failure, retry_after};

pub use address::Allowed;
pub use client::{Client, ClientError, Limits};
pub use notices::{mind_expiries, tell_of_strangers};
pub use resolve::{Resolver, SystemResolver};
use throttle::Throttle;

/// How long a claim lasts: longer than an attempt may take.
const LEASE: Duration = Duration::from_secs(60);
/// How many attempts are under way at once.
const AT_ONCE: usize = 64;
/// How many places must be free before more is taken, unless nothing is under way: each taking is a transaction.
const WORTH_IT: usize = 16;
/// How many that are due are looked at: more than there is room for, since some may have reached a limit.
const LOOK: u32 = 256;
/// How long attempts under way may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// An attempt that has ended; nothing where the process could not try.
type Ended = Result<(task::Id, Option<Sent>), JoinError>;

/// Delivers until told to stop. `poll` is how often it looks for what is due without being woken.
pub async fn run(core: Arc<Core>, poll: Duration, exclusive: bool, stop: CancellationToken) {
    if exclusive {
        // What a process before had under way when it died.
        if let Err(error) = core.postbacks.outbox.reclaim(core.clock.now()).await {
            tracing::warn!(%error, "deliveries of before can't be taken up now; they are due again later");
        }
    }
    let mut worker = Worker {
        core,
        under_way: JoinSet::new(),
        held: HashMap::new(),
        throttle: Throttle::default(),
        failing: false,
    };
    loop {
        worker.fill().await;
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = worker.under_way.join_next_with_id() => worker.settle(ended).await,
            () = worker.core.postbacks.woken() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
    worker.end().await;
}

struct Worker {
    core: Arc<Core>,
    /// Tasks of their own: an attempt that only goes on when the worker looks would keep its turn at the database while the
    /// worker waits for its own.
    under_way: JoinSet<Option<Sent>>,
    /// What they carry, and the place where it counts: its URL may have changed since.
    held: HashMap<task::Id, (Delivery, String)>,
    throttle: Throttle,
    failing: bool,
}

impl Worker {
    /// Takes what is due, as much as there is room for; one replica does, so that limits towards receivers are those of all.
    async fn fill(&mut self) {
        while self.core.leads() {
            let room = AT_ONCE - self.under_way.len().min(AT_ONCE);
            if room < WORTH_IT && !self.under_way.is_empty() {
                return;
            }
            match self.take(room).await {
                // Whoever has reached a limit is passed over by the next look: there may be others behind.
                Ok(taken) if taken > 0 => {}
                Ok(_) => {
                    self.failing = false;
                    return;
                }
                Err(error) => {
                    if !self.failing {
                        tracing::warn!(%error, "what is to be delivered can't be read now; it waits");
                    }
                    self.failing = true;
                    return;
                }
            }
        }
    }

    /// Takes some of what is due; returns how many.
    async fn take(&mut self, room: usize) -> Result<usize, StoreError> {
        let now = self.core.clock.now();
        let spared = self.throttle.spared(now);
        let outbox = outbox_of(&self.core);
        let mut due = outbox.due(now, LOOK, &spared).await?;
        let mut left = room;
        due.retain(|due| {
            let taken = left > 0 && self.throttle.admit(&due.place, due.key, now);
            left -= usize::from(taken);
            taken
        });
        if due.is_empty() {
            return Ok(0);
        }
        let claimed = outbox.claim(&due, now, now.plus(LEASE)).await;
        let mine = claimed.as_deref().unwrap_or_default();
        for due in &due {
            // Another replica was faster.
            if !mine.iter().any(|delivery| delivery.id == due.id) {
                self.throttle.done(&due.place, due.key, now);
            }
        }
        let claimed = claimed?;
        let taken = claimed.len();
        for delivery in claimed {
            let due = due.iter().find(|due| due.id == delivery.id);
            let place = due.map(|due| due.place.clone()).unwrap_or_default();
            self.begin(delivery, place);
        }
        Ok(taken)
    }

    fn begin(&mut self, delivery: Delivery, place: String) {
        let (core, carried) = (self.core.clone(), delivery.clone());
        let attempt = async move { attempt(&core, &carried).await };
        let task = self.under_way.spawn(attempt).id();
        self.held.insert(task, (delivery, place));
    }

    async fn settle(&mut self, ended: Ended) {
        let (task, sent) = ended.unwrap_or_else(|error| {
            tracing::error!("an attempt to deliver came to a halt");
            (error.id(), None)
        });
        let Some((delivery, place)) = self.held.remove(&task) else {
            return;
        };
        let now = self.core.clock.now();
        self.throttle.done(&place, delivery.key, now);
        let Some(sent) = sent else {
            // The lease ends by itself.
            return;
        };
        let next = self.next_attempt(&delivery, sent);
        let state = match (sent.failure, next) {
            (None, _) => DeliveryState::Delivered,
            (Some(_), None) => DeliveryState::Dead,
            (Some(_), Some(_)) => DeliveryState::Pending,
        };
        let outcome = Outcome {
            state,
            next: next.map(|wait| now.plus(wait)),
            sent,
            now,
        };
        self.core.postbacks.counts.attempted(sent, state);
        if let (DeliveryState::Dead, Some(failure)) = (state, sent.failure) {
            // The id alone: where it goes is the key's business.
            tracing::info!(event = %delivery.id, failure = failure.as_str(), "a POSTback was given up");
        }
        match outbox_of(&self.core).settle(&delivery, &outcome).await {
            Ok(true) => {}
            Ok(false) => tracing::debug!(event = %delivery.id, "somebody else has the delivery"),
            Err(error) => {
                tracing::warn!(%error, "what came of a delivery can't be written down; it is tried again later");
            }
        }
    }

    fn next_attempt(&self, delivery: &Delivery, sent: Sent) -> Option<Duration> {
        let failure = sent.failure?;
        if failure.is_final() {
            return None;
        }
        let mut chance = [0];
        // Without randomness they come back together: no reason to give up.
        let _ = self.core.entropy.fill(&mut chance);
        let [chance] = chance;
        retry_after(delivery.attempts, chance)
    }

    /// Lets attempts end for a moment, and gives back those that do not.
    async fn end(mut self) {
        let farewell = async {
            while let Some(ended) = self.under_way.join_next_with_id().await {
                self.settle(ended).await;
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_ok() {
            return;
        }
        let now = self.core.clock.now();
        let outcome = |delivery: &Delivery| Outcome {
            state: DeliveryState::Pending,
            next: Some(now.plus(retry_after(delivery.attempts, 0).unwrap_or_default())),
            sent: Sent::failed(Failure::Interrupted),
            now,
        };
        // Whoever still tries is stopped first, so that nothing is sent once it was given back.
        self.under_way.shutdown().await;
        for (delivery, _) in self.held.values() {
            let outcome = outcome(delivery);
            let _ = outbox_of(&self.core).settle(delivery, &outcome).await;
        }
    }
}

fn outbox_of(core: &Core) -> &dyn Outbox {
    &*core.postbacks.outbox
}

/// Makes one attempt. None: the process could not, which is no fault of the receiver's.
async fn attempt(core: &Core, delivery: &Delivery) -> Option<Sent> {
    if delivery.url.is_empty() {
        return Some(Sent::failed(Failure::NoUrl));
    }
    let now = core.clock.now();
    let keys = match core.signing_keys(&delivery.workspace, now).await {
        Ok(keys) => keys,
        Err(error) => {
            tracing::warn!(reason = error.reason, "a POSTback can't be signed now");
            return None;
        }
    };
    if keys.is_empty() {
        return Some(Sent::failed(Failure::NoSigningSecret));
    }
    let post = message::post(delivery, &keys, now);
    Some(core.postbacks.postman.post(&post).await)
}
