//! Removes, now and then, what is due to go: one replica does, for all.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::Core;

/// How often.
const INTERVAL: Duration = Duration::from_secs(60);

/// Does so until told to stop, whenever this process leads.
pub(super) async fn run(core: Arc<Core>, audit_retention: Duration, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(INTERVAL))
        .await
        .is_some()
    {
        // Between two of its changes it can be left: what is still due waits for the next start, or for who leads then.
        let work = core.while_leading(round(&core, audit_retention));
        if stop.run_until_cancelled(work).await.is_none() {
            return;
        }
    }
}

async fn round(core: &Arc<Core>, audit_retention: Duration) {
    match core.purge_due().await {
        Ok(0) => {}
        Ok(keys) => tracing::info!(keys, "purged what was due"),
        Err(error) => tracing::warn!(reason = error.reason, "what is due can't be purged now"),
    }
    match core.prune_records().await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "pruned records older than their retention"),
        Err(error) => tracing::warn!(reason = error.reason, "records can't be pruned now"),
    }
    match core.prune_changes(audit_retention).await {
        Ok(0) => {}
        Ok(changes) => tracing::info!(changes, "pruned changes older than the retention"),
        Err(error) => tracing::warn!(reason = error.reason, "changes can't be pruned now"),
    }
}
