//! Claviger, Envoy before it, and a service behind.

use std::sync::Arc;

use super::{Admin, Envoy, EnvoyOptions, Folder, Process, Response, Route, Upstream, header};

/// All parts, running. The folder goes last, so that it is searched for tokens when all have ended.
pub(crate) struct Rig {
    pub(crate) admin: Admin,
    pub(crate) envoy: Envoy,
    pub(crate) process: Process,
    pub(crate) upstream: Upstream,
    _folder: Arc<Folder>,
}

/// How to start them.
#[derive(Default)]
pub(crate) struct RigOptions {
    pub(crate) args: Vec<&'static str>,
    pub(crate) envoy: EnvoyOptions,
}

/// A route to the upstream that demands this of a key: `(context extension without "claviger.", value)`.
pub(crate) fn demands(path: &str, extensions: &[(&str, &str)]) -> Route {
    Route {
        path: path.to_owned(),
        extensions: extensions
            .iter()
            .map(|(name, value)| (format!("claviger.{name}"), (*value).to_owned()))
            .collect(),
        to_grpc: false,
    }
}

impl Rig {
    /// Starts all of it; the workspace `default` has the scopes `orders:read` and `orders:write`. The sample's route
    /// `/orders` demands `orders:read`.
    pub(crate) fn start(options: &RigOptions) -> Self {
        let folder = Folder::of_suite();
        let process = Process::start(&folder, &options.args);
        let admin = process.admin();
        admin.declare("default", &["orders:read", "orders:write"]);
        let upstream = Upstream::start();
        let envoy = Envoy::start(&folder, process.grpc(), &upstream, &options.envoy);
        Self {
            admin,
            envoy,
            process,
            upstream,
            _folder: folder,
        }
    }

    /// The usual setting with routes of this test.
    pub(crate) fn with_routes(routes: Vec<Route>) -> Self {
        Self::start(&RigOptions {
            envoy: EnvoyOptions {
                routes,
                ..EnvoyOptions::default()
            },
            ..RigOptions::default()
        })
    }

    /// One GET through Envoy with the token in `x-api-key`.
    pub(crate) fn with_key(&self, path: &str, token: &str) -> Response {
        self.envoy.get(path, &[header("x-api-key", token)])
    }

    /// One GET through Envoy; the answer is the upstream's exactly if the upstream was asked.
    pub(crate) fn get(&self, path: impl AsRef<[u8]>, headers: &[(String, Vec<u8>)]) -> Response {
        let before = self.upstream.count();
        let response = self.envoy.get(path, headers);
        let asked = self.upstream.count() - before;
        assert_eq!(
            asked,
            usize::from(response.status == 200),
            "status {} and {asked} requests upstream",
            response.status
        );
        response
    }
}

/// What the upstream saw.
pub(crate) struct Seen(serde_json::Value);

impl Response {
    /// What the upstream saw of an allowed request.
    pub(crate) fn seen(&self) -> Seen {
        assert_eq!(self.status, 200, "not allowed: {}", self.text());
        Seen(self.json())
    }
}

impl Seen {
    /// The path with its query.
    pub(crate) fn path(&self) -> &str {
        self.0["path"].as_str().unwrap()
    }

    /// The method.
    pub(crate) fn method(&self) -> &str {
        self.0["method"].as_str().unwrap()
    }

    /// What was sent.
    pub(crate) fn body(&self) -> &str {
        self.0["body"].as_str().unwrap()
    }

    /// The values of a header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let headers = self.0["headers"].as_array().unwrap();
        let of_name = headers.iter().filter(|h| h[0] == name);
        of_name.map(|h| h[1].as_str().unwrap()).collect()
    }

    /// Names of the headers.
    pub(crate) fn names(&self) -> Vec<&str> {
        let headers = self.0["headers"].as_array().unwrap();
        headers.iter().map(|h| h[0].as_str().unwrap()).collect()
    }
}
