//! Keeps this process in its fleet: says what it has applied, renews its lease, looks who else is there, and leads where nobody
//! else does.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::Core;

/// How often something is said where nothing changes: a lease stands several that fail. As often the list is looked at.
const BEAT: Duration = Duration::from_secs(1);
/// How long between two things said where much changes: whoever waits for a change hears of it within this.
const PAUSE: Duration = Duration::from_millis(10);

/// Speaks for this process until told to stop, then leaves the fleet in its name: it must not decide after that.
pub async fn keep(core: Arc<Core>, stop: CancellationToken) {
    // Beside each other: a look that gets no answer must not cost the lease.
    tokio::join!(speak(&core, &stop), look_around(&core, &stop));
    if let Err(error) = core.leave().await {
        tracing::warn!(%error, "this replica could not be struck off; changes wait for it until it is back, or `claviger fleet forget`");
    }
}

async fn speak(core: &Core, stop: &CancellationToken) {
    let mut failing = false;
    let mut told = core.feed.confirmed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
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
}

async fn look_around(core: &Core, stop: &CancellationToken) {
    loop {
        let looked = async {
            if let Err(error) = core.look_around().await {
                tracing::debug!(%error, "the list of replicas can't be read");
            }
            tokio::time::sleep(BEAT).await;
        };
        if stop.run_until_cancelled(looked).await.is_none() {
            return;
        }
    }
}

/// Has this process lead where nobody else does, until told to stop; then others may at once.
pub async fn lead(core: Arc<Core>, stop: CancellationToken) {
    let mut leads = false;
    loop {
        let taken = core.take_lead().await;
        if let Err(error) = &taken {
            tracing::debug!(%error, "whether this replica leads can't be told");
        }
        let now = core.leads();
        if now != leads {
            leads = now;
            match leads {
                true => {
                    // What was there before.
                    core.postbacks.wake();
                    tracing::info!("this replica leads: it delivers POSTbacks and purges");
                }
                false => tracing::warn!("this replica leads no more"),
            }
        }
        let rested = stop.run_until_cancelled(tokio::time::sleep(BEAT)).await;
        if rested.is_none() {
            break;
        }
    }
    if let Err(error) = core.resign().await {
        tracing::debug!(%error, "the lead could not be given up; it is over with its lease");
    }
}
