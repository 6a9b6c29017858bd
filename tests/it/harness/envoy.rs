//! The real Envoy, with the sample configuration of `deploy/`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use super::http::{Target, get};
use super::{Child, Folder, Log, Response, Upstream, repository, tool};

/// A route before those of the sample.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    /// The path it takes: this, and what is below it.
    pub(crate) path: String,
    /// What it tells Claviger.
    pub(crate) extensions: Vec<(String, String)>,
    /// Does it lead to Claviger's own gRPC port, as a gRPC service behind Envoy, or to the upstream?
    pub(crate) to_grpc: bool,
}

/// In what the configuration differs from the sample.
#[derive(Debug, Clone)]
pub(crate) struct EnvoyOptions {
    pub(crate) routes: Vec<Route>,
    pub(crate) failure_mode_allow: bool,
    pub(crate) encode_raw_headers: bool,
    /// Unset: the line is gone from the configuration.
    pub(crate) use_remote_address: Option<bool>,
    /// False: Envoy itself removes no `x-claviger-*` and no header with an underscore, so that Claviger must.
    pub(crate) strips_forged_headers: bool,
    /// Listen on a Unix socket: then no client has an address.
    pub(crate) on_unix_socket: bool,
    /// Filters before Claviger's, as in the sample's `http_filters`.
    pub(crate) filters: String,
    /// The deadline of a check. The sample's is for a machine that is not busy with a test suite.
    pub(crate) timeout: &'static str,
}

impl Default for EnvoyOptions {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            failure_mode_allow: false,
            encode_raw_headers: true,
            use_remote_address: Some(true),
            strips_forged_headers: true,
            on_unix_socket: false,
            filters: String::new(),
            timeout: "20s",
        }
    }
}

/// A running Envoy. Killed when dropped.
pub(crate) struct Envoy {
    _child: Child,
    access: Log,
    target: Target,
    _socket_dir: tempfile::TempDir,
    _folder: Arc<Folder>,
}

impl Envoy {
    pub(crate) fn start(
        folder: &Arc<Folder>,
        claviger: SocketAddr,
        upstream: &Upstream,
        options: &EnvoyOptions,
    ) -> Self {
        // Short, for a Unix socket's path has room for 107 bytes.
        let socket_dir = tempfile::tempdir().unwrap();
        let socket = socket_dir.path().join("envoy.sock");
        let text = configuration(claviger, upstream.address, options, &socket);
        let socket = options.on_unix_socket.then_some(socket);
        Self::run(folder, &text, socket, socket_dir)
    }

    /// With a configuration of the test's own: one listener, by TCP.
    pub(crate) fn with_configuration(folder: &Arc<Folder>, text: &str) -> Self {
        Self::run(folder, text, None, tempfile::tempdir().unwrap())
    }

    fn run(
        folder: &Arc<Folder>,
        text: &str,
        socket: Option<PathBuf>,
        socket_dir: tempfile::TempDir,
    ) -> Self {
        let config = folder.output("envoy").with_extension("yaml");
        let admin = folder.output("envoy-admin");
        std::fs::write(&config, text).unwrap();

        let mut command = Command::new(tool("envoy"));
        command
            .arg("-c")
            .arg(&config)
            .arg("--admin-address-path")
            .arg(&admin)
            .args(["--concurrency", "1", "--use-dynamic-base-id"])
            .args(["--file-flush-interval-msec", "20", "--log-level", "info"]);
        let out = folder.output("envoy-out");
        let err = folder.output("envoy-err");
        let (child, access, mut log) = Child::start(&mut command, &out, &err);
        log.wait("Envoy's start", |l| {
            l.contains("starting workers").then_some(())
        });
        let target = socket.map(Target::Unix).unwrap_or_else(|| {
            let admin = std::fs::read_to_string(&admin).unwrap();
            Target::Tcp(listener(admin.trim().parse().unwrap()))
        });
        Self {
            _child: child,
            access,
            target,
            _socket_dir: socket_dir,
            _folder: Arc::clone(folder),
        }
    }

    /// One GET through Envoy.
    pub(crate) fn get(&self, path: impl AsRef<[u8]>, headers: &[(String, Vec<u8>)]) -> Response {
        get(&self.target, path, headers)
    }

    /// Where it listens, for clients of other kinds.
    pub(crate) fn address(&self) -> SocketAddr {
        match self.target {
            Target::Tcp(address) => address,
            Target::Unix(_) => panic!("this Envoy listens on a Unix socket"),
        }
    }

    /// The line of the access log for a request of this path (without its query).
    pub(crate) fn access(&mut self, path: &str) -> Value {
        self.access.wait("the access log", |line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            (entry["path"] == path).then_some(entry)
        })
    }
}

