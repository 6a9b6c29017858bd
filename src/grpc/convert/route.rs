//! Routes.

use std::collections::BTreeMap;

use crate::app::error::Error;
use crate::app::ports::KeylessUse;
use crate::app::routes::{RouteEdit, RouteWarning};
use crate::domain::id::WorkspaceId;
use crate::domain::revision;
use crate::domain::route::pattern::{GrpcService, HostPattern, PathTemplate};
use crate::domain::route::{Access, Route, RouteSettings, SubscriptionSource, check_method};
use crate::domain::scope;
use crate::domain::text;
use crate::domain::time::Time;
use crate::domain::token::LookupKey;
use crate::domain::workspace::Location;
use crate::grpc::authorize::wire_reason;
use crate::grpc::proto::v1;

use super::credential::{locations, wire_location};
use super::input::{check, enumeration, parse, timestamp};
use super::mask::{Mask, something};

mod factor;

const MAX_HOSTS: usize = 32;
const MAX_METHODS: usize = 16;
const MAX_SERVICES: usize = 32;
const MAX_SERVICE_METHODS: usize = 64;
const MAX_SCOPES: usize = 64;

/// Reads a new route; its workspace is found apart. `key` tags what factors compare with.
pub(in crate::grpc) fn new_route(
    wire: v1::Route,
    workspace: WorkspaceId,
    key: &LookupKey,
) -> Result<Route, Error> {
    let access = access(wire.access)?;
    if access == Access::Grandfathered {
        return Err(Error::invalid(
            "route.access",
            "is what routes are that were made while the key scheme was off; it can't be set",
        ));
    }
    Ok(Route {
        id: parse("route.id", &wire.id)?,
        settings: RouteSettings {
            display_name: name(wire.display_name)?,
            hosts: hosts(&wire.hosts)?,
            claims_hosts: wire.claims_hosts,
            path: path(&wire.path)?,
            methods: methods(wire.methods)?,
            grpc: services(wire.grpc)?,
            all_of: scopes("route.required_scopes", wire.required_scopes)?,
            any_of: scopes("route.any_of_scopes", wire.any_of_scopes)?,
            subscription: subscription(wire.subscription)?,
            factors: factor::read(wire.factors, &workspace, key)?,
            locations: locations("route.locations", wire.locations)?,
            public: access == Access::Public,
            labels: labels(wire.labels)?,
        },
        workspace,
        keyless: false,
        create_time: Time::from_micros(0),
        update_time: Time::from_micros(0),
        revision: 0,
    })
}

const ROUTE_FIELDS: &[&str] = &[
    "display_name",
    "hosts",
    "claims_hosts",
    "path",
    "methods",
    "grpc",
    "required_scopes",
    "any_of_scopes",
    "subscription",
    "factors",
    "locations",
    "access",
    "labels",
];

/// Reads what an update changes.
pub(in crate::grpc) fn route_edits(
    wire: v1::Route,
    mask: Option<prost_types::FieldMask>,
    workspace: &WorkspaceId,
    key: &LookupKey,
) -> Result<Vec<RouteEdit>, Error> {
    let mask = Mask::parse(mask, ROUTE_FIELDS)?;
    let mut edits = Vec::new();
    if mask.takes("display_name", !wire.display_name.is_empty()) {
        edits.push(RouteEdit::DisplayName(name(wire.display_name)?));
    }
    if mask.takes("hosts", !wire.hosts.is_empty()) {
        edits.push(RouteEdit::Hosts(hosts(&wire.hosts)?));
    }
    if mask.takes("claims_hosts", wire.claims_hosts) {
        edits.push(RouteEdit::ClaimsHosts(wire.claims_hosts));
    }
    if mask.takes("path", !wire.path.is_empty()) {
        edits.push(RouteEdit::Path(path(&wire.path)?));
    }
    if mask.takes("methods", !wire.methods.is_empty()) {
        edits.push(RouteEdit::Methods(methods(wire.methods)?));
    }
    if mask.takes("grpc", !wire.grpc.is_empty()) {
        edits.push(RouteEdit::Grpc(services(wire.grpc)?));
    }
    if mask.takes("required_scopes", !wire.required_scopes.is_empty()) {
        let list = scopes("route.required_scopes", wire.required_scopes)?;
        edits.push(RouteEdit::AllOf(list));
    }
    if mask.takes("any_of_scopes", !wire.any_of_scopes.is_empty()) {
        let list = scopes("route.any_of_scopes", wire.any_of_scopes)?;
        edits.push(RouteEdit::AnyOf(list));
    }
    if mask.takes("subscription", wire.subscription.is_some()) {
        edits.push(RouteEdit::Subscription(subscription(wire.subscription)?));
    }
    if mask.takes("factors", !wire.factors.is_empty()) {
        let factors = factor::read(wire.factors, workspace, key)?;
        edits.push(RouteEdit::Factors(factors));
    }
    if mask.takes("locations", !wire.locations.is_empty()) {
        let list = locations("route.locations", wire.locations)?;
        edits.push(RouteEdit::Locations(list));
    }
    if mask.takes("access", wire.access != 0) {
        edits.push(RouteEdit::Access(access(wire.access)?));
    }
    if mask.takes("labels", !wire.labels.is_empty()) {
        edits.push(RouteEdit::Labels(labels(wire.labels)?));
    }
    something(edits)
}

fn name(name: String) -> Result<String, Error> {
    check("route.display_name", text::optional_display_name(&name)).map(|()| name)
}

fn at_most(field: &str, found: usize, most: usize) -> Result<(), Error> {
    if found > most {
        return Err(Error::invalid(
            field,
            format!("has more than {most} entries; make several routes of it"),
        ));
    }
    Ok(())
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
}

