//! Writes down what decisions leave behind, in batches, off their path: times of last use, grants that were made use of, and
//! who passed routes without a key.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::domain::id::SecretId;
use crate::domain::time::Time;
use crate::index::SecretUsage;

/// How often times of last use are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// How many are handed to the store at once; it divides them further.
const BATCH: usize = 1_000;

/// Writes times of last use until told to stop, and once more then: an orderly stop loses none.
pub async fn flush_last_used(
    core: Arc<Core>,
    queue: Receiver<Arc<SecretUsage>>,
    stop: CancellationToken,
) {
    let mut pending: HashMap<SecretId, Time> = HashMap::new();
    let mut failing = false;
    loop {
        let stopped = tokio::select! {
            () = stop.cancelled() => true,
            () = core.last_used.first_use() => false,
            () = tokio::time::sleep(FLUSH_INTERVAL) => false,
        };
        for usage in queue.try_iter() {
            if let (id, Some(used)) = usage.take() {
                pending.insert(id, used);
            }
        }
        let batch: Vec<_> = pending.iter().map(|(id, used)| (*id, *used)).collect();
        for part in batch.chunks(BATCH) {
            match core.store.flush_last_used(part).await {
                Ok(()) => {
                    failing = false;
                    for (id, _) in part {
                        pending.remove(id);
                    }
                }
                Err(error) => {
                    // What is not written stays, bounded by the number of secrets.
                    if !failing {
                        tracing::warn!(%error, pending = pending.len(), "times of last use can't be written; they wait in memory");
                    }
                    failing = true;
                    break;
                }
            }
        }
        if let Err(error) = core.flush_exercised().await
            && !failing
        {
            tracing::warn!(%error, "what keys were made use of for can't be written; it waits in memory");
            failing = true;
        }
        if stopped {
            return;
        }
    }
}

/// Writes who passed routes without a key until told to stop, and once more then.
pub async fn flush_keyless_uses(core: Arc<Core>, stop: CancellationToken) {
    let mut failing = false;
    loop {
        let going_on = stop
            .run_until_cancelled(tokio::time::sleep(FLUSH_INTERVAL))
            .await
            .is_some();
        match core.flush_keyless_uses().await {
            Ok(()) => failing = false,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "who passed routes without a key can't be written; it is counted on in memory");
                }
            }
        }
        if !going_on {
            return;
        }
    }
}
