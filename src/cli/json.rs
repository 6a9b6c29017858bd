//! Results for scripts: the fields of the API under their own names, all of them always; times in RFC 3339, durations in
//! seconds (`90s`), enums without their prefix, what is not set as `null`.

use prost_types::{Duration, Timestamp};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::names;
use crate::grpc::proto::v1;

mod fleet;
mod records;
mod routes;

pub(super) use fleet::{propagation, replica, verified};
pub(super) use records::{logged_decision, shadow_report, usage_point};
pub(super) use routes::route;

/// A moment of the API; none where it is outside of what can be written.
pub(super) fn moment(at: &Timestamp) -> Option<OffsetDateTime> {
    let nanos = i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

/// A moment in RFC 3339.
pub(super) fn rfc3339(at: &Timestamp) -> String {
    moment(at)
        .and_then(|m| m.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{}s since 1970", at.seconds))
}

fn time(at: Option<&Timestamp>) -> Value {
    at.map_or(Value::Null, |at| Value::String(rfc3339(at)))
}

fn duration(length: &Duration) -> String {
    if length.nanos == 0 {
        format!("{}s", length.seconds)
    } else {
        format!("{}.{:09}s", length.seconds, length.nanos)
    }
}

pub(super) fn key(key: &v1::Key) -> Value {
    json!({
        "id": key.id,
        "workspace": key.workspace,
        "display_name": key.display_name,
        "description": key.description,
        "scopes": key.scopes,
        "subscriptions": key.subscriptions,
        "allowed_cidrs": key.allowed_cidrs,
        "postback_url": key.postback_url,
        "off_the_record": key.off_the_record,
        "enabled": key.enabled,
        "expire_time": time(key.expire_time.as_ref()),
        "labels": key.labels,
        "enforcement": key.enforcement.as_ref().map(enforcement),
        "state": names::key_state(key.state),
        "secrets": key.secrets.iter().map(secret).collect::<Vec<_>>(),
        "create_time": time(key.create_time.as_ref()),
        "update_time": time(key.update_time.as_ref()),
        "delete_time": time(key.delete_time.as_ref()),
        "purge_time": time(key.purge_time.as_ref()),
        "last_used_time": time(key.last_used_time.as_ref()),
        "etag": key.etag,
        "warnings": key.warnings.iter().map(warning).collect::<Vec<_>>(),
        "scope_source": names::scope_source(key.scope_source),
        "principal": key.principal,
    })
}

fn enforcement(enforcement: &v1::Enforcement) -> Value {
    json!({
        "network": names::mode(enforcement.network),
        "presentation": names::mode(enforcement.presentation),
        "subscription": names::mode(enforcement.subscription),
        "scopes": names::mode(enforcement.scopes),
    })
}

fn secret(secret: &v1::Secret) -> Value {
    json!({
        "id": secret.id,
        "slot": names::slot(secret.slot),
        "state": names::secret_state(secret.state),
        "origin": names::origin(secret.origin),
        "weak": secret.weak,
        "hint": secret.hint,
        "recoverable": secret.recoverable,
        "create_time": time(secret.create_time.as_ref()),
        "expire_time": time(secret.expire_time.as_ref()),
        "last_used_time": time(secret.last_used_time.as_ref()),
        "acknowledge_time": time(secret.acknowledge_time.as_ref()),
        "revocation_reason": names::revocation(secret.revocation_reason),
        "sha256_hex": secret.sha256_hex,
        "leak_time": time(secret.leak_time.as_ref()),
    })
}

/// What became of a report of a leak.
pub(super) fn leak_result(result: &v1::LeakResult) -> Value {
    let secret = |leaked: &v1::LeakedSecret| {
        json!({
            "key_id": leaked.key_id,
            "secret_id": leaked.secret_id,
            "workspace": leaked.workspace,
            "action": names::leak_action(leaked.action),
            "already_reported": leaked.already_reported,
            "held_back": leaked.held_back,
            "tokens": leaked.tokens.iter().map(issued).collect::<Vec<_>>(),
        })
    };
    json!({
        "verdict": names::verdict(result.verdict),
        "secrets": result.secrets.iter().map(secret).collect::<Vec<_>>(),
    })
}

/// A key that needs attention.
pub(super) fn hygiene(needs: &v1::KeyHygiene) -> Value {
    let finding = |finding: &v1::HygieneFinding| {
        json!({
            "kind": names::finding(finding.kind),
            "message": finding.message,
            "secret_ids": finding.secret_ids,
            "slot": names::slot(finding.slot),
            "safe": finding.safe,
            "scopes": finding.scopes,
        })
    };
    json!({
        "key": needs.key.as_ref().map(key),
        "findings": needs.findings.iter().map(finding).collect::<Vec<_>>(),
        "safe_slots": needs.safe_slots.iter().map(|s| names::slot(*s)).collect::<Vec<_>>(),
    })
}

pub(super) fn delivery(delivery: &v1::Delivery) -> Value {
    json!({
        "id": delivery.id,
        "workspace": delivery.workspace,
        "key_id": delivery.key_id,
        "sequence": delivery.sequence,
        "type": delivery.r#type,
        "event_id": delivery.event_id,
        "url": delivery.url,
        "state": names::delivery_state(delivery.state),
        "attempts": delivery.attempts,
        "failure": names::failure(delivery.failure),
        "http_status": delivery.http_status,
        "create_time": time(delivery.create_time.as_ref()),
        "last_attempt_time": time(delivery.last_attempt_time.as_ref()),
        "next_attempt_time": time(delivery.next_attempt_time.as_ref()),
        "end_time": time(delivery.end_time.as_ref()),
    })
}

pub(super) fn signing_secret(secret: &v1::SigningSecret) -> Value {
    json!({
        "id": secret.id,
        "workspace": secret.workspace,
        "create_time": time(secret.create_time.as_ref()),
        "expire_time": time(secret.expire_time.as_ref()),
    })
}

pub(super) fn tested(answer: &v1::TestPostbackResponse) -> Value {
    json!({
        "delivered": answer.delivered,
        "failure": names::failure(answer.failure),
        "http_status": answer.http_status,
        "id": answer.id,
        "elapsed": answer.elapsed.as_ref().map(duration),
    })
}

pub(super) fn issued(token: &v1::IssuedToken) -> Value {
    json!({
        "secret_id": token.secret_id,
        "slot": names::slot(token.slot),
        "token": token.token,
    })
}

pub(super) fn check(answer: &v1::CheckResponse) -> Value {
    json!({
        "decision": names::decision(answer.decision),
        "reason": names::reason(answer.reason),
        "http_status": answer.http_status,
        "challenge": answer.challenge,
        "workspace": answer.workspace,
        "key_id": answer.key_id,
        "secret_id": answer.secret_id,
        "subscription": answer.subscription,
        "scopes": answer.scopes,
        "labels": answer.labels,
        "postback_url": answer.postback_url,
        "off_the_record": answer.off_the_record,
        "shadowed": answer.shadowed.iter().map(|r| names::reason(*r)).collect::<Vec<_>>(),
        "revision": answer.revision,
        "route": answer.route,
        "warnings": answer.warnings.iter().map(warning).collect::<Vec<_>>(),
        "principal": answer.principal,
    })
}

pub(super) fn warning(warning: &v1::Warning) -> Value {
    json!({ "code": warning.code, "message": warning.message })
}

pub(super) fn explained(answer: &v1::ExplainResponse) -> Value {
    json!({
        "decision": answer.decision.as_ref().map(check),
        "steps": answer.steps.iter().map(step).collect::<Vec<_>>(),
        "time": time(answer.time.as_ref()),
    })
}

fn step(step: &v1::ExplainStep) -> Value {
    let reason = (step.reason != 0).then(|| names::reason(step.reason));
    json!({
        "check": names::explained_check(step.check),
        "outcome": names::explained_outcome(step.outcome),
        "reason": reason,
        "detail": step.detail,
    })
}

pub(super) fn audit_event(event: &v1::AuditEvent) -> Value {
    json!({
        "revision": event.revision,
        "ordinal": event.ordinal,
        "time": time(event.time.as_ref()),
        "actor": event.actor,
        "action": event.action,
        "workspace": event.workspace,
        "resource_kind": event.resource_kind,
        "resource_id": event.resource_id,
        "before": event.before.as_ref().map(object),
        "after": event.after.as_ref().map(object),
        "changed_fields": event.changed_fields,
        "on_behalf_of": event.on_behalf_of,
    })
}

fn object(object: &prost_types::Struct) -> Value {
    let fields = object.fields.iter();
    Value::Object(fields.map(|(name, v)| (name.clone(), any(v))).collect())
}

fn any(value: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(*truth),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::NumberValue(number)) => number_of(*number),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(any).collect()),
        Some(Kind::StructValue(inner)) => object(inner),
    }
}

