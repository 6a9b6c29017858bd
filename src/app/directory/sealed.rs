//! The end of recoverable tokens: what a workspace kept sealed is destroyed, some keys in each change, so that a million of them
//! hold nobody up. From the first of these changes on nothing of it is revealed.

use std::sync::Arc;

use futures::FutureExt as _;
use serde_json::json;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::mutate::Call;
use crate::app::pace::Pace;
use crate::app::ports::{Actor, Resource};
use crate::app::scene::Scene;
use crate::domain::id::{KeyId, WorkspaceId};
use crate::domain::scope::AdminScope;

/// How many keys the first change takes, and how many one takes at least and at most.
const FIRST: u32 = 500;
const LEAST: u32 = 50;
const MOST: u32 = 5_000;

impl Core {
    /// How many sealed tokens a change could destroy without its caller knowing; counted before the change, which would hold up
    /// others for as long.
    pub(super) async fn sealed_to_lose(
        &self,
        call: &Call,
        workspace: &WorkspaceId,
        acknowledged: bool,
    ) -> Result<u64, Error> {
        if acknowledged || call.caller.require(AdminScope::SettingsWrite).is_err() {
            return Ok(0);
        }
        match self.store.workspace(workspace).await? {
            Some(found) if found.settings.recoverable => {
                Ok(self.store.count_sealed(workspace).await?)
            }
            _ => Ok(0),
        }
    }

    /// Goes on with what the change that ended it has begun, behind the answer. What a stop cuts off, the next purge goes on
    /// with.
    pub(super) fn destroy_sealed_later(self: &Arc<Self>, workspace: WorkspaceId) {
        let core = self.clone();
        self.tasks.spawn(async move {
            if let Err(error) = core.destroy_sealed(workspace).await {
                tracing::warn!(
                    reason = error.reason,
                    "sealed tokens can't be destroyed now; it is tried again every minute"
                );
            }
        });
    }

    /// Destroys what is left in any workspace.
    pub(in crate::app) async fn destroy_all_sealed(self: &Arc<Self>) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.store.list_workspaces(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.id.clone());
            for workspace in page {
                if workspace.settings.destroying_sealed {
                    self.destroy_sealed(workspace.id).await?;
                }
            }
        }
    }

    async fn destroy_sealed(self: &Arc<Self>, workspace: WorkspaceId) -> Result<(), Error> {
        let (mut after, mut pace) = (None, Pace::new(FIRST, LEAST, MOST));
        loop {
            let began = self.clock.now();
            let (workspace, size) = (workspace.clone(), pace.size());
            let last = self
                .mutate_as(
                    Actor::Service,
                    Box::new(move |scene| destroy_some(scene, workspace, after, size).boxed()),
                )
                .await?;
            if last.is_none() {
                return Ok(());
            }
            after = last;
            pace.after(Pace::is_slow(began, self.clock.now()));
            tokio::task::yield_now().await;
        }
    }
}

/// Workspaces that are looked at at once.
const PAGE: u32 = 100;

/// What may be lost is said before it is.
pub(super) fn say_first(sealed: u64) -> Result<(), Error> {
    match sealed {
        0 => Ok(()),
        sealed => Err(Error::precondition(
            "WARNING_NOT_ACKNOWLEDGED",
            format!(
                "{sealed} tokens can be read again now, and would be destroyed for good; set `acknowledge_warnings` to go ahead"
            ),
        )),
    }
}

/// What is being destroyed must not come back.
pub(super) fn still_destroying() -> Error {
    Error::precondition(
        "STILL_DESTROYING",
        "the sealed tokens from before are still being destroyed; try again in a minute",
    )
}

/// Destroys what the change itself can do in a short time; returns whether there may be more.
pub(super) async fn destroy_first(
    scene: &mut Scene,
    workspace: &WorkspaceId,
) -> Result<bool, Error> {
    let (last, _) = scene.tx.destroy_sealed(workspace, None, FIRST).await?;
    Ok(last.is_some())
}

/// Destroys what the keys after one have sealed; returns how far it came, none: to the end.
async fn destroy_some(
    scene: &mut Scene,
    id: WorkspaceId,
    after: Option<KeyId>,
    size: u32,
) -> Result<Option<KeyId>, Error> {
    // It may have been deleted, or another process may have been faster.
    let Some(before) = scene.tx.workspace(&id).await? else {
        return Ok(None);
    };
    if !before.settings.destroying_sealed {
        return Ok(None);
    }
    let (last, destroyed) = scene.tx.destroy_sealed(&id, after, size).await?;
    if destroyed > 0 {
        let what = json!({ "destroyed": destroyed });
        scene
            .audit("DESTROY_SEALED", Resource::Workspace(id.clone()), what)
            .await?;
    }
    if last.is_none() {
        let mut workspace = before.clone();
        workspace.settings.destroying_sealed = false;
        workspace.update_time = scene.now;
        workspace.revision = scene.tx.revision();
        scene.tx.put_workspace(&workspace).await?;
        let change = (Some(&before), Some(&workspace));
        scene
            .record("UPDATE", Resource::Workspace(id), change, false)
            .await?;
    }
    Ok(last)
}
