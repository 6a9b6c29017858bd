//! The methods about principals, but for their synchronisation.

use tonic::Request;

use super::super::convert;
use super::super::key_admin::{caller, revision, waiting_call};
use super::super::proto::v1;
use super::DirectoryService;
use crate::app::error::Error;
use crate::app::mutate::Call;
use crate::app::page;
use crate::domain::scope::AdminScope;

impl DirectoryService {
    pub(super) async fn read_principal(
        &self,
        request: Request<v1::GetPrincipalRequest>,
    ) -> Result<v1::GetPrincipalResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = self.workspace(&caller, &message.workspace)?;
        let id = convert::parse("id", &message.id)?;
        let found = self.core.get_principal(&workspace, &id).await?;
        Ok(v1::GetPrincipalResponse {
            principal: Some(convert::principal(&found)),
        })
    }

    pub(super) async fn page_principals(
        &self,
        request: Request<v1::ListPrincipalsRequest>,
    ) -> Result<v1::ListPrincipalsResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = self.workspace(&caller, &message.workspace)?;
        let size = page::size(message.page_size)?;
        let filter = convert::principal_filter(message.filter)?;
        let (found, next_page_token) = self
            .core
            .list_principals(&workspace, filter, size, &message.page_token)
            .await?;
        Ok(v1::ListPrincipalsResponse {
            principals: found.iter().map(convert::principal).collect(),
            next_page_token,
        })
    }

    pub(super) async fn upsert(
        &self,
        request: Request<v1::UpsertPrincipalRequest>,
    ) -> Result<v1::UpsertPrincipalResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = waiting_call!(caller, right, "UpsertPrincipal", message);
        let wire = message
            .principal
            .ok_or_else(|| Error::invalid("principal", "is required"))?;
        let workspace = self.workspace(&call.caller, &wire.workspace)?;
        let id = convert::parse("principal.id", &wire.id)?;
        let etag = wire.etag.clone();
        let edits = convert::principal_edits(wire, message.update_mask)?;
        let answer = self
            .core
            .upsert_principal(call, (workspace, id), etag, edits)
            .await?;
        Ok(v1::UpsertPrincipalResponse {
            principal: Some(convert::principal(&answer.value.principal)),
            created: answer.value.created,
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    pub(super) async fn remove_principal(
        &self,
        request: Request<v1::DeletePrincipalRequest>,
    ) -> Result<v1::DeletePrincipalResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::DirectoryWrite])?;
        let call = waiting_call!(caller, right, "DeletePrincipal", message);
        let workspace = self.workspace(&call.caller, &message.workspace)?;
        let id = convert::parse("id", &message.id)?;
        let answer = self
            .core
            .delete_principal(call, (workspace, id), message.etag)
            .await?;
        Ok(v1::DeletePrincipalResponse {
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }
}
