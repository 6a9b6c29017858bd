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

mod common;

use std::hint::black_box;
use std::sync::atomic::Ordering;

use claviger::domain::route::Route;
use claviger::domain::token::LookupKey;
use claviger::index::{Index, RouteTable};
use criterion::{Criterion, criterion_group, criterion_main};

use common::{ALLOCATIONS, destination, put_routes};

/// Requests that each take another route, in no order. Their bytes lie one after the other, as those of a request are at hand
/// that was just read: what no cache can foresee is the route.
struct Requests {
    text: String,
    /// Where the host of each begins, its path, and the next.
    at: Vec<(usize, usize, usize)>,
}

impl Requests {
    fn new(routes: usize) -> Self {
        let (mut text, mut at) = (String::new(), Vec::with_capacity(routes));
        for n in 0..routes {
            let (host, path) = destination(n, routes);
            let begin = text.len();
            text += &host;
            let path_at = text.len();
            text += &path;
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
    let index = Index::new(LookupKey::new(&[7; 32]), 1);
    let workspace = "acme".parse().expect("a valid id");
    put_routes(&index, &workspace, routes, &[]);
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
