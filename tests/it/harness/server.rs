//! The service in process, on a clock that tests move.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use claviger::app::ports::Clock;
use claviger::config::{Config, LogFormat};
use claviger::domain::time::Time;
use claviger::domain::token::Token;
use claviger::grpc::proto::v1::authorize_client::AuthorizeClient;
use claviger::grpc::proto::v1::directory_client::DirectoryClient;
use claviger::grpc::proto::v1::fleet_client::FleetClient;
use claviger::grpc::proto::v1::insights_client::InsightsClient;
use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::postbacks_client::PostbacksClient;
use claviger::grpc::proto::v1::routes_client::RoutesClient;
use claviger::server::{self, BoundAddress, SystemEntropy};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::receiver::authority;
use super::{ROOT_KEY, SuiteDatabase};

/// The first administrator's token, handed in by the deployment.
pub(crate) const BOOTSTRAP_TOKEN: &str = "boot_Zk3vXw8yRt5LmNc1Hd7AqP0sUe9GjB2fT6iYoKxV";

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    /// One that begins on the hour.
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(1_800_000_000_000_000)))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        Time::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// A running service with a database of its own; stops in order when dropped.
pub(crate) struct TestServer {
    pub(crate) clock: Arc<TestClock>,
    place: Arc<Place>,
    /// Tokens that nothing on disk may hold, shared with later starts on the same folder.
    tokens: Arc<Mutex<HashSet<Tail>>>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        let clock = TestClock::start();
        let place = Place {
            dir: TempDir::new().unwrap(),
            database: SuiteDatabase::create(),
        };
        let server = Self::start_on(Arc::new(place), clock, Arc::default()).await;
        server.remember(BOOTSTRAP_TOKEN);
        server
    }

    async fn start_on(
        place: Arc<Place>,
        clock: Arc<TestClock>,
        tokens: Arc<Mutex<HashSet<Tail>>>,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        let thread = {
            let (place, clock, tokens) = (place.clone(), clock.clone(), tokens.clone());
            std::thread::spawn(move || {
                serve(config(&place), clock, ready, stopped);
                assert_clean(&place, &tokens.lock().unwrap());
            })
        };
        let address = started.await.expect("the service starts");
        Self {
            clock,
            place,
            tokens,
            address,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Stops in order, and starts again in the same place.
    pub(crate) async fn restart(mut self) -> Self {
        self.join();
        Self::start_on(self.place.clone(), self.clock.clone(), self.tokens.clone()).await
    }

    /// A token that must not be found in any file once the service has stopped.
    pub(crate) fn remember(&self, token: &str) {
        if let Some(tail) = token.as_bytes().last_chunk() {
            self.tokens.lock().unwrap().insert(*tail);
        }
    }

    fn join(&mut self) {
        drop(self.stop.take());
        if let Some(Err(fault)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(fault);
        }
    }

    /// As the first administrator, with all rights over all workspaces.
    pub(crate) fn admin(&self) -> Client {
        self.client_with(BOOTSTRAP_TOKEN)
    }

    /// As whoever holds this token.
    pub(crate) fn client_with(&self, token: &str) -> Client {
        self.client(Some(format!("Bearer {token}")))
    }

    /// With this `authorization`, or none.
    pub(crate) fn client(&self, authorization: Option<String>) -> Client {
        let bearer = authorization.map(|text| MetadataValue::try_from(text).unwrap());
        self.connect(Caller(bearer, Vec::new()))
    }

    /// As a client of an earlier start.
    pub(crate) fn client_as(&self, old: &Client) -> Client {
        self.connect(old.caller.clone())
    }

    fn connect(&self, caller: Caller) -> Client {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        Client {
            channel: endpoint.connect_lazy(),
            caller,
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its clock says, to the second.
    pub(crate) fn now(&self) -> prost_types::Timestamp {
        prost_types::Timestamp {
            seconds: self.clock.now().micros() / 1_000_000,
            nanos: 0,
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.join();
    }
}

/// Where a service keeps what it keeps.
struct Place {
    dir: TempDir,
    database: Option<SuiteDatabase>,
}

/// The end of a token: enough to know it by, and more than a hint shows.
type Tail = [u8; 16];

/// No file of a stopped service holds a token: neither the database nor anything beside it.
fn assert_clean(place: &Place, tokens: &HashSet<Tail>) {
    let mut files = files_in(place.dir.path());
    files.extend(place.database.iter().flat_map(SuiteDatabase::files));
    let mut begins = vec![false; 1 << 16];
    let pair = |window: &Tail| usize::from(u16::from_le_bytes([window[0], window[1]]));
    tokens.iter().for_each(|tail| begins[pair(tail)] = true);
    for path in files {
        let bytes = std::fs::read(&path).unwrap();
        let mut windows = bytes.array_windows();
        let found = windows.any(|window| begins[pair(window)] && tokens.contains(window));
        assert!(!found, "a token is in `{}`", path.display());
    }
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => files_in(&path),
            false => vec![path],
        })
        .collect()
}

/// A runtime of its own: the service runs on, and stops in order, whatever a test's runtime does.
fn serve(
    config: Config,
    clock: Arc<TestClock>,
    ready: oneshot::Sender<SocketAddr>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let app = server::build(config, clock, Arc::new(SystemEntropy))
            .await
            .unwrap();
        let BoundAddress::Tcp(address) = app.addresses().grpc else {
            panic!("not on TCP")
        };
        let mut serving = app.serving();
        let announce = async {
            serving.wait_for(|serving| *serving).await.unwrap();
            let _ = ready.send(address);
            // An error means that the sender was dropped, which is how a test stops its server.
            let _ = stopped.await;
        };
        app.run(announce).await.unwrap();
    });
}

