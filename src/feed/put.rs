//! Putting what was read into an index.

use crate::app::ports::{FeedBatch, Loaded};
use crate::domain::route::Route;
use crate::index::Index;

/// Puts a piece of a load in. Routes come together, when all are there.
pub(super) fn put(index: &Index, piece: Loaded, routes: &mut Vec<Route>) {
    match piece {
        // Whatever the feed brings later is newer than what a load brings.
        Loaded::Workspace(workspace, scopes) => index.put_workspace(&workspace, &scopes, 0),
        Loaded::Subscription(subscription) => index.put_subscription(&subscription),
        Loaded::Route(route) => routes.push(*route),
        Loaded::Principal(principal) => index.put_principal(&principal),
        Loaded::Key(key) => index.put_key(&key),
    }
}

pub(super) fn put_routes(index: &Index, routes: Vec<Route>) {
    let routes = routes.into_iter();
    index.put_routes(routes.map(|r| (r.workspace.clone(), r.id.clone(), Some(r))));
}

pub(super) fn put_batch(index: &Index, batch: &FeedBatch) {
    for ((workspace, id), row) in &batch.subscriptions {
        match row {
            Some(subscription) => index.put_subscription(subscription),
            None => index.remove_subscription(workspace, id),
        }
    }
    let routes = batch.routes.iter();
    index.put_routes(
        routes.map(|((workspace, id), row)| (workspace.clone(), id.clone(), row.clone())),
    );
    for ((workspace, id), row) in &batch.principals {
        match row {
            Some(principal) => index.put_principal(principal),
            None => index.remove_principal(workspace, id),
        }
    }
    for (id, row) in &batch.keys {
        match row {
            Some(key) => index.put_key(key),
            None => index.remove_key(*id),
        }
    }
    // Last: what opens a workspace again must find everything of it in place.
    for (id, row) in &batch.workspaces {
        match row {
            Some((workspace, scopes)) => index.put_workspace(workspace, scopes, batch.head),
            None => index.remove_workspace(id),
        }
    }
}