fn listener(admin: SocketAddr) -> SocketAddr {
    let listeners = get(&Target::Tcp(admin), "/listeners?format=json", &[]).json();
    let address = &listeners["listener_statuses"][0]["local_address"]["socket_address"];
    let port = &address["port_value"];
    format!("127.0.0.1:{port}").parse().unwrap()
}

/// The sample, with the addresses of this test and the differences asked for.
fn configuration(
    claviger: SocketAddr,
    upstream: SocketAddr,
    options: &EnvoyOptions,
    socket: &std::path::Path,
) -> String {
    let mut text = Sample(std::fs::read_to_string(sample_path()).unwrap());
    text.set("port_value: 9901", "port_value: 0");
    text.set(
        "port_value: 50051",
        &format!("port_value: {}", claviger.port()),
    );
    text.set(
        "port_value: 8080",
        &format!("port_value: {}", upstream.port()),
    );
    let public = "socket_address: { address: 127.0.0.1, port_value: 10000 }";
    if options.on_unix_socket {
        text.set(public, &format!("pipe: {{ path: {} }}", socket.display()));
    } else {
        text.set(
            public,
            "socket_address: { address: 127.0.0.1, port_value: 0 }",
        );
    }
    text.set(" timeout: 0.25s", &format!(" timeout: {}", options.timeout));
    if options.failure_mode_allow {
        text.set("failure_mode_allow: false", "failure_mode_allow: true");
    }
    if !options.encode_raw_headers {
        text.set("encode_raw_headers: true", "encode_raw_headers: false");
    }
    match options.use_remote_address {
        Some(true) => {}
        Some(false) => text.set("use_remote_address: true", "use_remote_address: false"),
        None => text.set("use_remote_address: true", ""),
    }
    if !options.strips_forged_headers {
        text.set("prefix: x-claviger-,", "exact: x-nobody-sends-this,");
        text.set(
            "headers_with_underscores_action: DROP_HEADER",
            "headers_with_underscores_action: ALLOW",
        );
    }
    let ours = "                  - name: envoy.filters.http.ext_authz\n";
    text.set(ours, &format!("{}{ours}", options.filters));
    text.set(
        "\n                      routes:\n",
        &format!(
            "\n                      routes:\n{}",
            options.routes.iter().map(route).collect::<String>()
        ),
    );
    text.0
}

/// The configuration for two Clavigers, with the addresses of a test.
pub(crate) fn for_two(replicas: [SocketAddr; 2], upstream: &Upstream) -> Sample {
    let file = repository().join("deploy/envoy-compose.yaml");
    let mut text = Sample(std::fs::read_to_string(file).unwrap());
    text.set("port_value: 9901", "port_value: 0");
    text.set(
        "address: 0.0.0.0, port_value: 10000",
        "address: 127.0.0.1, port_value: 0",
    );
    let place = |name: &str, port: u16| format!("address: {name}, port_value: {port}");
    for (name, replica) in ["claviger-1", "claviger-2"].into_iter().zip(replicas) {
        let ours = place(&replica.ip().to_string(), replica.port());
        text.set(&place(name, 50051), &ours);
    }
    let ours = place("127.0.0.1", upstream.address.port());
    text.set(&place("service", 8080), &ours);
    text
}

/// The configuration that operators start from.
pub(crate) fn sample_path() -> PathBuf {
    repository().join("deploy/envoy.yaml")
}

/// A configuration, to be changed place by place.
pub(crate) struct Sample(pub(crate) String);

impl Sample {
    /// Replaces what must be there exactly once, so that a change of the sample can't go unnoticed here.
    pub(crate) fn set(&mut self, from: &str, to: &str) {
        assert_eq!(
            self.0.matches(from).count(),
            1,
            "`{from}` in the configuration"
        );
        self.0 = self.0.replace(from, to);
    }
}

fn route(route: &Route) -> String {
    let cluster = if route.to_grpc { "claviger" } else { "service" };
    let mut text = format!(
        "                        - match: {{ path_separated_prefix: {} }}\n\
         \u{20}                         route: {{ cluster: {cluster} }}\n",
        route.path
    );
    if !route.extensions.is_empty() {
        text.push_str(
            "                          typed_per_filter_config:\n\
             \u{20}                           envoy.filters.http.ext_authz:\n\
             \u{20}                             \"@type\": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute\n\
             \u{20}                             check_settings:\n\
             \u{20}                               context_extensions:\n",
        );
    }
    for (name, value) in &route.extensions {
        let _ = writeln!(
            text,
            "                                  {name}: \"{value}\""
        );
    }
    text
}