/// The API has but one kind of number: whole ones are written as such.
fn number_of(number: f64) -> Value {
    let text = number.to_string();
    match text.parse::<i64>() {
        Ok(whole) => whole.into(),
        Err(_) => number.into(),
    }
}

pub(super) fn workspace(workspace: &v1::Workspace) -> Value {
    json!({
        "id": workspace.id,
        "display_name": workspace.display_name,
        "enabled": workspace.enabled,
        "settings": workspace.settings.as_ref().map(settings),
        "create_time": time(workspace.create_time.as_ref()),
        "update_time": time(workspace.update_time.as_ref()),
        "etag": workspace.etag,
    })
}

fn settings(settings: &v1::WorkspaceSettings) -> Value {
    json!({
        "locations": settings.locations.iter().map(location).collect::<Vec<_>>(),
        "presentations": presentations(&settings.presentations),
        "undemanded_scopes": names::undemanded(settings.undemanded_scopes),
        "secret_storage": names::storage(settings.secret_storage),
        "slots": names::slots(settings.slots),
        "rotation_guard": settings.rotation_guard.as_ref().map(duration),
        "token_prefix": settings.token_prefix,
        "enforcement": settings.enforcement.as_ref().map(enforcement),
        "request_log": names::request_log(settings.request_log),
        "request_log_sample": settings.request_log_sample,
        "request_log_retention": settings.request_log_retention.as_ref().map(duration),
        "usage_retention": settings.usage_retention.as_ref().map(duration),
        "key_scheme": names::key_scheme(settings.key_scheme),
        "key_scheme_time": time(settings.key_scheme_time.as_ref()),
        "unmatched_requests": names::unmatched(settings.unmatched_requests),
        "key_creation": names::key_creation(settings.key_creation),
        "default_lifetime": settings.default_lifetime.as_ref().map(duration),
        "longest_lifetime": settings.longest_lifetime.as_ref().map(duration),
        "rotation_age": settings.rotation_age.as_ref().map(duration),
        "leak_policy": names::leak_policy(settings.leak_policy),
        "leak_grace": settings.leak_grace.as_ref().map(duration),
        "provisioning": settings.provisioning.as_ref().map(|p| json!({ "scopes": p.scopes })),
    })
}

