//! What was recorded of decisions, for scripts.

use serde_json::{Value, json};

use super::{enforcement, time};
use crate::cli::names;
use crate::grpc::proto::v1;

pub(in crate::cli) fn logged_decision(row: &v1::LoggedDecision) -> Value {
    json!({
        "id": row.id,
        "time": time(row.time.as_ref()),
        "workspace": row.workspace,
        "decision": names::decision(row.decision),
        "reason": names::reason(row.reason),
        "key_id": row.key_id,
        "secret_id": row.secret_id,
        "subscription": row.subscription,
        "route": row.route,
        "presentation": names::presentation(row.presentation),
        "source_ip": row.source_ip,
        "method": row.method,
        "path": row.path,
        "surface": names::surface(row.surface),
        "required_scopes": row.required_scopes,
        "any_of_scopes": row.any_of_scopes,
        "shadowed": row.shadowed.iter().map(|r| names::reason(*r)).collect::<Vec<_>>(),
        "revision": row.revision,
        "replica": row.replica,
        "missing": row.missing.as_ref().map(|missing| json!({
            "count": missing.count,
            "start_time": time(missing.start_time.as_ref()),
            "end_time": time(missing.end_time.as_ref()),
        })),
    })
}

pub(in crate::cli) fn usage_point(point: &v1::UsagePoint) -> Value {
    json!({
        "start_time": time(point.start_time.as_ref()),
        "key_id": point.key_id,
        "subscription": point.subscription,
        "route": point.route,
        "decision": names::decision(point.decision),
        "reason": names::reason(point.reason),
        "count": point.count,
    })
}

pub(in crate::cli) fn shadow_report(report: &v1::ShadowReport) -> Value {
    let count = |count: &v1::ShadowCount| {
        json!({
            "route": count.route,
            "reason": names::reason(count.reason),
            "count": count.count,
            "first_time": time(count.first_time.as_ref()),
            "last_time": time(count.last_time.as_ref()),
        })
    };
    json!({
        "key_id": report.key_id,
        "display_name": report.display_name,
        "enforcement": report.enforcement.as_ref().map(enforcement),
        "counts": report.counts.iter().map(count).collect::<Vec<_>>(),
        "needed_cidrs": report.needed_cidrs,
        "needed_cidrs_incomplete": report.needed_cidrs_incomplete,
        "last_used_time": time(report.last_used_time.as_ref()),
        "safe_to_enforce": report.safe_to_enforce,
    })
}
