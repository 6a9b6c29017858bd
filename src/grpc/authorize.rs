//! `claviger.v1.Authorize`: decisions for internal services.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use crate::app::Core;
use crate::app::authorize::{DecisionCounts, Surface};
use crate::app::error::{Code, Error};
use crate::decide::{Attributes, Claims, Demand, Headers, Presented, Question, Verdict};
use crate::domain::decision::Reason;
use crate::domain::id::{RouteId, SubscriptionId, WorkspaceId};
use crate::domain::network;
use crate::domain::revision::Revision;
use crate::domain::scope;
use crate::domain::workspace::Presentation;

use super::challenge;
use super::convert;
use super::proto::v1;
use super::proto::v1::authorize_server::Authorize;
use super::status::{grpc_code, to_status};

/// Most checks of one batch.
const MAX_BATCH: usize = 1_000;
const MAX_SCOPES: usize = 64;
const MAX_HEADERS: usize = 256;
const MAX_CLAIMS: usize = 64;
/// How long a check waits for a revision at most.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// The service.
#[derive(Debug, Clone)]
pub struct AuthorizeService {
    core: Arc<Core>,
    counts: Arc<DecisionCounts>,
}

impl AuthorizeService {
    /// The service over these use cases.
    pub fn new(core: Arc<Core>, counts: Arc<DecisionCounts>) -> Self {
        Self { core, counts }
    }

    fn decide(&self, request: &v1::CheckRequest) -> Result<v1::CheckResponse, Error> {
        self.core.may_decide()?;
        demand(&self.core, &request.at_least_revision)?;
        let of_host;
        let unnamed = match &request.http {
            Some(http) if request.workspace.is_empty() => {
                of_host = self.core.workspace_of_host(http.host.as_bytes());
                &of_host
            }
            _ => &self.core.default_workspace,
        };
        let question = question(unnamed, request)?;
        self.core.decide(
            Surface::Authorize,
            &question,
            &self.counts,
            |verdict, revision| respond(verdict, revision, &question),
        )
    }
}

/// Reads a request; where it names no workspace, it is `unnamed`'s.
pub(super) fn question<'q>(
    unnamed: &'q WorkspaceId,
    request: &'q v1::CheckRequest,
) -> Result<Question<'q>, Error> {
    let subscription = request.subscription.as_str();
    convert::parse_optional::<SubscriptionId>("subscription", subscription)?;
    check_demand("required_scopes", &request.required_scopes)?;
    check_demand("any_of_scopes", &request.any_of_scopes)?;
    convert::parse_optional::<RouteId>("route", &request.route)?;
    let workspace = match &*request.workspace {
        "" => unnamed.as_str(),
        named => {
            convert::parse::<WorkspaceId>("workspace", named)?;
            named
        }
    };
    let source_ip = match &*request.source_ip {
        "" => None,
        ip => Some(network::parse_address(ip).map_err(|e| Error::invalid_at("source_ip", e))?),
    };
    Ok(Question {
        workspace,
        presented: presented(request)?,
        source_ip,
        all_of: Demand::List(&request.required_scopes),
        any_of: Demand::List(&request.any_of_scopes),
        subscription,
        must_demand: false,
        attributes: attributes(request)?,
    })
}

/// Demands that a revision is applied. One of another history never comes.
pub(super) fn demand(core: &Core, at_least: &str) -> Result<(), Error> {
    if at_least.is_empty() {
        return Ok(());
    }
    let wanted: Revision = convert::parse("at_least_revision", at_least)?;
    let applied = core.index.applied();
    if wanted.epoch != applied.epoch {
        return Err(Error::precondition(
            "OTHER_EPOCH",
            "`at_least_revision` is of another database, or of another history of this one; read the revision anew",
        ));
    }
    if wanted.n > applied.n {
        return Err(Error::new(
            Code::DeadlineExceeded,
            "REVISION_NOT_REACHED",
            "`at_least_revision` was not reached in time; ask again, or without it",
        ));
    }
    Ok(())
}

