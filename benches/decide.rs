//! What one decision costs in process, at a million keys: time, and heap allocations; bare, and with everything on (10,000
//! routes, keys that inherit from 10,000 principals, usage, and every request in the log).
//!
//! `cargo bench --bench decide`; `CLAVIGER_BENCH_KEYS`, at build time, sets another number of keys. Tokens and routes are
//! taken in an order that no cache can foresee.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a bench that is set up wrong must end, and its report goes to the terminal"
)]

mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use claviger::app::authorize::Surface;
use claviger::app::recorder::{Recorder, Seen, Spare};
use claviger::decide::{Attributes, Demand, Headers, Presented, Question, decide};
use claviger::domain::decision::Reason;
use claviger::domain::id::{KeyId, PrincipalId, SecretId, WorkspaceId};
use claviger::domain::key::{Key, KeySettings};
use claviger::domain::network;
use claviger::domain::principal::{Principal, ScopeSource};
use claviger::domain::scope::Grant;
use claviger::domain::secret::{Origin, Secret, Slot};
use claviger::domain::time::Time;
use claviger::domain::token::{LookupKey, Token};
use claviger::domain::workspace::{Presentation, RequestLog, Workspace, WorkspaceSettings};
use claviger::index::Index;
use criterion::{Criterion, criterion_group, criterion_main};

use common::{ALLOCATIONS, destination, put_routes};

const NOW: Time = Time::from_micros(1_800_000_000_000_000);
/// Tokens kept to ask with: enough that neither they nor their keys stay in a cache.
const ASKED: usize = 1 << 17;

/// How many routes there are, and principals.
const ROUTES: usize = 10_000;
const PRINCIPALS: usize = 10_000;
/// What a request demands.
const SCOPE: &str = "messages:send";

struct World {
    index: Index,
    tokens: Vec<Token>,
    /// Where requests go: host and path.
    places: Vec<(String, String)>,
}

/// Pseudo-random bytes, the same in every run.
fn bytes<const N: usize>(seed: u64) -> [u8; N] {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    std::array::from_fn(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[4]
    })
}

/// What is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// Nothing: no routes, no principals.
    Nothing,
    Everything,
}

fn principal(n: usize) -> PrincipalId {
    format!("user-{}", n % PRINCIPALS)
        .parse()
        .expect("a valid id")
}

fn put_principals(index: &Index, workspace: &WorkspaceId) {
    for n in 0..PRINCIPALS {
        index.put_principal(&Principal {
            workspace: workspace.clone(),
            id: principal(n),
            display_name: String::new(),
            enabled: true,
            scopes: vec![Grant::parse(SCOPE).expect("a valid scope")],
            create_time: NOW,
            update_time: NOW,
            revision: 1,
        });
    }
}

