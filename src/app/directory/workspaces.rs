//! Workspaces.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::keys::check_etag;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::{Before, Resource};
use crate::app::scene::Scene;
use crate::domain::id::WorkspaceId;
use crate::domain::key::Enforcement;
use crate::domain::revision;
use crate::domain::scope::AdminScope;
use crate::domain::time::Time;
use crate::domain::workspace::{
    KeyCreation, KeyScheme, LeakPolicy, Location, PresentationSet, Provisioning, RequestLog, Share,
    UndemandedScopes, UnmatchedRequests, Workspace, WorkspaceSettings,
};

use super::sealed;

/// A change of a workspace, to its new value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum WorkspaceEdit {
    DisplayName(String),
    Enabled(bool),
    Settings(WorkspaceSettings),
    Locations(Vec<Location>),
    Presentations(PresentationSet),
    UndemandedScopes(UndemandedScopes),
    Recoverable(bool),
    TwoSlots(bool),
    RotationGuard(Option<Duration>),
    TokenPrefix(Option<String>),
    Enforcement(Enforcement),
    ShadowNetwork(bool),
    ShadowPresentation(bool),
    ShadowSubscription(bool),
    ShadowScopes(bool),
    RequestLog(RequestLog),
    RequestLogSample(Option<Share>),
    RequestLogRetention(Option<std::time::Duration>),
    UsageRetention(Option<std::time::Duration>),
    KeyScheme(KeyScheme),
    UnmatchedRequests(UnmatchedRequests),
    KeyCreation(KeyCreation),
    DefaultLifetime(Option<Duration>),
    LongestLifetime(Option<Duration>),
    RotationAge(Option<Duration>),
    LeakPolicy(LeakPolicy),
    LeakGrace(Option<Duration>),
    Provisioning(Option<Provisioning>),
}

impl WorkspaceEdit {
    fn apply(self, to: &mut Workspace) {
        let settings = &mut to.settings;
        match self {
            Self::DisplayName(v) => to.display_name = v,
            Self::Enabled(v) => to.enabled = v,
            Self::Settings(v) => {
                let destroying_sealed = settings.destroying_sealed;
                *settings = v;
                settings.destroying_sealed = destroying_sealed;
            }
            Self::Locations(v) => settings.locations = v,
            Self::Presentations(v) => settings.presentations = v,
            Self::UndemandedScopes(v) => settings.undemanded_scopes = v,
            Self::Recoverable(v) => settings.recoverable = v,
            Self::TwoSlots(v) => settings.two_slots = v,
            Self::RotationGuard(v) => settings.rotation_guard = v,
            Self::TokenPrefix(v) => settings.token_prefix = v,
            Self::Enforcement(v) => settings.enforcement = v,
            Self::ShadowNetwork(v) => settings.enforcement.shadow_network = v,
            Self::ShadowPresentation(v) => settings.enforcement.shadow_presentation = v,
            Self::ShadowSubscription(v) => settings.enforcement.shadow_subscription = v,
            Self::ShadowScopes(v) => settings.enforcement.shadow_scopes = v,
            Self::RequestLog(v) => settings.request_log = v,
            Self::RequestLogSample(v) => settings.request_log_sample = v,
            Self::RequestLogRetention(v) => settings.request_log_retention = v,
            Self::UsageRetention(v) => settings.usage_retention = v,
            Self::KeyScheme(v) => settings.key_scheme = v,
            Self::UnmatchedRequests(v) => settings.unmatched_requests = v,
            Self::KeyCreation(v) => settings.key_creation = v,
            Self::DefaultLifetime(v) => settings.default_lifetime = v,
            Self::LongestLifetime(v) => settings.longest_lifetime = v,
            Self::RotationAge(v) => settings.rotation_age = v,
            Self::LeakPolicy(v) => settings.leak_policy = v,
            Self::LeakGrace(v) => settings.leak_grace = v,
            Self::Provisioning(v) => settings.provisioning = v,
        }
    }
}

