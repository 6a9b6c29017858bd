//! A database that could not be reached at the start: it is tried until it is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::app::ports::StoreError;
use crate::app::postbacks::message::rfc3339;
use crate::domain::time::Time;
use crate::snapshot::Point;
use crate::store::{OpenError, Opening};
use crate::telemetry::Metrics;

use super::Ready;
use super::adapters::any_share;
use super::foundation::Apart;

/// The first pause between two tries; each is up to twice the one before.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest one.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// What `/readyz` says beside being ready or not.
pub(super) fn detail(point: &Point) -> String {
    format!(
        "without the database since the start: decisions rest on revision {} of {}, administration answers UNAVAILABLE",
        point.revision,
        rfc3339(point.time),
    )
}

/// Who is told that the database is there.
pub(super) struct Told {
    pub(super) apart: watch::Sender<Option<String>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ready: Ready,
}

/// Says what such a start means.
pub(super) fn warn(apart: &Apart, now: Time) {
    let point = &apart.point;
    let age = now.micros().saturating_sub(point.time.micros()).max(0) / 1_000_000;
    tracing::warn!(
        reason = apart.reason,
        revision = %point.revision,
        known_at = rfc3339(point.time),
        age_seconds = age,
        "started without the database: decisions rest on what was kept, and nothing can be changed until it is there"
    );
}

/// Opens the database when it is there, and says so when the index has caught up with it, unless told to stop.
pub(super) async fn open(core: Arc<Core>, apart: Apart, told: Told, stop: CancellationToken) {
    let opened = async {
        reach(&apart.opening).await;
        // Not before it: the workspace is made through the index's follower, and by the rules of a change.
        catch_up(&core).await;
        if let Err(error) = core.ensure_default_workspace().await {
            tracing::warn!(
                reason = error.reason,
                "the default workspace can't be looked for"
            );
        }
    };
    if stop.run_until_cancelled(opened).await.is_none() {
        return;
    }
    told.apart.send_replace(None);
    told.metrics.apart.set(0);
    told.ready.tell().await;
    tracing::info!(
        revision = %core.index.applied(),
        "the database is there, and what was missed has been read"
    );
}

async fn reach(opening: &Opening) {
    let mut said: Option<std::mem::Discriminant<OpenError>> = None;
    let mut pause = PAUSE;
    loop {
        let Err(error) = opening.open().await else {
            return;
        };
        let kind = std::mem::discriminant(&error);
        // That it can't be reached was said at the start.
        let known = matches!(error, OpenError::Unreachable { .. });
        if said.replace(kind) != Some(kind) && !known {
            tracing::error!(%error, "the database is there, and can't be used");
        }
        wait(&mut pause).await;
    }
}

/// Catches up with a database that goes on where what was kept ends. With another one it never does.
async fn catch_up(core: &Core) {
    let mut pause = PAUSE;
    let mut refused = false;
    loop {
        let caught_up = async {
            // As it was before the read: what is applied meanwhile is newer than what is read.
            let known = core.index.applied();
            let there = core.store.position().await?;
            if !core.feed.follows(known, there) {
                return Err(StoreError::Corrupt(
                    "it has another history than what was kept here: a backup was restored, or it is another database; \
                     run `claviger adopt-restore`, or restart this process"
                        .to_owned(),
                ));
            }
            core.feed.catch_up(there.into()).await
        };
        match caught_up.await {
            Ok(()) => return,
            Err(error @ StoreError::Corrupt(_)) if !refused => {
                refused = true;
                tracing::error!(%error, "the database is not the one that was left; decisions go on with what was kept");
            }
            Err(error) => tracing::debug!(%error, "the index has not caught up yet"),
        }
        wait(&mut pause).await;
    }
}

/// Waits for about so long, each process to its own beat; next time for longer.
async fn wait(pause: &mut Duration) {
    tokio::time::sleep(pause.mul_f64(0.5 + any_share() / 2.0)).await;
    *pause = (*pause * 2).min(MAX_PAUSE);
}
