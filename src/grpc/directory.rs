//! `claviger.v1.Directory`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::app::Core;
use crate::app::auth::Caller;
use crate::app::error::Error;
use crate::app::limit::Shares;
use crate::app::mutate::Call;
use crate::app::page;
use crate::domain::id::WorkspaceId;
use crate::domain::scope::{self, AdminScope};

use super::convert;
use super::guard::busy;
use super::inbox::{Inbox, Terms};
use super::key_admin::{call, caller, revision, waiting_call};
use super::proto::v1;
use super::proto::v1::directory_server::Directory;
use super::status::{serve, to_status};
use super::sync::{Answers, Session};

mod principals;

/// The service.
#[derive(Debug, Clone)]
pub struct DirectoryService {
    core: Arc<Core>,
    /// Says that streams are to end.
    stopping: CancellationToken,
    /// How many synchronisations may be open.
    syncs: Arc<Shares>,
}

/// Most synchronisations that are open at once, half of them of one workspace; each holds what was sent in memory.
const OPEN_SYNCS: usize = 4;

impl DirectoryService {
    /// The service over these use cases; `stopping` ends its streams.
    pub fn new(core: Arc<Core>, stopping: CancellationToken) -> Self {
        Self {
            core,
            stopping,
            syncs: Shares::new(OPEN_SYNCS),
        }
    }

    fn workspace(&self, caller: &Caller, requested: &str) -> Result<WorkspaceId, Error> {
        caller.workspace(requested, &self.core.default_workspace)
    }

