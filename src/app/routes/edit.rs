//! A change of a route, to its new value.

use std::collections::BTreeMap;

use crate::app::error::Error;
use crate::domain::route::pattern::{GrpcService, HostPattern, PathTemplate};
use crate::domain::route::{Access, Factor, Route, SubscriptionSource};
use crate::domain::workspace::Location;

/// A change of a route, to its new value.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each is the field of the same name")]
pub enum RouteEdit {
    DisplayName(String),
    Hosts(Vec<HostPattern>),
    ClaimsHosts(bool),
    Path(Option<PathTemplate>),
    Methods(Vec<String>),
    Grpc(Vec<GrpcService>),
    AllOf(Vec<String>),
    AnyOf(Vec<String>),
    Subscription(SubscriptionSource),
    Factors(Vec<Factor>),
    Locations(Vec<Location>),
    Access(Access),
    Labels(BTreeMap<String, String>),
}

impl RouteEdit {
    /// Makes the change. A route is grandfathered by its past, so that who read that may write it back, and nobody else.
    pub(super) fn apply(self, route: &mut Route) -> Result<(), Error> {
        let grandfathered = route.keyless && !route.settings.public;
        let settings = &mut route.settings;
        match self {
            Self::DisplayName(v) => settings.display_name = v,
            Self::Hosts(v) => settings.hosts = v,
            Self::ClaimsHosts(v) => settings.claims_hosts = v,
            Self::Path(v) => settings.path = v,
            Self::Methods(v) => settings.methods = v,
            Self::Grpc(v) => settings.grpc = v,
            Self::AllOf(v) => settings.all_of = v,
            Self::AnyOf(v) => settings.any_of = v,
            Self::Subscription(v) => settings.subscription = v,
            Self::Factors(v) => settings.factors = v,
            Self::Locations(v) => settings.locations = v,
            Self::Access(Access::Grandfathered) if grandfathered => {}
            Self::Access(Access::Grandfathered) => {
                return Err(Error::precondition(
                    "NOT_GRANDFATHERED",
                    "`GRANDFATHERED` is what a route is that was made while the key scheme was off; it can't be set",
                ));
            }
            Self::Access(access) => settings.public = access == Access::Public,
            Self::Labels(v) => settings.labels = v,
        }
        Ok(())
    }
}