impl Core {
    /// Makes a workspace; only callers of `system` may.
    pub async fn create_workspace(
        self: &Arc<Self>,
        call: Call,
        mut workspace: Workspace,
    ) -> Result<Answer<Workspace>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    require_system(caller, "making a workspace")?;
                    if scene.tx.workspace(&workspace.id).await?.is_some() {
                        return Err(Error::already_exists("workspace", "name"));
                    }
                    check_settings(scene, &workspace).await?;
                    workspace.create_time = scene.now;
                    workspace.update_time = scene.now;
                    workspace.revision = scene.tx.revision();
                    scene.tx.put_workspace(&workspace).await?;
                    let resource = Resource::Workspace(workspace.id.clone());
                    scene
                        .record("CREATE", resource, (None, Some(&workspace)), false)
                        .await?;
                    Ok(Done::new(workspace))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Reads a workspace.
    pub async fn get_workspace(
        &self,
        caller: &Caller,
        id: &WorkspaceId,
    ) -> Result<Workspace, Error> {
        let visible = caller.is_system() || *id == caller.workspace;
        let workspace = if visible {
            self.store.workspace(id).await?
        } else {
            None
        };
        workspace.ok_or_else(|| Error::not_found("workspace"))
    }

    /// Lists workspaces: all for callers of `system`, else the caller's own.
    pub async fn list_workspaces(
        &self,
        caller: &Caller,
        size: u32,
        token: &str,
    ) -> Result<(Vec<Workspace>, String), Error> {
        let after: Option<WorkspaceId> = page::cursor(token, "workspaces")?;
        if !caller.is_system() {
            let own = self.store.workspace(&caller.workspace).await?;
            return Ok((
                own.into_iter().filter(|_| after.is_none()).collect(),
                String::new(),
            ));
        }
        let found = self.store.list_workspaces(after.as_ref(), size + 1).await?;
        page::cut(found, size, "workspaces", |w| w.id.clone())
    }

    /// Changes a workspace. `acknowledged` lets a change destroy something.
    pub async fn update_workspace(
        self: &Arc<Self>,
        call: Call,
        id: WorkspaceId,
        etag: String,
        edits: Vec<WorkspaceEdit>,
        acknowledged: bool,
    ) -> Result<Answer<Workspace>, Error> {
        let sealed = self.sealed_to_lose(&call, &id, acknowledged).await?;
        let answer = self
            .mutate(
                call,
                Box::new(move |scene, caller| {
                    async move {
                    let before = scene.workspace(&id).await?;
                    check_etag(&etag, &revision::etag(before.revision))?;
                    caller.require_unbound()?;
                    let mut workspace = before.clone();
                    for edit in edits {
                        edit.apply(&mut workspace);
                    }
                    workspace.settings.key_scheme_time =
                        switched_on(&before, &workspace, scene.now);
                    if workspace.settings != before.settings {
                        caller.require(AdminScope::SettingsWrite)?;
                    }
                    if workspace.display_name != before.display_name {
                        caller.require(AdminScope::DirectoryWrite)?;
                    }
                    if workspace.enabled != before.enabled {
                        require_system(caller, "switching a workspace on or off")?;
                        if id.is_system() {
                            return Err(Error::precondition(
                                "LAST_ADMINISTRATOR",
                                "`system` can't be switched off: nobody could switch it on again",
                            ));
                        }
                    }
                    if workspace.settings != before.settings {
                        check_settings(scene, &workspace).await?;
                    }
                    match (before.settings.recoverable, workspace.settings.recoverable) {
                        (true, false) => {
                            sealed::say_first(sealed)?;
                            let rest = sealed::destroy_first(scene, &id).await?;
                            workspace.settings.destroying_sealed = rest;
                        }
                        (false, true) if before.settings.destroying_sealed => {
                            return Err(sealed::still_destroying());
                        }
                        _ => {}
                    }
                    workspace.update_time = scene.now;
                    workspace.revision = scene.tx.revision();
                    scene.tx.put_workspace(&workspace).await?;
                    scene
                        .record(
                            "UPDATE",
                            Resource::Workspace(id),
                            (Some(&before), Some(&workspace)),
                            before.enabled != workspace.enabled
                                || before.settings != workspace.settings,
                        )
                        .await?;
                    Ok(Done::new(workspace))
                }
                .boxed()
                }),
            )
            .await?;
        if answer.value.settings.destroying_sealed {
            self.destroy_sealed_later(answer.value.id.clone());
        }
        Ok(answer)
    }