/// Waits until the revisions that checks demand are applied: once for all of them, and no longer than is sensible. Which
/// check got what it demands is seen after.
pub(super) async fn wait(core: &Core, checks: &[v1::CheckRequest]) {
    let applied = core.index.applied();
    let wanted = checks
        .iter()
        .filter(|check| !check.at_least_revision.is_empty())
        .filter_map(|check| check.at_least_revision.parse::<Revision>().ok())
        .filter(|wanted| wanted.epoch == applied.epoch && wanted.n > applied.n);
    if let Some(wanted) = wanted.max_by_key(|r| r.n) {
        // Elapsed or not, each check is judged by itself.
        let _ = tokio::time::timeout(MAX_WAIT, core.feed.wait_for(wanted)).await;
    }
}

fn attributes(request: &v1::CheckRequest) -> Result<Attributes<'_>, Error> {
    if request.verified_claims.len() > MAX_CLAIMS {
        return Err(Error::invalid(
            "verified_claims",
            format!("has more than {MAX_CLAIMS} entries; pass on only those that routes demand"),
        ));
    }
    let http = request.http.as_ref();
    Ok(Attributes {
        route: &request.route,
        method: http.map(|http| http.method.as_bytes()).unwrap_or_default(),
        host: http.map(|http| http.host.as_bytes()).unwrap_or_default(),
        path: http.map(|http| http.path.as_bytes()).unwrap_or_default(),
        claims: Some(request),
    })
}

/// The claims that the caller has verified: one set, whatever it is called elsewhere.
impl Claims for v1::CheckRequest {
    fn for_each<'c>(&'c self, _payload: &str, claim: &str, each: &mut dyn FnMut(&'c [u8])) {
        if let Some(value) = self.verified_claims.get(claim) {
            each(value.as_bytes());
        }
    }
}

fn presented(request: &v1::CheckRequest) -> Result<Presented<'_>, Error> {
    match (&request.credential, &request.http) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "credential",
            "and `http` are both set; give one of them",
        )),
        (Some(credential), None) => {
            let presentation =
                convert::presentation("credential.presentation", credential.presentation)?;
            let presentation = presentation.unwrap_or(Presentation::Header);
            Ok(Presented::Token(credential.token.as_bytes(), presentation))
        }
        (None, Some(http)) if http.headers.len() > MAX_HEADERS => Err(Error::invalid(
            "http.headers",
            format!(
                "has more than {MAX_HEADERS} entries; pass on only those that may carry a credential"
            ),
        )),
        (None, Some(http)) => Ok(Presented::Http {
            headers: http,
            path: http.path.as_bytes(),
        }),
        (None, None) => Ok(Presented::Token(b"", Presentation::Header)),
    }
}

impl Headers for v1::HttpRequest {
    fn for_each<'h>(&'h self, each: &mut dyn FnMut(&'h [u8], &'h [u8])) {
        for header in &self.headers {
            each(header.name.as_bytes(), header.value.as_bytes());
        }
    }
}

fn check_demand(field: &str, scopes: &[String]) -> Result<(), Error> {
    if scopes.len() > MAX_SCOPES {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_SCOPES} entries; demand fewer"),
        ));
    }
    for (i, name) in scopes.iter().enumerate() {
        scope::check_demand(name).map_err(|e| Error::invalid_at(&format!("{field}[{i}]"), e))?;
    }
    Ok(())
}

/// Writes a decision.
pub(super) fn respond(
    verdict: &Verdict<'_>,
    revision: Revision,
    question: &Question<'_>,
) -> v1::CheckResponse {
    let allow = verdict.is_allow();
    // Who is let through without an identity is nobody.
    let known = verdict.key.filter(|_| verdict.grandfathered.is_none());
    let key = known.map(|(key, _)| key);
    let of_allowed = key.filter(|_| allow);
    v1::CheckResponse {
        decision: if allow {
            v1::Decision::Allow
        } else {
            v1::Decision::Deny
        }
        .into(),
        reason: wire_reason(verdict.reason).into(),
        http_status: verdict.reason.http_status().into(),
        challenge: challenge::challenge(verdict, question),
        workspace: question.workspace.to_owned(),
        key_id: key.map(|key| key.id().to_string()).unwrap_or_default(),
        secret_id: known
            .map(|(_, secret)| secret.id().to_string())
            .unwrap_or_default(),
        subscription: verdict.subscription.to_owned(),
        scopes: verdict
            .scopes()
            .filter(|_| allow)
            .map(|s| s.as_str().to_owned())
            .collect(),
        labels: of_allowed
            .and_then(|key| key.labels.as_deref())
            .map_or_else(BTreeMap::new, Clone::clone),
        postback_url: of_allowed
            .map(|key| key.postback_url.to_string())
            .unwrap_or_default(),
        off_the_record: key.is_some_and(|key| key.off_the_record),
        shadowed: verdict
            .shadowed
            .iter()
            .map(|reason| wire_reason(reason).into())
            .collect(),
        revision: revision.to_string(),
        principal: verdict.principal_id().to_owned(),
        route: verdict
            .route()
            .map(|route| route.id.to_string())
            .unwrap_or_default(),
        warnings: verdict
            .grandfathered
            .filter(|_| allow)
            .map(grandfathered)
            .into_iter()
            .collect(),
    }
}

