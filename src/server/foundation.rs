//! What use cases stand on: the database, its keys, the index and who follows for it.

use std::sync::mpsc::Receiver;
use std::sync::{Arc, Weak};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::app::Core;
use crate::app::bootstrap::new_epoch;
use crate::app::envelope::Envelope;
use crate::app::exercised::ExercisedGrants;
use crate::app::fleet::{Alone, Fleet};
use crate::app::last_used::LastUsed;
use crate::app::ports::fleet::{Identity, Me, Replicas};
use crate::app::ports::{Clock, Entropy, Keep, KeepNothing, Meta, Store, StoreError};
use crate::app::postbacks::Postbacks;
use crate::app::postbacks::strangers::{Sighting, Strangers};
use crate::app::recorder::Recorder;
use crate::config::Config;
use crate::deliver::{Allowed, Client, Limits, SystemResolver};
use crate::domain::id::ReplicaId;
use crate::feed::Follower;
use crate::index::{Index, Live, SecretUsage};
use crate::snapshot::{Keeper, Point};
use crate::store::{Opening, SqlStore};

use super::adapters::{machine_name, since_boot};
use super::data_dir::DataDir;
use super::database::{self, Away, Database};
use super::rotate::meta_and_lying_key;
use super::{Bootstrap, StartError};

/// What use cases need, opened: all but listeners.
pub(super) struct Foundation {
    pub(super) core: Arc<Core>,
    pub(super) store: SqlStore,
    pub(super) follower: Arc<Follower>,
    pub(super) last_used: Receiver<Arc<SecretUsage>>,
    pub(super) sightings: tokio::sync::mpsc::Receiver<Sighting>,
    pub(super) data_dir: Arc<DataDir>,
    pub(super) bootstrapped: bool,
    /// Who keeps what the index holds.
    pub(super) keeper: Option<Arc<Keeper>>,
    /// The database is still to be opened; the index has what was kept.
    pub(super) apart: Option<Apart>,
}

/// What it is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To serve, without the database where that can't be reached.
    Serve,
    /// To do something to the database.
    Work,
}

/// A start without the database.
pub(super) struct Apart {
    pub(super) opening: Opening,
    /// What decisions rest on.
    pub(super) point: Point,
    /// Why the database can't be reached.
    pub(super) reason: String,
}

pub(super) async fn open(
    config: &Config,
    data_dir: DataDir,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    purpose: Purpose,
) -> Result<Foundation, StartError> {
    let kept = match purpose {
        Purpose::Serve => database::keeps(config),
        Purpose::Work => false,
    };
    let (store, meta, envelope, start) = match database::open(config, &data_dir, kept).await? {
        Database::There(store) => {
            let (envelope, meta) = keys(&store, config, &data_dir, &*entropy).await?;
            (*store, meta, envelope, None)
        }
        Database::Away(away) => {
            let Away {
                store,
                kept,
                opening,
                error,
            } = *away;
            let (meta, envelope) = (kept.meta().clone(), kept.envelope().clone());
            (store, meta, envelope, Some((kept, opening, error)))
        }
    };
    let keeper = match kept {
        true => {
            let envelope = envelope.clone();
            let clock = clock.clone();
            let keeper = Keeper::new(data_dir.path(), &meta, envelope, clock, entropy.clone());
            Some(Arc::new(keeper.map_err(|e| unusable(&data_dir, e))?))
        }
        false => {
            if purpose == Purpose::Serve && store.is_shared() {
                database::forget(&data_dir)?;
            }
            None
        }
    };
    let index = Index::new(envelope.lookup().clone(), meta.epoch);
    let index = Arc::new(Live::new(index));
    let shared: Arc<dyn crate::app::ports::Store> = Arc::new(store.clone());
    let keep: Arc<dyn Keep> = match &keeper {
        Some(keeper) => keeper.clone(),
        None => Arc::new(KeepNothing),
    };
    let follower = Follower::keeping(shared.clone(), index.clone(), keep).timed_by(clock.clone());
    let follower = Arc::new(follower.fitting(fits(config, &meta, &envelope)));
    let apart = match start {
        None => None,
        Some((kept, opening, error)) => {
            let reason = error.to_string();
            let point = follower.restore(|give| {
                let point = kept.read(give)?;
                Ok((point.revision.n, point))
            });
            let point = point.await.map_err(|why| database::refuse(&why, error))?;
            if let Some(keeper) = &keeper {
                let resumed = keeper.resume(point.revision.n);
                resumed.map_err(|e| unusable(&data_dir, e))?;
            }
            Some(Apart {
                opening,
                point,
                reason,
            })
        }
    };
    let (last_used, queue) = LastUsed::new();
    let (strangers, sightings) = Strangers::new();
    let allowed = Allowed::new(config.postback_allow.clone());
    let plain = allowed.any_loopback();
    let postman = Client::new(
        Arc::new(SystemResolver),
        allowed,
        Limits::default(),
        config.postback_ca_file.as_deref(),
    )?;
    let now = clock.now();
    let me = Me {
        id: data_dir.replica_id(now, &*entropy)?,
        name: config.replica_name.clone().unwrap_or_else(machine_name),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        strict: config.strict_revocation,
        start_time: now,
    };
    let data_dir = Arc::new(data_dir);
    let identity: Arc<dyn Identity> = Arc::new(Lying {
        data_dir: Arc::downgrade(&data_dir),
        clock: clock.clone(),
        entropy: entropy.clone(),
    });
    let replicas: Arc<dyn Replicas> = match store.is_shared() {
        true => Arc::new(store.clone()),
        false => Arc::new(Alone::new(clock.clone())),
    };
    let core = Arc::new(Core {
        store: shared,
        index,
        feed: follower.clone(),
        clock,
        entropy: entropy.clone(),
        envelope,
        last_used,
        recorder: Recorder::new(replica(&*entropy)?, threads()),
        records: Arc::new(store.records()),
        postbacks: Postbacks::new(Arc::new(store.clone()), Arc::new(postman), strangers, plain),
        fleet: Fleet::new(me, identity, replicas, Arc::new(since_boot)),
        exercised: ExercisedGrants::default(),
        leaked: std::sync::atomic::AtomicU64::new(0),
        tasks: TaskTracker::new(),
        imports: Semaphore::new(1),
        default_workspace: config.default_workspace.clone(),
    });
    Ok(Foundation {
        core,
        store,
        follower,
        last_used: queue,
        sightings,
        data_dir,
        bootstrapped: meta.bootstrapped,
        keeper,
        apart,
    })
}

