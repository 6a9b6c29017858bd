//! The rules that every route obeys.

use crate::app::auth::Caller;
use crate::app::error::{Code, Error};
use crate::app::scene::Scene;
use crate::domain::id::WorkspaceId;
use crate::domain::route::{
    Access, Factor, HeaderDemand, MAX_SHAPES, Route, RouteSettings, SubscriptionSource,
};
use crate::domain::workspace::{KeyScheme, Location, Scope, Workspace};

use super::RouteWarning;

/// A workspace that can have routes.
pub(super) async fn workspace(scene: &mut Scene, id: &WorkspaceId) -> Result<Workspace, Error> {
    if id.is_system() {
        return Err(Error::precondition(
            "RESERVED_WORKSPACE",
            "`system` is for administrators, and has no routes; name another workspace",
        ));
    }
    scene.workspace(id).await
}

/// Whether a route that is saved now demands no key: where the scheme is off and it did not before.
pub(super) fn is_keyless(workspace: &Workspace, before: Option<&Route>) -> bool {
    workspace.settings.key_scheme == KeyScheme::Off && before.is_none_or(|before| before.keyless)
}

/// Checks a route that is new, or has changed.
pub(super) async fn check(
    scene: &mut Scene,
    caller: &Caller,
    workspace: &Workspace,
    before: Option<&Route>,
    route: &Route,
) -> Result<(), Error> {
    check_settings(&route.settings)?;
    check_places(&route.settings, workspace)?;
    check_names(scene, route).await?;
    check_claim(caller, before, Some(route))?;
    if let Some(other) = scene.tx.route_in_conflict(route).await? {
        return Err(Error::new(
            Code::AlreadyExists,
            "ROUTE_CONFLICT",
            format!(
                "route `{other}` takes the same requests and is as specific: one of its hosts, paths and methods is one of this route's; change one of the two"
            ),
        )
        .with("route", other));
    }
    check_hosts(scene, route).await
}

/// What a route's settings must be by themselves.
fn check_settings(settings: &RouteSettings) -> Result<(), Error> {
    match (&settings.path, settings.grpc.is_empty()) {
        (None, true) => {
            return Err(Error::invalid(
                "route.path",
                "is required, or gRPC services in `grpc`",
            ));
        }
        (Some(_), false) => {
            return Err(Error::invalid(
                "route.grpc",
                "stands beside `path`; give one of them",
            ));
        }
        (None, false) if !settings.methods.is_empty() => {
            return Err(Error::invalid(
                "route.methods",
                "stands beside `grpc`, whose calls are all `POST`; leave it out",
            ));
        }
        _ => {}
    }
    if settings.shapes().len() > MAX_SHAPES {
        return Err(Error::invalid(
            "route.hosts",
            format!(
                "times paths times methods are more than {MAX_SHAPES}; make several routes of it"
            ),
        ));
    }
    if settings.claims_hosts && settings.hosts.is_empty() {
        return Err(Error::invalid(
            "route.claims_hosts",
            "is true, and there are no hosts to claim",
        ));
    }
    if let SubscriptionSource::Capture(name) = &settings.subscription {
        let there = settings.path.as_ref().and_then(|path| path.capture(name));
        if there.is_none() {
            return Err(Error::invalid(
                "route.subscription.capture",
                format!("`{name}` is no capture of one segment in `path`"),
            ));
        }
    }
    Ok(())
}

/// Where the key may be, and where other credentials are, must not be the same place.
fn check_places(settings: &RouteSettings, workspace: &Workspace) -> Result<(), Error> {
    let in_authorization = |l: &Location| matches!(l, Location::Bearer | Location::Basic);
    if settings.demands_jwt()
        && let Some(i) = settings.locations.iter().position(in_authorization)
    {
        return Err(Error::invalid(
            format!("route.locations[{i}]"),
            "is in `Authorization`, which carries the JWT that this route demands; use a header of its own for the key",
        ));
    }
    let defaults;
    let places = match (&*settings.locations, &*workspace.settings.locations) {
        ([], []) => {
            defaults = Location::defaults();
            &*defaults
        }
        ([], of_workspace) => of_workspace,
        (own, _) => own,
    };
    if settings.demands_jwt() && places.iter().all(in_authorization) {
        return Err(Error::invalid(
            "route.locations",
            "has no place for a key beside `Authorization`, which carries the JWT that this route demands; name one",
        ));
    }
    let mut keys = 0;
    for (i, factor) in settings.factors.iter().enumerate() {
        let Factor::Header { name, demand, .. } = factor else {
            continue;
        };
        if places.contains(&Location::Header(name.clone())) {
            return Err(Error::invalid(
                format!("route.factors[{i}].header.name"),
                format!(
                    "`{name}` is a place for the API key itself; give the route `locations` without it, or use another header"
                ),
            ));
        }
        keys += usize::from(matches!(demand, HeaderDemand::Key(_)));
        if keys > 1 {
            return Err(Error::invalid(
                format!("route.factors[{i}]"),
                "is a second one that is a key; a route demands one at most",
            ));
        }
    }
    Ok(())
}

