//! Who passed routes without a key.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::Core;

/// How often they are written.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

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
