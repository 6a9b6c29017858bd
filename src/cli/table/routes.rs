//! Routes for people.

use comfy_table::Cell;

use super::{Look, NONE, clean, details, lines, list, or_none};
use crate::cli::names;
use crate::grpc::proto::v1;

pub(in crate::cli) fn routes(routes: &[v1::Route], look: Look<'_>) -> String {
    let header = [
        "ACCESS",
        "ID",
        "NAME",
        "HOSTS",
        "TAKES",
        "SCOPES",
        "WITHOUT KEY",
    ];
    let mut table = look.table(header, &[0, 1]);
    for route in routes {
        table.add_row([
            Cell::new(names::access(route.access)),
            Cell::new(clean(&route.id)),
            Cell::new(or_none(&route.display_name)),
            Cell::new(any_or(&route.hosts)),
            Cell::new(takes(route)),
            Cell::new(scopes(route)),
            Cell::new(match route.keyless_uses.iter().map(|u| u.count).sum() {
                0_i64 => NONE.to_owned(),
                count => count.to_string(),
            }),
        ]);
    }
    lines(&table, look)
}

/// One route in full.
pub(in crate::cli) fn route(route: &v1::Route, look: Look<'_>) -> String {
    details(&rows(route, look))
}

/// A route, and what its captures are.
pub(in crate::cli) fn matched(answer: &v1::MatchRouteResponse, look: Look<'_>) -> String {
    let mut rows = answer
        .route
        .as_ref()
        .map(|route| rows(route, look))
        .unwrap_or_default();
    let captures: Vec<_> = answer
        .captures
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !captures.is_empty() {
        rows.push(("captures", list(&captures)));
    }
    details(&rows)
}

fn rows(route: &v1::Route, look: Look<'_>) -> Vec<(&'static str, String)> {
    let places: Vec<_> = route
        .locations
        .iter()
        .map(super::directory::place)
        .collect();
    let factors: Vec<_> = route.factors.iter().map(factor).collect();
    let labels: Vec<_> = route
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut rows = vec![
        ("id", clean(&route.id)),
        ("workspace", clean(&route.workspace)),
        ("name", or_none(&route.display_name)),
        ("access", names::access(route.access)),
        ("hosts", any_or(&route.hosts)),
        ("takes", takes(route)),
        ("scopes", scopes(route)),
        ("subscription", subscription(route)),
        ("beside the key", list(&factors)),
        (
            "credentials in",
            if places.is_empty() {
                "where the workspace says".to_owned()
            } else {
                list(&places)
            },
        ),
        ("labels", list(&labels)),
        ("created", look.both(route.create_time.as_ref(), NONE)),
        ("changed", look.both(route.update_time.as_ref(), NONE)),
        ("etag", or_none(&route.etag)),
    ];
    if route.claims_hosts {
        rows.insert(5, ("claims hosts", "yes".to_owned()));
    }
    for used in &route.keyless_uses {
        rows.push((
            "without key",
            format!(
                "{} {}, last {}",
                used.count,
                names::reason(used.reason),
                look.time(used.last_time.as_ref(), NONE)
            ),
        ));
    }
    rows
}

fn any_or(items: &[String]) -> String {
    if items.is_empty() {
        "any".to_owned()
    } else {
        list(items)
    }
}

fn takes(route: &v1::Route) -> String {
    if route.grpc.is_empty() {
        let methods = match &*route.methods {
            [] => "any method".to_owned(),
            methods => list(methods),
        };
        return format!("{methods} {}", clean(&route.path));
    }
    let services: Vec<_> = route
        .grpc
        .iter()
        .map(|grpc| match &*grpc.methods {
            [] => grpc.service.clone(),
            methods => format!("{}/{}", grpc.service, methods.join(",")),
        })
        .collect();
    list(&services)
}

fn scopes(route: &v1::Route) -> String {
    match (&*route.required_scopes, &*route.any_of_scopes) {
        ([], []) => NONE.to_owned(),
        (all, []) => list(all),
        ([], any) => format!("one of {}", list(any)),
        (all, any) => format!("{}, and one of {}", list(all), list(any)),
    }
}

fn subscription(route: &v1::Route) -> String {
    use v1::subscription_source::Source;
    match route.subscription.as_ref().and_then(|s| s.source.as_ref()) {
        None => NONE.to_owned(),
        Some(Source::Capture(name)) => format!("capture {}", clean(name)),
        Some(Source::Header(name)) => format!("header {}", clean(name)),
        Some(Source::Fixed(id)) => clean(id),
    }
}

fn factor(factor: &v1::Factor) -> String {
    use v1::factor::Factor;
    use v1::header_factor::Demand;
    match &factor.factor {
        Some(Factor::Jwt(jwt)) if jwt.values.is_empty() => format!("JWT claim {}", jwt.claim),
        Some(Factor::Jwt(jwt)) => format!("JWT claim {}={}", jwt.claim, jwt.values.join("|")),
        Some(Factor::Header(header)) => match &header.demand {
            Some(Demand::OneOf(values)) => {
                format!("header {} (one of {})", header.name, values.tags.len())
            }
            Some(Demand::KeyWithScope(scope)) => {
                format!("header {} (a key with {scope})", header.name)
            }
            Some(Demand::Present(_)) | None => format!("header {}", header.name),
        },
        None => NONE.to_owned(),
    }
}
