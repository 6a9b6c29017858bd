//! `Insights.Explain`: a request as `Authorize` takes it, and what is supposed of it.

use tonic::Request;

use crate::app::error::Error;
use crate::app::insights::explain::Explained;
use crate::decide::{Check, Outcome, Presented, Question, Step};
use crate::domain::scope::AdminScope;
use crate::domain::workspace::Presentation;
use crate::grpc::authorize::{demand, question, respond, wait, wire_reason};
use crate::grpc::convert;
use crate::grpc::ext_authz::client_behind;
use crate::grpc::key_admin::caller;
use crate::grpc::proto::v1;

use super::InsightsService;
use v1::explain_request::Surface;

impl InsightsService {
    pub(super) async fn explained(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<v1::ExplainResponse, Error> {
        let (caller, _right, mut message) =
            caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let mut check = message.check.take().unwrap_or_default();
        let workspace = caller
            .workspace(&check.workspace, &self.core.default_workspace)
            .map_err(within_check)?;
        check.workspace = workspace.as_str().to_owned();
        if !check.at_least_revision.is_empty() {
            wait(&self.core, std::slice::from_ref(&check)).await;
            demand(&self.core, &check.at_least_revision).map_err(within_check)?;
        }
        let mut question = question(&self.core.default_workspace, &check).map_err(within_check)?;
        if let Some(supposed) = supposed(&message, &check)? {
            question.presented = supposed;
        }
        if is_envoys(&message)? {
            question.must_demand = true;
            question.source_ip = question.source_ip.and_then(|peer| match &check.http {
                Some(http) => client_behind(peer, http, &self.trusted_proxies),
                None => Some(peer),
            });
        }
        let at = message
            .at_time
            .map(|at| convert::time("at_time", at))
            .transpose()?;
        self.core.explain(&caller, &question, at, |explained| {
            answer(explained, &question)
        })
    }
}

/// Whether the request is one that Envoy asks about.
fn is_envoys(message: &v1::ExplainRequest) -> Result<bool, Error> {
    let surface = convert::enumeration::<Surface>("surface", message.surface)?;
    Ok(surface == Surface::Envoy)
}

/// What is supposed to be presented.
fn supposed<'q>(
    message: &v1::ExplainRequest,
    check: &v1::CheckRequest,
) -> Result<Option<Presented<'q>>, Error> {
    let presentation = convert::presentation("presentation", message.presentation)?;
    if message.key_id.is_empty() {
        let lonely =
            |field: &str| Error::invalid(field, "is of a supposed key: give `key_id`, too");
        return match (message.secret_id.is_empty(), presentation) {
            (true, None) => Ok(None),
            (false, _) => Err(lonely("secret_id")),
            (true, Some(_)) => Err(lonely("presentation")),
        };
    }
    if check.credential.is_some() {
        return Err(Error::invalid(
            "key_id",
            "and `check.credential` are both set; give one of them",
        ));
    }
    Ok(Some(Presented::Supposed {
        key: convert::parse("key_id", &message.key_id)?,
        secret: convert::parse_optional("secret_id", &message.secret_id)?,
        presentation: presentation.unwrap_or(Presentation::Header),
    }))
}

/// The same fault where it stands in this request.
fn within_check(mut error: Error) -> Error {
    match error.fields.pop() {
        Some((field, message)) => Error::invalid(format!("check.{field}"), message),
        None => error,
    }
}

fn answer(explained: &Explained<'_>, question: &Question<'_>) -> v1::ExplainResponse {
    let mut decision = respond(&explained.verdict, explained.revision, question);
    // Who may ask why need not be one who may read keys.
    decision.labels.clear();
    decision.postback_url.clear();
    v1::ExplainResponse {
        decision: Some(decision),
        steps: explained.steps.iter().map(step).collect(),
        time: Some(convert::timestamp(explained.time)),
    }
}

fn step(step: &Step) -> v1::ExplainStep {
    use v1::explain_step::{Check as WireCheck, Outcome as WireOutcome};
    let check = match step.check {
        Check::Demand => WireCheck::Demand,
        Check::Credential => WireCheck::Credential,
        Check::Identity => WireCheck::Identity,
        Check::Life => WireCheck::Life,
        Check::Network => WireCheck::Network,
        Check::Presentation => WireCheck::Presentation,
        Check::Subscription => WireCheck::Subscription,
        Check::Scopes => WireCheck::Scopes,
        Check::Factors => WireCheck::Factors,
    };
    let (outcome, reason) = match step.outcome {
        Outcome::Passed => (WireOutcome::Passed, None),
        Outcome::Failed(reason) => (WireOutcome::Failed, Some(reason)),
        Outcome::Shadowed(reason) => (WireOutcome::Shadowed, Some(reason)),
        Outcome::Skipped => (WireOutcome::Skipped, None),
        Outcome::NotReached => (WireOutcome::NotReached, None),
    };
    v1::ExplainStep {
        check: check.into(),
        outcome: outcome.into(),
        reason: reason.map_or(v1::Reason::Unspecified, wire_reason).into(),
        detail: step.detail.clone(),
    }
}