/// What a route names must exist.
async fn check_names(scene: &mut Scene, route: &Route) -> Result<(), Error> {
    let settings = &route.settings;
    let catalogue = scene.tx.scopes(&route.workspace).await?;
    let lists = [
        ("route.required_scopes", &settings.all_of),
        ("route.any_of_scopes", &settings.any_of),
    ];
    for (field, list) in lists {
        for (i, name) in list.iter().enumerate() {
            require_declared(&format!("{field}[{i}]"), name, &catalogue)?;
        }
    }
    for (i, factor) in settings.factors.iter().enumerate() {
        if let Factor::Header {
            demand: HeaderDemand::Key(scope),
            ..
        } = factor
        {
            let field = format!("route.factors[{i}].header.key_with_scope");
            require_declared(&field, scope, &catalogue)?;
        }
    }
    if let SubscriptionSource::Fixed(id) = &settings.subscription
        && scene.tx.subscription(&route.workspace, id).await?.is_none()
    {
        return Err(Error::invalid(
            "route.subscription.fixed",
            format!(
                "there is no subscription `{id}` in this workspace; make it with `Directory.CreateSubscription` first"
            ),
        ));
    }
    Ok(())
}

fn require_declared(field: &str, name: &str, catalogue: &[Scope]) -> Result<(), Error> {
    if catalogue.iter().any(|scope| scope.name == name) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format!(
            "`{name}` is not declared in the workspace's catalogue; declare it with `Directory.CreateScope` first"
        ),
    ))
}

/// Whose requests are to a host that names no workspace is not for a tenant to say: it would take them from others.
pub(super) fn check_claim(
    caller: &Caller,
    before: Option<&Route>,
    after: Option<&Route>,
) -> Result<(), Error> {
    let claimed = |route: Option<&Route>| {
        route
            .filter(|route| route.settings.claims_hosts)
            .map(|route| route.settings.hosts.clone())
    };
    if caller.is_system() || claimed(before) == claimed(after) {
        return Ok(());
    }
    Err(Error::denied(
        "SYSTEM_ONLY",
        "claiming hosts, or letting go of them, needs a key of the workspace `system`",
    ))
}

async fn check_hosts(scene: &mut Scene, route: &Route) -> Result<(), Error> {
    if !route.settings.claims_hosts {
        return Ok(());
    }
    let others = scene.tx.claims_of_others(&route.workspace).await?;
    for (i, host) in route.settings.hosts.iter().enumerate() {
        let taken = others
            .iter()
            .find(|other| other.settings.hosts.contains(host));
        if let Some(other) = taken {
            return Err(Error::precondition(
                "HOST_CLAIMED",
                format!(
                    "`route.hosts[{i}]` (`{host}`) is claimed by route `{}` of workspace `{}`",
                    other.id, other.workspace
                ),
            )
            .with("workspace", &other.workspace)
            .with("route", &other.id));
        }
    }
    Ok(())
}

/// What the administrator of a route should know of it.
pub(super) fn warnings(route: &Route) -> Vec<RouteWarning> {
    let settings = &route.settings;
    let mut warnings = Vec::new();
    let mut warn = |code: &str, message: &str| {
        warnings.push(RouteWarning {
            code: code.to_owned(),
            message: message.to_owned(),
        });
    };
    match route.access() {
        Access::Public => warn(
            "PUBLIC_ROUTE",
            "everybody passes this route, without a key and without the other factors",
        ),
        Access::Grandfathered => warn(
            "GRANDFATHERED",
            "requests pass this route without a key until it is saved after the key scheme was switched on",
        ),
        Access::KeyRequired if settings.all_of.is_empty() && settings.any_of.is_empty() => warn(
            "NO_SCOPES",
            "every live key of the workspace passes this route: it demands no scope",
        ),
        Access::KeyRequired => {}
    }
    warnings
}
