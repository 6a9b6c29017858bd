//! Use cases, and the ports through which they reach the world.
//!
//! Invariant: nothing here knows SQL, gRPC or HTTP. What it needs from outside it asks of the traits in [`ports`].

pub mod auth;
pub mod authorize;
pub mod bootstrap;
pub mod calls;
pub mod directory;
pub mod envelope;
pub mod error;
pub mod exercised;
pub mod fleet;
pub mod hygiene;
pub mod insights;
pub mod keys;
pub mod last_used;
pub mod limit;
pub mod mutate;
mod pace;
pub mod page;
pub mod ports;
pub mod postbacks;
pub mod purge;
pub mod recorded;
pub mod recorder;
mod replay;
pub mod routes;
pub mod scene;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::domain::id::WorkspaceId;
use crate::index::Live;

use self::envelope::Envelope;
use self::exercised::ExercisedGrants;
use self::fleet::Fleet;
use self::last_used::LastUsed;
use self::ports::{Clock, Entropy, Feed, Records, Store};
use self::postbacks::Postbacks;
use self::recorder::Recorder;

/// What every use case works with.
pub struct Core {
    /// The state of all keys.
    pub store: Arc<dyn Store>,
    /// The resident key set.
    pub index: Arc<Live>,
    /// Who keeps the index in step.
    pub feed: Arc<dyn Feed>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The keys that tokens are tagged and sealed with.
    pub envelope: Envelope,
    /// Which secrets were used.
    pub last_used: LastUsed,
    /// What decisions leave behind, until it is written.
    pub recorder: Recorder,
    /// What was written of it.
    pub records: Arc<dyn Records>,
    /// Events on their way to keys' POSTback URLs.
    pub postbacks: Postbacks,
    /// This process among those that decide from the same database.
    pub fleet: Fleet,
    /// Which grants were made use of.
    pub exercised: ExercisedGrants,
    /// How many secrets were reported here as found in public, each once.
    pub leaked: AtomicU64,
    /// Runs what must not be torn when a caller hangs up; a shutdown waits for it.
    pub tasks: TaskTracker,
    /// The turn to write a batch of an import: other changes wait behind one of them, and no more.
    pub imports: Semaphore,
    /// The workspace of requests that name none.
    pub default_workspace: WorkspaceId,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("index", &self.index.len())
            .finish_non_exhaustive()
    }
}
