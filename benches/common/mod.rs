//! What several benches share: an allocator that counts, and the routes of an API gateway of some size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};

use claviger::domain::id::WorkspaceId;
use claviger::domain::route::{Route, RouteSettings};
use claviger::domain::time::Time;
use claviger::index::Index;

struct Counting;

/// How many allocations there were.
pub(crate) static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

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

/// Host and path of a route, of ten hosts with services and their resources.
pub(crate) fn place(n: usize) -> (String, String) {
    let host = format!("api-{}.example.com", n % 10);
    let (service, resource) = (n / 10 % 100, n / 1_000);
    (
        host,
        format!("/v1/service-{service}/{{id}}/resource-{resource}"),
    )
}

/// Where a request goes: the `n`th of as many as there are routes, each to another one, in an order that no cache can foresee.
pub(crate) fn destination(n: usize, routes: usize) -> (String, String) {
    let (host, path) = place(n * 7_919 % routes);
    (host, path.replace("{id}", "customer-4711") + "?page=2")
}

/// Puts routes that demand these scopes into the index.
pub(crate) fn put_routes(index: &Index, workspace: &WorkspaceId, count: usize, all_of: &[String]) {
    let at = Time::from_micros(0);
    let routes = (0..count).map(|n| {
        let (host, path) = place(n);
        let route = Route {
            workspace: workspace.clone(),
            id: format!("route-{n}").parse().expect("a valid id"),
            settings: RouteSettings {
                hosts: vec![host.parse().expect("a valid host")],
                path: Some(path.parse().expect("a valid path")),
                methods: vec!["GET".to_owned(), "POST".to_owned()],
                all_of: all_of.to_vec(),
                ..RouteSettings::default()
            },
            keyless: false,
            create_time: at,
            update_time: at,
            revision: 1,
        };
        (workspace.clone(), route.id.clone(), Some(route))
    });
    index.put_routes(routes);
}
