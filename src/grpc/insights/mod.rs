//! `claviger.v1.Insights`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::app::Core;
use crate::app::limit::Shares;
use crate::domain::network::IpNet;

use super::proto::v1;
use super::proto::v1::insights_server::Insights;
use super::status::{serve, to_status};

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

serve! {
    Insights for InsightsService {
        explain(ExplainRequest) -> ExplainResponse = explained;
        list_audit_events(ListAuditEventsRequest) -> ListAuditEventsResponse = page_of_audit;
        get_key_hygiene(GetKeyHygieneRequest) -> GetKeyHygieneResponse = hygiene;
        list_decisions(ListDecisionsRequest) -> ListDecisionsResponse = page_of_decisions;
        get_usage(GetUsageRequest) -> GetUsageResponse = page_of_usage;
        get_shadow_report(GetShadowReportRequest) -> GetShadowReportResponse = page_of_shadow;
        reset_shadow_report(ResetShadowReportRequest) -> ResetShadowReportResponse = reset_shadow;
    }
    watch_events(v1::WatchEventsRequest) -> WatchEventsStream: watch::Messages = watch;
}
