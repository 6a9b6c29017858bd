//! Workspaces, subscriptions and scope catalogues.

use std::sync::Arc;

use futures::FutureExt as _;
use serde::Serialize;

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::{Code, Error};
use crate::app::keys::check_etag;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::Resource;
use crate::domain::id::{SubscriptionId, WorkspaceId};
use crate::domain::scope::{AdminScope, Grant};
use crate::domain::workspace::{
    Location, PresentationSet, Scope, Subscription, UndemandedScopes, Workspace, WorkspaceSettings,
};

/// Most entries of a workspace's catalogue: it is resident, and swapped whole.
const MAX_SCOPES: usize = 1_000;

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
    RotationGuard(Option<std::time::Duration>),
    TokenPrefix(Option<String>),
}

impl WorkspaceEdit {
    fn apply(self, to: &mut Workspace) {
        let settings = &mut to.settings;
        match self {
            Self::DisplayName(v) => to.display_name = v,
            Self::Enabled(v) => to.enabled = v,
            Self::Settings(v) => *settings = v,
            Self::Locations(v) => settings.locations = v,
            Self::Presentations(v) => settings.presentations = v,
            Self::UndemandedScopes(v) => settings.undemanded_scopes = v,
            Self::Recoverable(v) => settings.recoverable = v,
            Self::TwoSlots(v) => settings.two_slots = v,
            Self::RotationGuard(v) => settings.rotation_guard = v,
            Self::TokenPrefix(v) => settings.token_prefix = v,
        }
    }
}

/// A change of a subscription, to its new value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum SubscriptionEdit {
    DisplayName(String),
    Enabled(bool),
}

