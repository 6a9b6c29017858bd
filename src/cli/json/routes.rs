//! Routes for scripts.

use serde_json::{Value, json};

use super::{location, time};
use crate::cli::names;
use crate::grpc::proto::v1;

pub(in crate::cli) fn route(route: &v1::Route) -> Value {
    let service =
        |grpc: &v1::GrpcService| json!({ "service": grpc.service, "methods": grpc.methods });
    let used = |used: &v1::KeylessUse| {
        json!({
            "reason": names::reason(used.reason),
            "count": used.count,
            "last_time": time(used.last_time.as_ref()),
        })
    };
    json!({
        "workspace": route.workspace,
        "id": route.id,
        "display_name": route.display_name,
        "hosts": route.hosts,
        "path": route.path,
        "methods": route.methods,
        "grpc": route.grpc.iter().map(service).collect::<Vec<_>>(),
        "required_scopes": route.required_scopes,
        "any_of_scopes": route.any_of_scopes,
        "subscription": route.subscription.as_ref().map_or(Value::Null, subscription),
        "factors": route.factors.iter().map(factor).collect::<Vec<_>>(),
        "locations": route.locations.iter().map(location).collect::<Vec<_>>(),
        "access": names::access(route.access),
        "labels": route.labels,
        "claims_hosts": route.claims_hosts,
        "create_time": time(route.create_time.as_ref()),
        "update_time": time(route.update_time.as_ref()),
        "etag": route.etag,
        "keyless_uses": route.keyless_uses.iter().map(used).collect::<Vec<_>>(),
    })
}

fn subscription(source: &v1::SubscriptionSource) -> Value {
    use v1::subscription_source::Source;
    match &source.source {
        Some(Source::Capture(name)) => json!({ "capture": name }),
        Some(Source::Header(name)) => json!({ "header": name }),
        Some(Source::Fixed(id)) => json!({ "fixed": id }),
        None => Value::Null,
    }
}

fn factor(factor: &v1::Factor) -> Value {
    use v1::factor::Factor;
    use v1::header_factor::Demand;
    match &factor.factor {
        Some(Factor::Jwt(jwt)) => json!({
            "jwt": { "payload": jwt.payload, "claim": jwt.claim, "values": jwt.values },
        }),
        Some(Factor::Header(header)) => {
            let (demand, value) = match &header.demand {
                Some(Demand::Present(present)) => ("present", json!(present)),
                Some(Demand::OneOf(values)) => ("one_of", json!({ "tags": values.tags })),
                Some(Demand::KeyWithScope(scope)) => ("key_with_scope", json!(scope)),
                None => ("demand", Value::Null),
            };
            json!({
                "header": { "name": header.name, demand: value, "forward": header.forward },
            })
        }
        None => Value::Null,
    }
}
