//! Workspaces, subscriptions, scope catalogues and principals.

mod principals;
mod scopes;
mod sealed;
mod subscriptions;
mod sync;
pub(in crate::app) mod workspaces;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::route::RouteSettings;

pub use principals::{PrincipalEdit, PrincipalFilter, Upserted};
pub use scopes::ScopeEdit;
pub use subscriptions::{NewSubscription, Provisioned, SubscriptionEdit};
pub use sync::{Staged, Sync, SyncFault, Synced, Wanted};
pub use workspaces::WorkspaceEdit;

impl Core {
    /// Demands that a workspace exists.
    pub(in crate::app) async fn require_workspace(&self, id: &WorkspaceId) -> Result<(), Error> {
        match self.store.workspace(id).await? {
            Some(_) => Ok(()),
            None => Err(Error::not_found("workspace")),
        }
    }
}

fn no_catalogue_in_system(workspace: &WorkspaceId, what: &str) -> Result<(), Error> {
    if workspace.is_system() {
        Err(Error::precondition(
            "RESERVED_WORKSPACE",
            format!("`system` is for administrators, and has no {what}; name another workspace"),
        ))
    } else {
        Ok(())
    }
}

/// Refuses to take away what a route rests on.
async fn refuse_used_by_route(
    scene: &mut Scene,
    workspace: &WorkspaceId,
    what: &str,
    uses: impl Fn(&RouteSettings) -> bool,
) -> Result<(), Error> {
    let routes = scene.tx.routes(workspace).await?;
    match routes.iter().find(|route| uses(&route.settings)) {
        None => Ok(()),
        Some(route) => Err(Error::precondition(
            "IN_USE",
            format!(
                "the {what} is in use: route `{}` names it; change or delete the route first",
                route.id
            ),
        )
        .with("route", &route.id)),
    }
}

fn in_use(what: &str, how: &str, key: KeyId) -> Error {
    Error::precondition(
        "IN_USE",
        format!("the {what} is in use: key `{key}` {how}; change or purge the keys first"),
    )
    .with("key_id", key)
}
