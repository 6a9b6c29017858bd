//! How fast a set of keys moves in over the wire, with its client on the same machine, and where the time goes.
//!
//! `cargo bench --bench import`. Each sample imports into the same service, so that the database grows as it does in earnest.

#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "a bench that is set up wrong must end, and its report goes to the terminal"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use claviger::app::ports::{Actor, Change, ImportRecord, Meta, Resource, Store as _};
use claviger::config::ServeArgs;
use claviger::domain::id::{KeyId, SecretId};
use claviger::domain::key::{Key, KeySettings};
use claviger::domain::secret::{Origin, Secret, Slot};
use claviger::domain::time::Time;
use claviger::domain::token::{LookupKey, Token};
use claviger::grpc::proto::v1::authorize_client::AuthorizeClient;
use claviger::grpc::proto::v1::import_result::Outcome;
use claviger::grpc::proto::v1::key_admin_client::KeyAdminClient;
use claviger::grpc::proto::v1::{self, secret_source::Source};
use claviger::server::{self, BoundAddress, SystemClock, SystemEntropy};
use claviger::store::SqlStore;
use criterion::{Criterion, Throughput};
use tokio::runtime::Runtime;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Keys in one sample.
const KEYS: u64 = 20_000;
/// Items in a message: the most there may be.
const ITEMS: u64 = 1_000;
/// Keys that one transaction writes.
const BATCH: u64 = 400;
const NOW: Time = Time::from_micros(1_800_000_000_000_000);

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    serve: ServeArgs,
}

/// A token made elsewhere: nothing but its number makes it differ from others.
fn token(n: u64) -> String {
    let digest = LookupKey::new(&[5; 32]).derive("bench", &[&n.to_be_bytes()]);
    digest
        .iter()
        .take(24)
        .fold(String::new(), |text, b| format!("{text}{b:02x}"))
}

fn item(n: u64) -> v1::ImportItem {
    let external = v1::ExternalToken {
        token: token(n),
        allow_weak: false,
    };
    v1::ImportItem {
        import_id: format!("row-{n}"),
        key: Some(v1::Key {
            display_name: format!("Customer {n}"),
            scopes: vec!["orders:read".to_owned()],
            labels: BTreeMap::from([("customer".to_owned(), n.to_string())]),
            ..v1::Key::default()
        }),
        primary: Some(v1::SecretSource {
            source: Some(Source::ExternalToken(external)),
        }),
        secondary: None,
    }
}

/// A running service, and a client of it.
struct Service {
    channel: Channel,
    token: String,
    next: AtomicU64,
    _dir: tempfile::TempDir,
}

impl Service {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let args = ["bench", "--listen", "127.0.0.1:0", "--http-listen", "off"];
        let folder = dir.path().join("data");
        let folder = ["--data-dir", folder.to_str().expect("a path in UTF-8")];
        let command = Command::parse_from(args.into_iter().chain(folder));
        let config = command.serve.validate().expect("a valid configuration");
        let app = server::build(config, Arc::new(SystemClock), Arc::new(SystemEntropy));
        let app = app.await.expect("a service");
        let token = app.bootstrap().expect("a first administrator");
        let token = token.token.reveal().to_owned();
        let BoundAddress::Tcp(address) = app.addresses().grpc else {
            return Self::start_never();
        };
        let mut serving = app.serving();
        tokio::spawn(app.run(std::future::pending()));
        serving.wait_for(|s| *s).await.expect("that it serves");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        let service = Self {
            channel: endpoint.connect_lazy(),
            token,
            next: AtomicU64::new(0),
            _dir: dir,
        };
        service.declare().await;
        service
    }

    fn start_never() -> Self {
        std::process::exit(1)
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer = format!("Bearer {}", self.token);
        let bearer = bearer.parse().expect("a token");
        request.metadata_mut().insert("authorization", bearer);
        request
    }

    async fn declare(&self) {
        use v1::directory_client::DirectoryClient;
        let scope = v1::CreateScopeRequest {
            scope: Some(v1::Scope {
                name: "orders:read".to_owned(),
                ..v1::Scope::default()
            }),
            ..v1::CreateScopeRequest::default()
        };
        let mut directory = DirectoryClient::new(self.channel.clone());
        let made = directory.create_scope(self.request(scope)).await;
        made.expect("a scope");
    }

    /// Imports so many keys over one stream; all are made.
    async fn import(&self, keys: u64) -> Duration {
        let first = self.next.fetch_add(keys, Ordering::Relaxed);
        let message = |from: u64| v1::ImportKeysRequest {
            items: (from..from + ITEMS).map(item).collect(),
            ..v1::ImportKeysRequest::default()
        };
        let starts: Vec<u64> = (first..first + keys).step_by(1_000).collect();
        let messages = futures::stream::iter(starts.into_iter().map(message));
        let start = Instant::now();
        let mut client = KeyAdminClient::new(self.channel.clone());
        let answers = client.import_keys(self.request(messages)).await;
        let mut answers = answers.expect("a stream").into_inner();
        let mut made = 0;
        while let Some(answer) = answers.message().await.expect("an answer") {
            let created = |r: &&v1::ImportResult| r.outcome() == Outcome::Created;
            made += answer.results.iter().filter(created).count() as u64;
        }
        assert_eq!(made, keys);
        start.elapsed()
    }

    /// Asks for decisions, one after the other, until told to stop: how many, and how long the longest took.
    async fn decide(&self, stop: &AtomicBool) -> (u64, Duration) {
        let mut client = AuthorizeClient::new(self.channel.clone());
        let question = v1::CheckRequest {
            credential: Some(v1::Credential {
                token: token(1),
                presentation: 0,
            }),
            ..v1::CheckRequest::default()
        };
        let (mut count, mut longest) = (0, Duration::ZERO);
        while !stop.load(Ordering::Relaxed) {
            let start = Instant::now();
            client.check(question.clone()).await.expect("a decision");
            longest = longest.max(start.elapsed());
            count += 1;
        }
        (count, longest)
    }
}

