//! Principals, one by one.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};

use crate::app::Core;
use crate::app::auth::{Caller, admin_rights};
use crate::app::error::Error;
use crate::app::keys::{check_etag, is_declared};
use crate::app::mutate::{Answer, Call, Done};
use crate::app::page;
use crate::app::ports::{PrincipalQuery, Resource};
use crate::domain::id::{PrincipalId, WorkspaceId};
use crate::domain::principal::{Granted, Principal};
use crate::domain::revision;
use crate::domain::scope::Grant;
use crate::domain::time::Time;
use crate::domain::workspace::Scope;

use super::{in_use, no_catalogue_in_system};

/// A change of a principal, to its new value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum PrincipalEdit {
    DisplayName(String),
    Enabled(bool),
    Scopes(Vec<Grant>),
}

/// Which principals to list.
#[derive(Debug, Clone, Default)]
pub struct PrincipalFilter {
    /// Part of the id or the display name, folded.
    pub name_contains: Option<String>,
    /// Only those that are enabled, or that are not.
    pub enabled: Option<bool>,
}

/// A principal that is as it was asked to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Upserted {
    /// The principal.
    pub principal: Principal,
    /// Whether it was made just now.
    pub created: bool,
}

impl Core {
    /// Makes a principal, or changes the one there is; nothing where it is so already.
    pub async fn upsert_principal(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, PrincipalId),
        etag: String,
        edits: Vec<PrincipalEdit>,
    ) -> Result<Answer<Upserted>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    no_catalogue_in_system(&workspace, "principals")?;
                    scene.workspace(&workspace).await?;
                    let before = scene.tx.principal(&workspace, &id).await?;
                    let stands = before.as_ref().map(|p| revision::etag(p.revision));
                    check_etag(&etag, stands.as_deref().unwrap_or_default())?;
                    let mut after = before.clone().unwrap_or_else(|| new(&workspace, id));
                    edits.into_iter().for_each(|edit| apply(edit, &mut after));
                    let created = before.is_none();
                    if before.as_ref().is_some_and(|b| b.says_the_same(&after)) {
                        return Ok(Done {
                            value: Upserted {
                                principal: after,
                                created,
                            },
                            tokens: Vec::new(),
                            unchanged: true,
                        });
                    }
                    let catalogue = scene.tx.scopes(&workspace).await?;
                    Permits::new(caller, &catalogue).check(before.as_ref(), &after)?;
                    let action = if created { "CREATE" } else { "UPDATE" };
                    let mut all = [(before, after)];
                    scene.put_principals(action, &mut all).await?;
                    let [(_, principal)] = all;
                    Ok(Done::new(Upserted { principal, created }))
                }
                .boxed()
            }),
        )
        .await
    }

    /// Reads a principal.
    pub async fn get_principal(
        &self,
        workspace: &WorkspaceId,
        id: &PrincipalId,
    ) -> Result<Principal, Error> {
        let found = self.store.principal(workspace, id).await?;
        found.ok_or_else(|| Error::not_found("principal"))
    }

    /// Lists principals of a workspace.
    pub async fn list_principals(
        &self,
        workspace: &WorkspaceId,
        filter: PrincipalFilter,
        size: u32,
        token: &str,
    ) -> Result<(Vec<Principal>, String), Error> {
        let arguments = format!("principals {workspace} {filter:?}");
        let after: Option<PrincipalId> = page::cursor(token, &arguments)?;
        self.require_workspace(workspace).await?;
        let query = PrincipalQuery {
            workspace: workspace.clone(),
            name_contains: filter.name_contains,
            enabled: filter.enabled,
            after,
            limit: size + 1,
        };
        let found = self.store.list_principals(&query).await?;
        page::cut(found, size, &arguments, |p| p.id.clone())
    }

    /// Deletes a principal that no key is bound to.
    pub async fn delete_principal(
        self: &Arc<Self>,
        call: Call,
        (workspace, id): (WorkspaceId, PrincipalId),
        etag: String,
    ) -> Result<Answer<()>, Error> {
        self.mutate(
            call,
            Box::new(move |scene, caller| {
                async move {
                    caller.require_unbound()?;
                    let found = scene.tx.principal(&workspace, &id).await?;
                    let before = found.ok_or_else(|| Error::not_found("principal"))?;
                    check_etag(&etag, &revision::etag(before.revision))?;
                    if let Some(key) = scene.tx.key_with_principal(&workspace, &id).await? {
                        return Err(in_use("principal", "is bound to it", key));
                    }
                    scene.tx.delete_principal(&workspace, &id).await?;
                    let resource = Resource::Principal(workspace, id);
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

/// A principal of this name that says nothing yet.
pub(super) fn new(workspace: &WorkspaceId, id: PrincipalId) -> Principal {
    let unset = Time::from_micros(0);
    Principal {
        workspace: workspace.clone(),
        id,
        display_name: String::new(),
        enabled: true,
        scopes: Vec::new(),
        create_time: unset,
        update_time: unset,
        revision: 0,
    }
}

fn apply(edit: PrincipalEdit, to: &mut Principal) {
    match edit {
        PrincipalEdit::DisplayName(v) => to.display_name = v,
        PrincipalEdit::Enabled(v) => to.enabled = v,
        PrincipalEdit::Scopes(v) => to.scopes = v,
    }
}

/// What a caller may let principals have. Most principals have the same permissions as others: what those come to is worked
/// out once.
pub(super) struct Permits<'a> {
    caller: &'a Caller,
    catalogue: &'a [Scope],
    known: HashMap<Vec<Grant>, Means>,
}

/// What permissions come to.
#[derive(Clone)]
struct Means {
    /// The first that is not in the catalogue.
    undeclared: Option<usize>,
    /// The rights over Claviger that come with them.
    rights: Vec<Grant>,
}

impl<'a> Permits<'a> {
    pub(super) fn new(caller: &'a Caller, catalogue: &'a [Scope]) -> Self {
        Self {
            caller,
            catalogue,
            known: HashMap::new(),
        }
    }

    /// Whether a principal may come to be this: what it lists is declared, and no right that it gains is one that the caller
    /// lacks. One that is enabled again gains all it has.
    pub(super) fn check(
        &mut self,
        before: Option<&Principal>,
        after: &Principal,
    ) -> Result<(), Error> {
        let means = self.means(&after.scopes);
        if let Some((i, grant)) = means
            .undeclared
            .and_then(|i| Some((i, after.scopes.get(i)?)))
        {
            return Err(Error::invalid(
                format!("principal.scopes[{i}]"),
                format!(
                    "`{}` is not declared in the workspace's catalogue; declare it with `Directory.CreateScope` first",
                    grant.as_str()
                ),
            ));
        }
        let had = match before.filter(|before| before.enabled) {
            Some(before) => self.means(&before.scopes).rights,
            None => Vec::new(),
        };
        let has_had = |right: &Grant| had.iter().any(|had| had.covers(right.as_str()));
        let gained: Vec<_> = means.rights.into_iter().filter(|r| !has_had(r)).collect();
        self.caller.require_all(&gained, "the principal would have")
    }

    fn means(&mut self, scopes: &[Grant]) -> Means {
        if let Some(known) = self.known.get(scopes) {
            return known.clone();
        }
        let undeclared = |grant: &Grant| !grant.is_admin() && !is_declared(grant, self.catalogue);
        let means = Means {
            undeclared: scopes.iter().position(undeclared),
            rights: admin_rights(Granted::All(scopes), self.catalogue),
        };
        self.known.insert(scopes.to_vec(), means.clone());
        means
    }
}