fn world(keys: usize, on: On) -> World {
    let lookup = LookupKey::new(&[7; 32]);
    let index = Index::new(lookup.clone(), 1);
    let workspace: WorkspaceId = "acme".parse().expect("a valid id");
    let record = Workspace {
        id: workspace.clone(),
        display_name: String::new(),
        enabled: true,
        settings: WorkspaceSettings {
            request_log: match on {
                On::Nothing => RequestLog::Off,
                On::Everything => RequestLog::All,
            },
            ..WorkspaceSettings::default()
        },
        create_time: NOW,
        update_time: NOW,
        revision: 1,
    };
    index.put_workspace(&record, &[], 1);
    if on == On::Everything {
        put_routes(&index, &workspace, ROUTES, &[SCOPE.to_owned()]);
        put_principals(&index, &workspace);
    }
    let grants: Vec<_> = (0..50)
        .map(|i| Grant::parse(&format!("orders:read{i}")).expect("a valid scope"))
        .collect();
    let cidr = network::parse("10.0.0.0/8").expect("a valid network");
    let stride = (keys / ASKED).max(1);
    let mut tokens = Vec::new();
    for n in 0..keys {
        let seed = n as u64;
        let token = Token::generate("clv", &bytes(seed));
        let secret = Secret {
            prefix: "clv".to_owned(),
            ..Secret::new(
                SecretId::new(NOW, bytes(seed + 1)),
                Slot::Primary,
                lookup.tag(&token.digest()),
                Origin::Generated,
                NOW,
            )
        };
        let settings = match on {
            On::Nothing => KeySettings {
                scopes: vec![
                    grants[n % 50].clone(),
                    Grant::parse(SCOPE).expect("a valid scope"),
                ],
                ..KeySettings::default()
            },
            On::Everything => KeySettings {
                scope_source: ScopeSource::Principal,
                principal: Some(principal(n)),
                ..KeySettings::default()
            },
        };
        index.put_key(&Key {
            id: KeyId::new(NOW, bytes(seed + 2)),
            workspace: workspace.clone(),
            settings: KeySettings {
                allowed_cidrs: if n % 4 == 0 { vec![cidr] } else { Vec::new() },
                ..settings
            },
            secrets: vec![secret],
            create_time: NOW,
            update_time: NOW,
            delete_time: None,
            purge_time: None,
            revision: 1,
        });
        if n % stride == 0 && tokens.len() < ASKED {
            tokens.push(token);
        }
    }
    // An order that no prefetcher follows: a full cycle with an odd stride.
    let len = tokens.len();
    let order: Vec<_> = (0..len).map(|i| (i * 40_503) % len).collect();
    let tokens = order.into_iter().map(|i| tokens[i].clone()).collect();
    World {
        index,
        tokens,
        places: (0..ROUTES).map(|n| destination(n, ROUTES)).collect(),
    }
}

fn ask<'q>(presented: Presented<'q>, scopes: &'q [String]) -> Question<'q> {
    Question {
        workspace: "acme",
        presented,
        source_ip: "10.1.2.3".parse().ok(),
        all_of: Demand::List(scopes),
        any_of: Demand::NONE,
        subscription: "",
        must_demand: true,
        attributes: Attributes {
            method: b"GET",
            ..Attributes::default()
        },
    }
}

/// A request as a browser or a proxy sends it: a dozen headers, the key in one of them.
struct Request<'a> {
    token: &'a [u8],
}

const HEADERS: [(&[u8], &[u8]); 11] = [
    (b":method", b"GET"),
    (b":path", b"/v1/orders?limit=10"),
    (b":scheme", b"https"),
    (b":authority", b"api.example.com"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"user-agent", b"orders-client/1.4 (linux)"),
    (b"x-request-id", b"5b9c1a1e-4b0a-4d52-9d5e-3f6d1c2b7a90"),
    (b"x-forwarded-for", b"10.1.2.3"),
    (b"x-forwarded-proto", b"https"),
    (b"content-type", b"application/json"),
];

impl Headers for Request<'_> {
    fn for_each<'h>(&'h self, each: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        for (name, value) in HEADERS {
            each(name, value);
        }
        each(b"x-api-key", self.token);
    }
}

/// Takes what is recorded, again and again, as whoever writes it down does.
struct Taking {
    stop: mpsc::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Taking {
    fn start(recorder: Arc<Recorder>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut spares: Vec<_> = (0..recorder.parts()).map(|_| Spare::default()).collect();
            while stopped.recv_timeout(Duration::from_millis(5))
                == Err(mpsc::RecvTimeoutError::Timeout)
            {
                for (part, spare) in spares.iter_mut().enumerate() {
                    recorder.take(part, true, spare);
                    spare.gathered.clear();
                }
            }
        });
        Self { stop, thread }
    }

    fn end(self) {
        drop(self.stop);
        self.thread.join().expect("it takes until told to stop");
    }
}

fn decide_once(world: &World, n: usize, scopes: &[String], recorder: Option<&Recorder>) {
    let token = world.tokens[n % world.tokens.len()].reveal().as_bytes();
    let (host, path) = &world.places[n % ROUTES];
    let request = Request { token };
    let presented = Presented::Http {
        headers: &request,
        path: path.as_bytes(),
    };
    let mut question = ask(presented, scopes);
    question.attributes.host = host.as_bytes();
    question.attributes.path = path.as_bytes();
    let view = world.index.view();
    let verdict = decide(&question, &view, NOW);
    if let Some(recorder) = recorder {
        recorder.note(&Seen {
            now: NOW,
            surface: Surface::Envoy,
            question: &question,
            verdict: &verdict,
            view: &view,
        });
    }
    assert_eq!(black_box(verdict.reason), Reason::Ok);
}

