//! `claviger.v1.Insights`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::app::Core;
use crate::app::limit::Shares;
use crate::domain::network::IpNet;

use super::proto::v1;
use super::proto::v1::insights_server::Insights;
use super::status::to_status;

mod audit;
mod decisions;
mod explain;
mod hygiene;
mod shadow;
mod usage;
mod watch;

/// Most watches that are open at once, half of them of one workspace: each reads every change.
pub const OPEN_WATCHES: usize = 64;

/// The service.
#[derive(Debug, Clone)]
pub struct InsightsService {
    core: Arc<Core>,
    /// Says that streams are to end.
    stopping: CancellationToken,
    /// How many watches may be open.
    watches: Arc<Shares>,
    /// Whom Envoy's requests are believed for whom they are forwarded: what is explained as for Envoy is, too.
    trusted_proxies: Arc<[IpNet]>,
}

impl InsightsService {
    /// The service over these use cases; `stopping` ends its streams, of which so many may be open as `watches` has room for.
    pub fn new(
        core: Arc<Core>,
        stopping: CancellationToken,
        watches: Arc<Shares>,
        trusted_proxies: Vec<IpNet>,
    ) -> Self {
        Self {
            core,
            stopping,
            watches,
            trusted_proxies: trusted_proxies.into(),
        }
    }
}

#[tonic::async_trait]
impl Insights for InsightsService {
    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let explained = self.explained(request).await;
        explained.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        let page = self.page_of_audit(request).await;
        page.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn get_key_hygiene(
        &self,
        request: Request<v1::GetKeyHygieneRequest>,
    ) -> Result<Response<v1::GetKeyHygieneResponse>, Status> {
        let found = self.hygiene(request).await;
        found.map(Response::new).map_err(|e| to_status(&e))
    }

    type WatchEventsStream = watch::Messages;

    async fn watch_events(
        &self,
        request: Request<v1::WatchEventsRequest>,
    ) -> Result<Response<watch::Messages>, Status> {
        let messages = self.watch(request);
        messages.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn list_decisions(
        &self,
        request: Request<v1::ListDecisionsRequest>,
    ) -> Result<Response<v1::ListDecisionsResponse>, Status> {
        let page = self.page_of_decisions(request).await;
        page.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn get_usage(
        &self,
        request: Request<v1::GetUsageRequest>,
    ) -> Result<Response<v1::GetUsageResponse>, Status> {
        let page = self.page_of_usage(request).await;
        page.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn get_shadow_report(
        &self,
        request: Request<v1::GetShadowReportRequest>,
    ) -> Result<Response<v1::GetShadowReportResponse>, Status> {
        let page = self.page_of_shadow(request).await;
        page.map(Response::new).map_err(|e| to_status(&e))
    }

    async fn reset_shadow_report(
        &self,
        request: Request<v1::ResetShadowReportRequest>,
    ) -> Result<Response<v1::ResetShadowReportResponse>, Status> {
        let done = self.reset_shadow(request).await;
        done.map(Response::new).map_err(|e| to_status(&e))
    }
}
