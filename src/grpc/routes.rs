//! `claviger.v1.Routes`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::app::Core;
use crate::app::error::Error;
use crate::app::mutate::Call;
use crate::app::page;
use crate::domain::scope::AdminScope;

use super::convert;
use super::key_admin::{caller, revision, waiting_call};
use super::proto::v1;
use super::proto::v1::routes_server::Routes;
use super::status::{serve, to_status};

/// Longest path that is matched on request.
const MAX_PATH: usize = 8_192;

/// The service.
#[derive(Debug, Clone)]
pub struct RoutesService {
    core: Arc<Core>,
}

impl RoutesService {
    /// The service over these use cases.
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn create(
        &self,
        request: Request<v1::CreateRouteRequest>,
    ) -> Result<v1::CreateRouteResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &[AdminScope::RoutesWrite])?;
        let mut call = waiting_call!(caller, right, "CreateRoute", message);
        call.dry_run = message.validate_only;
        let wire = message
            .route
            .ok_or_else(|| Error::invalid("route", "is required"))?;
        let workspace = call
            .caller
            .workspace(&wire.workspace, &self.core.default_workspace)?;
        let route = convert::new_route(wire, workspace, self.core.envelope.lookup())?;
        let answer = self.core.create_route(call, route).await?;
        Ok(v1::CreateRouteResponse {
            route: Some(convert::route(&answer.value.route, &[])),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
            warnings: warnings(answer.value.warnings),
        })
    }

    async fn get(
        &self,
        request: Request<v1::GetRouteRequest>,
    ) -> Result<v1::GetRouteResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = caller.workspace(&message.workspace, &self.core.default_workspace)?;
        let id = convert::parse("id", &message.id)?;
        let (route, uses) = self.core.get_route(&workspace, &id).await?;
        Ok(v1::GetRouteResponse {
            route: Some(convert::route(&route, &uses)),
        })
    }

    async fn list(
        &self,
        request: Request<v1::ListRoutesRequest>,
    ) -> Result<v1::ListRoutesResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = caller.workspace(&message.workspace, &self.core.default_workspace)?;
        let size = page::size(message.page_size)?;
        let (found, uses, next_page_token) = self
            .core
            .list_routes(&workspace, size, &message.page_token)
            .await?;
        Ok(v1::ListRoutesResponse {
            routes: found.iter().map(|r| convert::route(r, &uses)).collect(),
            next_page_token,
        })
    }

    async fn update(
        &self,
        request: Request<v1::UpdateRouteRequest>,
    ) -> Result<v1::UpdateRouteResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &[AdminScope::RoutesWrite])?;
        let mut call = waiting_call!(caller, right, "UpdateRoute", message);
        call.dry_run = message.validate_only;
        let wire = message
            .route
            .ok_or_else(|| Error::invalid("route", "is required"))?;
        let workspace = call
            .caller
            .workspace(&wire.workspace, &self.core.default_workspace)?;
        let id = convert::parse("route.id", &wire.id)?;
        let etag = wire.etag.clone();
        let key = self.core.envelope.lookup();
        let edits = convert::route_edits(wire, message.update_mask, &workspace, key)?;
        let answer = self
            .core
            .update_route(
                call,
                (workspace, id),
                etag,
                edits,
                message.acknowledge_warnings,
            )
            .await?;
        Ok(v1::UpdateRouteResponse {
            route: Some(convert::route(&answer.value.route, &[])),
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
            warnings: warnings(answer.value.warnings),
        })
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRouteRequest>,
    ) -> Result<v1::DeleteRouteResponse, Error> {
        let (caller, right, mut message) = caller(&self.core, request, &[AdminScope::RoutesWrite])?;
        let call = waiting_call!(caller, right, "DeleteRoute", message);
        let workspace = call
            .caller
            .workspace(&message.workspace, &self.core.default_workspace)?;
        let id = convert::parse("id", &message.id)?;
        let answer = self
            .core
            .delete_route(call, (workspace, id), message.etag)
            .await?;
        Ok(v1::DeleteRouteResponse {
            revision: revision(answer.revision),
            propagation: answer.propagation.as_ref().map(convert::propagation),
        })
    }

    async fn find(
        &self,
        request: Request<v1::MatchRouteRequest>,
    ) -> Result<v1::MatchRouteResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = caller.workspace(&message.workspace, &self.core.default_workspace)?;
        if !(1..=MAX_PATH).contains(&message.path.len()) {
            return Err(Error::invalid(
                "path",
                format!("must be 1 to {MAX_PATH} bytes, as a client sends it"),
            ));
        }
        let asked = (&*message.host, &*message.method, &*message.path);
        let found = self.core.match_route(&workspace, asked).await?;
        Ok(v1::MatchRouteResponse {
            route: found.route.map(|route| convert::route(&route, &[])),
            captures: found.captures,
            refusal: found.refusal.to_owned(),
        })
    }
}

fn warnings(warnings: Vec<crate::app::routes::RouteWarning>) -> Vec<v1::Warning> {
    warnings.into_iter().map(convert::route_warning).collect()
}

serve! {
    Routes for RoutesService {
        create_route(CreateRouteRequest) -> CreateRouteResponse = create;
        get_route(GetRouteRequest) -> GetRouteResponse = get;
        list_routes(ListRoutesRequest) -> ListRoutesResponse = list;
        update_route(UpdateRouteRequest) -> UpdateRouteResponse = update;
        delete_route(DeleteRouteRequest) -> DeleteRouteResponse = delete;
        match_route(MatchRouteRequest) -> MatchRouteResponse = find;
    }
}