fn location(location: &v1::CredentialLocation) -> Value {
    use v1::credential_location::Location;
    match &location.location {
        Some(Location::Header(name)) => json!({ "header": name }),
        Some(Location::Query(name)) => json!({ "query": name }),
        Some(Location::Bearer(on)) => json!({ "bearer": on }),
        Some(Location::Basic(on)) => json!({ "basic": on }),
        None => Value::Null,
    }
}

fn presentations(list: &[i32]) -> Vec<String> {
    list.iter().map(|p| names::presentation(*p)).collect()
}

pub(super) fn subscription(subscription: &v1::Subscription) -> Value {
    json!({
        "workspace": subscription.workspace,
        "id": subscription.id,
        "display_name": subscription.display_name,
        "enabled": subscription.enabled,
        "create_time": time(subscription.create_time.as_ref()),
        "update_time": time(subscription.update_time.as_ref()),
        "etag": subscription.etag,
    })
}

pub(super) fn scope(scope: &v1::Scope) -> Value {
    json!({
        "workspace": scope.workspace,
        "name": scope.name,
        "display_name": scope.display_name,
        "description": scope.description,
        "presentations": presentations(&scope.presentations),
        "implies": scope.implies,
        "create_time": time(scope.create_time.as_ref()),
        "update_time": time(scope.update_time.as_ref()),
        "etag": scope.etag,
    })
}

pub(super) fn principal(principal: &v1::Principal) -> Value {
    json!({
        "workspace": principal.workspace,
        "id": principal.id,
        "display_name": principal.display_name,
        "enabled": principal.enabled,
        "scopes": principal.scopes,
        "create_time": time(principal.create_time.as_ref()),
        "update_time": time(principal.update_time.as_ref()),
        "etag": principal.etag,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_there_under_its_own_name() {
        let value = key(&v1::Key {
            id: "key_1".to_owned(),
            state: 1,
            enabled: Some(true),
            expire_time: Some(Timestamp {
                seconds: 1_767_225_600,
                nanos: 0,
            }),
            enforcement: Some(v1::Enforcement {
                network: 2,
                ..Default::default()
            }),
            ..Default::default()
        });
        assert_eq!(value["state"], "ACTIVE");
        assert_eq!(value["expire_time"], "2026-01-01T00:00:00Z");
        assert_eq!(value["last_used_time"], Value::Null);
        assert_eq!(value["enforcement"]["network"], "SHADOW");
        assert_eq!(value.as_object().unwrap().len(), 24);
    }

    #[test]
    fn settings_are_written_as_the_api_names_them() {
        use v1::credential_location::Location;
        let value = workspace(&v1::Workspace {
            settings: Some(v1::WorkspaceSettings {
                locations: vec![v1::CredentialLocation {
                    location: Some(Location::Header("x-key".to_owned())),
                }],
                rotation_guard: Some(Duration {
                    seconds: 90,
                    nanos: 0,
                }),
                presentations: vec![2],
                ..Default::default()
            }),
            ..Default::default()
        });
        let settings = &value["settings"];
        assert_eq!(settings["locations"], json!([{"header": "x-key"}]));
        assert_eq!(settings["rotation_guard"], "90s");
        assert_eq!(settings["presentations"], json!(["BEARER"]));
        assert_eq!(settings["token_prefix"], Value::Null);
    }
}
