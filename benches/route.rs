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

/// Requests that each take another route, in no order.
fn requests(routes: usize) -> Vec<(String, String)> {
    let step = 7_919;
    (0..routes)
        .map(|n| {
            let (host, path) = place(n * step % routes);
            (
                host,
                path.replace("{subscription}", "customer-4711") + "?page=2",
            )
        })
        .collect()
}

fn find<'t>(table: &'t RouteTable, request: &(String, String)) -> &'t str {
    let (host, path) = request;
    let found = table.find(host.as_bytes(), b"GET", path.as_bytes());
    let matched = found.expect("a good path").expect("a route");
    matched.route.id.as_str()
}

fn benches(criterion: &mut Criterion) {
    let routes = std::env::var("CLAVIGER_BENCH_ROUTES");
    let routes = routes.ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let before = std::time::Instant::now();
    let index = index(routes);
    let built = before.elapsed();
    let table = index.routes_of("acme").expect("routes");
    let requests = requests(routes);
    let distinct: std::collections::HashSet<&str> = requests
        .iter()
        .map(|request| find(&table, request))
        .collect();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for request in &requests {
        black_box(find(&table, request));
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    eprintln!(
        "{routes} routes: table built in {built:?}; {} of them found; {allocations} heap allocations in {} matches",
        distinct.len(),
        requests.len()
    );
    let mut at = 0;
    criterion.bench_function("route/match", |bench| {
        bench.iter(|| {
            at = (at + 1) % requests.len();
            black_box(find(&table, &requests[at]));
        });
    });
}

criterion_group!(route, benches);
criterion_main!(route);
