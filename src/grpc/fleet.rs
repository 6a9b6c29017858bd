//! `claviger.v1.Fleet`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::app::Core;
use crate::app::error::Error;
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;

use super::convert;
use super::key_admin::caller;
use super::proto::v1;
use super::proto::v1::fleet_server::Fleet;
use super::status::{serve, to_status};

/// The service.
#[derive(Debug, Clone)]
pub struct FleetService {
    core: Arc<Core>,
}

impl FleetService {
    /// The service over these use cases.
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn list(
        &self,
        request: Request<v1::ListReplicasRequest>,
    ) -> Result<v1::ListReplicasResponse, Error> {
        let (caller, _right, _) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let (found, applied) = self.core.list_replicas(&caller).await?;
        let replica = |listed| convert::replica(listed, applied);
        Ok(v1::ListReplicasResponse {
            replicas: found.iter().map(replica).collect(),
            revision: applied.to_string(),
        })
    }

    async fn wait(
        &self,
        request: Request<v1::WaitForRevisionRequest>,
    ) -> Result<v1::WaitForRevisionResponse, Error> {
        let (_caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let most = convert::wait_deadline(message.wait_deadline)?;
        let revision: Revision = match &*message.revision {
            "" => self.core.index.applied(),
            text => convert::parse("revision", text)?,
        };
        let found = self.core.wait_for_revision(revision, most).await?;
        Ok(v1::WaitForRevisionResponse {
            propagation: Some(convert::propagation(&found)),
            revision: revision.to_string(),
        })
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyIndexRequest>,
    ) -> Result<v1::VerifyIndexResponse, Error> {
        let (caller, _right, _) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let verified = self.core.verify_index(&caller).await?;
        Ok(convert::verified(&verified, &self.core.fleet.me()))
    }

    async fn forget(
        &self,
        request: Request<v1::ForgetReplicaRequest>,
    ) -> Result<v1::ForgetReplicaResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::SettingsWrite])?;
        let id = convert::parse("id", &message.id)?;
        self.core.forget_replica(&caller, id).await?;
        Ok(v1::ForgetReplicaResponse {})
    }
}

serve! {
    Fleet for FleetService {
        list_replicas(ListReplicasRequest) -> ListReplicasResponse = list;
        wait_for_revision(WaitForRevisionRequest) -> WaitForRevisionResponse = wait;
        verify_index(VerifyIndexRequest) -> VerifyIndexResponse = verify;
        forget_replica(ForgetReplicaRequest) -> ForgetReplicaResponse = forget;
    }
}
