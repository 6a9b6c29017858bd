//! `claviger.v1.Postbacks`: requests in, use cases, answers out. The caller was recognised by a layer before.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::app::Core;
use crate::app::error::Error;
use crate::app::mutate::Call;
use crate::app::page;
use crate::app::postbacks::signing::{DEFAULT_OVERLAP, MAX_OVERLAP};
use crate::app::postbacks::{DeliveryPage, Publication};
use crate::domain::postback::{check_event_id, check_published_type, check_type};
use crate::domain::scope::AdminScope;

use super::convert;
use super::key_admin::{call, caller, revision};
use super::proto::v1;
use super::proto::v1::postbacks_server::Postbacks;
use super::status::{serve, to_status};

/// The service.
#[derive(Debug, Clone)]
pub struct PostbacksService {
    core: Arc<Core>,
}

impl PostbacksService {
    /// The service over these use cases.
    pub fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    async fn publish(
        &self,
        request: Request<v1::PublishEventRequest>,
    ) -> Result<v1::PublishEventResponse, Error> {
        let (caller, _right, message) =
            caller(&self.core, request, &[AdminScope::PostbacksPublish])?;
        convert::check("event_id", check_event_id(&message.event_id))?;
        convert::check("type", check_published_type(&message.r#type))?;
        let what = Publication {
            key: convert::parse("key_id", &message.key_id)?,
            event_id: message.event_id,
            kind: message.r#type,
            data: convert::event_data("data_json", message.data_json)?,
        };
        let (delivery, duplicate) = self.core.publish_event(&caller, what).await?;
        Ok(v1::PublishEventResponse {
            delivery: Some(convert::delivery(&delivery)),
            duplicate,
        })
    }

    async fn list(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<v1::ListDeliveriesResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let kind = Some(message.r#type).filter(|kind| !kind.is_empty());
        if let Some(kind) = &kind {
            convert::check("type", check_type(kind))?;
        }
        let page = DeliveryPage {
            workspace: caller.workspace(&message.workspace, &self.core.default_workspace)?,
            key: convert::parse_optional("key_id", &message.key_id)?,
            state: convert::delivery_state("state", message.state)?,
            kind,
            size: page::size(message.page_size)?,
            token: message.page_token,
        };
        let (found, next_page_token) = self.core.list_deliveries(&caller, page).await?;
        Ok(v1::ListDeliveriesResponse {
            deliveries: found.iter().map(convert::delivery).collect(),
            next_page_token,
        })
    }

    async fn redeliver(
        &self,
        request: Request<v1::RedeliverEventRequest>,
    ) -> Result<v1::RedeliverEventResponse, Error> {
        let (caller, right, message) =
            caller(&self.core, request, &[AdminScope::PostbacksPublish])?;
        let call = Call::once(caller, right, "RedeliverEvent");
        let id = convert::parse("id", &message.id)?;
        let answer = self.core.redeliver_event(call, id).await?;
        Ok(v1::RedeliverEventResponse {
            delivery: answer.value.delivery.as_ref().map(convert::delivery),
            revision: revision(answer.revision),
        })
    }

    async fn test(
        &self,
        request: Request<v1::TestPostbackRequest>,
    ) -> Result<v1::TestPostbackResponse, Error> {
        let (caller, _right, message) =
            caller(&self.core, request, &[AdminScope::PostbacksPublish])?;
        let key = convert::parse("key_id", &message.key_id)?;
        let tested = self.core.test_postback(&caller, key).await?;
        Ok(v1::TestPostbackResponse {
            delivered: tested.sent.failure.is_none(),
            failure: convert::failure(tested.sent.failure),
            http_status: tested.sent.status.map_or(0, u32::from),
            id: tested.id.to_string(),
            elapsed: prost_types::Duration::try_from(tested.elapsed).ok(),
        })
    }

    async fn create(
        &self,
        request: Request<v1::CreateSigningSecretRequest>,
    ) -> Result<v1::CreateSigningSecretResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::SettingsWrite])?;
        let call = call!(caller, right, "CreateSigningSecret", message);
        let workspace = call
            .caller
            .workspace(&message.workspace, &self.core.default_workspace)?;
        let answer = self.core.create_signing_secret(call, workspace).await?;
        let text = answer.value.text.as_deref();
        Ok(v1::CreateSigningSecretResponse {
            signing_secret: Some(convert::new_signing_secret(&answer.value)),
            text: text.cloned().unwrap_or_default(),
            text_withheld: text.is_none(),
            revision: revision(answer.revision),
        })
    }

    async fn rotate(
        &self,
        request: Request<v1::RotateSigningSecretRequest>,
    ) -> Result<v1::RotateSigningSecretResponse, Error> {
        let (caller, right, mut message) =
            caller(&self.core, request, &[AdminScope::SettingsWrite])?;
        let call = call!(caller, right, "RotateSigningSecret", message);
        let workspace = call
            .caller
            .workspace(&message.workspace, &self.core.default_workspace)?;
        let overlap = message
            .overlap
            .map(|span| convert::duration("overlap", span, MAX_OVERLAP))
            .transpose()?;
        let answer = self
            .core
            .rotate_signing_secret(call, workspace, overlap.unwrap_or(DEFAULT_OVERLAP))
            .await?;
        let text = answer.value.text.as_deref();
        Ok(v1::RotateSigningSecretResponse {
            signing_secret: Some(convert::new_signing_secret(&answer.value)),
            text: text.cloned().unwrap_or_default(),
            text_withheld: text.is_none(),
            revision: revision(answer.revision),
        })
    }

    async fn list_secrets(
        &self,
        request: Request<v1::ListSigningSecretsRequest>,
    ) -> Result<v1::ListSigningSecretsResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::KeysRead])?;
        let workspace = caller.workspace(&message.workspace, &self.core.default_workspace)?;
        let found = self.core.list_signing_secrets(&caller, &workspace).await?;
        Ok(v1::ListSigningSecretsResponse {
            signing_secrets: found.iter().map(convert::signing_secret).collect(),
        })
    }
}

serve! {
    Postbacks for PostbacksService {
        publish_event(PublishEventRequest) -> PublishEventResponse = publish;
        list_deliveries(ListDeliveriesRequest) -> ListDeliveriesResponse = list;
        redeliver_event(RedeliverEventRequest) -> RedeliverEventResponse = redeliver;
        test_postback(TestPostbackRequest) -> TestPostbackResponse = test;
        create_signing_secret(CreateSigningSecretRequest) -> CreateSigningSecretResponse = create;
        rotate_signing_secret(RotateSigningSecretRequest) -> RotateSigningSecretResponse = rotate;
        list_signing_secrets(ListSigningSecretsRequest) -> ListSigningSecretsResponse = list_secrets;
    }
}
