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

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::app::ports::outbox::{Delivery, Outcome, Sent};
use crate::app::postbacks::message;
use crate::domain::postback::{DeliveryState, Failure, place, retry_after};

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
/// How long what was claimed beyond a limit waits.
const PAUSE: Duration = Duration::from_secs(1);
/// How long attempts under way may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(1);

/// An attempt under way, and what came of it; nothing where the process could not try.
type Attempt = BoxFuture<'static, (Delivery, Option<Sent>)>;

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
        let free = AT_ONCE - worker.under_way.len().min(AT_ONCE);
        if free >= WORTH_IT || worker.under_way.is_empty() {
            worker.take(free).await;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            Some((delivery, sent)) = worker.under_way.next() => {
                worker.settle(delivery, sent).await;
            }
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
    async fn take(&mut self, room: usize) {
        let now = self.core.clock.now();
        let spared = self.throttle.spared(now);
        let limit = u32::try_from(room).unwrap_or(u32::MAX);
        let outbox = &self.core.postbacks.outbox;
        let claimed = match outbox.claim(now, now.plus(LEASE), limit, &spared).await {
            Ok(claimed) => claimed,
            Err(error) => {
                if !self.failing {
                    tracing::warn!(%error, "what is to be delivered can't be read now; it waits");
                }
                self.failing = true;
                return;
            }
        };
        self.failing = false;
        let mut surplus = Vec::new();
        for delivery in claimed {
            if self
                .throttle
                .admit(&place(&delivery.url), delivery.key, now)
            {
                self.begin(delivery);
            } else {
                surplus.push(delivery);
            }
        }
        if !surplus.is_empty()
            && let Err(error) = outbox_of(&self.core)
                .give_back(&surplus, now.plus(PAUSE))
                .await
        {
            tracing::warn!(%error, "deliveries beyond a limit can't be given back now; they are due again later");
        }
    }

    fn begin(&mut self, delivery: Delivery) {
        self.held.push(delivery.clone());
        let core = self.core.clone();
        self.under_way.push(Box::pin(async move {
            let sent = attempt(&core, &delivery).await;
            (delivery, sent)
        }));
    }

    async fn settle(&mut self, delivery: Delivery, sent: Option<Sent>) {
        self.held.retain(|held| held.id != delivery.id);
        let now = self.core.clock.now();
        self.throttle.done(&place(&delivery.url), delivery.key, now);
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
            while let Some((delivery, sent)) = self.under_way.next().await {
                self.settle(delivery, sent).await;
            }
        };
        if tokio::time::timeout(FAREWELL, farewell).await.is_ok() {
            return;
        }
        let now = self.core.clock.now();
        let outcome = |delivery: &Delivery| Outcome {
            state: DeliveryState::Pending,
            next: Some(now.plus(retry_after(delivery.attempts, 0).unwrap_or(PAUSE))),
            sent: Sent::failed(Failure::Interrupted),
            now,
        };
        for delivery in &self.held {
            let outcome = outcome(delivery);
            let _ = outbox_of(&self.core).settle(delivery, &outcome).await;
        }
    }
}

fn outbox_of(core: &Core) -> &dyn crate::app::ports::outbox::Outbox {
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
