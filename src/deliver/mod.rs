//! Carries events to the POSTback URLs of keys: takes what is due, POSTs it, writes down what came of it, and goes on for a
//! day where a receiver does not take it.
//!
//! Invariants: a connection goes to an address that was checked, and never elsewhere; no redirect is followed, no proxy
//! asked; what is not settled is due again; an attempt under way holds nothing of the database, for whom the worker waits
//! meanwhile.

mod address;
mod client;
mod notices;
mod resolve;
mod throttle;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::app::ports::StoreError;
use crate::app::ports::outbox::{Delivery, Outbox, Outcome, Sent};
use crate::app::postbacks::message::{self, SigningKey};
use crate::domain::id::WorkspaceId;
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

/// What deliveries of workspaces are signed with.
type SigningKeys = BTreeMap<WorkspaceId, Arc<Vec<SigningKey>>>;

/// An attempt under way.
type Attempt = BoxFuture<'static, Ended>;

/// What came of an attempt.
struct Ended {
    delivery: Delivery,
    /// Where it counts: its URL may have changed since.
    place: String,
    /// Nothing where the process could not try.
    sent: Option<Sent>,
}

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
        under_way: FuturesUnordered::new(),
        held: Vec::new(),
        throttle: Throttle::default(),
        failing: false,
    };
    loop {
        worker.fill().await;
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = worker.under_way.next() => worker.settle(ended).await,
            () = worker.core.postbacks.woken() => {}
            () = tokio::time::sleep(poll) => {}
        }
    }
    worker.end().await;
}

struct Worker {
    core: Arc<Core>,
    under_way: FuturesUnordered<Attempt>,
    /// What is under way, for whoever has to give it back.
    held: Vec<Delivery>,
    throttle: Throttle,
    failing: bool,
}

impl Worker {
    /// Takes what is due, as much as there is room for.
    async fn fill(&mut self) {
        loop {
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
        let keys = signing_keys(&self.core, &claimed).await;
        for delivery in claimed {
            let due = due.iter().find(|due| due.id == delivery.id);
            let place = due.map(|due| due.place.clone()).unwrap_or_default();
            let keys = keys.get(&delivery.workspace).cloned();
            self.begin(delivery, place, keys);
        }
        Ok(taken)
    }

    fn begin(&mut self, delivery: Delivery, place: String, keys: Option<Arc<Vec<SigningKey>>>) {
        self.held.push(delivery.clone());
        let core = self.core.clone();
        self.under_way.push(Box::pin(async move {
            let sent = attempt(&core, &delivery, keys.as_deref().map(Vec::as_slice)).await;
            Ended {
                delivery,
                place,
                sent,
            }
        }));
    }

    async fn settle(&mut self, ended: Ended) {
        let Ended {
            delivery,
            place,
            sent,
        } = ended;
        self.held.retain(|held| held.id != delivery.id);
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
            while let Some(ended) = self.under_way.next().await {
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
        for delivery in &self.held {
            let outcome = outcome(delivery);
            let _ = outbox_of(&self.core).settle(delivery, &outcome).await;
        }
    }
}

fn outbox_of(core: &Core) -> &dyn Outbox {
    &*core.postbacks.outbox
}

/// What deliveries are signed with, by workspace; those whose keys can't be read now are missing. Read once for all of them:
/// were it read by attempts, they would hold connections while the worker waits for one and nobody drives them.
async fn signing_keys(core: &Core, deliveries: &[Delivery]) -> SigningKeys {
    let now = core.clock.now();
    let workspaces: BTreeSet<_> = deliveries.iter().map(|d| d.workspace.clone()).collect();
    let mut all = SigningKeys::new();
    for workspace in workspaces {
        match core.signing_keys(&workspace, now).await {
            Ok(keys) => drop(all.insert(workspace, Arc::new(keys))),
            Err(error) => {
                tracing::warn!(reason = error.reason, "POSTbacks can't be signed now");
            }
        }
    }
    all
}

/// Makes one attempt. None: the process could not, which is no fault of the receiver's.
async fn attempt(core: &Core, delivery: &Delivery, keys: Option<&[SigningKey]>) -> Option<Sent> {
    if delivery.url.is_empty() {
        return Some(Sent::failed(Failure::NoUrl));
    }
    let keys = keys?;
    if keys.is_empty() {
        return Some(Sent::failed(Failure::NoSigningSecret));
    }
    let post = message::post(delivery, keys, core.clock.now());
    Some(core.postbacks.postman.post(&post).await)
}
