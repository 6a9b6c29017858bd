//! The composition root: a configuration becomes a running service. The only place that names both the store and the
//! services.

mod accept;
mod adapters;
mod data_dir;
mod listener;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::app::Core;
use crate::app::authorize::DecisionCounts;
use crate::app::envelope::Envelope;
use crate::app::error::Error;
use crate::app::last_used::LastUsed;
use crate::app::limit::{Limit, Shares};
use crate::app::ports::{Clock, Entropy, Meta, Store as _, StoreError};
use crate::config::{Config, ListenAddress};
use crate::domain::token::Token;
use crate::feed::Follower;
use crate::grpc::authorize::AuthorizeService;
use crate::grpc::directory::DirectoryService;
use crate::grpc::ext_authz::ExtAuthzService;
use crate::grpc::guard::{Guard, Observer};
use crate::grpc::key_admin::KeyAdminService;
use crate::grpc::proto;
use crate::http::Pages;
use crate::index::{Index, SecretUsage};
use crate::record;
use crate::store::{OpenError, SqlStore};
use crate::telemetry::Metrics;

use accept::{Connections, Served};
pub use adapters::{SystemClock, SystemEntropy};
use data_dir::DataDir;
pub use listener::BoundAddress;
use listener::Listener;

/// Longest that tasks may take to end, once connections are gone.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);
/// How often what is due is purged.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);
const HEALTH_NAMES: [&str; 5] = [
    "",
    "claviger.v1.KeyAdmin",
    "claviger.v1.Directory",
    "claviger.v1.Authorize",
    "envoy.service.auth.v3.Authorization",
];

/// Why the service does not start: one line each, with what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error(
        "`{path}` can't be used: {cause}; check that the directory exists and is writable, or set `--data-dir`"
    )]
    DataDir {
        /// The directory or a file in it.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Another process has the data directory.
    #[error(
        "the data directory `{path}` is in use by another process; stop that, or set another `--data-dir`"
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The root key's file can't be read.
    #[error("the root key in `{path}` can't be used: {message}")]
    RootKeyFile {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// A database without its root key.
    #[error(
        "the database `{path}` has keys, but there is no root key; set `CLAVIGER_ROOT_KEY`, or put back the file `root-key` beside it"
    )]
    RootKeyMissing {
        /// The database.
        path: PathBuf,
    },
    /// Listening failed.
    #[error("can't listen on `{address}`: {cause}; set another address, or stop what uses it")]
    Listen {
        /// The address.
        address: ListenAddress,
        /// What the system says.
        cause: io::Error,
    },
    /// The database can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A use case of the start failed.
    #[error("{0}")]
    Use(#[from] Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// Where the service listens.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Decisions, and administration where it has no listener of its own.
    pub grpc: BoundAddress,
    /// Administration alone.
    pub admin: Option<BoundAddress>,
    /// Metrics and health.
    pub http: Option<BoundAddress>,
}

/// The first administrator, just made.
#[derive(Debug)]
pub struct Bootstrap {
    /// The token, where Claviger made it.
    pub token: Token,
    /// Where it was put.
    pub path: PathBuf,
}

