//! `claviger.v1.Insights`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::app::Core;
use crate::app::error::Error;
use crate::app::hygiene::HygienePage;
use crate::app::page;
use crate::domain::scope::AdminScope;

use super::convert;
use super::key_admin::caller;
use super::proto::v1;
use super::proto::v1::insights_server::Insights;
use super::status::to_status;

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

    async fn hygiene(
        &self,
        request: Request<v1::GetKeyHygieneRequest>,
    ) -> Result<v1::GetKeyHygieneResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let (limits, kinds) = convert::hygiene(&message)?;
        let page = HygienePage {
            workspace: caller.workspace(&message.workspace, &self.core.default_workspace)?,
            limits,
            kinds,
            size: page::size(message.page_size)?,
            token: message.page_token,
        };
        let (examined, next) = self.core.key_hygiene(&caller, page).await?;
        let now = self.core.clock.now();
        Ok(convert::examined(&examined, next, now))
    }
}

/// Generates the service's methods: each hands over to the method of its own above, and maps its failure.
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
    get_key_hygiene(GetKeyHygieneRequest) -> GetKeyHygieneResponse = hygiene;
}
