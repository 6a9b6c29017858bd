//! `Insights.ListDecisions`.

use tonic::Request;

use super::InsightsService;
use crate::app::error::Error;
use crate::app::page;
use crate::app::ports::{LogEntry, LogRow, LoggedDecision};
use crate::app::recorded::{DecisionFilter, DecisionPage};
use crate::domain::decision::Reason;
use crate::domain::network;
use crate::domain::scope::AdminScope;
use crate::domain::text;
use crate::domain::time::Time;
use crate::grpc::authorize::wire_reason;
use crate::grpc::convert;
use crate::grpc::key_admin::caller;
use crate::grpc::proto::v1;

impl InsightsService {
    pub(super) async fn page_of_decisions(
        &self,
        request: Request<v1::ListDecisionsRequest>,
    ) -> Result<v1::ListDecisionsResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let page = DecisionPage {
            workspace: caller.workspace(&message.workspace, &self.core.default_workspace)?,
            filter: filter(message.filter.unwrap_or_default())?,
            size: page::size(message.page_size)?,
            token: message.page_token,
        };
        let (rows, next_page_token) = self.core.list_decisions(&caller, page).await?;
        Ok(v1::ListDecisionsResponse {
            decisions: rows.into_iter().map(wire).collect(),
            next_page_token,
        })
    }
}

fn filter(wire: v1::DecisionFilter) -> Result<DecisionFilter, Error> {
    let moment = |field: &str, at: Option<prost_types::Timestamp>| {
        at.map(|at| convert::time(field, at)).transpose()
    };
    let source_ip = match &*wire.source_ip {
        "" => None,
        ip => {
            Some(network::parse_address(ip).map_err(|e| Error::invalid_at("filter.source_ip", e))?)
        }
    };
    Ok(DecisionFilter {
        key: convert::parse_optional("filter.key_id", &wire.key_id)?,
        subscription: convert::parse_optional("filter.subscription", &wire.subscription)?,
        allowed: decision("filter.decision", wire.decision)?,
        reason: reason("filter.reason", wire.reason)?,
        source_ip,
        route: route("filter.route", wire.route)?,
        start: moment("filter.start_time", wire.start_time)?,
        end: moment("filter.end_time", wire.end_time)?,
    })
}

/// Reads a decision; unspecified means either.
pub(super) fn decision(field: &str, number: i32) -> Result<Option<bool>, Error> {
    Ok(match convert::enumeration::<v1::Decision>(field, number)? {
        v1::Decision::Unspecified => None,
        v1::Decision::Allow => Some(true),
        v1::Decision::Deny => Some(false),
    })
}

/// Writes a decision.
pub(super) fn wire_decision(allowed: bool) -> i32 {
    if allowed {
        v1::Decision::Allow.into()
    } else {
        v1::Decision::Deny.into()
    }
}

fn reason(field: &str, number: i32) -> Result<Option<Reason>, Error> {
    let wire = convert::enumeration::<v1::Reason>(field, number)?;
    Ok(Reason::ALL
        .into_iter()
        .find(|reason| wire_reason(*reason) == wire))
}

/// Reads the id of a route; empty means any.
pub(super) fn route(field: &str, id: String) -> Result<Option<String>, Error> {
    convert::check(field, text::optional_display_name(&id))?;
    Ok((!id.is_empty()).then_some(id))
}

fn wire(row: LogRow) -> v1::LoggedDecision {
    let time = row.id.time();
    let mut wire = v1::LoggedDecision {
        id: format!("{:032x}", row.id.0),
        time: Some(convert::timestamp(time)),
        workspace: row.workspace.to_string(),
        replica: row.replica,
        ..Default::default()
    };
    match row.entry {
        LogEntry::Gap { missing, since } => wire.missing = Some(gap(missing, since, time)),
        LogEntry::Decision(said) => say(*said, &mut wire),
    }
    wire
}

fn gap(missing: u64, since: Time, until: Time) -> v1::MissingDecisions {
    v1::MissingDecisions {
        count: i64::try_from(missing).unwrap_or(i64::MAX),
        start_time: Some(convert::timestamp(since)),
        end_time: Some(convert::timestamp(until)),
    }
}

fn say(said: LoggedDecision, wire: &mut v1::LoggedDecision) {
    let words = |text: &str| -> Vec<String> {
        let words = text.split_ascii_whitespace();
        words.map(str::to_owned).collect()
    };
    let surface = match &*said.surface {
        "authorize" => v1::Surface::Authorize,
        "envoy" => v1::Surface::Envoy,
        _ => v1::Surface::Unspecified,
    };
    wire.decision = wire_decision(said.allowed);
    wire.reason = said.reason.map_or(0, |reason| wire_reason(reason).into());
    if let Some((key, secret)) = said.key {
        wire.key_id = key.to_string();
        wire.secret_id = secret.to_string();
    }
    wire.presentation = said.presentation.map_or(0, convert::presentation_number);
    wire.source_ip = said.source_ip.map(|ip| ip.to_string()).unwrap_or_default();
    wire.surface = surface.into();
    wire.required_scopes = words(&said.all_of);
    wire.any_of_scopes = words(&said.any_of);
    wire.shadowed = said
        .shadowed
        .iter()
        .map(|reason| wire_reason(*reason).into())
        .collect();
    wire.subscription = said.subscription;
    wire.route = said.route;
    wire.method = said.method;
    wire.path = said.path;
    wire.revision = said.revision;
}
