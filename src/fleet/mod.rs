//! Keeps this process in its fleet: says what it has applied, and renews its lease.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::Core;

/// How often something is said where nothing changes: a lease stands several that fail.
const BEAT: Duration = Duration::from_secs(1);
/// How long between two things said where much changes: whoever waits for a change hears of it within this.
const PAUSE: Duration = Duration::from_millis(10);

/// Speaks for this process until told to stop, then leaves the fleet in its name: it must not decide after that.
pub async fn keep(core: Arc<Core>, stop: CancellationToken) {
    let mut failing = false;
    let mut told = core.feed.confirmed();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = core.feed.wait_for_confirmed(told.next()) => {}
            () = tokio::time::sleep(BEAT) => {}
        }
        told = core.feed.confirmed();
        match core.speak().await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!("the fleet hears of this replica again");
            }
            Ok(()) => {}
            Err(error) => {
                if !failing {
                    tracing::warn!(%error, "the fleet can't be told what this replica has applied");
                }
                failing = true;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    if let Err(error) = core.leave().await {
        tracing::warn!(%error, "this replica could not be struck off; changes wait for it until it is back, or `claviger fleet forget`");
    }
}
