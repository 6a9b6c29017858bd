//! `GetKeyHygiene`: keys that need attention.

use tonic::Request;

use crate::app::error::Error;
use crate::app::hygiene::HygienePage;
use crate::app::page;
use crate::domain::scope::AdminScope;
use crate::grpc::convert;
use crate::grpc::key_admin::caller;
use crate::grpc::proto::v1;

use super::InsightsService;

impl InsightsService {
    pub(super) async fn hygiene(
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