/// A change of a catalogue entry, to its new value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum ScopeEdit {
    DisplayName(String),
    Description(String),
    Presentations(PresentationSet),
    Implies(Vec<Grant>),
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
                        return Err(exists("workspace"));
                    }
                    workspace.create_time = scene.now;
                    workspace.update_time = scene.now;
                    workspace.revision = scene.tx.revision();
                    scene.tx.put_workspace(&workspace).await?;
                    let resource = Resource::Workspace(workspace.id.clone());
                    scene
                        .record("CREATE", resource, None, Some(&workspace))
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
        paged(found, size, "workspaces", |w| w.id.clone())
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
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let before = scene.workspace(&id).await?;
                    check_etag(&etag, &format!("{:x}", before.revision))?;
                    caller.require_unbound()?;
                    let mut workspace = before.clone();
                    for edit in edits {
                        edit.apply(&mut workspace);
                    }
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
                    if before.settings.recoverable && !workspace.settings.recoverable {
                        destroy_sealed(scene, &id, acknowledged).await?;
                    }
                    workspace.update_time = scene.now;
                    workspace.revision = scene.tx.revision();
                    scene.tx.put_workspace(&workspace).await?;
                    scene
                        .record(
                            "UPDATE",
                            Resource::Workspace(id),
                            Some(&before),
                            Some(&workspace),
                        )
                        .await?;
                    Ok(Done::new(workspace))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Deletes a workspace without keys.
    pub async fn delete_workspace(
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
                    check_etag(&etag, &format!("{:x}", before.revision))?;
                    if id.is_system() || id == scene.core.default_workspace {
                        return Err(Error::precondition("RESERVED_WORKSPACE", "`system` and the process's default workspace can't be deleted"));
                    }
                    if scene.tx.has_keys(&id).await? {
                        return Err(Error::precondition("WORKSPACE_NOT_EMPTY", "the workspace has keys, or deleted ones that are not purged yet; purge them first"));
                    }
                    scene.tx.delete_workspace(&id).await?;
                    scene.record("DELETE", Resource::Workspace(id), Some(&before), None).await?;
                    Ok(Done::new(()))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Makes a subscription.
    pub async fn create_subscription(
        self: &Arc<Self>,
        call: Call,
        mut subscription: Subscription,
    ) -> Result<Answer<Subscription>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    no_catalogue_in_system(&subscription.workspace, "subscriptions")?;
                    scene.workspace(&subscription.workspace).await?;
                    if scene
                        .tx
                        .subscription(&subscription.workspace, &subscription.id)
                        .await?
                        .is_some()
                    {
                        return Err(exists("subscription"));
                    }
                    subscription.create_time = scene.now;
                    subscription.update_time = scene.now;
                    subscription.revision = scene.tx.revision();
                    scene.tx.put_subscription(&subscription).await?;
                    let resource = Resource::Subscription(
                        subscription.workspace.clone(),
                        subscription.id.clone(),
                    );
                    scene
                        .record("CREATE", resource, None, Some(&subscription))
                        .await?;
                    Ok(Done::new(subscription))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Reads a subscription.
    pub async fn get_subscription(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        id: &SubscriptionId,
    ) -> Result<Subscription, Error> {
        let visible = caller.may_bind(std::slice::from_ref(id));
        let found = if visible {
            self.store.subscription(workspace, id).await?
        } else {
            None
        };
        found.ok_or_else(|| Error::not_found("subscription"))
    }

    /// Lists subscriptions of a workspace, for bound callers only their own.
    pub async fn list_subscriptions(
        &self,
        caller: &Caller,
        workspace: &WorkspaceId,
        size: u32,
        token: &str,
    ) -> Result<(Vec<Subscription>, String), Error> {
        let arguments = format!("subscriptions {workspace}");
        let after: Option<SubscriptionId> = page::cursor(token, &arguments)?;
        self.require_workspace(workspace).await?;
        let only = (!caller.subscriptions.is_empty()).then_some(&*caller.subscriptions);
        let found = self
            .store
            .list_subscriptions(workspace, only, after.as_ref(), size + 1)
            .await?;
        paged(found, size, &arguments, |s| s.id.clone())
    }

    /// Changes a subscription.
    pub async fn update_subscription(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, SubscriptionId),
        etag: String,
        edits: Vec<SubscriptionEdit>,
    ) -> Result<Answer<Subscription>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let found = scene
                        .tx
                        .subscription(&workspace, &id)
                        .await?
                        .filter(|s| caller.may_bind(std::slice::from_ref(&s.id)));
                    let before = found.ok_or_else(|| Error::not_found("subscription"))?;
                    caller.require_unbound()?;
                    check_etag(&etag, &format!("{:x}", before.revision))?;
                    let mut subscription = before.clone();
                    for edit in edits {
                        match edit {
                            SubscriptionEdit::DisplayName(v) => subscription.display_name = v,
                            SubscriptionEdit::Enabled(v) => subscription.enabled = v,
                        }
                    }
                    subscription.update_time = scene.now;
                    subscription.revision = scene.tx.revision();
                    scene.tx.put_subscription(&subscription).await?;
                    let resource = Resource::Subscription(workspace, id);
                    scene
                        .record("UPDATE", resource, Some(&before), Some(&subscription))
                        .await?;
                    Ok(Done::new(subscription))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Deletes a subscription that no key is bound to.
    pub async fn delete_subscription(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, SubscriptionId),
        etag: String,
    ) -> Result<Answer<()>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    let found = scene
                        .tx
                        .subscription(&workspace, &id)
                        .await?
                        .filter(|s| caller.may_bind(std::slice::from_ref(&s.id)));
                    let before = found.ok_or_else(|| Error::not_found("subscription"))?;
                    caller.require_unbound()?;
                    check_etag(&etag, &format!("{:x}", before.revision))?;
                    if let Some(key) = scene.tx.key_with_subscription(&workspace, &id).await? {
                        return Err(in_use("subscription", "is bound to it", key));
                    }
                    scene.tx.delete_subscription(&workspace, &id).await?;
                    scene
                        .record(
                            "DELETE",
                            Resource::Subscription(workspace, id),
                            Some(&before),
                            None,
                        )
                        .await?;
                    Ok(Done::new(()))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Declares a scope.
    pub async fn create_scope(
        self: &Arc<Self>,
        call: Call,
        mut scope: Scope,
    ) -> Result<Answer<Scope>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    no_catalogue_in_system(&scope.workspace, "scopes")?;
                    scene.workspace(&scope.workspace).await?;
                    caller.require_all(&scope.implies, "the scope would imply")?;
                    let catalogue = scene.tx.scopes(&scope.workspace).await?;
                    if catalogue.iter().any(|s| s.name == scope.name) {
                        return Err(exists("scope"));
                    }
                    if catalogue.len() >= MAX_SCOPES {
                        return Err(Error::precondition(
                            "TOO_MANY_SCOPES",
                            format!(
                                "a catalogue has at most {MAX_SCOPES} scopes; delete one first"
                            ),
                        ));
                    }
                    scope.create_time = scene.now;
                    scope.update_time = scene.now;
                    scope.revision = scene.tx.revision();
                    scene.tx.put_scope(&scope).await?;
                    let resource = Resource::Scope(scope.workspace.clone(), scope.name.clone());
                    scene.record("CREATE", resource, None, Some(&scope)).await?;
                    Ok(Done::new(scope))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Reads a catalogue entry.
    pub async fn get_scope(&self, workspace: &WorkspaceId, name: &str) -> Result<Scope, Error> {
        self.store
            .scope(workspace, name)
            .await?
            .ok_or_else(|| Error::not_found("scope"))
    }

    /// Lists the catalogue of a workspace.
    pub async fn list_scopes(
        &self,
        workspace: &WorkspaceId,
        size: u32,
        token: &str,
    ) -> Result<(Vec<Scope>, String), Error> {
        let arguments = format!("scopes {workspace}");
        let after: Option<String> = page::cursor(token, &arguments)?;
        self.require_workspace(workspace).await?;
        let found = self
            .store
            .list_scopes(workspace, after.as_deref(), size + 1)
            .await?;
        paged(found, size, &arguments, |s| s.name.clone())
    }

    /// Changes a catalogue entry.
    pub async fn update_scope(
        self: &Arc<Self>,
        call: Call,
        (workspace, name): (WorkspaceId, String),
        etag: String,
        edits: Vec<ScopeEdit>,
    ) -> Result<Answer<Scope>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    let before = find_scope(scene.tx.scopes(&workspace).await?, &name)?;
                    check_etag(&etag, &format!("{:x}", before.revision))?;
                    let mut scope = before.clone();
                    for edit in edits {
                        match edit {
                            ScopeEdit::DisplayName(v) => scope.display_name = v,
                            ScopeEdit::Description(v) => scope.description = v,
                            ScopeEdit::Presentations(v) => scope.presentations = v,
                            ScopeEdit::Implies(v) => scope.implies = v,
                        }
                    }
                    let added: Vec<_> = scope
                        .implies
                        .iter()
                        .filter(|i| !before.implies.contains(i))
                        .cloned()
                        .collect();
                    caller.require_all(&added, "the scope would imply")?;
                    scope.update_time = scene.now;
                    scope.revision = scene.tx.revision();
                    scene.tx.put_scope(&scope).await?;
                    scene
                        .record(
                            "UPDATE",
                            Resource::Scope(workspace, name),
                            Some(&before),
                            Some(&scope),
                        )
                        .await?;
                    Ok(Done::new(scope))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Deletes a catalogue entry that no key lists.
    pub async fn delete_scope(
        self: &Arc<Self>,
        call: Call,
        (workspace, name): (WorkspaceId, String),
        etag: String,
    ) -> Result<Answer<()>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    let catalogue = scene.tx.scopes(&workspace).await?;
                    let before = find_scope(catalogue.clone(), &name)?;
                    check_etag(&etag, &format!("{:x}", before.revision))?;
                    for grant in grants_resting_on(&name, &catalogue) {
                        if let Some(key) = scene.tx.key_with_grant(&workspace, &grant).await? {
                            return Err(in_use("scope", &format!("lists `{grant}`"), key));
                        }
                    }
                    scene.tx.delete_scope(&workspace, &name).await?;
                    scene
                        .record(
                            "DELETE",
                            Resource::Scope(workspace, name),
                            Some(&before),
                            None,
                        )
                        .await?;
                    Ok(Done::new(()))
                }
                .boxed()
            }),
        )
        .await
    }

    async fn require_workspace(&self, id: &WorkspaceId) -> Result<(), Error> {
        match self.store.workspace(id).await? {
            Some(_) => Ok(()),
            None => Err(Error::not_found("workspace")),
        }
    }
}

