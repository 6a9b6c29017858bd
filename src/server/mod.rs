//! The composition root: a configuration becomes a running service. The only place that names both the store and the
//! services.

mod accept;
mod adapters;
mod backup;
mod data_dir;
mod database;
mod error;
mod foundation;
mod health;
mod later;
mod listener;
mod offline;
mod patience;
mod purge;
mod rotate;
mod services;

use std::future::Future;
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
use crate::app::calls::CallCounts;
use crate::app::limit::{Limit, Shares};
use crate::app::ports::{Clock, Entropy};
use crate::app::postbacks::strangers::Sighting;
use crate::config::{Config, ListenAddress};
use crate::deliver;
use crate::domain::token::Token;
use crate::feed::Follower;
use crate::fleet;
use crate::grpc::insights::OPEN_WATCHES;
use crate::grpc::proto;
use crate::http::Pages;
use crate::index::SecretUsage;
use crate::record;
use crate::snapshot::{self, Keeper};
use crate::store::SqlStore;
use crate::telemetry::Metrics;

use accept::{Connections, Served};
pub use adapters::{SystemClock, SystemEntropy};
pub use backup::{Backup, backup, restore};
use data_dir::DataDir;
pub use error::StartError;
use foundation::{Apart, Foundation, Purpose, make_bootstrap, open};
pub use listener::BoundAddress;
use listener::Listener;
pub use offline::{adopt_restore, migrate, recover};
use patience::patiently;
pub use rotate::{Rotation, rotate_root_key};
use services::{Services, set_health, with_reflection};

/// Longest that tasks may take to end, once connections are gone.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);
/// The same for what was recorded: rows of the request log may have queued up.
const RECORD_DEADLINE: Duration = Duration::from_secs(3);
/// How often the feed is polled where nobody else writes to the database: only to heal what a failed read left behind.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The same where others do: their changes are in force here that much later.
const SHARED_POLL_INTERVAL: Duration = Duration::from_millis(25);
/// How often the process that delivers looks for what others accepted.
const SHARED_POSTBACK_POLL: Duration = Duration::from_millis(200);
/// How many looks for POSTbacks that are due there are for one at keys that expire.
const EXPIRY_ROUNDS: u32 = 15;
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
    sightings: tokio::sync::mpsc::Receiver<Sighting>,
    metrics: Arc<Metrics>,
    health: HealthReporter,
    serving: watch::Sender<bool>,
    keeper: Option<Arc<Keeper>>,
    /// The database is still to be opened.
    apart: Option<Apart>,
    /// What is told of that.
    told: watch::Sender<Option<String>>,
    /// Ends streams between their messages.
    stopping: CancellationToken,
    config: Config,
    _data_dir: Arc<DataDir>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
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
        sightings,
        data_dir,
        bootstrapped,
        keeper,
        apart,
    } = open(&config, data_dir, clock, entropy, Purpose::Serve).await?;
    let bootstrap = if bootstrapped {
        None
    } else {
        make_bootstrap(&config, &core, &data_dir).await?
    };
    if apart.is_none() {
        core.ensure_default_workspace().await?;
    }

    let counts = Arc::new(DecisionCounts::default());
    let decisions = Limit::new(config.max_concurrent_decisions);
    let administration = Shares::new(config.max_concurrent_admin);
    let watches = Shares::new(OPEN_WATCHES);
    let calls = Arc::new(CallCounts::new(proto::methods()));
    let metrics = Arc::new(Metrics::new(
        core.clone(),
        counts.clone(),
        decisions.clone(),
        administration.clone(),
        watches.clone(),
        calls.clone(),
    ));
    let (health, health_service) = tonic_health::server::health_reporter();
    // "" begins as SERVING: not before the index is whole.
    set_health(&health, ServingStatus::NotServing).await;
    let stopping = CancellationToken::new();
    let services = Services {
        core: core.clone(),
        counts,
        decisions,
        administration,
        calls,
        watches,
        trusted_proxies: config.trusted_proxies.clone(),
        stopping: stopping.clone(),
        for_all: with_reflection(Routes::new(health_service))?,
    };
    let serving = watch::Sender::new(false);
    let told = watch::Sender::new(apart.as_ref().map(|apart| later::detail(&apart.point)));
    metrics.apart.set(i64::from(apart.is_some()));
    let mut listeners = Vec::new();
    let mut addresses = Addresses {
        grpc: grpc_at,
        admin: None,
        http: None,
    };
    match admin {
        None => listeners.push((grpc, Served::Grpc(services.all()))),
        Some((admin, admin_at)) => {
            listeners.push((grpc, Served::Grpc(services.decisions())));
            listeners.push((admin, Served::Grpc(services.administration())));
            addresses.admin = Some(admin_at);
        }
    }
    if let Some((http, http_at)) = http {
        let pages = Pages {
            metrics: metrics.clone(),
            serving: serving.subscribe(),
            apart: told.subscribe(),
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
        sightings,
        metrics,
        health,
        serving,
        keeper,
        apart,
        told,
        stopping,
        config,
        _data_dir: data_dir,
    })
}

