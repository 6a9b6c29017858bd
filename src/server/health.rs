//! Tells load balancers when a serving process must not decide, and when it may again: one that stops at the end of its lease
//! is passed over until it has caught up.

use std::time::Duration;

use tokio::sync::watch;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::services::set_health;
use crate::app::Core;

/// How often it is looked at: two reads of memory.
const LOOK: Duration = Duration::from_millis(50);

/// Follows the process's place in its fleet, until it is dropped: from then on others say how it stands. While `away` tells of
/// something, it is not said to serve.
pub(super) async fn follow(
    core: &Core,
    away: Option<watch::Receiver<Option<String>>>,
    health: &HealthReporter,
    serving: &watch::Sender<bool>,
) {
    loop {
        let ready = away.as_ref().is_none_or(|away| away.borrow().is_none());
        let may = ready && core.may_decide().is_ok();
        if serving.send_if_modified(|told| std::mem::replace(told, may) != may) {
            let status = match may {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            set_health(health, status).await;
            match may {
                true => tracing::info!("serving again"),
                false => tracing::warn!("not serving: the lease of this replica is over"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}