/// The id that lies in the data directory, which is given free when the process ends.
struct Lying {
    data_dir: Weak<DataDir>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Identity for Lying {
    fn anew(&self) -> Result<ReplicaId, StoreError> {
        let data_dir = self
            .data_dir
            .upgrade()
            .ok_or_else(|| StoreError::Unavailable("this process is about to end".to_owned()))?;
        let made = data_dir.new_replica_id(self.clock.now(), &*self.entropy);
        made.map_err(|error| StoreError::Unavailable(error.to_string()))
    }
}

/// Tells whether a database has the keys that are worked with, as after a backup was put back.
fn fits(config: &Config, meta: &Meta, envelope: &Envelope) -> impl Fn(&Meta) -> bool + use<> {
    let (known, envelope) = (meta.wrapped_keys.clone(), envelope.clone());
    let roots = [config.root_key.clone(), config.root_key_previous.clone()];
    move |meta: &Meta| {
        let roots: Vec<_> = roots.iter().flatten().map(|key| key.as_bytes()).collect();
        let opened = || Envelope::open(&meta.wrapped_keys, &roots);
        meta.wrapped_keys == known || opened().is_ok_and(|opened| opened.is_same(&envelope))
    }
}

fn unusable(data_dir: &DataDir, cause: std::io::Error) -> StartError {
    StartError::DataDir {
        path: data_dir.path().to_owned(),
        cause,
    }
}

/// The database's keys, made where there are none.
async fn keys(
    store: &SqlStore,
    config: &Config,
    data_dir: &DataDir,
    entropy: &dyn Entropy,
) -> Result<(Envelope, Meta), StartError> {
    let (meta, lying_there) = match (&config.root_key, &config.database_url) {
        (None, None) => meta_and_lying_key(store, data_dir.path()).await?,
        _ => (store.meta().await?, None),
    };
    let given = config.root_key.clone().or(lying_there);
    match (meta, given) {
        (Some(meta), Some(root)) => {
            let previous: Vec<_> = config
                .root_key_previous
                .iter()
                .map(|key| key.as_bytes())
                .collect();
            let anew = Envelope::rewrap(&meta.wrapped_keys, root.as_bytes(), &previous, entropy);
            if let Some(anew) = anew? {
                store.rewrap(&meta.wrapped_keys, &anew).await?;
                tracing::info!(
                    "the database's keys are wrapped with the new root key; the previous one is no longer needed"
                );
            }
            let roots: Vec<_> = [root.as_bytes()].into_iter().chain(previous).collect();
            let envelope = Envelope::open(&meta.wrapped_keys, &roots)?;
            Ok((envelope, meta))
        }
        (Some(_), None) => Err(StartError::RootKeyMissing {
            path: data_dir.database(),
        }),
        (None, given) => {
            let root = match given {
                Some(root) => root,
                None => data_dir.make_root_key(entropy)?,
            };
            let (_, wrapped_keys) = Envelope::create(root.as_bytes(), entropy)?;
            let meta = Meta {
                epoch: new_epoch(entropy)?,
                wrapped_keys,
                bootstrapped: false,
            };
            // What stands then is what counts: another process may have been first.
            let meta = store.initialise(&meta).await?;
            Ok((
                Envelope::open(&meta.wrapped_keys, &[root.as_bytes()])?,
                meta,
            ))
        }
    }
}

/// A number that tells this process from all others, of before too.
fn replica(entropy: &dyn Entropy) -> Result<u64, StartError> {
    let mut bytes = [0; 8];
    entropy
        .fill(&mut bytes)
        .map_err(|e| StartError::Other(e.to_string()))?;
    Ok(u64::from_be_bytes(bytes))
}

/// How many threads decide.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Makes the first administrator. Its token is on disk before it is in the database: a crash between the two leaves a
/// token that opens nothing, and the next start makes another. Where another process was first, its token stands, and the
/// file goes.
pub(super) async fn make_bootstrap(
    config: &Config,
    core: &Arc<Core>,
    data_dir: &DataDir,
) -> Result<Option<Bootstrap>, StartError> {
    if let Some(token) = &config.bootstrap_token {
        core.bootstrap(token.clone(), None).await?;
        return Ok(None);
    }
    let (token, prefix) = core.administrator_token()?;
    let path = data_dir.bootstrap_token();
    data_dir.write_secret(&path, token.reveal())?;
    if core.bootstrap(token.clone(), Some(prefix)).await?.is_none() {
        data_dir.remove(&path)?;
        tracing::info!("another process made the first administrator; its token is with that one");
        return Ok(None);
    }
    Ok(Some(Bootstrap { token, path }))
}