/// A service, ready to run.
pub struct App {
    addresses: Addresses,
    bootstrap: Option<Bootstrap>,
    listeners: Vec<(Listener, Served)>,
    core: Arc<Core>,
    store: SqlStore,
    follower: Arc<Follower>,
    last_used: Receiver<Arc<SecretUsage>>,
    metrics: Arc<Metrics>,
    health: HealthReporter,
    serving: watch::Sender<bool>,
    config: Config,
    _data_dir: DataDir,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// What use cases need, opened: all but listeners.
struct Foundation {
    core: Arc<Core>,
    store: SqlStore,
    follower: Arc<Follower>,
    last_used: Receiver<Arc<SecretUsage>>,
    data_dir: DataDir,
    bootstrapped: bool,
}

/// Opens what a configuration names, and makes it ready to run. Fails with one clear line; what it made by then stays as
/// it is, and the next start goes on from there.
pub async fn build(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<App, StartError> {
    let data_dir = DataDir::take(&config.data_dir)?;
    let (grpc, grpc_at) = bind(&config.listen).await?;
    let admin = match &config.admin_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let http = match &config.http_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let Foundation {
        core,
        store,
        follower,
        last_used,
        data_dir,
        bootstrapped,
    } = open(&config, data_dir, clock, entropy).await?;
    let bootstrap = if bootstrapped {
        None
    } else {
        make_bootstrap(&config, &core, &data_dir).await?
    };
    core.ensure_default_workspace().await?;

    let counts = Arc::new(DecisionCounts::default());
    let decisions = Limit::new(config.max_concurrent_decisions);
    let administration = Shares::new(config.max_concurrent_admin);
    let metrics = Arc::new(Metrics::new(
        core.index.clone(),
        counts.clone(),
        decisions.clone(),
        administration.clone(),
        proto::methods(),
    ));
    let (health, health_service) = tonic_health::server::health_reporter();
    for name in HEALTH_NAMES {
        // "" begins as SERVING: not before the index is whole.
        health
            .set_service_status(name, ServingStatus::NotServing)
            .await;
    }
    let observer: Observer = {
        let metrics = metrics.clone();
        Arc::new(move |path, code| metrics.call(path, code))
    };
    let guard = |routes, administers: bool| {
        let shares = administers.then(|| administration.clone());
        Guard::new(
            routes,
            core.clone(),
            decisions.clone(),
            shares,
            observer.clone(),
        )
    };
    let for_all = || with_reflection(Routes::new(health_service.clone()));
    let for_decisions = |routes: Routes| {
        let authorize = AuthorizeService::new(core.clone(), counts.clone());
        let ext_authz = ExtAuthzService::new(
            core.clone(),
            counts.clone(),
            decisions.clone(),
            config.trusted_proxies.clone(),
        );
        routes
            .add_service(proto::v1::authorize_server::AuthorizeServer::new(authorize))
            .add_service(ext_authz)
    };
    let for_administration = |routes: Routes| {
        routes
            .add_service(proto::v1::key_admin_server::KeyAdminServer::new(
                KeyAdminService::new(core.clone()),
            ))
            .add_service(proto::v1::directory_server::DirectoryServer::new(
                DirectoryService::new(core.clone()),
            ))
    };
    let serving = watch::Sender::new(false);
    let mut listeners = Vec::new();
    let mut addresses = Addresses {
        grpc: grpc_at,
        admin: None,
        http: None,
    };
    match admin {
        None => {
            let routes = for_administration(for_decisions(for_all()?));
            listeners.push((grpc, Served::Grpc(guard(routes.prepare(), true))));
        }
        Some((admin, admin_at)) => {
            listeners.push((
                grpc,
                Served::Grpc(guard(for_decisions(for_all()?).prepare(), false)),
            ));
            listeners.push((
                admin,
                Served::Grpc(guard(for_administration(for_all()?).prepare(), true)),
            ));
            addresses.admin = Some(admin_at);
        }
    }
    if let Some((http, http_at)) = http {
        let pages = Pages {
            metrics: metrics.clone(),
            serving: serving.subscribe(),
        };
        listeners.push((http, Served::Pages(pages)));
        addresses.http = Some(http_at);
    }
    Ok(App {
        addresses,
        bootstrap,
        listeners,
        core,
        store,
        follower,
        last_used,
        metrics,
        health,
        serving,
        config,
        _data_dir: data_dir,
    })
}

/// Makes a new administrator of everything in a database that no process uses, and returns its token.
pub async fn recover(
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Token, StartError> {
    let data_dir = DataDir::take(&config.data_dir)?;
    let Foundation {
        core,
        store,
        follower,
        data_dir: _data_dir,
        bootstrapped,
        ..
    } = open(&config, data_dir, clock, entropy).await?;
    if !bootstrapped {
        return Err(StartError::Other(
            "this database has no administrator yet; start the service, which makes the first one"
                .to_owned(),
        ));
    }
    follower.load().await?;
    let (token, prefix) = core.administrator_token()?;
    core.recover(token.clone(), Some(prefix)).await?;
    store.close().await?;
    Ok(token)
}

async fn bind(address: &ListenAddress) -> Result<(Listener, BoundAddress), StartError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|cause| StartError::Listen {
        address: address.clone(),
        cause,
    })
}

async fn open(
    config: &Config,
    data_dir: DataDir,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Foundation, StartError> {
    let store = SqlStore::open(&data_dir.database()).await?;
    let lying_there = data_dir.root_key()?;
    let given = config.root_key.clone().or(lying_there);
    let (envelope, meta) = match (store.meta().await?, given) {
        (Some(meta), Some(root)) => {
            let previous: Vec<_> = config
                .root_key_previous
                .iter()
                .map(|key| key.as_bytes())
                .collect();
            let anew = Envelope::rewrap(&meta.wrapped_keys, root.as_bytes(), &previous, &*entropy);
            if let Some(anew) = anew.map_err(Error::from_start)? {
                store.rewrap(&meta.wrapped_keys, &anew).await?;
                tracing::info!(
                    "the database's keys are wrapped with the new root key; the previous one is no longer needed"
                );
            }
            let roots: Vec<_> = [root.as_bytes()].into_iter().chain(previous).collect();
            let envelope = Envelope::open(&meta.wrapped_keys, &roots).map_err(Error::from_start)?;
            (envelope, meta)
        }
        (Some(_), None) => {
            return Err(StartError::RootKeyMissing {
                path: data_dir.database(),
            });
        }
        (None, given) => {
            let root = match given {
                Some(root) => root,
                None => data_dir.make_root_key(&*entropy)?,
            };
            let (_, wrapped_keys) =
                Envelope::create(root.as_bytes(), &*entropy).map_err(Error::from_start)?;
            let mut epoch = [0; 4];
            entropy
                .fill(&mut epoch)
                .map_err(|e| StartError::Other(e.to_string()))?;
            let meta = Meta {
                epoch: u32::from_be_bytes(epoch),
                wrapped_keys,
                bootstrapped: false,
            };
            // What stands then is what counts: another process may have been first.
            let meta = store.initialise(&meta).await?;
            (
                Envelope::open(&meta.wrapped_keys, &[root.as_bytes()])
                    .map_err(Error::from_start)?,
                meta,
            )
        }
    };
    let index = Arc::new(Index::new(envelope.lookup().clone(), meta.epoch));
    let shared: Arc<dyn crate::app::ports::Store> = Arc::new(store.clone());
    let follower = Arc::new(Follower::new(shared.clone(), index.clone()));
    let (last_used, queue) = LastUsed::new();
    let core = Arc::new(Core {
        store: shared,
        index,
        feed: follower.clone(),
        clock,
        entropy,
        envelope,
        last_used,
        tasks: TaskTracker::new(),
        default_workspace: config.default_workspace.clone(),
    });
    Ok(Foundation {
        core,
        store,
        follower,
        last_used: queue,
        data_dir,
        bootstrapped: meta.bootstrapped,
    })
}

/// Makes the first administrator. Its token is on disk before it is in the database: a crash between the two leaves a
/// token that opens nothing, and the next start makes another.
async fn make_bootstrap(
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
    core.bootstrap(token.clone(), Some(prefix)).await?;
    Ok(Some(Bootstrap { token, path }))
}

fn with_reflection(routes: Routes) -> Result<Routes, StartError> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |e: tonic_reflection::server::Error| {
        StartError::Other(format!("reflection can't be built: {e}"))
    };
    let v1 = builder().build_v1().map_err(broken)?;
    let v1alpha = builder().build_v1alpha().map_err(broken)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

impl Error {
    /// A wrong root key is for the operator to read, not an internal fault.
    fn from_start(error: crate::app::envelope::EnvelopeError) -> StartError {
        StartError::Other(error.to_string())
    }
}

impl App {
    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The first administrator, where this start made it.
    pub fn bootstrap(&self) -> Option<&Bootstrap> {
        self.bootstrap.as_ref()
    }

    /// Tells when decisions are served, and when no more.
    pub fn serving(&self) -> watch::Receiver<bool> {
        self.serving.subscribe()
    }

    /// Serves until `shutdown` resolves, then drains: says so, waits, lets connections go, and writes down what is left.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
        let stop_accepting = CancellationToken::new();
        let stop_tasks = CancellationToken::new();
        let connections = TaskTracker::new();
        let background = TaskTracker::new();
        for (listener, served) in self.listeners {
            let shared = Connections {
                metrics: self.metrics.clone(),
                limit: Limit::new(self.config.max_connections),
                tracker: connections.clone(),
                stop: stop_accepting.clone(),
            };
            connections.spawn(shared.accept(listener, served));
        }
        log_addresses(&self.addresses);
        background.spawn(record::flush_last_used(
            self.core.clone(),
            self.last_used,
            stop_tasks.clone(),
        ));

        let mut shutdown = std::pin::pin!(shutdown);
        let loaded = tokio::select! {
            loaded = self.follower.load() => loaded.map(|_| true),
            () = &mut shutdown => Ok(false),
        };
        if let Ok(true) = loaded {
            self.serving.send_replace(true);
            set_health(&self.health, ServingStatus::Serving).await;
            // Said only now that it is so: deployments wait for this line.
            let (keys, secrets) = self.core.index.len();
            tracing::info!(index.keys = keys, index.secrets = secrets, revision = %self.core.index.applied(), "serving");
            let follower = self.follower.clone();
            let stop = stop_tasks.clone();
            background.spawn(async move { follower.poll(stop).await });
            background.spawn(purge(self.core.clone(), stop_tasks.clone()));
            shutdown.await;
            tracing::info!(
                drain_delay_ms =
                    u64::try_from(self.config.drain_delay.as_millis()).unwrap_or(u64::MAX),
                "draining"
            );
            self.serving.send_replace(false);
            set_health(&self.health, ServingStatus::NotServing).await;
            tokio::time::sleep(self.config.drain_delay).await;
        }
        stop_accepting.cancel();
        connections.close();
        connections.wait().await;
        // Changes that nobody waits for any more are still made, and then no new ones.
        self.core.tasks.close();
        let _ = tokio::time::timeout(FLUSH_DEADLINE, self.core.tasks.wait()).await;
        stop_tasks.cancel();
        background.close();
        let _ = tokio::time::timeout(FLUSH_DEADLINE, background.wait()).await;
        let closed = tokio::time::timeout(FLUSH_DEADLINE, self.store.close()).await;
        loaded?;
        // What is not closed in time is as after a crash: the write-ahead log is read at the next start.
        closed.unwrap_or(Ok(()))?;
        tracing::info!("stopped");
        Ok(())
    }
}

fn log_addresses(addresses: &Addresses) {
    tracing::info!(listener = "grpc", address = %addresses.grpc, "listening");
    if let Some(admin) = &addresses.admin {
        tracing::info!(listener = "admin", address = %admin, "listening");
    }
    if let Some(http) = &addresses.http {
        tracing::info!(listener = "http", address = %http, "listening");
    }
}

async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}

async fn purge(core: Arc<Core>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(PURGE_INTERVAL))
        .await
        .is_some()
    {
        match core.purge_due().await {
            Ok(0) => {}
            Ok(keys) => tracing::info!(keys, "purged what was due"),
            Err(error) => tracing::warn!(reason = error.reason, "what is due can't be purged now"),
        }
    }
}