/// The grants that this entry alone declares: its name, and the wildcards above it that cover nothing else.
fn grants_resting_on(name: &str, catalogue: &[Scope]) -> Vec<String> {
    let wildcards = name
        .match_indices(':')
        .filter_map(|(at, _)| name.get(..at))
        .map(|above| format!("{above}:*"));
    let alone = wildcards.filter(|w| {
        !catalogue
            .iter()
            .any(|s| s.name != name && crate::domain::scope::covers(w, &s.name))
    });
    [name.to_owned()].into_iter().chain(alone).collect()
}

/// What may be lost is said before it is.
async fn destroy_sealed(
    scene: &mut crate::app::mutate::Scene,
    id: &WorkspaceId,
    acknowledged: bool,
) -> Result<(), Error> {
    if acknowledged {
        scene.tx.destroy_sealed(id).await?;
        return Ok(());
    }
    match scene.tx.count_sealed(id).await? {
        0 => Ok(()),
        sealed => Err(Error::precondition(
            "WARNING_NOT_ACKNOWLEDGED",
            format!(
                "{sealed} tokens can be read again now, and would be destroyed for good; set `acknowledge_warnings` to go ahead"
            ),
        )),
    }
}

fn find_scope(catalogue: Vec<Scope>, name: &str) -> Result<Scope, Error> {
    catalogue
        .into_iter()
        .find(|s| s.name == name)
        .ok_or_else(|| Error::not_found("scope"))
}

fn paged<T, C: Serialize>(
    mut found: Vec<T>,
    size: u32,
    arguments: &str,
    cursor: impl Fn(&T) -> C,
) -> Result<(Vec<T>, String), Error> {
    let more = found.len() > size as usize;
    found.truncate(size as usize);
    let next = match found.last() {
        Some(last) if more => page::token(&cursor(last), arguments)?,
        _ => String::new(),
    };
    Ok((found, next))
}

fn require_system(caller: &Caller, what: &str) -> Result<(), Error> {
    if caller.is_system() {
        Ok(())
    } else {
        Err(Error::denied(
            "SYSTEM_ONLY",
            format!("{what} needs a key of the workspace `system`"),
        ))
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

fn exists(what: &str) -> Error {
    Error::new(
        Code::AlreadyExists,
        "ALREADY_EXISTS",
        format!("there is a {what} of this name already; update it, or choose another name"),
    )
}

fn in_use(what: &str, how: &str, key: crate::domain::id::KeyId) -> Error {
    Error::precondition(
        "IN_USE",
        format!("the {what} is in use: key `{key}` {how}; change or purge the keys first"),
    )
    .with("key_id", key)
}
