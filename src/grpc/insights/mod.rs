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
mod explain;
mod hygiene;
mod watch;

/// Most watches that are open at once, half of them of one workspace: each reads every change.
const OPEN_WATCHES: usize = 64;

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
    /// The service over these use cases; `stopping` ends its streams.
    pub fn new(core: Arc<Core>, stopping: CancellationToken, trusted_proxies: Vec<IpNet>) -> Self {
        Self {
            core,
            stopping,
            watches: Shares::new(OPEN_WATCHES),
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
}