async fn bind(address: &ListenAddress) -> Result<(Listener, BoundAddress), StartError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|cause| StartError::Listen {
        address: address.clone(),
        cause,
    })
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
        let stop_purging = CancellationToken::new();
        let draining = CancellationToken::new();
        let purging = TaskTracker::new();
        for (listener, served) in self.listeners {
            let shared = Connections {
                metrics: self.metrics.clone(),
                limit: Limit::new(self.config.max_connections),
                max_age: self.config.max_connection_age,
                tracker: connections.clone(),
                stop: stop_accepting.clone(),
            };
            connections.spawn(shared.accept(listener, served));
        }
        log_addresses(&self.addresses);
        background.spawn(record::flush(
            self.core.clone(),
            self.last_used,
            stop_tasks.clone(),
        ));

        background.spawn(record::flush_keyless_uses(
            self.core.clone(),
            stop_tasks.clone(),
        ));

        let mut shutdown = std::pin::pin!(shutdown);
        let apart = self.apart;
        let away = (!self.config.ready_without_database).then(|| self.told.subscribe());
        let stop_keeping = CancellationToken::new();
        let keeping = TaskTracker::new();
        if let Some(keeper) = self.keeper {
            keeping.spawn(snapshot::keep(keeper, stop_keeping.clone()));
        }
        let begin = async {
            if apart.is_some() {
                self.core.fleet.resume();
                return Ok(());
            }
            patiently(|| self.follower.load()).await?;
            patiently(|| self.core.join()).await
        };
        let loaded = tokio::select! {
            loaded = begin => loaded.map(|()| true),
            () = &mut shutdown => Ok(false),
        };
        if let Ok(true) = loaded {
            let ready = Ready {
                serving: self.serving.clone(),
                health: self.health.clone(),
            };
            if apart.is_none() || self.config.ready_without_database {
                ready.tell().await;
            }
            // Said only now that it is so: deployments wait for this line.
            let (keys, secrets) = self.core.index.len();
            tracing::info!(index.keys = keys, index.secrets = secrets, revision = %self.core.index.applied(), "serving");
            if let Some(apart) = apart {
                later::warn(&apart, self.core.clock.now());
                let told = later::Told {
                    apart: self.told.clone(),
                    metrics: self.metrics.clone(),
                    ready,
                };
                purging.spawn(later::open(
                    self.core.clone(),
                    apart,
                    told,
                    draining.clone(),
                ));
            }
            let follower = self.follower.clone();
            let stop = stop_tasks.clone();
            let interval = if self.store.is_shared() {
                SHARED_POLL_INTERVAL
            } else {
                POLL_INTERVAL
            };
            background.spawn(async move { follower.poll(interval, stop).await });
            background.spawn(fleet::keep(self.core.clone(), stop_tasks.clone()));
            background.spawn(fleet::lead(self.core.clone(), stop_tasks.clone()));
            purging.spawn(purge::run(
                self.core.clone(),
                self.config.audit_retention,
                stop_purging.clone(),
            ));
            background.spawn(deliver::tell_of_strangers(
                self.core.clone(),
                self.sightings,
                stop_tasks.clone(),
            ));
            purging.spawn(deliver::mind_expiries(
                self.core.clone(),
                self.config.postback_poll * EXPIRY_ROUNDS,
                stop_purging.clone(),
            ));
            let poll = self.config.postback_poll;
            purging.spawn(deliver::run(
                self.core.clone(),
                match self.store.is_shared() {
                    true => poll.min(SHARED_POSTBACK_POLL),
                    false => poll,
                },
                !self.store.is_shared(),
                stop_purging.clone(),
            ));
            tokio::select! {
                () = &mut shutdown => {}
                () = health::follow(&self.core, away, &self.health, &self.serving) => {}
            }
            tracing::info!(
                drain_delay_ms =
                    u64::try_from(self.config.drain_delay.as_millis()).unwrap_or(u64::MAX),
                "draining"
            );
            draining.cancel();
            self.serving.send_replace(false);
            set_health(&self.health, ServingStatus::NotServing).await;
            tokio::time::sleep(self.config.drain_delay).await;
        } else {
            // It may have been entered, and nobody is to wait for it.
            let _ = tokio::time::timeout(FLUSH_DEADLINE, self.core.leave()).await;
        }
        self.stopping.cancel();
        self.core.fleet.stop_waiting();
        stop_accepting.cancel();
        connections.close();
        connections.wait().await;
        // Purges first, then changes that nobody waits for any more; after them there is nobody left to make new ones.
        stop_purging.cancel();
        purging.close();
        let _ = tokio::time::timeout(FLUSH_DEADLINE, purging.wait()).await;
        self.core.tasks.close();
        let _ = tokio::time::timeout(FLUSH_DEADLINE, self.core.tasks.wait()).await;
        stop_tasks.cancel();
        background.close();
        let _ = tokio::time::timeout(RECORD_DEADLINE, background.wait()).await;
        // Last: who left the fleet has said so there.
        stop_keeping.cancel();
        keeping.close();
        let _ = tokio::time::timeout(FLUSH_DEADLINE, keeping.wait()).await;
        let closed = tokio::time::timeout(FLUSH_DEADLINE, self.store.close()).await;
        loaded?;
        // What is not closed in time is as after a crash: the write-ahead log is read at the next start.
        closed.unwrap_or(Ok(()))?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Says that decisions are served.
struct Ready {
    serving: watch::Sender<bool>,
    health: HealthReporter,
}

impl Ready {
    async fn tell(&self) {
        self.serving.send_replace(true);
        set_health(&self.health, ServingStatus::Serving).await;
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
