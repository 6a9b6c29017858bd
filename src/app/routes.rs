//! Routes: what integrations expose, and how those from before the key scheme come to demand a key.

use std::sync::Arc;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::keys::check_etag;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::{KeylessUse, Resource};
use crate::app::scene::Scene;
use crate::domain::id::{RouteId, WorkspaceId};
use crate::domain::revision;
use crate::domain::route::{Access, Route};

mod edit;
mod rules;
mod traffic;

pub use edit::RouteEdit;
pub use traffic::MatchedRoute;

/// Most routes of a workspace: they are resident, and their table is built anew with every change.
const MAX_ROUTES: u64 = 20_000;

/// A route as it was saved, and what its administrator should know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Saved {
    /// The route.
    pub route: Route,
    /// Warnings.
    pub warnings: Vec<RouteWarning>,
}

/// Something an administrator should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteWarning {
    /// A stable code.
    pub code: String,
    /// The same for people.
    pub message: String,
}

impl Core {
    /// Makes a route. Where the workspace's key scheme is off, it is grandfathered.
    pub async fn create_route(
        self: &Arc<Self>,
        call: Call,
        mut route: Route,
    ) -> Result<Answer<Saved>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    let workspace = rules::workspace(scene, &route.workspace).await?;
                    if scene.tx.route(&route.workspace, &route.id).await?.is_some() {
                        return Err(Error::already_exists("route", "id"));
                    }
                    if scene.tx.count_routes(&route.workspace).await? >= MAX_ROUTES {
                        return Err(Error::precondition(
                            "TOO_MANY_ROUTES",
                            format!(
                                "a workspace has at most {MAX_ROUTES} routes; delete one first"
                            ),
                        ));
                    }
                    route.keyless = rules::is_keyless(&workspace, None);
                    rules::check(scene, caller, &workspace, None, &route).await?;
                    route.create_time = scene.now;
                    save(scene, "CREATE", None, &mut route, true).await?;
                    Ok(Done::new(Saved {
                        warnings: rules::warnings(&route),
                        route,
                    }))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Reads a route, with how often it was passed without a key.
    pub async fn get_route(
        &self,
        workspace: &WorkspaceId,
        id: &RouteId,
    ) -> Result<(Route, Vec<KeylessUse>), Error> {
        let found = self.store.route(workspace, id).await?;
        let route = found.ok_or_else(|| Error::not_found("route"))?;
        let uses = self.keyless_uses(std::slice::from_ref(&route)).await?;
        Ok((route, uses))
    }

    /// Lists routes, with how often they were passed without a key.
    pub async fn list_routes(
        &self,
        workspace: &WorkspaceId,
        size: u32,
        token: &str,
    ) -> Result<(Vec<Route>, Vec<KeylessUse>, String), Error> {
        let arguments = format!("routes {workspace}");
        let after: Option<RouteId> = page::cursor(token, &arguments)?;
        self.require_workspace(workspace).await?;
        let found = self
            .store
            .list_routes(workspace, after.as_ref(), size + 1)
            .await?;
        let (routes, next) = page::cut(found, size, &arguments, |r| r.id.clone())?;
        let uses = self.keyless_uses(&routes).await?;
        Ok((routes, uses, next))
    }

    /// Changes a route. What changes nothing is no save; a save of more than labels ends grandfathering once the key scheme
    /// is on, which must be acknowledged.
    pub async fn update_route(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, RouteId),
        etag: String,
        edits: Vec<RouteEdit>,
        acknowledged: bool,
    ) -> Result<Answer<Saved>, Error> {
        let may_warn = acknowledged || call.dry_run;
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = route_to_change(scene, caller, &workspace, &id, &etag).await?;
                    let tenant = rules::workspace(scene, &workspace).await?;
                    let mut route = before.clone();
                    for edit in edits {
                        edit.apply(&mut route)?;
                    }
                    if route.settings == before.settings {
                        return Ok(Done {
                            value: Saved {
                                warnings: rules::warnings(&route),
                                route,
                            },
                            tokens: Vec::new(),
                            unchanged: true,
                        });
                    }
                    let more = route.settings.without_labels() != before.settings.without_labels();
                    if more {
                        route.keyless = rules::is_keyless(&tenant, Some(&before));
                        rules::check(scene, caller, &tenant, Some(&before), &route).await?;
                    }
                    let mut warnings = rules::warnings(&route);
                    if before.access() == Access::Grandfathered
                        && route.access() == Access::KeyRequired
                    {
                        let ends = scene.core.ends_grandfathering(&route).await?;
                        if !may_warn {
                            return Err(Error::precondition(
                                "WARNING_NOT_ACKNOWLEDGED",
                                format!("{}; set `acknowledge_warnings` to go ahead", ends.message),
                            ));
                        }
                        warnings.push(ends);
                    }
                    save(scene, "UPDATE", Some(&before), &mut route, more).await?;
                    Ok(Done::new(Saved { route, warnings }))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Deletes a route. Its requests go to the next most specific one, or to none.
    pub async fn delete_route(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, RouteId),
        etag: String,
    ) -> Result<Answer<()>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = route_to_change(scene, caller, &workspace, &id, &etag).await?;
                    rules::check_claim(caller, Some(&before), None)?;
                    scene.tx.delete_route(&workspace, &id).await?;
                    let resource = Resource::Route(workspace, id);
                    scene
                        .record("DELETE", resource, (Some(&before), None), true)
                        .await?;
                    Ok(Done::new(()))
                }
                .boxed()
            }),
        )
        .await
    }
}

async fn route_to_change(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &WorkspaceId,
    id: &RouteId,
    etag: &str,
) -> Result<Route, Error> {
    let found = scene.tx.route(workspace, id).await?;
    let route = found.ok_or_else(|| Error::not_found("route"))?;
    caller.require_unbound()?;
    check_etag(etag, &revision::etag(route.revision))?;
    Ok(route)
}

/// Writes a route. Whatever changes which requests it takes, or what it demands, may take access away: from who comes by
/// this route, or by the one that comes next.
async fn save(
    scene: &mut Scene,
    action: &'static str,
    before: Option<&Route>,
    route: &mut Route,
    narrows: bool,
) -> Result<(), Error> {
    route.update_time = scene.now;
    route.revision = scene.tx.revision();
    scene.tx.put_route(route).await?;
    let resource = Resource::Route(route.workspace.clone(), route.id.clone());
    scene
        .record(action, resource, (before, Some(&*route)), narrows)
        .await
}