/// Bare decisions and those with everything on in turns, so that whatever slows the machine down slows both.
fn everything(bare: &World, full: &World, scopes: &[String]) {
    const TURN: usize = 20_000;
    const TURNS: usize = 60;
    let recorder = Arc::new(Recorder::new(1, 2));
    let taking = Taking::start(recorder.clone());
    let mut next = 0;
    let mut turn = |world: &World, recorder: Option<&Recorder>| {
        let (began, before) = (Instant::now(), ALLOCATIONS.load(Ordering::Relaxed));
        for _ in 0..TURN {
            next += 1;
            decide_once(world, next, scopes, recorder);
        }
        let allocated = ALLOCATIONS.load(Ordering::Relaxed) - before;
        (began.elapsed(), allocated)
    };
    turn(bare, None);
    turn(full, Some(&recorder));
    let (mut bare_took, mut full_took, mut allocated) = (Duration::ZERO, Duration::ZERO, 0);
    let mut ratios = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        let (without, _) = turn(bare, None);
        let (with, allocations) = turn(full, Some(&recorder));
        ratios.push(with.as_secs_f64() / without.as_secs_f64());
        bare_took += without;
        full_took += with;
        allocated += allocations;
    }
    taking.end();
    ratios.sort_by(f64::total_cmp);
    let decisions = (TURN * TURNS) as u32;
    eprintln!(
        "bare {:?}, with {ROUTES} routes, principals, usage and every request logged {:?}: {:.2} times (median of {TURNS} turns {:.2}, \
         from {:.2} to {:.2}); {:.3} heap allocations a decision; {} rows dropped",
        bare_took / decisions,
        full_took / decisions,
        full_took.as_secs_f64() / bare_took.as_secs_f64(),
        ratios[TURNS / 2],
        ratios[0],
        ratios[TURNS - 1],
        allocated as f64 / f64::from(decisions),
        recorder.counts().dropped.load(Ordering::Relaxed),
    );
}

fn decisions(c: &mut Criterion) {
    let keys = option_env!("CLAVIGER_BENCH_KEYS")
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let full = world(keys, On::Everything);
    let world = world(keys, On::Nothing);
    let scopes = [SCOPE.to_owned()];
    let mut next = 0;
    let mut token = || {
        next = (next + 1) % world.tokens.len();
        world.tokens[next].reveal().as_bytes()
    };

    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..1_000 {
        let request = Request { token: token() };
        let question = ask(
            Presented::Http {
                headers: &request,
                path: b"/v1/orders?limit=10",
            },
            &scopes,
        );
        let view = world.index.view();
        assert_eq!(decide(&question, &view, NOW).reason, Reason::Ok);
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    eprintln!(
        "{keys} keys: {} heap allocations in 1,000 decisions",
        allocations
    );

    everything(&world, &full, &scopes);
    drop(full);

    let mut group = c.benchmark_group(format!("decide at {keys} keys"));
    group.bench_function("allow, token given", |b| {
        b.iter(|| {
            let question = ask(Presented::Token(token(), Presentation::Header), &scopes);
            let view = world.index.view();
            black_box(decide(&question, &view, NOW).reason)
        });
    });
    group.bench_function("allow, found among 12 headers", |b| {
        b.iter(|| {
            let request = Request { token: token() };
            let question = ask(
                Presented::Http {
                    headers: &request,
                    path: b"/v1/orders?limit=10",
                },
                &scopes,
            );
            let view = world.index.view();
            black_box(decide(&question, &view, NOW).reason)
        });
    });
    let unknown = Token::generate("clv", &[9; 32]);
    group.bench_function("deny, unknown key", |b| {
        b.iter(|| {
            let question = ask(
                Presented::Token(unknown.reveal().as_bytes(), Presentation::Header),
                &scopes,
            );
            let view = world.index.view();
            black_box(decide(&question, &view, NOW).reason)
        });
    });
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
