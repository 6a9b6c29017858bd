//! `claviger.v1.Insights`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::app::Core;

use super::proto::v1;
use super::proto::v1::insights_server::Insights;
use super::status::to_status;

mod decisions;
mod shadow;
mod usage;

/// The service.
#[derive(Debug, Clone)]
pub struct InsightsService {
    core: Arc<Core>,
}

impl InsightsService {
    /// The service over these use cases.
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

/// Generates the service's methods: each hands over to the method of its own, and maps its failure.
macro_rules! serve {
    ($($rpc:ident($request:ident) -> $response:ident = $own:ident;)*) => {
        #[tonic::async_trait]
        impl Insights for InsightsService {
            $(async fn $rpc(&self, request: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                self.$own(request).await.map(Response::new).map_err(|e| to_status(&e))
            })*
        }
    };
}

serve! {
    list_decisions(ListDecisionsRequest) -> ListDecisionsResponse = page_of_decisions;
    get_usage(GetUsageRequest) -> GetUsageResponse = page_of_usage;
    get_shadow_report(GetShadowReportRequest) -> GetShadowReportResponse = page_of_shadow;
    reset_shadow_report(ResetShadowReportRequest) -> ResetShadowReportResponse = reset_shadow;
}
