//! Routes: their rows, what they have in common, and who passed them without a key.

use super::*;
use crate::app::ports::{KeylessUse, Loaded};
use crate::domain::decision::Reason;
use crate::domain::id::RouteId;

fn id(text: &str) -> RouteId {
    text.parse().unwrap()
}

async fn with_routes(routes: &[Route]) -> (Home, SqlStore) {
    let (dir, store) = open().await;
    let mut tx = store.begin().await.unwrap();
    for name in ["acme", "beta"] {
        tx.put_workspace(&workspace(name)).await.unwrap();
    }
    for route in routes {
        tx.put_route(route).await.unwrap();
        let resource = Resource::Route(route.workspace.clone(), route.id.clone());
        tx.append(&change(resource)).await.unwrap();
    }
    commit(tx).await;
    (dir, store)
}

fn of_beta(id: &str, path: &str) -> Route {
    Route {
        workspace: "beta".parse().unwrap(),
        ..route(id, path)
    }
}

#[tokio::test]
async fn a_route_reads_back_wherever_it_is_read() {
    let all = [
        route("a", "/a/{x}"),
        route("b", "/b"),
        of_beta("a", "/a/{x}"),
    ];
    let (_dir, store) = with_routes(&all).await;
    let (acme, beta) = (acme(), all[2].workspace.clone());
    assert_eq!(
        store.route(&acme, &id("a")).await.unwrap().as_ref(),
        Some(&all[0])
    );
    assert_eq!(store.route(&acme, &id("c")).await.unwrap(), None);
    let listed = store.list_routes(&acme, None, 9).await.unwrap();
    assert_eq!(listed, all[..2]);
    let listed = store.list_routes(&acme, Some(&id("a")), 9).await.unwrap();
    assert_eq!(listed, all[1..2]);
    let mut loaded = Vec::new();
    store
        .load(&mut |item| {
            if let Loaded::Route(route) = item {
                loaded.push(*route);
            }
        })
        .await
        .unwrap();
    assert_eq!(loaded, all);
    let batch = store.feed(0, 100).await.unwrap();
    let fed: Vec<_> = batch
        .routes
        .into_iter()
        .map(|(_, route)| route.unwrap())
        .collect();
    assert_eq!(fed, all);
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.routes(&beta).await.unwrap(), all[2..]);
    assert_eq!(tx.count_routes(&acme).await.unwrap(), 2);
    assert_eq!(tx.claims_of_others(&acme).await.unwrap(), all[2..]);
}

#[tokio::test]
async fn what_two_routes_of_a_workspace_have_in_common_is_found_until_one_goes() {
    let (_dir, store) = with_routes(&[route("a", "/a/{x}"), of_beta("b", "/b")]).await;
    let mut tx = store.begin().await.unwrap();
    let other = route("c", "/a/{y}");
    assert_eq!(tx.route_in_conflict(&other).await.unwrap(), Some(id("a")));
    // Not with itself, and not with another workspace's.
    assert_eq!(
        tx.route_in_conflict(&route("a", "/a/{y}")).await.unwrap(),
        None
    );
    assert_eq!(tx.route_in_conflict(&route("c", "/b")).await.unwrap(), None);
    // What it took before it changed is free.
    tx.put_route(&route("a", "/moved")).await.unwrap();
    assert_eq!(tx.route_in_conflict(&other).await.unwrap(), None);
    tx.delete_route(&acme(), &id("a")).await.unwrap();
    assert_eq!(
        tx.route_in_conflict(&route("c", "/moved")).await.unwrap(),
        None
    );
    assert_eq!(tx.route(&acme(), &id("a")).await.unwrap(), None);
}

#[tokio::test]
async fn who_passed_without_a_key_adds_up_and_goes_with_the_route() {
    let (_dir, store) = with_routes(&[route("a", "/a")]).await;
    let used = |route: &str, reason, count, last| KeylessUse {
        workspace: acme(),
        route: id(route),
        reason,
        count,
        last: at(last),
    };
    let none = Reason::NoCredential;
    // Of a route that is gone nothing is kept.
    for uses in [
        vec![used("a", none, 2, 10), used("a", Reason::UnknownKey, 1, 11)],
        vec![used("a", none, 3, 20), used("gone", none, 9, 9)],
    ] {
        store.add_keyless_uses(&uses).await.unwrap();
    }
    let mut found = store
        .keyless_uses(&acme(), &[id("a"), id("gone")])
        .await
        .unwrap();
    found.sort_by_key(|used| used.reason);
    assert_eq!(
        found,
        [used("a", none, 5, 20), used("a", Reason::UnknownKey, 1, 11)]
    );
    let mut tx = store.begin().await.unwrap();
    tx.delete_route(&acme(), &id("a")).await.unwrap();
    commit(tx).await;
    assert_eq!(store.keyless_uses(&acme(), &[id("a")]).await.unwrap(), []);
}

#[tokio::test]
async fn routes_go_with_their_workspace_and_with_no_other() {
    let (_dir, store) = with_routes(&[route("a", "/a"), of_beta("a", "/a")]).await;
    let mut tx = store.begin().await.unwrap();
    tx.delete_workspace(&acme()).await.unwrap();
    assert_eq!(tx.routes(&acme()).await.unwrap(), []);
    assert_eq!(tx.route_in_conflict(&route("b", "/a")).await.unwrap(), None);
    let beta = "beta".parse().unwrap();
    assert_eq!(tx.routes(&beta).await.unwrap().len(), 1);
}