    /// Deletes a workspace without keys.
    pub async fn delete_workspace(
        self: &Arc<Self>,
        call: Call,
        id: WorkspaceId,
        etag: String,
    ) -> Result<Answer<()>, Error> {
        let gone = id.clone();
        let answer = self.delete_empty_workspace(call, id, etag).await?;
        // What was recorded of it is no part of that change. Where it can't be deleted now, it goes with the next pruning.
        let again = self.store.workspace(&gone).await?.is_some();
        if !again && let Err(error) = self.prune_records_of(&gone, Before::ALL).await {
            tracing::warn!(
                reason = error.reason,
                "the records of a deleted workspace stay until they are pruned"
            );
        }
        Ok(answer)
    }

    async fn delete_empty_workspace(
        self: &Arc<Self>,
        call: Call,
        id: WorkspaceId,
        etag: String,
    ) -> Result<Answer<()>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = scene.workspace(&id).await?;
                    require_system(caller, "deleting a workspace")?;
                    check_etag(&etag, &revision::etag(before.revision))?;
                    if id.is_system() || id == scene.core.default_workspace {
                        return Err(Error::precondition("RESERVED_WORKSPACE", "`system` and the process's default workspace can't be deleted"));
                    }
                    if scene.tx.has_keys(&id).await? {
                        return Err(Error::precondition("WORKSPACE_NOT_EMPTY", "the workspace has keys, or deleted ones that are not purged yet; purge them first"));
                    }
                    scene.tx.delete_workspace(&id).await?;
                    scene.record("DELETE", Resource::Workspace(id), (Some(&before), None), true).await?;
                    Ok(Done::new(()))
                }
                .boxed()
            }),
        )
        .await
    }
}

/// When the key scheme was switched on: nobody sets that but by switching it.
fn switched_on(before: &Workspace, after: &Workspace, now: Time) -> Option<Time> {
    let was_off = before.settings.key_scheme == KeyScheme::Off;
    if was_off && after.settings.key_scheme != KeyScheme::Off {
        Some(now)
    } else {
        before.settings.key_scheme_time
    }
}

/// What settings must be together, and against the catalogue.
async fn check_settings(scene: &mut Scene, workspace: &Workspace) -> Result<(), Error> {
    let settings = &workspace.settings;
    let at = |field: &str| format!("workspace.settings.{field}");
    let lifetimes = [
        ("default_lifetime", settings.default_lifetime),
        ("longest_lifetime", settings.longest_lifetime),
    ];
    if workspace.id.is_system()
        && let Some((field, _)) = lifetimes.iter().find(|(_, lifetime)| lifetime.is_some())
    {
        return Err(Error::invalid(
            at(field),
            "is not for `system`, whose last administrator must have no expiry; give single keys an `expire_time`",
        ));
    }
    if let (Some(default), Some(longest)) = (settings.default_lifetime, settings.longest_lifetime)
        && default > longest
    {
        return Err(Error::invalid(
            at("default_lifetime"),
            "is longer than `longest_lifetime`; shorten it, or lengthen the other",
        ));
    }
    let Some(provisioning) = &settings.provisioning else {
        return Ok(());
    };
    let catalogue = scene.tx.scopes(&workspace.id).await?;
    for (i, grant) in provisioning.scopes.iter().enumerate() {
        if !catalogue.iter().any(|scope| grant.covers(&scope.name)) {
            return Err(Error::invalid(
                at(&format!("provisioning.scopes[{i}]")),
                format!(
                    "`{}` is not declared in the workspace's catalogue; declare it with `Directory.CreateScope` first",
                    grant.as_str()
                ),
            ));
        }
    }
    Ok(())
}

pub(in crate::app) fn require_system(caller: &Caller, what: &str) -> Result<(), Error> {
    if caller.is_system() {
        Ok(())
    } else {
        Err(Error::denied(
            "SYSTEM_ONLY",
            format!("{what} needs a key of the workspace `system`"),
        ))
    }
}
