//! What it costs to find the route of a request among 10,000: time, and heap allocations.
//!
//! `cargo bench --bench route`; `CLAVIGER_BENCH_ROUTES` sets another number of routes. Paths are taken in an order that no cache
//! can foresee.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a bench that is set up wrong must end, and its report goes to the terminal"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use claviger::domain::id::WorkspaceId;
use claviger::domain::route::{Route, RouteSettings};
use claviger::domain::time::Time;
use claviger::domain::token::LookupKey;
use claviger::index::{Index, RouteTable};
use criterion::{Criterion, criterion_group, criterion_main};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[expect(
    unsafe_code,
    reason = "an allocator that counts can be written no other way"
)]
// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Hosts, services of each, and resources of each: an API gateway of some size.
fn place(n: usize) -> (String, String) {
    let host = format!("api-{}.example.com", n % 10);
    let path = format!(
        "/v1/service-{}/{{subscription}}/resource-{}",
        n / 10 % 100,
        n / 1_000
    );
    (host, path)
}

fn index(routes: usize) -> Index {
    let index = Index::new(LookupKey::new(&[7; 32]), 1);
    let workspace: WorkspaceId = "acme".parse().expect("a valid id");
    let at = Time::from_micros(0);
    let all = (0..routes).map(|n| {
        let (host, path) = place(n);
        let route = Route {
            workspace: workspace.clone(),
            id: format!("route-{n}").parse().expect("a valid id"),
            settings: RouteSettings {
                hosts: vec![host.parse().expect("a valid host")],
                path: Some(path.parse().expect("a valid path")),
                methods: vec!["GET".to_owned(), "POST".to_owned()],
                ..RouteSettings::default()
            },
            keyless: false,
            create_time: at,
            update_time: at,
            revision: 1,
        };
        (workspace.clone(), route.id.clone(), Some(route))
    });
    index.put_routes(all);
    index
}

/// Requests that each take another route, in no order. Their bytes lie one after the other, as those of a request are at hand
/// that was just read: what no cache can foresee is the route.
struct Requests {
    text: String,
    /// Where the host of each begins, its path, and the next.
    at: Vec<(usize, usize, usize)>,
}

impl Requests {
    fn new(routes: usize) -> Self {
        let step = 7_919;
        let (mut text, mut at) = (String::new(), Vec::with_capacity(routes));
        for n in 0..routes {
            let (host, path) = place(n * step % routes);
            let begin = text.len();
            text += &host;
            let path_at = text.len();
            text += &path.replace("{subscription}", "customer-4711");
            text += "?page=2";
            at.push((begin, path_at, text.len()));
        }
        Self { text, at }
    }

    fn get(&self, n: usize) -> (&[u8], &[u8]) {
        let (host, path, end) = self.at[n];
        let text = self.text.as_bytes();
        (&text[host..path], &text[path..end])
    }
}

fn find<'t>(table: &'t RouteTable, (host, path): (&[u8], &[u8])) -> &'t Route {
    let found = table.find(host, b"GET", path);
    found.expect("a good path").expect("a route").route
}

fn benches(criterion: &mut Criterion) {
    let routes = std::env::var("CLAVIGER_BENCH_ROUTES");
    let routes = routes.ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let before = std::time::Instant::now();
    let index = index(routes);
    let built = before.elapsed();
    let table = index.routes_of("acme").expect("routes");
    let requests = Requests::new(routes);
    let distinct: std::collections::HashSet<&str> = (0..routes)
        .map(|n| find(&table, requests.get(n)).id.as_str())
        .collect();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for n in 0..routes {
        black_box(find(&table, requests.get(n)));
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    eprintln!(
        "{routes} routes: table built in {built:?}; {} of them found; {allocations} heap allocations in {routes} matches",
        distinct.len()
    );
    let mut at = 0;
    criterion.bench_function("route/match", |bench| {
        bench.iter(|| {
            at = (at + 1) % routes;
            black_box(find(&table, requests.get(at)));
        });
    });
}

criterion_group!(route, benches);
criterion_main!(route);
