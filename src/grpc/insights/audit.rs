//! `Insights.ListAuditEvents`, and how an event is written.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value as WireValue};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tonic::Request;

use crate::app::error::Error;
use crate::app::insights::audit::AuditPage;
use crate::app::insights::changed;
use crate::app::page;
use crate::app::ports::audit::{AuditEvent, AuditFilter, AuditQuery};
use crate::domain::revision::Revision;
use crate::domain::scope::AdminScope;
use crate::grpc::convert;
use crate::grpc::key_admin::caller;
use crate::grpc::proto::v1;

use super::InsightsService;

/// Most actions and kinds that one call asks for.
const MAX_NAMES: usize = 16;
/// The longest name of an action or a kind, and the longest id.
const MAX_NAME: usize = 64;
const MAX_ID: usize = 256;

impl InsightsService {
    pub(super) async fn page_of_audit(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<v1::ListAuditEventsResponse, Error> {
        let (caller, _right, message) = caller(&self.core, request, &[AdminScope::InsightsRead])?;
        let workspace = caller.history(&message.workspace, &self.core.default_workspace)?;
        let moment = |field: &str, time: Option<prost_types::Timestamp>| {
            time.map(|time| convert::time(field, time)).transpose()
        };
        let query = AuditQuery {
            filter: AuditFilter {
                workspace,
                kinds: names("resource_kinds", message.resource_kinds)?,
                actions: names("actions", message.actions)?,
            },
            actor: id("actor", message.actor)?,
            resource: id("resource_id", message.resource_id)?,
            start: moment("start_time", message.start_time)?,
            end: moment("end_time", message.end_time)?,
        };
        if let (Some(start), Some(end)) = (query.start, query.end)
            && start >= end
        {
            return Err(Error::invalid("end_time", "must be after `start_time`"));
        }
        let page = AuditPage {
            query,
            size: page::size(message.page_size)?,
            token: message.page_token,
        };
        let (events, next_page_token) = self.core.list_audit_events(&caller, page).await?;
        let epoch = self.core.index.epoch();
        Ok(v1::ListAuditEventsResponse {
            events: events.iter().map(|e| event(e, epoch)).collect(),
            next_page_token,
        })
    }
}

/// Reads names of actions or kinds.
pub(super) fn names(field: &str, names: Vec<String>) -> Result<Vec<String>, Error> {
    if names.len() > MAX_NAMES {
        return Err(Error::invalid(
            field,
            format!("has more than {MAX_NAMES} entries"),
        ));
    }
    let good = |name: &str| {
        (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    };
    match names.iter().position(|name| !good(name)) {
        None => Ok(names),
        Some(at) => Err(Error::invalid(
            format!("{field}[{at}]"),
            format!(
                "must be a word of `[A-Z_]`, as events have it, of at most {MAX_NAME} characters"
            ),
        )),
    }
}

fn id(field: &str, text: String) -> Result<Option<String>, Error> {
    if text.len() > MAX_ID || text.chars().any(char::is_control) {
        return Err(Error::invalid(field, "is no id that an event has"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Writes an event.
pub(super) fn event(event: &AuditEvent, epoch: u32) -> v1::AuditEvent {
    let changed_fields = match (&event.before, &event.after) {
        (Some(before), Some(after)) => changed::fields(before, after),
        _ => Vec::new(),
    };
    v1::AuditEvent {
        revision: Revision {
            epoch,
            n: event.revision,
        }
        .to_string(),
        ordinal: u32::try_from(event.ordinal).unwrap_or(u32::MAX),
        time: Some(convert::timestamp(event.time)),
        actor: event.actor.clone(),
        action: event.action.clone(),
        workspace: event.workspace.as_str().to_owned(),
        resource_kind: event.kind.clone(),
        resource_id: event.id.clone(),
        before: event.before.as_ref().map(object),
        after: event.after.as_ref().map(object),
        changed_fields,
        on_behalf_of: event.on_behalf_of.clone().unwrap_or_default(),
    }
}

/// A state of a thing: an object, and what is none in one of its own.
fn object(value: &Value) -> Struct {
    let fields = match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), wire(name, value)))
            .collect(),
        other => [("value".to_owned(), wire("", other))].into(),
    };
    Struct { fields }
}

/// Times are numbers with us, and for people are written as such.
fn wire(name: &str, value: &Value) -> WireValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Number(number) => match moment(name, number.as_i64()) {
            Some(moment) => Kind::StringValue(moment),
            None => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        },
        Value::Array(values) => Kind::ListValue(ListValue {
            values: values.iter().map(|value| wire("", value)).collect(),
        }),
        Value::Object(_) => Kind::StructValue(object(value)),
    };
    WireValue { kind: Some(kind) }
}

fn moment(name: &str, micros: Option<i64>) -> Option<String> {
    let micros = micros.filter(|_| name.ends_with("_time"))?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .ok()?
        .format(&Rfc3339)
        .ok()
}