fn key(n: u64) -> Key {
    let digest = Token::external(token(n)).expect("a token").digest();
    let lookup = LookupKey::new(&[7; 32]);
    let secret = Secret {
        hint: "…abcd".to_owned(),
        sealed_digest: Some(vec![7; 61]),
        ..Secret::new(
            SecretId::from_u128(u128::from(n)),
            Slot::Primary,
            lookup.tag(&digest),
            Origin::ExternalToken,
            NOW,
        )
    };
    Key {
        id: KeyId::from_u128(u128::from(n)),
        workspace: "default".parse().expect("an id"),
        settings: KeySettings {
            display_name: format!("Customer {n}"),
            labels: BTreeMap::from([("customer".to_owned(), n.to_string())]),
            ..KeySettings::default()
        },
        secrets: vec![secret],
        create_time: NOW,
        update_time: NOW,
        delete_time: None,
        purge_time: None,
        revision: 1,
    }
}

/// What each step of a batch takes, in microseconds for each key.
async fn steps() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("claviger.db");
    let store = SqlStore::open(&path);
    let store = store.await.expect("a database");
    let meta = Meta {
        epoch: 1,
        wrapped_keys: Vec::new(),
        bootstrapped: true,
    };
    store.initialise(&meta).await.expect("an epoch");
    let mut spent = [Duration::ZERO; 7];
    let names = [
        "look-ups",
        "changes as JSON",
        "keys, secrets, terms",
        "changes",
        "imports",
        "commit",
        "feed",
    ];
    let mut longest = Duration::ZERO;
    for from in (0..KEYS).step_by(400) {
        let keys: Vec<Key> = (from..from + BATCH).map(key).collect();
        let workspace = &"default".parse().expect("an id");
        let ids: Vec<String> = keys.iter().map(|k| k.id.to_string()).collect();
        let records: Vec<_> = keys
            .iter()
            .map(|k| ImportRecord {
                import_id: k.id.to_string(),
                key: k.id,
                fingerprint: [1; 32],
            })
            .collect();
        let tags: Vec<_> = keys
            .iter()
            .flat_map(|k| &k.secrets)
            .map(|s| s.tag)
            .collect();
        let mut times = vec![Instant::now()];
        let mut tx = store.begin().await.expect("a transaction");
        let revision = tx.revision();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        tx.imported(workspace, &ids).await.expect("imports");
        tx.holders(workspace, &tags).await.expect("holders");
        times.push(Instant::now());
        let changes: Vec<_> = keys
            .iter()
            .map(|key| Change {
                actor: Actor::Service,
                action: "IMPORT",
                resource: Resource::Key(key.workspace.clone(), key.id),
                before: None,
                after: serde_json::to_value(key).ok(),
                time: NOW,
            })
            .collect();
        times.push(Instant::now());
        tx.put_new_keys(&keys).await.expect("keys");
        times.push(Instant::now());
        tx.append_many(&changes).await.expect("changes");
        times.push(Instant::now());
        let remembered = tx.remember_imports(workspace, &records, NOW).await;
        remembered.expect("imports");
        times.push(Instant::now());
        tx.commit().await.expect("a commit");
        times.push(Instant::now());
        store.feed(revision - 1, 1_000).await.expect("the feed");
        times.push(Instant::now());
        let held = times.iter().zip(times.iter().skip(6)).next();
        longest = longest.max(held.map_or(Duration::ZERO, |(from, to)| *to - *from));
        for (spent, (from, to)) in spent.iter_mut().zip(times.iter().zip(times.iter().skip(1))) {
            *spent += *to - *from;
        }
    }
    for (name, spent) in names.iter().zip(spent) {
        let each = spent.as_secs_f64() * 1e6 / KEYS as f64;
        eprintln!("{name:22} {each:6.1} µs a key");
    }
    eprintln!("longest transaction of {BATCH} keys: {longest:.1?}");
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(steps());
    let service = runtime.block_on(Service::start());
    runtime.block_on(service.import(KEYS));
    let stop = AtomicBool::new(false);
    let (took, (decisions, longest)) = runtime.block_on(async {
        let import = async {
            let took = service.import(KEYS).await;
            stop.store(true, Ordering::Relaxed);
            took
        };
        futures::join!(import, service.decide(&stop))
    });
    eprintln!(
        "{:.0} keys a second beside {decisions} decisions, the longest of which took {longest:.1?}",
        KEYS as f64 / took.as_secs_f64()
    );
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("import");
    group.throughput(Throughput::Elements(KEYS));
    group.bench_function("20,000 keys by stream", |bencher| {
        bencher.iter_custom(|times| {
            (0..times)
                .map(|_| runtime.block_on(service.import(KEYS)))
                .sum()
        });
    });
    group.finish();
    criterion.final_summary();
}
