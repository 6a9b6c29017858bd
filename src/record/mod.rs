//! Writes down what decisions leave behind, in batches, off their path: times of last use, grants that were made use of, who
//! passed routes without a key, usage, the request log.

mod counts;
mod keyless;
mod last_used;
mod ledger;
mod rows;

use std::sync::Arc;
use std::sync::mpsc::Receiver;

use tokio_util::sync::CancellationToken;

use crate::app::Core;
use crate::index::SecretUsage;

pub use keyless::flush_keyless_uses;

/// Writes until told to stop, and once more then: an orderly stop loses nothing that can be written. What goes to the state
/// of keys and what goes to the records does not wait for each other.
pub async fn flush(core: Arc<Core>, queue: Receiver<Arc<SecretUsage>>, stop: CancellationToken) {
    tokio::join!(
        last_used::flush(&core, queue, &stop),
        ledger::flush(&core, &stop),
    );
}