    async fn new_workspace(
        &self,
        request: Request<v1::CreateWorkspaceRequest>,
    ) -> Result<v1::CreateWorkspaceResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = call!(caller, right, "CreateWorkspace", message);
        let wire = message
            .workspace
            .ok_or_else(|| Error::invalid("workspace", "is required"))?;
        let answer = self
            .core
            .create_workspace(call, convert::new_workspace(wire)?)
            .await?;
        Ok(v1::CreateWorkspaceResponse {
            workspace: Some(convert::workspace(&answer.value)),
            revision: revision(answer.revision),
        })
    }

    async fn read_workspace(
        &self,
        request: Request<v1::GetWorkspaceRequest>,
    ) -> Result<v1::GetWorkspaceResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = self
            .core
            .get_workspace(&caller, &convert::parse("id", &message.id)?)
            .await?;
        Ok(v1::GetWorkspaceResponse {
            workspace: Some(convert::workspace(&workspace)),
        })
    }

    async fn page_workspaces(
        &self,
        request: Request<v1::ListWorkspacesRequest>,
    ) -> Result<v1::ListWorkspacesResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let size = page::size(message.page_size)?;
        let (found, next_page_token) = self
            .core
            .list_workspaces(&caller, size, &message.page_token)
            .await?;
        Ok(v1::ListWorkspacesResponse {
            workspaces: found.iter().map(convert::workspace).collect(),
            next_page_token,
        })
    }

    async fn change_workspace(
        &self,
        request: Request<v1::UpdateWorkspaceRequest>,
    ) -> Result<v1::UpdateWorkspaceResponse, Error> {
        // Which right it takes depends on what changes: the use case demands it.
        let rights = [AdminScope::DirectoryWrite, AdminScope::SettingsWrite];
        let (caller, right, mut message) = caller(&self.core, request, &rights)?;
        let call = waiting_call!(caller, right, "UpdateWorkspace", message);
        let wire = message
            .workspace
            .ok_or_else(|| Error::invalid("workspace", "is required"))?;
        let id: WorkspaceId = convert::parse("workspace.id", &wire.id)?;
        let id = self.workspace(&call.caller, id.as_str())?;
        let etag = wire.etag.clone();
        let edits = convert::workspace_edits(wire, message.update_mask)?;
        let answer = self
            .core
            .update_workspace(call, id, etag, edits, message.acknowledge_warnings)
            .await?;
        Ok(v1::UpdateWorkspaceResponse {
            workspace: Some(convert::workspace(&answer.value)),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn remove_workspace(
        &self,
        request: Request<v1::DeleteWorkspaceRequest>,
    ) -> Result<v1::DeleteWorkspaceResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = waiting_call!(caller, right, "DeleteWorkspace", message);
        let id: WorkspaceId = convert::parse("id", &message.id)?;
        let id = self.workspace(&call.caller, id.as_str())?;
        let answer = self.core.delete_workspace(call, id, message.etag).await?;
        Ok(v1::DeleteWorkspaceResponse {
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn new_subscription(
        &self,
        request: Request<v1::CreateSubscriptionRequest>,
    ) -> Result<v1::CreateSubscriptionResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = call!(caller, right, "CreateSubscription", message);
        let wire = message
            .subscription
            .ok_or_else(|| Error::invalid("subscription", "is required"))?;
        let workspace = self.workspace(&call.caller, &wire.workspace)?;
        let new = convert::provisioned(wire, message.provision_key, workspace)?;
        let answer = self.core.create_subscription(call, new).await?;
        let (made, now) = (&answer.value, self.core.clock.now());
        Ok(v1::CreateSubscriptionResponse {
            subscription: Some(convert::subscription(&made.subscription)),
            revision: revision(answer.revision),
            key: made.key.as_ref().map(|key| convert::key(key, now)),
            tokens: convert::issued(&answer.tokens),
            token_withheld: answer.token_withheld,
        })
    }

    async fn read_subscription(
        &self,
        request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<v1::GetSubscriptionResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = self.workspace(&caller, &message.workspace)?;
        let found = self
            .core
            .get_subscription(&caller, &workspace, &convert::parse("id", &message.id)?)
            .await?;
        Ok(v1::GetSubscriptionResponse {
            subscription: Some(convert::subscription(&found)),
        })
    }

    async fn page_subscriptions(
        &self,
        request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<v1::ListSubscriptionsResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = self.workspace(&caller, &message.workspace)?;
        let size = page::size(message.page_size)?;
        let (found, next_page_token) = self
            .core
            .list_subscriptions(&caller, &workspace, size, &message.page_token)
            .await?;
        Ok(v1::ListSubscriptionsResponse {
            subscriptions: found.iter().map(convert::subscription).collect(),
            next_page_token,
        })
    }

    async fn change_subscription(
        &self,
        request: Request<v1::UpdateSubscriptionRequest>,
    ) -> Result<v1::UpdateSubscriptionResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = waiting_call!(caller, right, "UpdateSubscription", message);
        let wire = message
            .subscription
            .ok_or_else(|| Error::invalid("subscription", "is required"))?;
        let workspace = self.workspace(&call.caller, &wire.workspace)?;
        let id = convert::parse("subscription.id", &wire.id)?;
        let etag = wire.etag.clone();
        let edits = convert::subscription_edits(wire, message.update_mask)?;
        let answer = self
            .core
            .update_subscription(call, (workspace, id), etag, edits)
            .await?;
        Ok(v1::UpdateSubscriptionResponse {
            subscription: Some(convert::subscription(&answer.value)),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn remove_subscription(
        &self,
        request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<v1::DeleteSubscriptionResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = waiting_call!(caller, right, "DeleteSubscription", message);
        let workspace = self.workspace(&call.caller, &message.workspace)?;
        let id = convert::parse("id", &message.id)?;
        let answer = self
            .core
            .delete_subscription(call, (workspace, id), message.etag)
            .await?;
        Ok(v1::DeleteSubscriptionResponse {
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn new_scope(
        &self,
        request: Request<v1::CreateScopeRequest>,
    ) -> Result<v1::CreateScopeResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = call!(caller, right, "CreateScope", message);
        let wire = message
            .scope
            .ok_or_else(|| Error::invalid("scope", "is required"))?;
        let workspace = self.workspace(&call.caller, &wire.workspace)?;
        let answer = self
            .core
            .create_scope(call, convert::new_scope(wire, workspace)?)
            .await?;
        Ok(v1::CreateScopeResponse {
            scope: Some(convert::scope(&answer.value)),
            revision: revision(answer.revision),
        })
    }

    async fn read_scope(
        &self,
        request: Request<v1::GetScopeRequest>,
    ) -> Result<v1::GetScopeResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = self.workspace(&caller, &message.workspace)?;
        convert::check("name", scope::check_name(&message.name))?;
        let found = self.core.get_scope(&workspace, &message.name).await?;
        Ok(v1::GetScopeResponse {
            scope: Some(convert::scope(&found)),
        })
    }

    async fn page_scopes(
        &self,
        request: Request<v1::ListScopesRequest>,
    ) -> Result<v1::ListScopesResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = self.workspace(&caller, &message.workspace)?;
        let size = page::size(message.page_size)?;
        let (found, next_page_token) = self
            .core
            .list_scopes(&workspace, size, &message.page_token)
            .await?;
        Ok(v1::ListScopesResponse {
            scopes: found.iter().map(convert::scope).collect(),
            next_page_token,
        })
    }

    async fn change_scope(
        &self,
        request: Request<v1::UpdateScopeRequest>,
    ) -> Result<v1::UpdateScopeResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = waiting_call!(caller, right, "UpdateScope", message);
        let wire = message
            .scope
            .ok_or_else(|| Error::invalid("scope", "is required"))?;
        let workspace = self.workspace(&call.caller, &wire.workspace)?;
        convert::check("scope.name", scope::check_name(&wire.name))?;
        let (name, etag) = (wire.name.clone(), wire.etag.clone());
        let edits = convert::scope_edits(wire, message.update_mask)?;
        let answer = self
            .core
            .update_scope(call, (workspace, name), etag, edits)
            .await?;
        Ok(v1::UpdateScopeResponse {
            scope: Some(convert::scope(&answer.value)),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn remove_scope(
        &self,
        request: Request<v1::DeleteScopeRequest>,
    ) -> Result<v1::DeleteScopeResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = waiting_call!(caller, right, "DeleteScope", message);
        let workspace = self.workspace(&call.caller, &message.workspace)?;
        convert::check("name", scope::check_name(&message.name))?;
        let answer = self
            .core
            .delete_scope(call, (workspace, message.name), message.etag)
            .await?;
        Ok(v1::DeleteScopeResponse {
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    /// Refused here, before a message is read, is who may not synchronise at all.
    fn sync(
        &self,
        mut request: Request<Streaming<v1::SyncPrincipalsRequest>>,
    ) -> Result<Answers, Error> {
        let terms: Terms = request
            .extensions_mut()
            .remove()
            .ok_or_else(|| Error::internal("a stream without terms"))?;
        let (caller, _right, messages) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let open = self.syncs.acquire(&caller.workspace).ok_or_else(busy)?;
        let inbox = Inbox::new(terms, self.stopping.clone(), messages);
        Ok(Session::new(self.core.clone(), caller, inbox, open).answers())
    }
}

serve! {
    Directory for DirectoryService {
        create_workspace(CreateWorkspaceRequest) -> CreateWorkspaceResponse = new_workspace;
        get_workspace(GetWorkspaceRequest) -> GetWorkspaceResponse = read_workspace;
        list_workspaces(ListWorkspacesRequest) -> ListWorkspacesResponse = page_workspaces;
        update_workspace(UpdateWorkspaceRequest) -> UpdateWorkspaceResponse = change_workspace;
        delete_workspace(DeleteWorkspaceRequest) -> DeleteWorkspaceResponse = remove_workspace;
        create_subscription(CreateSubscriptionRequest) -> CreateSubscriptionResponse = new_subscription;
        get_subscription(GetSubscriptionRequest) -> GetSubscriptionResponse = read_subscription;
        list_subscriptions(ListSubscriptionsRequest) -> ListSubscriptionsResponse = page_subscriptions;
        update_subscription(UpdateSubscriptionRequest) -> UpdateSubscriptionResponse = change_subscription;
        delete_subscription(DeleteSubscriptionRequest) -> DeleteSubscriptionResponse = remove_subscription;
        create_scope(CreateScopeRequest) -> CreateScopeResponse = new_scope;
        get_scope(GetScopeRequest) -> GetScopeResponse = read_scope;
        list_scopes(ListScopesRequest) -> ListScopesResponse = page_scopes;
        update_scope(UpdateScopeRequest) -> UpdateScopeResponse = change_scope;
        delete_scope(DeleteScopeRequest) -> DeleteScopeResponse = remove_scope;
        get_principal(GetPrincipalRequest) -> GetPrincipalResponse = read_principal;
        list_principals(ListPrincipalsRequest) -> ListPrincipalsResponse = page_principals;
        upsert_principal(UpsertPrincipalRequest) -> UpsertPrincipalResponse = upsert;
        delete_principal(DeletePrincipalRequest) -> DeletePrincipalResponse = remove_principal;
    }
    sync_principals(Streaming<v1::SyncPrincipalsRequest>) -> SyncPrincipalsStream: Answers = sync;
}