fn config(place: &Place) -> Config {
    let database_url = place.database.as_ref().map(|d| d.url().parse().unwrap());
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin_listen: None,
        http_listen: None,
        data_dir: place.dir.path().to_owned(),
        root_key: database_url.is_some().then(|| ROOT_KEY.parse().unwrap()),
        database_url,
        root_key_previous: None,
        bootstrap_token: Some(Token::external(BOOTSTRAP_TOKEN.to_owned()).unwrap()),
        default_workspace: "default".parse().unwrap(),
        trusted_proxies: Vec::new(),
        postback_allow: vec!["127.0.0.0/8".parse().unwrap()],
        postback_ca_file: Some(authority().certificate.clone()),
        // The clock of these tests stands still until it is moved: what is due then is to be seen at once.
        postback_poll: Duration::from_millis(20),
        start_without_database: true,
        ready_without_database: true,
        audit_retention: Duration::from_secs(400 * 86_400),
        drain_delay: Duration::ZERO,
        max_connection_age: None,
        max_connections: 1_000,
        max_concurrent_decisions: 1_000,
        max_concurrent_admin: 1_000,
        log_format: LogFormat::Json,
        log_filter: "off".to_owned(),
        strict_revocation: false,
        replica_name: None,
    }
}

/// Puts the caller's key on each call, and what else is to be said with it.
#[derive(Clone)]
pub(crate) struct Caller(Option<Value>, Vec<(&'static str, Value)>);

type Value = MetadataValue<tonic::metadata::Ascii>;

impl Interceptor for Caller {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", bearer.clone());
        }
        for (name, value) in &self.1 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

pub(crate) type Line = InterceptedService<Channel, Caller>;

/// One caller's clients; a connection of its own.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
    caller: Caller,
}

impl Client {
    /// The same caller, who says this with each call.
    pub(crate) fn saying(&self, name: &'static str, value: &str) -> Self {
        let mut client = self.clone();
        let value = MetadataValue::try_from(value).unwrap();
        client.caller.1.push((name, value));
        client
    }

    pub(crate) fn line(&self) -> Line {
        InterceptedService::new(self.channel.clone(), self.caller.clone())
    }

    pub(crate) fn keys(&self) -> KeyAdminClient<Line> {
        KeyAdminClient::new(self.line()).max_decoding_message_size(64 << 20)
    }

    pub(crate) fn routes(&self) -> RoutesClient<Line> {
        RoutesClient::new(self.line())
    }

    pub(crate) fn fleet(&self) -> FleetClient<Line> {
        FleetClient::new(self.line())
    }

    pub(crate) fn directory(&self) -> DirectoryClient<Line> {
        DirectoryClient::new(self.line())
    }

    pub(crate) fn postbacks(&self) -> PostbacksClient<Line> {
        PostbacksClient::new(self.line())
    }

    pub(crate) fn insights(&self) -> InsightsClient<Line> {
        InsightsClient::new(self.line()).max_decoding_message_size(64 << 20)
    }

    pub(crate) fn authorize(&self) -> AuthorizeClient<Line> {
        AuthorizeClient::new(self.line()).max_decoding_message_size(64 << 20)
    }
}