fn grandfathered(reason: Reason) -> v1::Warning {
    v1::Warning {
        code: "GRANDFATHERED".to_owned(),
        message: format!(
            "let through without a key, because the route does not demand one yet; it would be refused: {}",
            reason.as_str()
        ),
    }
}

/// Writes a reason.
pub(super) fn wire_reason(reason: Reason) -> v1::Reason {
    match reason {
        Reason::Ok => v1::Reason::Ok,
        Reason::NothingDemanded => v1::Reason::NothingDemanded,
        Reason::NoCredential => v1::Reason::NoCredential,
        Reason::AmbiguousCredential => v1::Reason::AmbiguousCredential,
        Reason::MalformedCredential => v1::Reason::MalformedCredential,
        Reason::UnknownKey => v1::Reason::UnknownKey,
        Reason::SecretRevoked => v1::Reason::SecretRevoked,
        Reason::KeyDeleted => v1::Reason::KeyDeleted,
        Reason::KeyDisabled => v1::Reason::KeyDisabled,
        Reason::KeyExpired => v1::Reason::KeyExpired,
        Reason::WorkspaceDisabled => v1::Reason::WorkspaceDisabled,
        Reason::PrincipalDisabled => v1::Reason::PrincipalDisabled,
        Reason::IpNotAllowed => v1::Reason::IpNotAllowed,
        Reason::IpUnknown => v1::Reason::IpUnknown,
        Reason::PresentationNotAllowed => v1::Reason::PresentationNotAllowed,
        Reason::SubscriptionNotAllowed => v1::Reason::SubscriptionNotAllowed,
        Reason::InsufficientScope => v1::Reason::InsufficientScope,
        Reason::RouteUnknown => v1::Reason::RouteUnknown,
        Reason::FactorMissing => v1::Reason::FactorMissing,
    }
}

#[tonic::async_trait]
impl Authorize for AuthorizeService {
    async fn check(
        &self,
        request: Request<v1::CheckRequest>,
    ) -> Result<Response<v1::CheckResponse>, Status> {
        let request = request.into_inner();
        if !request.at_least_revision.is_empty() {
            wait(&self.core, std::slice::from_ref(&request)).await;
        }
        self.decide(&request)
            .map(Response::new)
            .map_err(|e| to_status(&e))
    }

    async fn batch_check(
        &self,
        request: Request<v1::BatchCheckRequest>,
    ) -> Result<Response<v1::BatchCheckResponse>, Status> {
        let checks = request.into_inner().checks;
        if !(1..=MAX_BATCH).contains(&checks.len()) {
            return Err(to_status(&Error::invalid(
                "checks",
                format!("must have 1 to {MAX_BATCH} entries"),
            )));
        }
        self.core.may_decide().map_err(|e| to_status(&e))?;
        wait(&self.core, &checks).await;
        let result = |check: &v1::CheckRequest| v1::BatchCheckResult {
            result: Some(match self.decide(check) {
                Ok(response) => v1::batch_check_result::Result::Response(response),
                Err(error) => v1::batch_check_result::Result::Error(check_error(&error)),
            }),
        };
        Ok(Response::new(v1::BatchCheckResponse {
            results: checks.iter().map(result).collect(),
        }))
    }
}

fn check_error(error: &Error) -> v1::CheckError {
    v1::CheckError {
        code: grpc_code(error.code) as i32,
        reason: error.reason.to_owned(),
        field: error
            .fields
            .first()
            .map(|(field, _)| field.clone())
            .unwrap_or_default(),
        message: error.message.clone(),
    }
}
