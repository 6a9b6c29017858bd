//! Events that no change makes: keys that expire, and what strangers do with keys. Beside them what is cleared away, and what
//! metrics say of the outbox.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::ports::outbox::{DEAD_RETENTION, DELIVERED_RETENTION};
use crate::app::postbacks::events::{EXPIRED, EXPIRING, about};
use crate::app::postbacks::message::rfc3339;
use crate::app::postbacks::strangers::Sighting;
use crate::domain::time::Time;

/// How long before its expiry a key is told of.
const AHEAD: Duration = Duration::from_secs(7 * 86_400);
/// How long after it a key is still told of: the process may have been away.
const BEHIND: Duration = Duration::from_secs(7 * 86_400);
/// How many keys one look finds.
const SOME: u32 = 500;
/// How many batches of old deliveries one round clears away.
const BATCHES: usize = 50;

/// Every `interval` of real time: tells of keys that expire, clears away what is old, and looks how much is pending.
pub async fn mind_expiries(core: Arc<Core>, interval: Duration, stop: CancellationToken) {
    let mut failing = false;
    loop {
        let done = stop.run_until_cancelled(round(&core)).await;
        match done {
            None => return,
            Some(Ok(())) => failing = false,
            Some(Err(error)) => {
                if !failing {
                    tracing::warn!(reason = error.reason, "expiries of keys can't be told now");
                }
                failing = true;
            }
        }
        let rested = stop.run_until_cancelled(tokio::time::sleep(interval)).await;
        if rested.is_none() {
            return;
        }
    }
}

async fn round(core: &Core) -> Result<(), Error> {
    if core.leads() {
        core.while_leading(work_off(core)).await.transpose()?;
    }
    let state = core.postbacks.outbox.outbox_state().await?;
    core.postbacks.counts.look(state, core.clock.now());
    Ok(())
}

/// What one replica does for all.
async fn work_off(core: &Core) -> Result<(), Error> {
    let now = core.clock.now();
    tell(core, EXPIRED, "key.expired@", (now.minus(BEHIND), now)).await?;
    tell(core, EXPIRING, "key.expiring@", (now, now.plus(AHEAD))).await?;
    let outbox = &core.postbacks.outbox;
    for _ in 0..BATCHES {
        let cleared = outbox
            .clear_away(
                now.minus(DELIVERED_RETENTION),
                now.minus(DEAD_RETENTION),
                now,
            )
            .await?;
        if cleared == 0 {
            break;
        }
    }
    Ok(())
}

async fn tell(
    core: &Core,
    kind: &'static str,
    once: &'static str,
    (after, upto): (Time, Time),
) -> Result<(), Error> {
    loop {
        let outbox = &core.postbacks.outbox;
        let found = outbox.expiries(once, after, upto, SOME).await?;
        let some = found.len();
        let mut told = 0;
        for key in found {
            let mut data = about(&key.display_name);
            data.insert("expire_time".to_owned(), json!(rfc3339(key.time)));
            let once = format!("{once}{}", key.time.micros());
            let whose = (key.workspace, key.key, key.url);
            told += usize::from(core.note_event(whose, kind, once, data).await?);
        }
        if told > 0 {
            core.postbacks.wake();
        }
        // Where another process was faster with all of them, the next look finds what it left.
        if some < SOME as usize || told == 0 {
            return Ok(());
        }
    }
}

/// Writes down what decisions have seen of strangers, until told to stop.
pub async fn tell_of_strangers(
    core: Arc<Core>,
    mut sightings: Receiver<Sighting>,
    stop: CancellationToken,
) {
    while let Some(Some(sighting)) = stop.run_until_cancelled(sightings.recv()).await {
        let once = sighting.once();
        let mut data = serde_json::Map::new();
        data.insert("reason".to_owned(), json!(sighting.reason.as_str()));
        data.insert("secret_id".to_owned(), json!(sighting.secret));
        let source_ip = sighting.source_ip.map(|ip| ip.to_string());
        data.insert("source_ip".to_owned(), json!(source_ip));
        let noted = core
            .note_event(sighting.key, sighting.kind, once, data)
            .await;
        match noted {
            Ok(true) => core.postbacks.wake(),
            Ok(false) => {}
            Err(error) => {
                core.postbacks.counts.miss();
                tracing::warn!(
                    reason = error.reason,
                    "what a stranger did with a key can't be written down"
                );
            }
        }
    }
}
