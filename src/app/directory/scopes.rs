//! Scope catalogues.

use std::sync::Arc;

use futures::FutureExt as _;

use crate::app::Core;
use crate::app::error::Error;
use crate::app::keys::check_etag;
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::Resource;
use crate::domain::id::{PrincipalId, WorkspaceId};
use crate::domain::revision;
use crate::domain::scope::{self, Grant};
use crate::domain::workspace::{PresentationSet, Scope};

use super::{in_use, no_catalogue_in_system, refuse_used_by_route};

/// Most entries of a workspace's catalogue: it is resident, and swapped whole.
const MAX_SCOPES: usize = 1_000;

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
                        return Err(Error::already_exists("scope", "name"));
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
                    scene
                        .record("CREATE", resource, (None, Some(&scope)), false)
                        .await?;
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
        page::cut(found, size, &arguments, |s| s.name.clone())
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
                    check_etag(&etag, &revision::etag(before.revision))?;
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
                            (Some(&before), Some(&scope)),
                            before.presentations != scope.presentations
                                || before.implies != scope.implies,
                        )
                        .await?;
                    Ok(Done::new(scope))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Deletes a catalogue entry that no key and no principal lists.
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
                    check_etag(&etag, &revision::etag(before.revision))?;
                    let grants = grants_resting_on(&name, &catalogue);
                    for grant in &grants {
                        if let Some(key) = scene.tx.key_with_grant(&workspace, grant).await? {
                            return Err(in_use("scope", &format!("lists `{grant}`"), key));
                        }
                    }
                    refuse_used_by_route(scene, &workspace, "scope", |route| {
                        route.demands_scope(&name)
                    })
                    .await?;
                    let found = scene.tx.principal_with_grant(&workspace, &grants).await?;
                    if let Some(id) = found {
                        return Err(listed_by(&id));
                    }
                    scene.tx.delete_scope(&workspace, &name).await?;
                    scene
                        .record(
                            "DELETE",
                            Resource::Scope(workspace, name),
                            (Some(&before), None),
                            true,
                        )
                        .await?;
                    Ok(Done::new(()))
                }
                .boxed()
            }),
        )
        .await
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
            .any(|s| s.name != name && scope::covers(w, &s.name))
    });
    [name.to_owned()].into_iter().chain(alone).collect()
}

fn listed_by(id: &PrincipalId) -> Error {
    Error::precondition(
        "IN_USE",
        format!("the scope is in use: principal `{id}` lists it, or a wildcard that covers nothing else; change the principals first"),
    )
    .with("principal", id)
}

fn find_scope(catalogue: Vec<Scope>, name: &str) -> Result<Scope, Error> {
    catalogue
        .into_iter()
        .find(|s| s.name == name)
        .ok_or_else(|| Error::not_found("scope"))
}
