//! Which secrets were used, on their way from decisions to whoever writes it down.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::Notify;

use crate::domain::time::Time;
use crate::index::{SecretUsage, Touch};

/// The decisions' end. A secret is queued at most once until it is taken, so the queue is bounded by their number.
#[derive(Debug)]
pub struct LastUsed {
    queue: Sender<Arc<SecretUsage>>,
    first: Notify,
}

impl LastUsed {
    /// Both ends.
    pub fn new() -> (Self, Receiver<Arc<SecretUsage>>) {
        let (queue, receiver) = channel();
        let first = Notify::new();
        (Self { queue, first }, receiver)
    }

    /// Notes that a secret was accepted.
    pub fn note(&self, usage: &Arc<SecretUsage>, now: Time) {
        let touch = usage.touch(now);
        if touch == Touch::Known {
            return;
        }
        // It fails only when nobody flushes any more: the process is ending.
        let _ = self.queue.send(usage.clone());
        if touch == Touch::First {
            self.first.notify_one();
        }
    }

    /// Waits for the first use of a secret, which is written at once: the rotation guard of other replicas asks for it.
    pub async fn first_use(&self) {
        self.first.notified().await;
    }
}