fn hosts(list: &[String]) -> Result<Vec<HostPattern>, Error> {
    at_most("route.hosts", list.len(), MAX_HOSTS)?;
    let read = |(i, text): (usize, &String)| parse(&format!("route.hosts[{i}]"), text);
    let hosts = list.iter().enumerate().map(read);
    hosts.collect::<Result<_, _>>().map(sorted)
}

fn path(text: &str) -> Result<Option<PathTemplate>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    parse("route.path", text).map(Some)
}

fn methods(list: Vec<String>) -> Result<Vec<String>, Error> {
    at_most("route.methods", list.len(), MAX_METHODS)?;
    for (i, method) in list.iter().enumerate() {
        check(&format!("route.methods[{i}]"), check_method(method))?;
    }
    Ok(sorted(list))
}

fn services(list: Vec<v1::GrpcService>) -> Result<Vec<GrpcService>, Error> {
    at_most("route.grpc", list.len(), MAX_SERVICES)?;
    let mut services = Vec::with_capacity(list.len());
    for (i, wire) in list.into_iter().enumerate() {
        let field = format!("route.grpc[{i}]");
        at_most(
            &format!("{field}.methods"),
            wire.methods.len(),
            MAX_SERVICE_METHODS,
        )?;
        let service = GrpcService {
            service: wire.service,
            methods: sorted(wire.methods),
        };
        check(&field, service.check())?;
        services.push(service);
    }
    Ok(sorted(services))
}

fn scopes(field: &str, list: Vec<String>) -> Result<Vec<String>, Error> {
    at_most(field, list.len(), MAX_SCOPES)?;
    for (i, name) in list.iter().enumerate() {
        check(&format!("{field}[{i}]"), scope::check_demand(name))?;
    }
    Ok(sorted(list))
}

fn subscription(wire: Option<v1::SubscriptionSource>) -> Result<SubscriptionSource, Error> {
    use v1::subscription_source::Source as Wire;
    Ok(match wire.and_then(|w| w.source) {
        None => SubscriptionSource::None,
        // Whether there is such a capture is seen with the path, which an update may leave as it is.
        Some(Wire::Capture(name)) => {
            at_most("route.subscription.capture", name.len(), 64)?;
            SubscriptionSource::Capture(name)
        }
        Some(Wire::Header(name)) => {
            SubscriptionSource::Header(header_name("route.subscription.header", &name)?)
        }
        Some(Wire::Fixed(id)) => SubscriptionSource::Fixed(parse("route.subscription.fixed", &id)?),
    })
}

/// Reads the name of a header by the rules for places of a key: those with another meaning are none of ours.
fn header_name(field: &str, name: &str) -> Result<String, Error> {
    match Location::header(name) {
        Ok(Location::Header(name)) => Ok(name),
        Ok(_) => Err(Error::invalid(field, "is not a header")),
        Err(invalid) => Err(Error::invalid_at(field, invalid)),
    }
}

fn access(number: i32) -> Result<Access, Error> {
    Ok(match enumeration::<v1::Access>("route.access", number)? {
        v1::Access::Unspecified | v1::Access::KeyRequired => Access::KeyRequired,
        v1::Access::Grandfathered => Access::Grandfathered,
        v1::Access::Public => Access::Public,
    })
}

fn labels(labels: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Error> {
    check("route.labels", text::labels(&labels)).map(|()| labels)
}

/// Writes a route. `uses` may have those of other routes too.
pub(in crate::grpc) fn route(route: &Route, uses: &[KeylessUse]) -> v1::Route {
    use v1::subscription_source::Source;
    let settings = &route.settings;
    let source = match &settings.subscription {
        SubscriptionSource::None => None,
        SubscriptionSource::Capture(name) => Some(Source::Capture(name.clone())),
        SubscriptionSource::Header(name) => Some(Source::Header(name.clone())),
        SubscriptionSource::Fixed(id) => Some(Source::Fixed(id.to_string())),
    };
    let access = match route.access() {
        Access::KeyRequired => v1::Access::KeyRequired,
        Access::Grandfathered => v1::Access::Grandfathered,
        Access::Public => v1::Access::Public,
    };
    let service = |service: &GrpcService| v1::GrpcService {
        service: service.service.clone(),
        methods: service.methods.clone(),
    };
    let own = uses.iter().filter(|used| used.route == route.id);
    v1::Route {
        workspace: route.workspace.to_string(),
        id: route.id.to_string(),
        display_name: settings.display_name.clone(),
        hosts: settings.hosts.iter().map(ToString::to_string).collect(),
        path: settings
            .path
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        methods: settings.methods.clone(),
        grpc: settings.grpc.iter().map(service).collect(),
        required_scopes: settings.all_of.clone(),
        any_of_scopes: settings.any_of.clone(),
        subscription: source.map(|source| v1::SubscriptionSource {
            source: Some(source),
        }),
        factors: settings.factors.iter().map(factor::write).collect(),
        locations: settings.locations.iter().map(wire_location).collect(),
        access: access.into(),
        labels: settings.labels.clone(),
        claims_hosts: settings.claims_hosts,
        create_time: Some(timestamp(route.create_time)),
        update_time: Some(timestamp(route.update_time)),
        etag: revision::etag(route.revision),
        keyless_uses: own.map(keyless_use).collect(),
    }
}

fn keyless_use(used: &KeylessUse) -> v1::KeylessUse {
    v1::KeylessUse {
        reason: wire_reason(used.reason).into(),
        count: i64::try_from(used.count).unwrap_or(i64::MAX),
        last_time: Some(timestamp(used.last)),
    }
}

/// Writes a warning.
pub(in crate::grpc) fn route_warning(warning: RouteWarning) -> v1::Warning {
    v1::Warning {
        code: warning.code,
        message: warning.message,
    }
}
