//! Which services a listener serves.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::StartError;
use crate::app::Core;
use crate::app::authorize::DecisionCounts;
use crate::app::calls::CallCounts;
use crate::app::limit::{Limit, Shares};
use crate::domain::network::IpNet;
use crate::grpc::authorize::AuthorizeService;
use crate::grpc::directory::DirectoryService;
use crate::grpc::ext_authz::ExtAuthzService;
use crate::grpc::fleet::FleetService;
use crate::grpc::guard::Guard;
use crate::grpc::insights::InsightsService;
use crate::grpc::key_admin::KeyAdminService;
use crate::grpc::postbacks::PostbacksService;
use crate::grpc::proto::{self, v1};
use crate::grpc::routes::RoutesService;

const HEALTH_NAMES: [&str; 9] = [
    "",
    "claviger.v1.KeyAdmin",
    "claviger.v1.Directory",
    "claviger.v1.Postbacks",
    "claviger.v1.Routes",
    "claviger.v1.Insights",
    "claviger.v1.Fleet",
    "claviger.v1.Authorize",
    "envoy.service.auth.v3.Authorization",
];

/// What the services are made of.
pub(super) struct Services {
    pub(super) core: Arc<Core>,
    pub(super) counts: Arc<DecisionCounts>,
    pub(super) decisions: Arc<Limit>,
    pub(super) administration: Arc<Shares>,
    pub(super) calls: Arc<CallCounts>,
    pub(super) watches: Arc<Shares>,
    pub(super) trusted_proxies: Vec<IpNet>,
    pub(super) stopping: CancellationToken,
    /// What every listener has.
    pub(super) for_all: Routes,
}

impl Services {
    /// Decisions and administration, on one listener.
    pub(super) fn all(&self) -> Guard {
        let routes = self.with_decisions(self.for_all.clone());
        self.guard(self.with_administration(routes), true)
    }

    /// Decisions alone.
    pub(super) fn decisions(&self) -> Guard {
        self.guard(self.with_decisions(self.for_all.clone()), false)
    }

    /// Administration alone.
    pub(super) fn administration(&self) -> Guard {
        self.guard(self.with_administration(self.for_all.clone()), true)
    }

    fn guard(&self, routes: Routes, administers: bool) -> Guard {
        Guard::new(
            routes.prepare(),
            self.core.clone(),
            self.decisions.clone(),
            administers.then(|| self.administration.clone()),
            self.calls.clone(),
        )
    }

    fn with_decisions(&self, routes: Routes) -> Routes {
        let authorize = AuthorizeService::new(self.core.clone(), self.counts.clone());
        let ext_authz = ExtAuthzService::new(
            self.core.clone(),
            self.counts.clone(),
            self.decisions.clone(),
            self.trusted_proxies.clone(),
        );
        routes
            .add_service(v1::authorize_server::AuthorizeServer::new(authorize))
            .add_service(ext_authz)
    }

    fn with_administration(&self, routes: Routes) -> Routes {
        let (core, stopping) = (|| self.core.clone(), || self.stopping.clone());
        let keys = KeyAdminService::new(core(), stopping());
        let directory = DirectoryService::new(core(), stopping());
        let insights = InsightsService::new(
            core(),
            stopping(),
            self.watches.clone(),
            self.trusted_proxies.clone(),
        );
        routes
            .add_service(v1::key_admin_server::KeyAdminServer::new(keys))
            .add_service(v1::directory_server::DirectoryServer::new(directory))
            .add_service(v1::postbacks_server::PostbacksServer::new(
                PostbacksService::new(core()),
            ))
            .add_service(v1::routes_server::RoutesServer::new(RoutesService::new(
                core(),
            )))
            .add_service(v1::insights_server::InsightsServer::new(insights))
            .add_service(v1::fleet_server::FleetServer::new(
                FleetService::new(core()),
            ))
    }
}

/// Adds what tells of services and their messages.
pub(super) fn with_reflection(routes: Routes) -> Result<Routes, StartError> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTOR)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let broken = |e: tonic_reflection::server::Error| {
        StartError::Other(format!("reflection can't be built: {e}"))
    };
    let v1 = builder().build_v1().map_err(broken)?;
    let v1alpha = builder().build_v1alpha().map_err(broken)?;
    Ok(routes.add_service(v1).add_service(v1alpha))
}

/// Says the same of every service.
pub(super) async fn set_health(health: &HealthReporter, status: ServingStatus) {
    for name in HEALTH_NAMES {
        health.set_service_status(name, status).await;
    }
}
